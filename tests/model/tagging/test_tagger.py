"""The calls of illustration2vec: same questions, typed answers, whatever the model is loaded from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.evaluation.thresholds import TunedThresholds, write_thresholds
from alti2v.model.tagging.tagger import UntaggedPicture, load_tagger, predictions
from tests.model.helpers.tiny_wd import COLOURS, SIZE, TAGS, write_picture, write_wd_folder

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_wd_folder(tmp_path_factory.mktemp("wd"), with_features=True)


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Any:
    return load_tagger(folder)


@pytest.fixture
def pictures(tmp_path: Path) -> Any:
    return [write_picture(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue", "green", "white")]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_channels_are_blue_green_red_in_255_steps(tagger: Any, pictures: Any) -> None:
    """A WD tagger's input is BGR, [0, 255]: the probabilities are those that its weights give by hand."""
    for path, colour in zip(pictures, ("red", "blue", "green", "white"), strict=True):
        red, green, blue = COLOURS[colour]
        by_hand = {
            tag: sigmoid(bias + np.dot([blue, green, red], weights)) for tag, (_, bias, weights) in TAGS.items()
        }
        found = tagger.estimate_specific_tags([path], list(TAGS))[0]

        assert found == pytest.approx(by_hand, abs=0.01)  # the JPEG of the preparation moves colours a little


def test_plausible_tags_pass_by_category_with_all_ratings(tagger: Any, pictures: Any) -> None:
    """Categories in fixed order, the most probable tag first, each above the threshold; ratings whole."""
    red, blue = tagger.estimate_plausible_tags(pictures[:2], threshold=0.5)

    assert list(red) == ["general", "character", "rating"]
    assert [tag for tag, _ in red["general"]] == ["red_eyes", "^_^"]
    assert [tag for tag, _ in red["character"]] == ["saber_(fate)"]
    assert [tag for tag, _ in red["rating"]] == ["sensitive", "general", "questionable", "explicit"]
    assert [tag for tag, _ in blue["general"]] == ["blue_sky", "^_^"]
    assert all(type(probability) is float for _, probability in red["general"])


def test_top_tags_are_so_many_of_each_category(tagger: Any, pictures: Any) -> None:
    """`n_tag` of each category, whether they pass or not; ratings whole."""
    top = tagger.estimate_top_tags(pictures[:1], n_tag=1)[0]

    assert {category: len(tags) for category, tags in top.items()} == {
        "general": 1,
        "character": 1,
        "rating": 4,
    }
    assert top["general"][0][0] == "red_eyes"


def test_a_batch_equals_single_pictures(folder: Path, pictures: Any) -> None:
    """Any batch size gives the probabilities of single pictures within 1e-5, and the same tags."""
    many = pictures * 3
    single = [load_tagger(folder, batch_size=1).estimate_top_tags([path], n_tag=99)[0] for path in many]
    for batch_size in (2, 5, 16):
        batched = load_tagger(folder, batch_size=batch_size).estimate_top_tags(many, n_tag=99)
        for one, other in zip(single, batched, strict=True):
            assert one.keys() == other.keys()
            for category, tags in one.items():
                assert [name for name, _ in tags] == [name for name, _ in other[category]]
                assert [p for _, p in tags] == pytest.approx([p for _, p in other[category]], abs=1e-5)


def test_pictures_in_any_form_give_the_same(tagger: Any, pictures: Any) -> None:
    """Paths, texts, PIL images and arrays of one picture are one picture."""
    path = pictures[0]
    forms = [path, str(path), Image.open(path), np.asarray(Image.open(path))]
    answers = tagger.estimate_plausible_tags(forms, threshold=0.1)

    assert all(answer == answers[0] for answer in answers)


