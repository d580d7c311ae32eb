"""Text that reaches a terminal, and failures of standard output and standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.output import json_line, one_line

PROGRAM = """
import click
from alti2v.cli import cli, main
from alti2v.output import tell
from alti2v.output import print_result
@click.command("say")
@click.option("--json", "as_json", is_flag=True)
def say(as_json):
    tell("a message")
    print_result({"tag": "東方 \\U0001f600"}, as_json=as_json, table={"tag": "東方 \\U0001f600"})
cli.add_command(say)
main(["say", *__import__("sys").argv[1:]])
"""


def ran(
    redirection: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a small command through a shell, with a redirection."""
    return subprocess.run(
        [
            "/bin/bash",
            "-o",
            "pipefail",
            "-c",
            f'"$0" -c "$1" {" ".join(arguments)} {redirection}',
            sys.executable,
            PROGRAM,
        ],
        capture_output=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_raw_is_printed(text: str) -> None:
    """No control character, no override of direction and no undecodable byte, whatever the name."""
    line = one_line(text)
    line.encode()

    assert not {unicodedata.category(letter) for letter in line if letter not in "\u200c\u200d"} & {
        *("Cc", "Cf", "Cs", "Zl", "Zp")
    }


@given(st.text())
def test_json_keeps_the_value(text: str) -> None:
    """In JSON an escape means the character, so programs read the exact name."""
    for is_ascii in (False, True):
        line = json_line({text: text}, is_ascii=is_ascii)

        assert one_line(line) == line
        assert json.loads(line) == {text: text}
        assert not is_ascii or line.isascii()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\x1b[2J\n.png", r"a\x1b[2J\n.png"),
        ("\u202egnp.exe".encode(), r"\u202egnp.exe"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"c1\xc2\x9b.png", r"c1\u009b.png"),
        (
            "東方\u3000\U0001f468\u200d\U0001f469 a\u00a0b".encode(),
            "東方\u3000\U0001f468\u200d\U0001f469 a\u00a0b",
        ),
        (b"\xf3\xa0\x80\x81", r"\U000e0001"),
    ],
)
def test_names_are_shown_with_escapes(name: bytes, shown: str) -> None:
    """Readable text stays as it is; the rest is escaped."""
    assert one_line(os.fsdecode(name)) == shown
    assert json.loads(json_line(os.fsdecode(b"caf\xe9"))) == r"caf\xe9"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_that_cannot_show_a_name_gets_an_escape(encoding: str) -> None:
    """No traceback; JSON stays the same value."""
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    text, document = (ran("", *given, environment=environment) for given in ([], ["--json"]))

    assert (text.returncode, document.returncode) == (0, 0)
    assert b"Traceback" not in text.stderr + document.stderr
    assert json.loads(document.stdout) == {"tag": "東方 \U0001f600"}
    assert text.stdout.decode(encoding) in (
        "tag  東方 \U0001f600\n",
        "tag  \\u6771\\u65b9 \\U0001f600\n",
    )


def test_a_closed_or_full_output_is_one_line_and_status_1() -> None:
    """The result is lost, and the command says so."""
    for redirection, reason in (
        (">/dev/full", b"No space left on device: make room, then run it again"),
        (">&-", b"Bad file descriptor: it is closed; give it a file or a pipe"),
    ):
        finished = ran(redirection)

        assert finished.returncode == 1
        (message, error) = finished.stderr.splitlines()
        assert message == b"a message"
        assert error == b"alti2v: cannot write the result to standard output: " + reason


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- 0<&-"])
def test_messages_that_nobody_reads_change_nothing(redirection: str, tmp_path: Path) -> None:
    """The command does its work and prints its result."""
    finished = ran(redirection)

    assert finished.returncode == 0
    assert finished.stdout.decode() == "tag  東方 \U0001f600\n"
    assert finished.stderr == b""


@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", "| head -c 1 >/dev/null"])
def test_a_reader_that_has_ended_is_no_failure(redirection: str) -> None:
    """`alti2v ... | head` ends with status 0 and without a word."""
    finished = ran(redirection)

    assert finished.returncode == 0
    assert b"Traceback" not in finished.stderr
    assert b"Exception" not in finished.stderr


def test_a_closed_standard_input_is_an_empty_list(tmp_path: Path) -> None:
    """A closed standard input is an empty list: one line, no traceback."""
    finished = subprocess.run(
        ["/bin/bash", "-c", f'{sys.executable} -m alti2v tag "$0" - 0<&-', str(tmp_path)],
        capture_output=True,
        check=False,
    )

    assert finished.returncode in (1, 2)
    assert b"Traceback" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_help_into_a_closed_pipe_is_quiet() -> None:
    """Also what click prints."""
    finished = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", f"{sys.executable} -m alti2v --help | true"],
        capture_output=True,
        check=False,
    )

    assert (finished.returncode, finished.stderr) == (0, b"")


def test_a_usage_error_shows_no_escape_sequence() -> None:
    """Also what click says about an argument."""
    finished = subprocess.run(
        [sys.executable, "-m", "alti2v", "stats", "--nonsense\x1b[2J"], capture_output=True, check=False
    )

    assert finished.returncode == 2
    assert b"\x1b" not in finished.stderr
