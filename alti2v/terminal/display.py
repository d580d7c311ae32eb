"""Display of the stages' progress, in the form that standard error can show."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from alti2v.output import one_line
from alti2v.records import Progress, ProgressHook
from alti2v.terminal.progress_text import describe

# Logs of CI jobs show all lines, so there should be few.
QUIET_INTERVAL_S = 30.0


@contextlib.contextmanager
def progress_display() -> Iterator[ProgressHook]:
    """Show progress on stderr: live bars on a terminal, elsewhere a line every 30 s and per finished stage."""
    if sys.stderr.isatty():
        from rich.console import Console

        from alti2v.terminal.bars import bars

        with bars(Console(stderr=True)) as hook:
            yield hook
    else:
        yield lines(sys.stderr, clock=time.monotonic)


def lines(stream: TextIO, *, clock: Callable[[], float]) -> ProgressHook:
    """Make a hook that writes one line per `QUIET_INTERVAL_S`, and one when a stage ends."""
    begun: dict[str, tuple[float, int]] = {}
    finished: set[str] = set()
    last_line_s = clock()

    def hook(progress: Progress) -> None:
        nonlocal last_line_s
        now_s = clock()
        start_s, start_done = begun.setdefault(progress.stage, (now_s, progress.done))
        if progress.milestone:
            stream.write(one_line(progress.milestone) + "\n")
            stream.flush()
            return
        is_end = progress.done == progress.total and progress.stage not in finished
        if is_end:
            finished.add(progress.stage)
        if is_end or now_s - last_line_s >= QUIET_INTERVAL_S:
            last_line_s = now_s
            line = describe(progress, elapsed_s=now_s - start_s, since_start=progress.done - start_done)
            stream.write(one_line(line) + "\n")
            stream.flush()

    return hook