def test_features_and_their_bits(tagger: Any, pictures: Any) -> None:
    """(n, F) float32 and (n, F / 8) uint8; a bit says that the unit is active, the first one is the highest."""
    features = tagger.extract_feature(pictures)
    bits = tagger.extract_binary_feature(pictures)

    assert (features.dtype, features.shape) == (np.float32, (4, 8))
    assert (bits.dtype, bits.shape) == (np.uint8, (4, 1))
    assert np.array_equal(np.unpackbits(bits, axis=1).astype(bool), features > 0)
    assert len(set(map(bytes, bits))) > 1
    assert tagger.extract_feature([]).shape == (0, 8)


def test_models_without_vectors_say_so(tmp_path: Path, pictures: Any) -> None:
    """A plain WD tagger gives no vectors; the message names what does."""
    plain = load_tagger(write_wd_folder(tmp_path))

    with pytest.raises(UsageError, match=r"no vectors.*wd-embedding"):
        plain.extract_feature(pictures)


def test_mcut_needs_no_threshold(tagger: Any, pictures: Any) -> None:
    """MCut separates present from absent tags without a threshold."""
    found = tagger.estimate_plausible_tags(pictures[1:2], threshold_rule="mcut")[0]

    # 1.00, 0.54, then 0.00: the wider gap is the second.
    assert [tag for tag, _ in found["general"]] == ["blue_sky", "^_^"]
    assert found["character"] == [] or found["character"][0][1] > 0.15


def test_tuned_thresholds_are_used_by_name(tmp_path: Path, pictures: Any) -> None:
    """thresholds.json in the folder gives each tag its own limit."""
    folder = write_wd_folder(tmp_path)
    rules = {"f1": {"red_eyes": 1.0, "^_^": 0.0, "saber_(fate)": 0.999}}
    write_thresholds(folder, TunedThresholds(rules=rules, fallback=0.9, images=10))
    found = load_tagger(folder).estimate_plausible_tags(pictures[:1], threshold_rule="f1")[0]

    assert [tag for tag, _ in found["general"]] == ["^_^"]
    assert found["character"] == []


def test_wrong_questions_are_refused(tagger: Any, pictures: Any) -> None:
    """One clear line for each: a lone path, an unknown rule, tag, number, and what was never tuned."""
    with pytest.raises(UsageError, match="is one picture: give a list"):
        tagger.estimate_plausible_tags(str(pictures[0]))
    with pytest.raises(UsageError, match="no threshold rule 'f3'"):
        tagger.estimate_plausible_tags(pictures, threshold_rule="f3")
    with pytest.raises(UsageError, match="no thresholds for the rule f1"):
        tagger.estimate_plausible_tags(pictures, threshold_rule="f1")
    with pytest.raises(UsageError, match="did you mean hatsune_miku"):
        tagger.estimate_specific_tags(pictures, ["hatsune_mik"])
    with pytest.raises(UsageError, match="n_tag 0"):
        tagger.estimate_top_tags(pictures, n_tag=0)
    with pytest.raises(UsageError, match="batch_size 0"):
        replace(tagger, batch_size=0)


def test_a_damaged_picture_is_named(tagger: Any, pictures: Any, tmp_path: Path) -> None:
    """A call about many pictures fails with the one that is no picture."""
    (tmp_path / "bad.png").write_bytes(b"nothing")

    with pytest.raises(DataError, match=r"bad\.png: not a JPEG"):
        tagger.estimate_plausible_tags([*pictures, tmp_path / "bad.png"])
    with pytest.raises(DataError, match="picture 1: a side shorter"):
        tagger.estimate_plausible_tags([pictures[0], np.zeros((4, 4, 3), np.uint8)])


