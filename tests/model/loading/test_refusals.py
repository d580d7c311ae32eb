"""Folders that are not read: one line with what is there and where a readable form is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import Alti2vError, DamagedError, UsageError
from alti2v.model.loading.folder import open_tagger
from alti2v.model.tagging.tagger import load_tagger
from tests.model.helpers.foreign_taggers import FAMILIES, write_csv, write_network

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"


def refused(folder: Path, error: type[Alti2vError]) -> str:
    """Return the message of a refusal, which is one line that begins with the folder."""
    with pytest.raises(error) as caught:
        load_tagger(folder).forward(np.zeros((2, 448, 448, 4), np.uint8))
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["model.safetensors", "selected_tags.csv", "config.json"], "get model.onnx from the same repository"),
        (["models/jtp-3-hydra.safetensors", "data/jtp-3-hydra-tags.csv"], "JTP .* model.json"),
        (["model_v0.9.pth", "tags_v0.9_13k.json"], "hf:deepghs/pixai-tagger-v0.9-onnx"),
        (["model-resnet_custom_v3.h5", "project.json", "tags.txt"], "hf:deepghs/imgutils-models"),
        (["camie-tagger-v2.safetensors", "camie-tagger-v2-metadata.json"], "hf:Camais03/camie-tagger-v2"),
        (["selected_tags.csv", "config.json"], "no model.onnx"),
        (["model.onnx"], r"no selected_tags\.csv"),
        (["snapshots/abc/model.onnx"], "give the folder snapshots/abc"),
        (["model.keras"], "can run code"),
        (["picture.png"], "holds no model of alti2v"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, files: list[str], message: str) -> None:
    """Weights alone, whole models, half a folder: the reason and the place to go, exit status 2."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")

    with pytest.raises(UsageError, match=message):
        load_tagger(tmp_path)
    assert files[0] in refused(tmp_path, UsageError) or files == ["picture.png"]


@pytest.mark.parametrize("name", ["model.onnx", "selected_tags.csv"])
def test_pointers_of_git_lfs_are_named(tmp_path: Path, name: str) -> None:
    """A clone without `git lfs` holds a text in place of the file."""
    FAMILIES["wd_v3"].write(tmp_path)
    (tmp_path / name).write_bytes(LFS)

    message = refused(tmp_path, UsageError)
    assert name in message
    assert "git lfs pull" in message


def _wd_table(folder: Path, rows: list[tuple[object, ...]]) -> None:
    write_csv(folder / "selected_tags.csv", ("tag_id", "name", "category", "count"), rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(i, f"tag_{i}", 0, 1) for i in range(13)], "13 rows for 14 outputs"),
        ([(i, f"tag_{max(i, 1)}", 0, 1) for i in range(14)], "rows 0 and 1 of .* are both 'tag_1'"),
        ([(i, f"tag_{i}", 77, 1) for i in range(14)], "no category is known: '77'"),
    ],
)
def test_tables_that_do_not_fit_are_damage(tmp_path: Path, rows: Any, message: str) -> None:
    """Another length, a name twice, categories of another table: one line, exit status 4."""
    FAMILIES["wd_v3"].write(tmp_path)
    _wd_table(tmp_path, rows)

    with pytest.raises(DamagedError, match=message):
        open_tagger(tmp_path)


def test_a_sound_model_of_another_kind_is_no_damage(tmp_path: Path) -> None:
    """A network for something else beside a table is refused with exit status 2, and says what it takes."""
    _wd_table(tmp_path, [(0, "solo", 0, 1)])
    from onnx import TensorProto, helper, save

    declared = helper.make_tensor_value_info("text", TensorProto.INT64, [1, 77])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"])],
        "text",
        [declared],
        [helper.make_tensor_value_info("same", TensorProto.INT64, [1, 77])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)])
    save(model, str(tmp_path / "model.onnx"))

    assert "text tensor(int64) (1, 77)" in refused(tmp_path, UsageError)


