"""Output for people: progress on stderr, results on stdout. Independent of the commands."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from alti2v.numerals import short_number
from alti2v.output import one_line, print_json, print_lines
from alti2v.records import Progress, ProgressHook

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Logs of CI jobs show all lines, so there should be few.
QUIET_INTERVAL_S = 30.0
_WIDE = 120  # columns needed for a line with a bar
_INDENT = "  "


@contextlib.contextmanager
def progress_display() -> Iterator[ProgressHook]:
    """Show progress on stderr: live bars on a terminal, elsewhere a line every 30 s and per finished stage."""
    if sys.stderr.isatty():
        from rich.console import Console

        with bars(Console(stderr=True)) as hook:
            yield hook
    else:
        yield lines(sys.stderr, clock=time.monotonic)


def lines(stream: TextIO, *, clock: Callable[[], float]) -> ProgressHook:
    """Make a hook that writes one line per `QUIET_INTERVAL_S`, and one when a stage ends.

    Args:
        stream: Stream to write to.
        clock: Monotonic clock, s.
    """
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


def describe(progress: Progress, *, elapsed_s: float, since_start: int) -> str:
    """Describe progress, rate and remaining time of a stage in one line.

    Args:
        progress: Latest progress of the stage.
        elapsed_s: Time since the stage began in this process.
        since_start: Units finished in that time, without those of earlier runs.
    """
    parts = [f"{progress.stage}: {_amount(progress, ' of ')}"]
    if elapsed_s > 0 and since_start > 0:
        rate = since_start / elapsed_s
        parts.append(_rate(rate, progress.unit))
        if progress.total is not None and progress.done < progress.total:
            parts.append(f"{duration((progress.total - progress.done) / rate)} left")
    parts += [f"{name} {_number(value)}" for name, value in progress.counts.items()]
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds as `42 s`, `3 min 20 s`, `5 h 07 min` or `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(number_of_bytes: float) -> str:
    """Format bytes as `512 B`, `3.4 kB`, `18.9 MB` ..., in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if number_of_bytes < 1000:
            return f"{number_of_bytes:.0f} {unit}" if unit == "B" else f"{number_of_bytes:.1f} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.1f} TB"


def print_result(result: object, *, as_json: bool, table: Mapping[str, str | None]) -> None:
    """Print a stage's result to stdout: the whole dataclass as one JSON object, or a short table.

    Args:
        result: The dataclass.
        as_json: True for JSON.
        table: Value of each row; a row of None is left out.

    Raises:
        StorageError: Standard output is a file that cannot be written.
        ReaderGoneError: The reading process has ended.
    """
    if as_json:
        print_json(result)
        return
    rows = {name: value for name, value in table.items() if value is not None}
    width = max(map(len, rows), default=0)
    print_lines(f"{name:<{width}}  {value}" for name, value in rows.items())


@contextlib.contextmanager
def bars(console: Console) -> Iterator[ProgressHook]:
    """Make a hook that shows a live bar for each stage, with its counts, and a pause, on lines of their own.

    Args:
        console: Terminal. A narrow one has figures but no bar.
    """
    from rich.markup import escape
    from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.table import Column
    from rich.text import Text

    bar: tuple[ProgressColumn, ...] = (BarColumn(bar_width=24),) if console.width >= _WIDE else ()
    columns = (
        TextColumn("{task.description:<12}", table_column=Column(no_wrap=True)),
        *bar,
        TaskProgressColumn(show_speed=True),
        TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )

    class WithCounts(Bars):
        """Bars with lines of text under each."""

        def get_renderables(self) -> Iterable[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                width = self.console.width - len(_INDENT)
                for line in filled(task.fields["counts"], width):
                    yield Text(f"{_INDENT}{line}", style="dim", overflow="fold")
                if task.fields["note"]:
                    yield Text(f"{_INDENT}{task.fields['note']}", style="yellow", overflow="fold")

    # Results on standard output stay there.
    with WithCounts(*columns, console=console, expand=False, redirect_stdout=False) as shown:
        tasks: dict[str, Any] = {}

        def hook(progress: Progress) -> None:
            if progress.milestone:
                shown.console.print(escape(one_line(progress.milestone)), highlight=False)
                return
            if progress.stage not in tasks:
                tasks[progress.stage] = shown.add_task(
                    progress.stage, total=progress.total, amount="", rate="", counts=(), note=""
                )
            task = tasks[progress.stage]
            speed = shown.tasks[shown.task_ids.index(task)].speed
            shown.update(
                task,
                completed=progress.done,
                total=progress.total,
                amount=_amount(progress, "/"),
                rate="" if not speed else _rate(speed, progress.unit),
                counts=[one_line(f"{name} {_number(value)}") for name, value in progress.counts.items()],
                note=one_line(progress.note),
            )

        yield hook


def filled(items: Iterable[str], width: int) -> list[str]:
    """Fill lines with items, two spaces apart; no item is cut, so that a longer one has a longer line."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines


def _amount(progress: Progress, between: str) -> str:
    """Format progress as `4 of 10 posts` or `4.0 MB of 10.0 MB`; `between` separates the numbers."""
    numbers = [progress.done] if progress.total is None else [progress.done, progress.total]
    if progress.unit == "bytes":
        return between.join(map(size, numbers))
    return f"{between.join(f'{number:,}' for number in numbers)} {progress.unit}"


def _rate(per_s: float, unit: str) -> str:
    return f"{size(per_s)}/s" if unit == "bytes" else f"{per_s:,.1f}/s"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else short_number(value, digits=4)
