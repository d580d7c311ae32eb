"""Arguments and options that take local paths refuse a URL."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alti2v.cli import main
from tests.model.helpers.tiny_dataset import write_squares


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("status", "s3://bucket/store"), "STORE"),
        (("verify", "dataset", "--repair", "s3://bucket/store"), "--repair"),
        (("kpi", "s3://bucket/dataset", "--out", "kpi"), "DATASET"),
        (("remove", "dataset", "--ids", "https://example.org/ids"), "--ids"),
        (("tag", "s3://bucket/model", "picture.png"), "MODEL"),
    ],
)
def test_a_url_is_named_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Any, named: Any
) -> None:
    """One line says which of the arguments it was, and what to do."""
    monkeypatch.setattr("sys.argv", ["alti2v", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()

    url = next(argument for argument in arguments if "://" in argument)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"alti2v: {url} is a URL, and {named} has to be on this machine: copy it here first\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats", "{}"),
        ("stats", "s3://bucket/{}"),
        ("status", "{}"),
        ("verify", "{}", "--deep"),
        ("build-shards", "{}", "dataset"),
        ("build-shards", "store", "{}"),
        ("crawl", "{}", "--board", "safebooru"),
        ("remove", "dataset", "--ids", "{}"),
        ("train", "{}", "run"),
        ("train", "dataset", "{}"),
        ("eval", "{}"),
        ("tag", "{}", "a.png"),
        ("embed", "model", "a.png", "--out", "{}.parquet"),
        ("search", "{}", "--tags", "solo"),
        ("search", "vectors.parquet", "--model", "{}", "--picture", "a.png"),
        ("kpi", "{}", "--out", "kpi"),
        ("export", "{}", "out"),
        ("serve", "{}"),
        ("board", "--faults", "{}"),
        ("demo", "--out", "{}"),
    ],
)
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_path_that_is_not_utf8_is_one_line(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    is_relative: bool,
) -> None:
    """Parquet and TensorFlow cannot hold it: status 2, nothing written; also if the current folder has one."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    if is_relative and "s3:" in "".join(arguments):
        return
    monkeypatch.chdir(folder if is_relative else tmp_path)
    name = "x" if is_relative else folder.name
    with pytest.raises(SystemExit) as ended:
        main([argument.format(name) for argument in arguments])

    err = capfd.readouterr().err
    assert ended.value.code == 2, err
    assert "not UTF-8" in err
    assert len(err.splitlines()) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["x::y", "new\nline", "simplecache::x", "a b"])
def test_a_path_may_have_any_other_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    """`::` is a chain of file systems only in a URL."""
    dataset = write_squares(tmp_path / name / "dataset", train=6, validation=2, test=2)
    with pytest.raises(SystemExit) as ended:
        main(["stats", str(dataset), "--json"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["dataset"] == str(dataset)
