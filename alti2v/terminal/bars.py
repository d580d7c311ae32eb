"""Live bars on a terminal, one for each stage. Imports rich, so it is imported only where bars are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from alti2v.output import one_line
from alti2v.records import Progress, ProgressHook
from alti2v.terminal.progress_text import FIRST_RATE_S, amount, counts, rate

_WIDE = 120  # columns needed for a line with a bar
_INDENT = "  "


@contextlib.contextmanager
def bars(console: Console) -> Iterator[ProgressHook]:
    """Make a hook that shows a live bar for each stage, with its counts, and a pause, on lines of their own.

    Args:
        console: Terminal. A narrow one has figures but no bar.
    """
    # Results on standard output stay there.
    with _Stages(*_columns(console), console=console, expand=False, redirect_stdout=False) as stages:
        yield stages.show


class _Stages(Bars):
    """Bars with lines of text under each."""

    def show(self, progress: Progress) -> None:
        """Show a milestone, or the latest progress of a stage."""
        if progress.milestone:
            self.console.print(escape(one_line(progress.milestone)), highlight=False)
            return
        task = self._task_of(progress)
        speed = task.speed if (task.elapsed or 0) >= FIRST_RATE_S else None
        self.update(
            task.id,
            completed=progress.done,
            total=progress.total,
            amount=amount(progress, "/"),
            rate=rate(speed, progress.unit) if speed else "",
            counts=[one_line(text) for text in counts(progress)],
            note=one_line(progress.note),
        )

    def _task_of(self, progress: Progress) -> Task:
        for task in self.tasks:
            if task.description == progress.stage:
                return task
        added: TaskID = self.add_task(
            progress.stage, total=progress.total, amount="", rate="", counts=(), note=""
        )
        return next(task for task in self.tasks if task.id == added)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar and the lines of each stage."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            for line in filled(task.fields["counts"], self.console.width - len(_INDENT)):
                yield Text(f"{_INDENT}{line}", style="dim", overflow="fold")
            if task.fields["note"]:
                yield Text(f"{_INDENT}{task.fields['note']}", style="yellow", overflow="fold")


def _columns(console: Console) -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description:<12}", table_column=Column(no_wrap=True)),
        *((BarColumn(bar_width=24),) if console.width >= _WIDE else ()),
        TaskProgressColumn(),
        TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )


def filled(items: Iterable[str], width: int) -> list[str]:
    """Fill lines with items, two spaces apart; no item is cut, so that a longer one has a longer line."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines
