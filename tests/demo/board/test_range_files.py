"""Byte ranges and validators of files."""

from __future__ import annotations

from typing import Any

import pytest

from alti2v.demo.board.picture_cache import fit
from alti2v.demo.board.range_files import answer_file
from tests.demo.helpers.board_client import Start

CONTENT = bytes(range(100))
ETAG = '"3e8-64"'
MODIFIED = "Thu, 01 Jan 1970 00:16:40 GMT"


def ask(ranges: Any = "etag", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer_file(CONTENT, content_type="image/png", modified_at=1000, asked=named, ranges=ranges)


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=10-19", 206, CONTENT[10:20], "bytes 10-19/100"),
        ("bytes=90-", 206, CONTENT[90:], "bytes 90-99/100"),
        ("bytes=-5", 206, CONTENT[95:], "bytes 95-99/100"),
        ("bytes=-500", 206, CONTENT, "bytes 0-99/100"),
        ("bytes=99-400", 206, CONTENT[99:], "bytes 99-99/100"),
        ("bytes=100-", 416, b"", "bytes */100"),
        ("bytes=-0", 416, b"", "bytes */100"),
        ("bytes=7-3", 200, CONTENT, None),
        ("bytes=0-1,5-6", 200, CONTENT, None),
        ("lines=0-1", 200, CONTENT, None),
    ],
)
def test_ranges(wanted: str, status: int, body: bytes, content_range: str | None) -> None:
    """One range is served, an impossible one refused, an invalid one ignored (RFC 9110, section 14)."""
    answer = ask(Range=wanted)

    assert (answer.status, answer.body, answer.headers.get("Content-Range")) == (status, body, content_range)


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(ETAG, 206), (MODIFIED, 206), ('"other"', 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)],
)
def test_a_range_of_another_version_is_the_whole_file(if_range: str, status: int) -> None:
    """If-Range with the ETag or the date returns the range, otherwise the whole file."""
    assert ask(Range="bytes=5-", If_Range=if_range).status == status


def test_what_the_client_has_already_is_not_sent() -> None:
    """The answer is 304 for the ETag, its weak form, a list that contains it, and the date."""
    assert ask(If_None_Match=ETAG).status == 304
    assert ask(If_None_Match=f'"x", W/{ETAG}').status == 304
    assert ask(If_None_Match='"x"').status == 200
    assert ask(If_Modified_Since=MODIFIED).status == 304


def test_ranges_without_an_etag_and_none_at_all() -> None:
    """`plain` serves ranges without an ETag; `none` always sends the whole file."""
    plain, none = ask("plain", Range="bytes=1-2"), ask("none", Range="bytes=1-2")

    assert (plain.status, plain.headers.get("ETag"), plain.headers["Accept-Ranges"]) == (206, None, "bytes")
    assert (none.status, none.headers.get("ETag"), none.headers.get("Accept-Ranges")) == (200, None, None)


async def test_files_are_served_in_ranges(start: Start) -> None:
    """Over HTTP, ranges make up the file; HEAD states the length and sends no body."""
    board = await start()
    url = (await board.posts(limit=1))[0]["file_url"]
    whole = await board.get(url)
    tag = whole.headers["ETag"]
    first, rest = (
        await board.get(url, Range="bytes=0-999"),
        await board.get(url, Range="bytes=1000-", If_Range=tag),
    )

    assert first.body + rest.body == whole.body
    assert (first.status, rest.status) == (206, 206)
    assert whole.headers["Content-Length"] == str(len(whole.body))
    assert (await board.get(url, If_None_Match=tag)).status == 304
    async with board.session.head(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(whole.body))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), (100, 50)),
        ((300, 150), (150, 75)),
        ((400, 1000), (60, 150)),
        ((1000, 2), (150, 1)),
        ((2, 999), (1, 150)),
    ],
)
def test_what_fits_in_a_box(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The aspect ratio is kept, no side grows, no side becomes 0."""
    assert fit(size, (150, 150)) == expected
