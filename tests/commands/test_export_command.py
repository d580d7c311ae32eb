"""`alti2v export`: exit statuses, one line per breach, one line per refusal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from alti2v.cli import cli, main
from alti2v.errors import DamagedError, UsageError
from alti2v.model.onnx import runtime
from alti2v.model.options.choices import Format
from tests.model.helpers.tiny_run import write_run

TABLE = "tag_id,name,category,count\n9999999,general,9,1\n1,a,3,1\n"


def ends_with(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """Run the command as a user does: (exit status, stdout, stderr)."""
    with pytest.raises(SystemExit) as end:
        main(["export", *map(str, arguments)])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_every_format_is_offered() -> None:
    """The choices of --format are those of the library."""
    (option,) = [option for option in cli.commands["export"].params if option.name == "format"]

    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(Format)


@pytest.mark.tf
def test_export_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command exports, says what it did, and finds nothing wrong with it afterwards."""
    run, out = write_run(tmp_path), tmp_path / "out"
    status, told, _ = ends_with(capsys, run, out)

    assert status == 0
    assert "4 rating, 8 general, 2 character" in told
    assert "2 tags, see" in told
    status, told, errors = ends_with(capsys, "--check", out, "--json")
    assert (status, errors) == (0, "")
    assert json.loads(told) == {"folder": str(out), "format": "wd", "labels": 14, "breaches": []}


def test_check_tells_each_breach_and_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per breach on stdout, one line on stderr, status 4."""
    (tmp_path / "selected_tags.csv").write_text(TABLE)
    status, told, errors = ends_with(capsys, "--check", tmp_path)
    lines = [line for line in told.splitlines() if line.startswith(("selected_tags.csv", "model.onnx"))]

    assert status == DamagedError.exit_status == 4
    assert len(lines) == 6
    assert "model.onnx is missing: clients request exactly this name" in lines
    assert errors == f"alti2v: {tmp_path} breaks the contract of the wd format in 6 ways: export it again\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument"),
        (("run",), "Missing argument"),
        (("run", "out", "--format", "pt"), "Invalid value for '--format'"),
        (("run", "out", "--check", "folder"), "--check takes one folder"),
        (("--check", "nothing"), "is not a folder"),
        (("nothing", "out"), "does not exist"),
    ],
)
def test_usage_errors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Any,
    words: Any,
) -> None:
    """Each wrong command line ends with status 2 and says what is wrong with it."""
    monkeypatch.chdir(tmp_path)
    status, told, errors = ends_with(capsys, *arguments)

    assert (status, told) == (2, "")
    assert words in errors
    assert "Traceback" not in errors


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where ONNX is not installed, one line names the extra."""
    for name in ("onnx", "onnxruntime"):
        monkeypatch.delitem(vars(runtime), name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "selected_tags.csv").write_text(TABLE)
    (tmp_path / "model.onnx").write_bytes(b"something")
    status, told, errors = ends_with(capsys, "--check", tmp_path)

    assert (status, told) == (UsageError.exit_status, "")
    assert errors == "alti2v: onnx is not installed: pip install 'alti2v[export]'\n"


def test_help_says_what_it_does() -> None:
    """The help fits a terminal and names the check."""
    result = CliRunner().invoke(cli, ["export", "--help"])

    assert result.exit_code == 0, result.output
    assert "--check FOLDER" in result.output
