"""The checker of folders, on small models made by hand: each breach of the contract is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from alti2v.errors import UsageError
from alti2v.model.onnx.check_folder import check_folder
from alti2v.model.options.choices import Format

TABLES = {
    "selected_tags.csv": (
        "tag_id,name,category,count\n9999999,general,9,1\n9999998,sensitive,9,1\n9999997,questionable,9,1\n"
        "9999996,explicit,9,1\n0,1girl,0,2\n1,miku,4,1\n"
    ),
    "tag_mapping.json": (
        '{"0": {"tag": "general", "category": "Rating"}, "1": {"tag": "1girl", "category": "General"}, '
        '"2": {"tag": "miku", "category": "Character"}, "3": {"tag": "sensitive", "category": "Rating"}, '
        '"4": {"tag": "kei", "category": "Artist"}, "5": {"tag": "vocaloid", "category": "Copyright"}}'
    ),
    "tags.csv": "index,name,category,count\n" + "".join(f"{i},tag_{i},general,1\n" for i in range(6)),
}
ROWS = 6


def small_model(
    *,
    shape: Any = ("batch", 448, 448, 3),
    dtype: Any = TensorProto.FLOAT,
    rows: Any = ROWS,
    outputs: Any = 1,
    sigmoid: Any = True,
    scale: Any = 0.01,
    extra_input: Any = False,
    mixes_batch: Any = False,
) -> Any:
    """A model that averages the picture and spreads the mean over `rows` outputs."""
    kernel = np.linspace(-scale, scale, rows, dtype=np.float32).reshape(1, rows)
    constants = [numpy_helper.from_array(kernel, "kernel")]
    nodes = [
        helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=list(range(1, len(shape))), keepdims=0),
        helper.make_node("Unsqueeze", ["means", "axis"], ["column"]),
        helper.make_node("MatMul", ["column", "kernel"], ["mixed" if mixes_batch else "values"]),
    ]
    constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    if mixes_batch:
        nodes.append(helper.make_node("ReduceMean", ["mixed"], ["mean"], axes=[0], keepdims=1))
        nodes.append(helper.make_node("Sub", ["mixed", "mean"], ["values"]))
    nodes.append(helper.make_node("Sigmoid" if sigmoid else "Identity", ["values"], ["output"]))
    nodes.append(helper.make_node("Identity", ["column"], ["embedding"]))
    nodes.append(helper.make_node("Identity", ["column"], ["third"]))
    inputs = [helper.make_tensor_value_info("input", dtype, shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1]))
    widths = (("output", rows), ("embedding", 1), ("third", 1))
    graph = helper.make_graph(
        nodes,
        "small",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], n]) for name, n in widths[:outputs]],
        initializer=constants,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)])


WD, CL, NATIVE = (
    ("selected_tags.csv", "model.onnx"),
    ("tag_mapping.json", "model_optimized.onnx"),
    ("tags.csv", "model.onnx"),
)


def folder_of(path: Path, names: Any, model: Any) -> Path:
    table, file = names
    (path / table).write_text(TABLES[table])
    if model is not None:
        onnx.save(model, str(path / file))
    return path


@pytest.mark.parametrize(
    ("names", "arguments", "format_"),
    [
        (WD, {}, Format.WD),
        (WD, {"outputs": 2}, Format.WD_EMBEDDING),
        (CL, {"shape": ("batch", 3, 448, 448), "sigmoid": False, "scale": 9.0}, Format.CL),
        (NATIVE, {"shape": ("batch", 64, 64, 3), "dtype": TensorProto.UINT8, "outputs": 2}, Format.ONNX),
    ],
)
def test_a_sound_folder_has_no_breach(tmp_path: Path, names: Any, arguments: Any, format_: Any) -> None:
    """The format is recognised from the files, and nothing is wrong with it."""
    checked = check_folder(folder_of(tmp_path, names, small_model(**arguments)))

    assert (checked.format, checked.labels, checked.breaches) == (format_, ROWS, ())


@pytest.mark.parametrize(
    ("names", "arguments", "words"),
    [
        (WD, {"extra_input": True}, "has 2 inputs (input, mean)"),
        (WD, {"outputs": 3}, "has 3 outputs instead of 1"),
        (WD, {"shape": (1, 448, 448, 3)}, "takes batches of 1 only"),
        (WD, {"shape": ("batch", 224, 224, 3)}, "(?, 224, 224, 3) instead of (batch, 448, 448, 3)"),
        (WD, {"shape": ("batch", 3, 448, 448)}, "(?, 3, 448, 448) instead of (batch, 448, 448, 3)"),
        (WD, {"shape": ("batch", "height", "width", 3)}, "(?, ?, ?, 3) instead of"),
        (WD, {"dtype": TensorProto.UINT8}, "takes uint8 instead of float32"),
        (WD, {"rows": 5}, "has 5 values for 6 rows"),
        (WD, {"sigmoid": False}, "instead of probabilities"),
        (WD, {"mixes_batch": True, "scale": 1.0}, "that depend on its batch"),
        (WD, {"scale": float("nan")}, "values that are not finite numbers"),
        (CL, {"shape": ("batch", 3, 448, 448)}, "probabilities instead of logits"),
        (CL, {}, "(?, 448, 448, 3) instead of (batch, 3, 448, 448)"),
        (NATIVE, {"shape": ("batch", 64, 64, 3), "dtype": TensorProto.UINT8}, "has 1 outputs instead of 2"),
        (
            NATIVE,
            {"shape": ("batch", 64, 48, 3), "dtype": TensorProto.UINT8, "outputs": 2},
            "(?, 64, 48, 3) instead of (batch, 64, 64, 3)",
        ),
    ],
)
def test_each_breach_of_a_model_is_named(tmp_path: Path, names: Any, arguments: Any, words: Any) -> None:
    """One thing wrong with the model is one line that names it."""
    checked = check_folder(folder_of(tmp_path, names, small_model(**arguments)))

    assert len(checked.breaches) == 1, checked.breaches
    assert words in checked.breaches[0]
    assert checked.breaches[0].startswith(names[1])


def test_breaches_of_the_table_carry_its_name(tmp_path: Path) -> None:
    """Lines about the table begin with the table's name."""
    folder_of(tmp_path, WD, small_model())
    table = tmp_path / "selected_tags.csv"
    table.write_text(table.read_text().replace("1girl", "nan"))

    assert check_folder(tmp_path).breaches == ("selected_tags.csv: name 'nan' reads as a missing value",)


