"""A model that somebody else made is read within bounds: no link out of it, no number that fills the memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.vectors.config import Form
from alti2v.vectors.vector_file import Origin, Rows, write_rows
from tests.foreign.helpers.commands import exit_status, unchanged
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """A folder of a tagger, and a picture beside it."""
    write_picture(tmp_path / "red.png", "red")
    return write_wd_folder(tmp_path / "tagger")


def tagged(tagger: Path) -> int:
    """Exit status of tagging the picture."""
    return exit_status("tag", tagger, tagger.parent / "red.png")


def test_links_out_of_a_tagger_are_refused(tagger: Path) -> None:
    """Whichever name is a link, it is not followed."""
    outside = tagger.parent / "outside"
    outside.mkdir()
    (tagger / "thresholds.json").write_text("{}")
    (tagger / "export_report.json").write_text("{}")
    for file in sorted(tagger.iterdir()):
        shutil.move(file, outside / file.name)
        file.symlink_to(outside / file.name)
        with unchanged(outside):
            assert tagged(tagger) == 2, file.name
            assert exit_status("export", "--check", tagger) == 2, file.name
        file.unlink()
        shutil.move(outside / file.name, file)


RUN_NAMES = (
    *("config.json", "log.csv", "checked.json", "checkpoints/step-000000001.npz", "features/a.parquet"),
    *("model/model.json", "model/model.weights.h5", "model/tags.csv", "model/thresholds.json"),
)


@pytest.mark.tf
def test_links_out_of_a_run_are_refused(original: Path, tmp_path: Path) -> None:
    """Whichever file or folder of it is a link: by every command that reads a run, before anything is read."""
    run, outside = tmp_path / "run", tmp_path / "outside"
    picture, dataset = write_picture(tmp_path / "red.png", "red"), original / "dataset"
    for name in RUN_NAMES:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text('{"kind": "run", "version": 1}')
    outside.mkdir()
    out = ("--out", tmp_path / "out")
    commands: tuple[tuple[object, ...], ...] = (
        ("tag", run, picture),
        ("embed", run, picture, "--out", tmp_path / "v.parquet"),
        ("eval", run, *out),
        ("eval", run, "--dataset", dataset, *out),
        ("export", run, tmp_path / "exported"),
        ("train", dataset, run, "--plan"),
        ("train", dataset, tmp_path / "new", "--from", run, "--plan"),
    )
    for path in sorted(run.rglob("*")):
        target = outside / path.name
        shutil.move(path, target)
        path.symlink_to(target)
        with unchanged(outside):
            for command in commands:
                assert exit_status(*command) == 2, (command[0], path)
        path.unlink()
        shutil.move(target, path)
    assert not (tmp_path / "v.parquet").exists()


def test_links_out_of_an_index_are_refused(tmp_path: Path) -> None:
    """An index beside a file of vectors may have come with it."""
    index, outside = tmp_path / "v.parquet.index", tmp_path / "outside"
    index.mkdir()
    write_rows(
        tmp_path / "v.parquet",
        Origin(model="m", model_sha256="0", form=Form.FLOAT16, width=4),
        Rows(["a"], [["all"]], np.ones((1, 4), np.float16)),
    )
    for name in ("index.json", "vectors.faiss", "pictures.parquet"):
        outside.write_text("{}")
        (index / name).symlink_to(outside)
        assert exit_status("search", tmp_path / "v.parquet", "--tags", "all") == 2
        assert outside.read_text() == "{}"
        (index / name).unlink()


def test_links_within_the_cache_of_the_hub_are_followed(tagger: Path) -> None:
    """There a model is a folder of links into `blobs`; a link to anything else is refused there, too."""
    repository = tagger.parent / "models--somebody--tagger"
    snapshot = repository / "snapshots" / "0123abc"
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(tagger.iterdir())):
        shutil.move(file, repository / "blobs" / f"{number:040x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")

    assert exit_status("tag", snapshot, tagger.parent / "red.png") == 0
    (tagger.parent / "secret").write_text("{}")
    for target in ("../../../secret", "../../blobs/../../secret", "../../blobs"):
        (snapshot / "thresholds.json").symlink_to(target)
        assert exit_status("tag", snapshot, tagger.parent / "red.png") == 2, target
        (snapshot / "thresholds.json").unlink()


def test_pipes_and_sparse_files_are_not_read(tagger: Path) -> None:
    """A pipe would be waited for without an end, and a sparse file of 8 TiB costs its author nothing."""
    table, kept = tagger / "selected_tags.csv", (tagger / "selected_tags.csv").read_bytes()
    table.unlink()
    os.mkfifo(table)
    assert tagged(tagger) == 2
    table.unlink()
    table.write_bytes(kept)
    for name in ("selected_tags.csv", "thresholds.json", "model.onnx"):
        before = (tagger / name).read_bytes() if (tagger / name).exists() else b""
        with (tagger / name).open("wb") as file:
            file.truncate(8 << 40)
        assert tagged(tagger) == 4, name
        assert exit_status("export", "--check", tagger) in (1, 2, 4), name
        if before:
            (tagger / name).write_bytes(before)
        else:
            (tagger / name).unlink()
    assert tagged(tagger) == 0


def test_tables_of_millions_of_rows_are_not_read(tagger: Path) -> None:
    """Their rows would take a hundred times as much memory as on disk."""
    table = tagger / "selected_tags.csv"
    table.write_bytes(table.read_bytes() + b"1,x,0,1\n" * 1_000_001)

    assert tagged(tagger) == 4
    assert exit_status("export", "--check", tagger) in (1, 4)


def _graph(tagger: Path, change: Callable[[Any], None]) -> None:
    import onnx

    model = onnx.load(str(tagger / "model.onnx"))
    change(model)
    (tagger / "model.onnx").write_bytes(model.SerializeToString())


def _constant_of(numbers: int) -> Callable[[Any], None]:
    """Replace the kernel by a constant of many numbers that are not in the file."""

    def change(model: Any) -> None:
        from onnx import helper, numpy_helper

        graph = model.graph
        kept = [one for one in graph.initializer if one.name != "kernel"]
        del graph.initializer[:]
        graph.initializer.extend([*kept, numpy_helper.from_array(np.array([3, numbers], np.int64), "shape")])
        graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["kernel"]))

    return change


def _claimed(model: Any) -> None:
    kernel = next(one for one in model.graph.initializer if one.name == "kernel")
    del kernel.dims[:]
    kernel.dims.extend([1 << 20, 1 << 20])


def _side(model: Any) -> None:
    for place in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 1 << 20


def _batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40


def _external(model: Any) -> None:
    kernel = next(one for one in model.graph.initializer if one.name == "kernel")
    kernel.ClearField("raw_data")
    kernel.data_location = 1
    entry = kernel.external_data.add()
    entry.key, entry.value = "location", "../red.png"


@pytest.mark.parametrize("change", [_constant_of(1 << 40), _claimed, _side, _batch, _external])
def test_numbers_of_a_graph_are_bounded(tagger: Path, change: Callable[[Any], None]) -> None:
    """A small file that claims 2^40 numbers, huge pictures, or numbers in another file, is damage."""
    _graph(tagger, change)

    assert tagged(tagger) == 4
    assert exit_status("export", "--check", tagger) in (2, 4)


@pytest.mark.parametrize(
    "thresholds",
    [
        {"kind": "thresholds", "version": 1, "rules": {}, "fallback": float("nan"), "images": 1},
        {
            "kind": "thresholds",
            "version": 1,
            "rules": {"f1": {"a": float("inf")}},
            "fallback": 0.5,
            "images": 1,
        },
        {"kind": "thresholds", "version": 1, "rules": {"f1": {"a": True}}, "fallback": 0.5, "images": 1},
        {"kind": "thresholds", "version": 1, "rules": {}, "fallback": 0.5, "images": 1e308},
        {"kind": "thresholds", "version": 1, "rules": [], "fallback": 0.5, "images": 1},
        [],
    ],
)
def test_thresholds_are_numbers_between_0_and_1(tagger: Path, thresholds: Any) -> None:
    """NaN and infinity, which Python's JSON reader accepts, are damage."""
    (tagger / "thresholds.json").write_text(json.dumps(thresholds))

    assert tagged(tagger) == 4


def test_ids_of_thousands_of_digits_are_a_line(tmp_path: Path) -> None:
    """Python refuses to read numbers of more than 4,300 digits."""
    (tmp_path / "ids").write_text("9" * 5_000)

    assert exit_status("remove", tmp_path, "--ids", tmp_path / "ids") == 2
