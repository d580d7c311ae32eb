"""Signals that ask the program to end: the same meaning in every command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import click
import pytest

from alti2v.cli import cli, main
from alti2v.errors import TerminatedError
from alti2v.signals import STOP_SIGNALS, exit_status, interrupt_of, signals_noted, signals_raise

STATUS: Mapping[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


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