def test_streams_go_on_after_damaged_pictures(tagger: Any, pictures: Any, tmp_path: Path) -> None:
    """Failures keep their place in the stream, also when nearly everything is damaged."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    order = [bad] * 150 + [pictures[0]] + [bad] * 3
    results = list(predictions(tagger, ((path, path) for path in order)))

    assert [result.picture for result in results] == order
    assert [isinstance(result, UntaggedPicture) for result in results] == [path == bad for path in order]


def test_nothing_is_asked_of_no_picture(tagger: Any) -> None:
    """No pictures, no answers."""
    assert tagger.estimate_plausible_tags([]) == []


# Folders ----------------------------------------------------------------------------------------


def test_a_fixed_batch_is_filled_up(tmp_path: Path, pictures: Any) -> None:
    """A model that insists on a batch of three tags four pictures like any other."""
    fixed = load_tagger(write_wd_folder(tmp_path / "fixed", batch=3))
    free = load_tagger(write_wd_folder(tmp_path / "free"))

    assert fixed.estimate_top_tags(pictures) == free.estimate_top_tags(pictures)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        ({"rows": [("1girl", 0)]}, DamagedError, r"selected_tags\.csv has 1 rows for 10 outputs"),
        ({"with_sigmoid": False}, DamagedError, "not probabilities"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    tmp_path: Path, pictures: Any, spoil: Any, error: Any, message: Any
) -> None:
    """A table of another model, logits: one line that says so."""
    write_wd_folder(tmp_path / "wd", **spoil)

    with pytest.raises(error, match=message):
        load_tagger(tmp_path / "wd").estimate_plausible_tags(pictures)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("selected_tags.csv", b"a,b\n1,2\n", DamagedError, "no column 'name'"),
        ("selected_tags.csv", b"", DamagedError, "has no tags"),
        ("selected_tags.csv", b"tag_id,name,category,count\n1,,0,1\n", DamagedError, "a row without a name"),
        ("selected_tags.csv", b"tag_id,name,category\n1,x,hair\n", DamagedError, "hair"),
        ("selected_tags.csv", b"\xff\xfe\x00", DamagedError, "not the table"),
        ("selected_tags.csv", None, UsageError, r"no selected_tags\.csv"),
        ("model.onnx", b"not a model", DamagedError, r"model\.onnx cannot be loaded"),
    ],
)
def test_spoilt_folders_are_refused(tmp_path: Path, name: Any, content: Any, error: Any, message: Any) -> None:
    """Each damaged or foreign file is named."""
    file = write_wd_folder(tmp_path) / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(error, match=message):
        load_tagger(tmp_path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "tags.pkl"])
def test_files_that_can_run_code_are_refused(tmp_path: Path, name: Any) -> None:
    """A folder, or a path, of whole models and pickles is refused with the reason."""
    (tmp_path / name).write_bytes(b"x")

    with pytest.raises(UsageError, match=f"{name}.*can run code"):
        load_tagger(tmp_path)
    with pytest.raises(UsageError, match="can run code"):
        load_tagger(tmp_path / name)


def test_a_path_of_an_onnx_file_means_the_folder_that_holds_it(tmp_path: Path, pictures: Any) -> None:
    """The table beside it says what its outputs mean."""
    write_wd_folder(tmp_path)

    assert load_tagger(tmp_path / "model.onnx").estimate_top_tags(pictures) == load_tagger(
        tmp_path
    ).estimate_top_tags(pictures)


def test_a_few_pictures_start_one_decoder(tmp_path: Path, pictures: Any) -> None:
    """A second one would take as much processor time as ten pictures."""
    write_wd_folder(tmp_path)
    program = (
        "import sys; from pathlib import Path; from alti2v.model.tagging.tagger import load_tagger;"
        "tagger = load_tagger(sys.argv[1], pictures=10);"
        "assert len(tagger.estimate_top_tags(10 * [sys.argv[2]])) == 10;"
        "print(sum(len(task.read_text().split()) for task in Path('/proc/self/task').glob('*/children')))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(pictures[0])]

    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "1\n"


def test_no_tensorflow_is_needed(tmp_path: Path, pictures: Any) -> None:
    """`tag` with a WD folder imports neither TensorFlow and Keras nor pyarrow, which take long."""
    write_wd_folder(tmp_path / "wd")
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = sys.modules['pyarrow'] = None\n"
        "from alti2v.cli import main\n"
        f"main(['tag', {str(tmp_path / 'wd')!r}, {str(pictures[0])!r}])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    assert "red_eyes" in finished.stdout


# Keras -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An untrained network in a model's folder: what it says means nothing, but it says it reliably."""
    from alti2v.model.network.build import Architecture, build_network
    from alti2v.model.recipes import Head
    from alti2v.model.saved_model import SavedModel, save_model
    from alti2v.records import Category, Tag

    tags = tuple(
        Tag(name=name, category=category, count=1)
        for name, category in (
            ("red", Category.GENERAL),
            ("miku", Category.CHARACTER),
            ("tall", Category.GENERAL),
        )
    )
    architecture = Architecture(size=SIZE, tags=3, head=Head.POOLED, features=16, dropout=0.0)
    path = tmp_path_factory.mktemp("run") / "model"
    save_model(
        path,
        SavedModel(
            network=build_network(architecture, seed=1).tagger,
            architecture=architecture,
            tags=tags,
            dataset="nowhere",
            plan_hash="0",
            train_samples=1,
            recipe="modern",
            threshold=0.4,
        ),
    )
    return path.parent