def test_weights_in_another_file(tmp_path: Path) -> None:
    """A model whose weights lie beside it loads here, and for no client."""
    table, file = WD
    (tmp_path / table).write_text(TABLES[table])
    onnx.save(
        small_model(), str(tmp_path / file), save_as_external_data=True, location="weights", size_threshold=0
    )

    assert any("keeps its weights in another file" in breach for breach in check_folder(tmp_path).breaches)


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x00" * 64])
def test_a_model_that_is_none(tmp_path: Path, content: Any) -> None:
    """A missing or unreadable model is one line."""
    folder_of(tmp_path, WD, None)
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    words = "is missing" if content is None else "is not an ONNX model"

    assert [words in breach for breach in check_folder(tmp_path).breaches] == [True]


def test_a_model_that_does_not_run(tmp_path: Path) -> None:
    """An error of ONNX Runtime about a broken graph becomes one line."""
    model = small_model()
    model.graph.node[3].op_type = "NoSuchOperation"
    breaches = check_folder(folder_of(tmp_path, WD, model)).breaches

    assert len(breaches) == 1
    assert "does not run in ONNX Runtime" in breaches[0]
    assert "\n" not in breaches[0]


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    """A missing folder, a file, and a folder of something else: one line each."""
    (tmp_path / "file").touch()
    for path, words in (
        (tmp_path / "nothing", "is not a folder"),
        (tmp_path / "file", "is not a folder"),
        (tmp_path, "has none of selected_tags.csv, tag_mapping.json, tags.csv"),
    ):
        with pytest.raises(UsageError, match=words):
            check_folder(path)


def test_the_check_needs_no_tensorflow(tmp_path: Path) -> None:
    """Where TensorFlow and Keras cannot be imported, the check does the same."""
    folder_of(tmp_path, WD, small_model())
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from pathlib import Path; from alti2v.model.onnx.check_folder import check_folder\n"
        "print(check_folder(Path(sys.argv[1])).breaches)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )

    assert finished.stdout == "()\n"
    assert finished.stderr == ""
