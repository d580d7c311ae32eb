"""Files that were cut off go on where they ended, but only where the two parts are surely of one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.http.client import Client
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.resume import Partial, Partials, strong_validator
from alti2v.crawl.http.retry import FailKind
from tests.crawl.helpers.http_client import CONFIG, kind

CONTENT = bytes(range(256)) * 1000
OTHER = bytes(reversed(CONTENT))
DATE = "Tue, 14 Jul 2026 03:33:30 GMT"
BEFORE = "Tue, 14 Jul 2026 03:33:20 GMT"


@dataclass
class Cutting:
    """A server that cuts off its first `cuts` answers; each test says how it answers ranges."""

    cuts: int = 1
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    honours: bool = True
    lies: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    second: bytes = CONTENT
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    sent: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        wanted = request.headers.get("Range")
        self.asked.append((wanted, request.headers.get("If-Range")))
        content = CONTENT if len(self.asked) == 1 else self.second
        status, headers, begin = 200, dict(self.headers), 0
        if wanted is not None and self.status is not None:
            return web.Response(status=self.status)
        if wanted is not None and self.honours:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        headers |= self.lies if wanted is not None else {}
        rest = content[begin:]
        response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(rest))})
        response.headers["Content-Type"] = "image/jpeg"
        await response.prepare(request)
        if self.cuts:
            self.cuts -= 1
            await response.write(rest[: len(rest) // 2])
            self.sent += len(rest) // 2
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(rest)
        self.sent += len(rest)
        return response


async def fetched(serve: Any, server: Cutting, tries: int) -> list[Any]:
    url = await serve(server.answer)
    async with Client(CONFIG) as client:
        return [await client.get(f"{url}/a.jpg", purpose=Purpose.FILE, max_bytes=10**6) for _ in range(tries)]


def is_whole(outcome: object, content: bytes = CONTENT) -> bool:
    return isinstance(outcome, Received) and outcome.body == content and outcome.status == 200


@pytest.mark.parametrize(
    ("headers", "validator"),
    [({"ETag": '"one"'}, '"one"'), ({"Last-Modified": BEFORE, "Date": DATE}, BEFORE)],
)
async def test_f02_the_rest_is_asked_for_and_the_whole_comes_back(
    serve: Any, headers: dict[str, str], validator: str
) -> None:
    """Cut off twice: three requests, and hardly a byte twice."""
    server = Cutting(cuts=2, headers=headers)
    outcomes = await fetched(serve, server, 3)

    assert [kind(outcome) for outcome in outcomes[:2]] == [FailKind.TRUNCATED_BODY] * 2
    assert is_whole(outcomes[2])
    assert server.asked[0] == (None, None)
    assert [condition for _, condition in server.asked[1:]] == [validator] * 2
    assert server.sent <= len(CONTENT) * 1.5


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"one"'},
        {"Last-Modified": DATE, "Date": DATE},
        {"ETag": '"one"', "Accept-Ranges": "none"},
    ],
)
async def test_without_a_strong_validator_it_begins_again(serve: Any, headers: dict[str, str]) -> None:
    """Nothing says that the rest would be of the same bytes."""
    server = Cutting(headers=headers)
    outcomes = await fetched(serve, server, 2)

    assert is_whole(outcomes[1])
    assert server.asked == [(None, None)] * 2


async def test_a_server_that_ignores_the_range_sends_the_whole(serve: Any) -> None:
    """200 with everything, also if it is another file by now."""
    same, changed = Cutting(honours=False), Cutting(honours=False, second=OTHER)

    assert is_whole((await fetched(serve, same, 2))[1])
    assert is_whole((await fetched(serve, changed, 2))[1], OTHER)


@pytest.mark.parametrize(
    "lies",
    [
        {"Content-Range": "bytes 7-255999/256000"},
        {"Content-Range": "bytes 0-255999/256000"},
        {"Content-Range": "bytes */256000"},
        {"Content-Range": "bytes 128000-200000/256000"},
        {"Content-Range": "bytes 128000-299999/300000"},
        {"Content-Range": "rubbish"},
        {"ETag": '"two"'},
        {"Content-Encoding": "identity"},
    ],
)
async def test_a_server_that_lies_about_the_range_is_not_believed(serve: Any, lies: dict[str, str]) -> None:
    """Another part, another length, another file: thrown away, and the next try begins again."""
    server = Cutting(lies=lies)
    outcomes = await fetched(serve, server, 3)

    assert kind(outcomes[1]) is FailKind.TRUNCATED_BODY
    assert is_whole(outcomes[2])
    assert server.asked[2] == (None, None)


async def test_a_range_that_is_refused_is_not_the_files_fault(serve: Any) -> None:
    """416: tried again from the beginning."""
    server = Cutting(status=416)
    outcomes = await fetched(serve, server, 3)

    assert kind(outcomes[1]) is FailKind.TRUNCATED_BODY
    assert is_whole(outcomes[2])


def keep(partials: Partials, url: str, size: int) -> None:
    partials.keep(url, bytes(size), headers={"ETag": '"x"'}, total=10**6)


def test_what_is_kept_is_bounded() -> None:
    """The oldest parts are dropped first, parts above the budget at once; taking one frees its memory."""
    partials = Partials(budget=100)
    keep(partials, "a", 60)
    keep(partials, "b", 60)
    assert partials.take("a") is None
    assert partials.take("b") == Partial(body=bytes(60), validator='"x"', total=10**6)
    keep(partials, "c", 101)
    keep(partials, "d", 100)

    assert partials.take("c") is None
    assert partials.take("d") is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ETag": '"a"', "Last-Modified": BEFORE, "Date": DATE}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": BEFORE, "Date": DATE}, BEFORE),
        ({"ETag": "a"}, None),
        ({"ETag": '""'}, None),
        ({"Last-Modified": BEFORE}, None),
        ({"Last-Modified": "yesterday", "Date": DATE}, None),
        ({}, None),
    ],
)
def test_strong_validators(headers: dict[str, str], expected: str | None) -> None:
    """RFC 9110, 8.8: an entity tag without W/, or a date that the answer is at least a second younger than."""
    assert strong_validator(headers) == expected