@pytest.mark.parametrize("kind", ["STRING", "INT64", "BOOL"])
def test_answers_of_another_type_are_another_kind_of_model(tmp_path: Path, kind: str) -> None:
    """Names or classes in place of probabilities are refused when the model is loaded: exit status 2."""
    import onnx
    from onnx import TensorProto, helper

    FAMILIES["wd_v3"].write(tmp_path)
    model = onnx.load(str(tmp_path / "model.onnx"))
    (output,) = model.graph.output
    model.graph.node.append(
        helper.make_node("Cast", [output.name], ["cast"], to=TensorProto.DataType.Value(kind))
    )
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("cast", TensorProto.DataType.Value(kind), ["N", 14])
    )
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match=rf"the model gives cast tensor\({kind.lower()}\) \(\?, 14\)"):
        open_tagger(tmp_path)


@pytest.mark.parametrize("std", [0, [0.5, 0, 0.5], -1, 1e-30, float("nan"), 1e999, "half"])
@pytest.mark.parametrize(
    ("family", "file"), [("pixai", "preprocess.json"), ("oppai_oracle", "preprocessing.json")]
)
def test_a_deviation_that_cannot_divide_is_damage(tmp_path: Path, family: str, file: str, std: object) -> None:
    """Nothing is divided by zero, and no pixel overflows: the file and the value are named, exit status 4."""
    FAMILIES[family].write(tmp_path)
    document = json.loads((tmp_path / file).read_text())
    if family == "pixai":
        document["stages"][-1]["std"] = std
    else:
        document["normalize_std"] = std
    (tmp_path / file).write_text(json.dumps(document))

    with pytest.raises(DamagedError, match=f"{file} has|pixels become numbers up to"):
        open_tagger(tmp_path)


@pytest.mark.parametrize("content", ["null", "5", "[]", '"1girl"'])
def test_a_table_that_is_no_object_is_a_line_without_pythons_words(tmp_path: Path, content: str) -> None:
    """JSON of another type is named as it is."""
    FAMILIES["cl"].write(tmp_path)
    (tmp_path / "tag_mapping.json").write_text(content)
    message = refused(tmp_path, DamagedError)

    assert "is not an object" in message
    assert "Error" not in message


def test_a_size_that_is_a_truth_value_is_damage(tmp_path: Path) -> None:
    """True is 1 to Python, and no size."""
    FAMILIES["oppai_oracle"].write(tmp_path)
    document = json.loads((tmp_path / "preprocessing.json").read_text())
    (tmp_path / "preprocessing.json").write_text(json.dumps({**document, "image_size": True}))

    assert "has the image_size True" in refused(tmp_path, DamagedError)


