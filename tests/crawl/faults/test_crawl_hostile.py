"""Memory is bounded whatever the server sends (F10): measured in a crawling process of its own."""

from __future__ import annotations

import pytest

from benchmarks.hostile_server import FILES, PAGES, POSTS, measure

QUICK = ("five_gigabytes", "json_of_lists")
# An interpreter with what a crawl imports takes about 135 MB; four files of 50 MB may be under way.
MOST_MB = 400


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow], id=name)
        for name in (*FILES, *PAGES)
    ],
)
async def test_f10_memory_is_bounded_whatever_the_server_sends(attack: str) -> None:
    """Every attack ends by itself, in words or in kinds of failure, within the same memory."""
    row = await measure(attack)

    assert row["peak_rss_mb"] < MOST_MB
    if attack in FILES:
        assert sum(row["end"].values()) == POSTS
        assert row["end"]["stored"] == 0
    else:
        assert row["end"] == {"stored": 1} or "run again later" in row["end"]["error"]