@pytest.mark.tf
def test_a_run_answers_the_same_calls(run_folder: Any, pictures: Any) -> None:
    """From a RUN, in any batch: the same tags, probabilities within 1e-5, vectors of the promised shape."""
    tagger = load_tagger(run_folder, precision="float32")
    batched = tagger.estimate_top_tags(pictures, n_tag=9)
    singles = [
        load_tagger(run_folder, batch_size=1, precision="float32").estimate_top_tags([path], n_tag=9)[0]
        for path in pictures
    ]

    assert tagger.threshold == 0.4
    assert list(batched[0]) == ["general", "character"]
    assert tagger.extract_feature(pictures).shape == (4, 16)
    assert tagger.extract_binary_feature(pictures).shape == (4, 2)
    for one, other in zip(singles, batched, strict=True):
        for category in one:
            assert [name for name, _ in one[category]] == [name for name, _ in other[category]]
            assert [p for _, p in one[category]] == pytest.approx([p for _, p in other[category]], abs=1e-5)


@pytest.mark.tf
def test_an_exported_run_answers_like_the_run(tmp_path: Path, pictures: Any) -> None:
    """Our own ONNX folder says what Keras says, within 1e-5, with the same tags and the same threshold."""
    from alti2v.model.export import export
    from alti2v.model.options.export import ExportConfig
    from tests.model.helpers.tiny_run import write_run

    run = write_run(tmp_path)
    export(ExportConfig(run=run, out=tmp_path / "onnx", format="onnx"))
    export(ExportConfig(run=run, out=tmp_path / "wd", format="wd-embedding"))
    by_keras, by_onnx, by_wd = (
        load_tagger(path, precision="float32") for path in (run, tmp_path / "onnx", tmp_path / "wd")
    )
    keras, onnx = (one.estimate_top_tags(pictures, n_tag=99) for one in (by_keras, by_onnx))

    assert by_onnx.threshold == by_wd.threshold == by_keras.threshold == 0.25
    for one, other in zip(keras, onnx, strict=True):
        for category in one:
            assert [name for name, _ in one[category]] == [name for name, _ in other[category]]
            assert [p for _, p in one[category]] == pytest.approx([p for _, p in other[category]], abs=1e-5)
    assert by_onnx.extract_feature(pictures) == pytest.approx(by_keras.extract_feature(pictures), abs=1e-4)
    assert by_wd.extract_feature(pictures).shape == (4, 24)
    # Another size, no JPEG of quality 95 in between: near, not equal.
    assert by_wd.estimate_specific_tags(pictures, ["solo"])[0]["solo"] == pytest.approx(
        by_keras.estimate_specific_tags(pictures, ["solo"])[0]["solo"], abs=0.1
    )
