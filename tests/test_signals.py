"""Signals that ask the program to end: the same meaning in every command."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from alti2v.cli import cli, main
from alti2v.errors import TerminatedError
from alti2v.signals import STOP_SIGNALS, exit_status, interrupt_of, signals_noted, signals_raise
from tests.helpers.patience import limit_s

STATUS: Mapping[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# For other processes: a test suite started in the background inherits an ignored SIGINT.
_ACCEPTED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@contextlib.contextmanager
def signals_accepted() -> Iterator[None]:
    """Set Python's defaults: a test suite started in the background inherits an ignored SIGINT."""
    before = {one: signal.getsignal(one) for one in STOP_SIGNALS}
    for one in STOP_SIGNALS:
        signal.signal(one, signal.default_int_handler if one is signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_command_ends_with_the_status_of_the_signal(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, 128 + the signal's number, and the handlers of before."""
    before = [signal.getsignal(one) for one in STOP_SIGNALS]

    def waits() -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    monkeypatch.setitem(cli.commands, "waits", click.command("waits")(waits))
    with signals_accepted(), pytest.raises(SystemExit) as ending:
        main(["waits"])

    assert ending.value.code == STATUS[number]
    assert capsys.readouterr().err.split()[:2] == ["alti2v:", "interrupted;"]
    assert [signal.getsignal(one) for one in STOP_SIGNALS] == before


def test_an_import_is_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries take an exception inside an import for a module that is missing, and go on without it."""
    (tmp_path / "slow_module.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.1)\n"
        "except BaseException:\n"
        "    is_whole = False\n"
        "else:\n"
        "    is_whole = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def interrupted() -> None:
        with signals_raise():
            importlib.import_module("slow_module")
            signal.pause()

    with signals_accepted(), pytest.raises(TerminatedError):
        interrupted()

    assert sys.modules.pop("slow_module").is_whole


def test_what_a_library_makes_of_a_signal_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that follows from the signal is no fault of the program."""

    def waits() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except KeyboardInterrupt:
            raise AttributeError("partially initialised module") from None

    monkeypatch.setitem(cli.commands, "waits", click.command("waits")(waits))
    with signals_accepted(), pytest.raises(SystemExit) as ending:
        main(["waits"])

    assert ending.value.code == 143
    assert capsys.readouterr().err.startswith("alti2v: interrupted;")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_while_the_program_is_imported_is_a_line(number: signal.Signals) -> None:
    """The first half second, in which Python would print a traceback."""
    program = f"""
import os, sys, types
from alti2v.__main__ import main
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", _ACCEPTED + program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stderr) == (STATUS[number], "alti2v: interrupted\n")


def test_a_repetition_within_a_second_is_the_same_request() -> None:
    """`timeout` and shells send their signal twice; cleaning up must not be cut short by that."""
    now_s = 5.0

    def interrupted() -> None:
        nonlocal now_s
        with signals_raise(clock=lambda: now_s):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                now_s = 5.9
                os.kill(os.getpid(), signal.SIGTERM)
                now_s = 60.0
                os.kill(os.getpid(), signal.SIGHUP)

    with signals_accepted(), pytest.raises(TerminatedError):
        interrupted()


def test_a_second_signal_ends_the_process_at_once() -> None:
    """Cleaning up that hangs can be ended, by the signal's own default action."""
    program = """
import os, signal
from alti2v.errors import TerminatedError
from alti2v.signals import signals_raise
times = iter([0.0, 2.0])
with signals_raise(clock=lambda: next(times)):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("still there")
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert finished.returncode == -signal.SIGTERM
    assert finished.stdout == ""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_noted_signal_waits_for_the_step_to_end(number: signal.Signals) -> None:
    """Nothing is raised in the middle of a step; the caller learns which signal it was."""
    with signals_accepted(), signals_noted() as interrupt:
        assert interrupt() is None
        os.kill(os.getpid(), number)
        noted = interrupt()

    assert exit_status(noted) == STATUS[number]
    assert type(noted) is type(interrupt_of(number))


def test_a_later_signal_does_not_wait() -> None:
    """Whoever asks again does not want to wait for the step."""
    times = iter([0.0, 2.0])

    def interrupted_twice() -> None:
        with signals_raise(), signals_noted(clock=lambda: next(times)):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with signals_accepted(), pytest.raises(KeyboardInterrupt):
        interrupted_twice()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """A program under nohup survives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raise():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


STUCK = """
import hashlib, threading, time
from alti2v.signals import ended_by_force, signals_raise
with signals_raise(), ended_by_force(last_words=b"last words\\n"):
    threading.Timer(0.3, print, ["begun"], {{"flush": True}}).start()
    {block}
print("after")
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize(
    "block",
    [
        'hashlib.pbkdf2_hmac("sha256", b"", b"", 2**30)',  # minutes in C, as a step of a large network
        "try: time.sleep(60)\n    except KeyboardInterrupt: time.sleep(60)",  # as libraries do
    ],
)
def test_a_block_that_a_signal_does_not_end_is_ended(number: signal.Signals, block: str) -> None:
    """Within two seconds, with the status of the signal."""
    with started(STUCK.format(block=block)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        begun_s = time.monotonic()
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)

    assert time.monotonic() - begun_s < limit_s(2)
    assert (process.returncode, out, errors) == (STATUS[number], "", "last words\n")


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    """Neither its clean-up nor what follows is cut off."""
    block = """try: time.sleep(60)
    except KeyboardInterrupt: time.sleep(0.2)
time.sleep(1.2)"""
    with started(STUCK.format(block=block)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)

    assert (process.returncode, out, errors) == (0, "after\n", "")


@contextlib.contextmanager
def started(program: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a process that does not ignore Ctrl-C."""
    accepting = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    with subprocess.Popen(
        [sys.executable, "-c", accepting + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