def test_answers_that_are_no_numbers_are_damage(tmp_path: Path) -> None:
    """A model that gives NaN is not taken for one that sees nothing."""
    FAMILIES["wd_v3"].write(tmp_path)
    import onnx

    model = onnx.load(str(tmp_path / "model.onnx"))
    bias = next(one for one in model.graph.initializer if one.name == "bias")
    bias.raw_data = np.full(14, np.nan, np.float32).tobytes()
    onnx.save(model, str(tmp_path / "model.onnx"))

    assert "gives NaN" in refused(tmp_path, DamagedError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": [{"type": "resize", "size": 96}]}, "do not end in a square"),
        ({"stages": [{"type": "center_crop", "size": [64, 64]}]}, "64 px for a model that takes 96"),
        ({"stages": [{"type": "pad_to_size", "size": 1 << 20}]}, "px"),
        ({"stages": [{"type": "mirror"}]}, "'mirror'"),
        ({"stages": 5}, "stages"),
        ({"channels": "GRB"}, "GRB"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_model_json_with_a_fault_is_a_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """A field that does not describe a preparation is named with the file."""
    FAMILIES["by_hand"].write(tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    document["input"] |= change
    (tmp_path / "model.json").write_text(json.dumps(document))

    with pytest.raises(DamagedError, match=f"model.json.*{message}"):
        open_tagger(tmp_path)


def test_one_of_several_models_is_given_by_its_path(tmp_path: Path) -> None:
    """A folder with an int8 and a float16 file says so, and the path of one of them is taken."""
    FAMILIES["wd_v3"].write(tmp_path)
    for name in ("model_int8.onnx", "model_fp16.onnx"):
        (tmp_path / name).write_bytes((tmp_path / "model.onnx").read_bytes())
    assert open_tagger(tmp_path).description.model_file == "model.onnx"
    (tmp_path / "model.onnx").unlink()

    assert "model_fp16.onnx, model_int8.onnx: give the path of one" in refused(tmp_path, UsageError)
    assert open_tagger(tmp_path / "model_int8.onnx").description.model_file == "model_int8.onnx"


def test_a_network_without_a_table_may_not_be_guessed(tmp_path: Path) -> None:
    """The path of an ONNX file alone does not say what its outputs mean."""
    write_network(tmp_path / "model.onnx", 3, side=64, channels_first=True)

    with pytest.raises(UsageError, match="a model is a folder"):
        load_tagger(tmp_path / "model.onnx")


@pytest.mark.parametrize("again", ["cafe\u0301", "caf\u00e9", "long hair"])
def test_a_tag_in_another_form_is_the_same_tag(tmp_path: Path, again: str) -> None:
    """Two rows that differ in their Unicode form or in spaces alone are one tag, which is there twice."""
    FAMILIES["wd_v3"].write(tmp_path)
    names = ("caf\u00e9", "long_hair", again, *(f"tag_{i}" for i in range(11)))
    _wd_table(tmp_path, [(i, name, 0, 1) for i, name in enumerate(names)])

    assert "of selected_tags.csv are both" in refused(tmp_path, DamagedError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "thresholds.csv has no thresholds below a header"),
        ("0,general,0.3\n", "thresholds.csv has no thresholds below a header"),
        ("0,general,0.3\n4,character,0.8\n", "thresholds.csv has no columns category and threshold"),
        ("category,name,threshold\n0,general,0.1\n0,general,0.9\n", "has two thresholds for the category '0'"),
        ("category,name,threshold\n0,character,0.1\n", "names the category '0' character, and it is general"),
    ],
)
def test_thresholds_of_categories_that_disagree(tmp_path: Path, content: str, message: str) -> None:
    """Two thresholds for a category, a name of another one, or none at all: the file is named."""
    FAMILIES["pixai"].write(tmp_path)
    (tmp_path / "thresholds.csv").write_text(content)

    assert message in refused(tmp_path, DamagedError)


def test_the_first_of_several_alphas_counts(tmp_path: Path) -> None:
    """Rows for other values of alpha are no contradiction: as in imgutils, the first row counts."""
    FAMILIES["pixai"].write(tmp_path)
    text = "category,name,alpha,threshold\n0,general,1,0.25\n0,general,2,0.5\n"
    (tmp_path / "thresholds.csv").write_text(text)

    assert open_tagger(tmp_path).description.thresholds.by_category == {"general": 0.25}


def test_messages_are_words_rather_than_code(tmp_path: Path) -> None:
    """A null in a mapping, an unknown filter and an output of another rank are told without Python."""
    mapping, staged = tmp_path / "cl", tmp_path / "pixai"
    FAMILIES["cl"].write(mapping)
    document = json.loads((mapping / "tag_mapping.json").read_text())
    (mapping / "tag_mapping.json").write_text(json.dumps({**document, "3": None}))
    assert "(an output without tag and category)" in refused(mapping, DamagedError)

    FAMILIES["pixai"].write(staged)
    stages = (staged / "preprocess.json").read_text()
    (staged / "preprocess.json").write_text(stages.replace("bilinear", "lanczos9"))
    assert "a step 'stretch' with the filter 'lanczos9' is unknown" in refused(staged, DamagedError)


def test_an_output_of_three_dimensions_is_described(tmp_path: Path) -> None:
    """Its shape is told as the file declares it, beside the one that is needed."""
    import onnx

    FAMILIES["wd_v3"].write(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    shape = model.graph.output[0].type.tensor_type.shape
    shape.dim.insert(1, onnx.TensorShapeProto.Dimension(dim_value=1))
    model.graph.node[-1].output[0] = "flat"
    axes = onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])
    model.graph.initializer.append(axes)
    model.graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat", "axis"], [model.graph.output[0].name]))
    onnx.save(model, str(tmp_path / "model.onnx"))

    message = refused(tmp_path, DamagedError)
    assert "1, 14)" in message
    assert "instead of a row for each picture, (N, 14)" in message
