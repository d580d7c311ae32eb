"""Progress of a stage as text. Pure."""

from __future__ import annotations

from alti2v.numerals import duration, short_number, size
from alti2v.records import Progress

FIRST_RATE_S = 1.0  # a rate over a shorter time says nothing about the rest


def describe(progress: Progress, *, elapsed_s: float, since_start: int) -> str:
    """Describe progress, rate and remaining time of a stage in one line.

    Args:
        progress: Latest progress of the stage.
        elapsed_s: Time since the stage began in this process; below `FIRST_RATE_S` no rate is given.
        since_start: Units finished in that time, without those of earlier runs.
    """
    parts = [f"{progress.stage}: {amount(progress, ' of ')}"]
    if elapsed_s >= FIRST_RATE_S and since_start > 0:
        per_s = since_start / elapsed_s
        parts.append(rate(per_s, progress.unit))
        if progress.total is not None and progress.done < progress.total:
            parts.append(f"{duration((progress.total - progress.done) / per_s)} left")
    parts += counts(progress)
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)


def amount(progress: Progress, between: str) -> str:
    """Format progress as `4 of 10 posts` or `4.0 MB of 10.0 MB`; `between` separates the numbers."""
    numbers = [progress.done] if progress.total is None else [progress.done, progress.total]
    if progress.unit == "bytes":
        return between.join(map(size, numbers))
    return f"{between.join(f'{number:,}' for number in numbers)} {progress.unit}"


def rate(per_s: float, unit: str) -> str:
    """Format a rate as `12.0/s` or `3.4 MB/s`."""
    return f"{size(per_s)}/s" if unit == "bytes" else f"{per_s:,.1f}/s"


def counts(progress: Progress) -> list[str]:
    """Format the counts of a stage, such as `failed 2`."""
    return [f"{name} {_number(value)}" for name, value in progress.counts.items()]


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else short_number(value, digits=4)
