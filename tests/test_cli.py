"""The command line: quick to answer, honest in its exit status, its defaults those of the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from alti2v import errors
from alti2v.cli import cli, main


def run(*arguments: Any) -> Any:
    """Run the program as a user does, in a separate process."""
    return subprocess.run(
        [sys.executable, "-m", "alti2v", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_is_light() -> None:
    """Importing the command line imports none of the heavy libraries."""
    heavy = ("tensorflow", "keras", "aiohttp", "pyarrow", "PIL", "numpy", "webdataset", "rich", "jinja2")
    code = f"import sys, alti2v.cli; print([name for name in {heavy} if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == "[]"


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help(command: Any) -> None:
    """Each command says what it does, and each of its options too."""
    finished = run(command, "--help")

    assert finished.returncode == 0, finished.stderr
    assert all(
        parameter.help for parameter in cli.commands[command].params if isinstance(parameter, click.Option)
    )


def test_the_list_of_commands_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal of 80 columns every command is explained to the end of its sentence."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.partition("Commands:")[2].splitlines()[1:]

    assert len(listed) == len(cli.commands)
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


def test_root_script_is_the_program() -> None:
    """`python cli.py` answers like `python -m alti2v`."""
    finished = subprocess.run([sys.executable, "cli.py", "--help"], capture_output=True, text=True, check=True)

    assert finished.stdout == run("--help").stdout


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Alti2vError, 1),
        (errors.DataError, 1),
        (errors.StorageError, 1),
        (errors.RemoteReadError, 3),
        (errors.UsageError, 2),
        (errors.RemoteError, 3),
        (errors.DamagedError, 4),
        (errors.VersionError, 4),
        (KeyboardInterrupt, 130),
    ],
)
def test_errors_become_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Any, status: Any
) -> None:
    """An error of the program ends as one line on stderr with its documented status; no traceback."""

    def fail(*, as_json: Any) -> None:
        raise error("the disk fell over: pick it up")

    monkeypatch.setitem(cli.commands, "fail", click.command("fail")(click.option("--json", "as_json")(fail)))
    with pytest.raises(SystemExit) as exit_info:
        main(["fail"])
    captured = capsys.readouterr()

    assert exit_info.value.code == status
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1


def test_usage_errors_end_with_2() -> None:
    """An unknown option and a missing argument are usage errors."""
    assert run("crawl", "--nonsense").returncode == 2
    assert run("train").returncode == 2


def test_unexpected_exceptions_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows itself whole: only the program's own errors are made short."""

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cli.commands, "fail", click.command("fail")(fail))
    with pytest.raises(ZeroDivisionError):
        main(["fail"])


def test_result_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints the dataclass whole, paths as text."""
    from alti2v.output import print_result
    from alti2v.records import Finding, Verification

    found = Verification(checked={"pictures": 3}, findings=(Finding(where="a", what="b"),))
    print_result({"file": Path("a") / "b", "verification": found}, as_json=True, table={})

    assert json.loads(capsys.readouterr().out) == {
        "file": str(Path("a") / "b"),
        "verification": {
            "checked": {"pictures": 3},
            "findings": [{"where": "a", "what": "b", "repaired": False, "count": 1}],
        },
    }


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    """`alti2v stats ... --json > file` says that there is no room, at once and not again at the end."""
    code = """
import click
from alti2v.cli import cli, main
from alti2v.output import print_result
cli.add_command(click.command("say")(lambda: print_result({}, as_json=False, table={"a": "b"})))
main(["say"])
"""
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert finished.returncode == 1
    assert finished.stderr == (
        "alti2v: cannot write the result to standard output: No space left on device: "
        "make room, then run it again\n"
    )


@pytest.mark.tf
def test_every_recipe_can_be_chosen() -> None:
    """The command line offers each recipe of the library, so that the commands can do what the demo does."""
    from alti2v.model.recipes import RECIPES

    (recipe,) = [option for option in cli.commands["train"].params if option.name == "recipe"]

    assert isinstance(recipe.type, click.Choice)
    assert set(recipe.type.choices) == set(RECIPES)
