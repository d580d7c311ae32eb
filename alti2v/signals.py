"""Signals that ask the program to end: Ctrl-C, SIGTERM and SIGHUP mean the same in every command.

Service managers and batch systems send SIGTERM, a closed terminal SIGHUP. The first signal becomes an
exception, so that files are closed and a training is saved. A later SIGINT or SIGTERM ends the process at once.
A signal that the process ignores, such as SIGHUP under nohup, stays ignored.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from alti2v.errors import HungUpError, TerminatedError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One wish often arrives twice: `timeout` signals its child and then the group, a shell repeats its terminal's
# SIGHUP, and systemd sends SIGHUP after SIGTERM.
_SAME_WISH_S = 1.0
_IMPORT_S = 0.02  # between two looks whether an import has ended


def handled_signals() -> tuple[signal.Signals, ...]:
    """Return the stop signals that this thread may handle: the main thread all that are not ignored."""
    if threading.current_thread() is not threading.main_thread():
        return ()
    return tuple(one for one in STOP_SIGNALS if signal.getsignal(one) not in (signal.SIG_IGN, None))


def interrupt_of(number: int) -> KeyboardInterrupt:
    """Return the exception for a signal."""
    kinds = {signal.SIGTERM: TerminatedError, signal.SIGHUP: HungUpError}
    return kinds.get(signal.Signals(number), KeyboardInterrupt)()


def exit_status(interrupt: BaseException | None) -> int:
    """Return the exit status of an interrupted program, 128 + the signal's number as in the shells."""
    kinds = ((TerminatedError, signal.SIGTERM), (HungUpError, signal.SIGHUP))
    return 128 + next((number for kind, number in kinds if isinstance(interrupt, kind)), signal.SIGINT)


@contextlib.contextmanager
def signals_raise(
    *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], KeyboardInterrupt | None]]:
    """Raise the exception of the first signal of the block; end the process at a later SIGINT or SIGTERM.

    While a module is imported, it is raised only after the import: libraries take an exception inside it for a
    module that is not installed, and go on without.

    Args:
        clock: Monotonic clock, s; a repetition within a second is the same request.

    Yields:
        A function that returns the exception of the signal, or None while there was none.
    """
    first_s: float | None = None
    interrupt: KeyboardInterrupt | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first_s, interrupt
        if first_s is None:
            first_s, interrupt = clock(), interrupt_of(number)
            again(signal.SIGALRM, frame)
        elif number != signal.SIGHUP and clock() - first_s >= _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def again(_: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _IMPORT_S)
        elif interrupt is not None:
            raise interrupt

    with _handled_by(stop) as handled:
        before = signal.signal(signal.SIGALRM, again) if handled else None
        try:
            yield lambda: interrupt
        finally:
            if handled:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a frame, or one that called it, imports a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def ended_by_force(*, limit_s: float = 1.0, last_words: bytes = b"") -> Iterator[None]:
    """End the process if a stop signal has not ended the block within a time limit.

    Python handles signals between two steps of the main thread only, and a step of a network may take a minute;
    libraries may also lose the exception. For blocks that need no clean-up, because they may be killed.

    Args:
        limit_s: Time from the signal to the end, s.
        last_words: Written to standard error before the end.
    """
    if not handled_signals():
        yield
        return
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    watcher = threading.Thread(target=_force_end, args=(heard, limit_s, last_words), daemon=True)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(tell)
        watcher.join()
        os.close(heard)


def _force_end(heard: int, limit_s: float, last_words: bytes) -> None:
    """Read the numbers of signals until the pipe is closed; end the process if it stays open."""
    while number := os.read(heard, 1):
        if number[0] in STOP_SIGNALS:
            break
    else:
        return
    deadline_s = time.monotonic() + limit_s
    while select.select([heard], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
        if not os.read(heard, 1):
            return
    with contextlib.suppress(OSError):
        os.write(2, last_words)
    os._exit(exit_status(interrupt_of(number[0])))


@contextlib.contextmanager
def signals_noted(
    *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], KeyboardInterrupt | None]]:
    """Record the first signal of the block instead of acting in the middle of a step.

    A later SIGINT or SIGTERM acts as it would outside the block.

    Args:
        clock: Monotonic clock, s; a repetition within a second is the same request.

    Yields:
        A function that returns the exception of the signal, or None while there was none.
    """
    before = {one: signal.getsignal(one) for one in handled_signals()}
    noted: KeyboardInterrupt | None = None
    first_s = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted, first_s
        if noted is None:
            noted, first_s = interrupt_of(number), clock()
        elif number != signal.SIGHUP and clock() - first_s >= _SAME_WISH_S:
            earlier = before[signal.Signals(number)]
            signal.signal(number, earlier)
            if callable(earlier):
                earlier(number, frame)
            else:
                os.kill(os.getpid(), number)

    with _handled_by(note):
        yield lambda: noted


@contextlib.contextmanager
def signals_restored() -> Iterator[tuple[signal.Signals, ...]]:
    """Yield the stop signals that may be handled, and restore their handlers after the block."""
    handled = handled_signals()
    before = {one: signal.getsignal(one) for one in handled}
    try:
        yield handled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[tuple[signal.Signals, ...]]:
    with signals_restored() as handled:
        for number in handled:
            signal.signal(number, handler)
        yield handled


def ignore_signals_of_the_group() -> None:
    """Let a worker process ignore what a terminal sends to all its processes: only the parent decides."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
