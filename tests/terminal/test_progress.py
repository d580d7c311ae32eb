"""Lines that a person reads while waiting."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from alti2v.records import Progress
from alti2v.terminal.bars import bars, filled
from alti2v.terminal.display import lines
from alti2v.terminal.progress_text import describe


def test_description_counts_only_this_process_into_the_rate() -> None:
    """A resumed stage does not boast with what an earlier run has done."""
    progress = Progress(
        stage="fetching", done=1100, total=2100, unit="files", counts={"failed": 2}, note="pausing"
    )

    assert describe(progress, elapsed_s=10, since_start=100) == (
        "fetching: 1,100 of 2,100 files, 10.0/s, 1 min 40 s left, failed 2, pausing"
    )


def test_no_rate_is_shown_in_the_first_second() -> None:
    """Five pictures in a fifth of a millisecond are no rate, in a line or beside a bar."""
    progress = Progress(stage="importing", done=5, total=5, unit="items")
    screen = io.StringIO()
    with bars(Console(file=screen, force_terminal=True, width=120, color_system=None)) as hook:
        for done in range(6):
            hook(Progress(stage="importing", done=done, total=None if done < 5 else 5, unit="items"))

    assert describe(progress, elapsed_s=0.0002, since_start=5) == "importing: 5 of 5 items"
    assert "5/5 items" in screen.getvalue()
    assert "/s" not in screen.getvalue()


def test_bytes_are_told_as_sizes() -> None:
    """Counts of bytes are shown as sizes with a unit."""
    progress = Progress(stage="checking", done=2_500_000, total=10_000_000, unit="bytes")

    assert describe(progress, elapsed_s=5, since_start=2_500_000) == (
        "checking: 2.5 MB of 10.0 MB, 500.0 kB/s, 15 s left"
    )


def test_lines_are_few() -> None:
    """Without a terminal there is one line per 30 seconds, and one when a stage ends."""
    now_s = 0.0
    stream = io.StringIO()
    hook = lines(stream, clock=lambda: now_s)
    for done in range(101):
        now_s = float(done)
        hook(Progress(stage="building", done=done, total=100, unit="shards"))
    hook(Progress(stage="building", done=100, total=100, unit="shards"))
    written = stream.getvalue().splitlines()

    assert [line.split(" ")[1] for line in written] == ["30", "60", "90", "100"]


def test_a_second_stage_starts_its_own_rate() -> None:
    """The rate of a stage does not include the time of the one before."""
    now_s = 0.0
    stream = io.StringIO()
    hook = lines(stream, clock=lambda: now_s)
    hook(Progress(stage="listing", done=0, total=None, unit="posts"))
    now_s = 1000.0
    hook(Progress(stage="fetching", done=0, total=10, unit="files"))
    now_s = 1010.0
    hook(Progress(stage="fetching", done=10, total=10, unit="files"))

    assert stream.getvalue().splitlines()[-1] == "fetching: 10 of 10 files, 1.0/s"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_pause_and_the_counts_have_lines_of_their_own(columns: int) -> None:
    """On a terminal of 80 or 120 columns no figure is cut, however many kinds of failures there are."""
    counts: dict[str, int | float | str] = {"listed": 1_234_567, "queued": 1_000, "stored": 1_100_000}
    counts |= {f"failed {kind}": 1_234 for kind in ("http_404", "truncated_body", "md5_mismatch", "timeout")}
    counts |= {"MB": 123_456.7, "MB/s": 12.34}
    note = "https://safebooru.example asked to pause (HTTP 429): 3,599 s left"
    progress = Progress(
        stage="crawling", done=1_100_000, total=6_813_020, unit="posts", counts=counts, note=note
    )
    screen = io.StringIO()
    with bars(Console(file=screen, force_terminal=True, width=columns, color_system=None)) as hook:
        hook(progress)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").split("\n")
    lines = [line.strip() for line in shown]

    assert any(line.startswith("crawling") and "1,100,000/6,813,020 posts" in line for line in lines)
    assert note in lines
    for name, value in {**counts, "MB": "123,457"}.items():
        figure = f"{value:,}" if isinstance(value, int) else str(value)
        assert any(f"{name} {figure}" in line for line in lines), name
    assert max(map(len, shown)) <= columns
    assert "…" not in screen.getvalue()


def test_lines_are_filled_with_whole_items() -> None:
    """An item is never broken, also not if it is longer than the line."""
    assert filled(["aa 1", "bb 2", "cc 3"], 10) == ["aa 1  bb 2", "cc 3"]
    assert filled(["a long item", "b"], 5) == ["a long item", "b"]
    assert filled([], 5) == []


@pytest.mark.parametrize(("value", "text"), [(9_999.7, "10,000"), (0.25, "0.25"), (1_234.5, "1,234")])
def test_counts_have_no_exponents(value: float, text: str) -> None:
    """Also those that round up to another power of ten."""
    progress = Progress(stage="training", done=1, total=None, unit="steps", counts={"rate": value})

    assert describe(progress, elapsed_s=0, since_start=0) == f"training: 1 steps, rate {text}"
