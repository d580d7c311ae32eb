"""A board that is never what limits: prepared bytes from a bare asyncio protocol, for the other benchmarks.

Every file is a real JPEG; a comment of its own behind the first marker gives each another md5. The API is that
of Gelbooru 0.2, JSON by id cursor (alti2v) and XML by page (gallery-dl). Serves until its standard input ends:

    python benchmarks/support/loopback_board.py --posts 1000 --kilobytes 120
"""

from __future__ import annotations

import abc
import argparse
import asyncio
import hashlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from PIL import Image

_PAGE = 1000
_WORDS = [f"tag_{number:04}" for number in range(2000)]


@contextmanager
def running(*, posts: int, kilobytes: int) -> Iterator[tuple[str, int]]:
    """A board in a process of its own; gives its address and its process id."""
    command = [sys.executable, __file__, "--posts", str(posts), "--kilobytes", str(kilobytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdin is not None
        assert board.stdout is not None
        try:
            yield board.stdout.readline().strip(), board.pid
        finally:
            board.stdin.close()


@cache
def parts(kilobytes: int) -> tuple[bytes, bytes]:
    """A drawn, noisy JPEG of about so many kB: its first marker, and the rest."""
    low, high = 16, 4096
    while high - low > 8:  # the width that gives this size
        middle = (low + high) // 2
        low, high = (middle, high) if len(_jpeg(middle)) < 1000 * kilobytes else (low, middle)
    content = _jpeg(low)
    return content[:2], content[2:]


def _jpeg(width: int) -> bytes:
    size = (width, width * 4 // 3)
    noise = Image.effect_noise(size, 24)
    ramp = Image.linear_gradient("L").resize(size)
    out = io.BytesIO()
    Image.merge("RGB", (noise, ramp, Image.blend(noise, ramp, 0.5))).save(out, "JPEG", quality=87)
    return out.getvalue()


def comment(number: int) -> bytes:
    """A COM segment (ITU T.81, B.2.4.5) that makes a file's bytes its own."""
    text = b"%012d" % number
    return b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text


class Board(abc.ABC):
    """What there is to be served."""

    def __init__(self, *, posts: int) -> None:
        self.posts = posts
        self.url = ""
        self._md5: dict[int, str] = {}

    def prepare(self) -> None:
        """Hash every file now: it takes longer than anything else in an answer."""
        for number in range(1, self.posts + 1):
            self.md5(number)

    def md5(self, number: int) -> str:
        """Of the bytes of a file, in hex."""
        if number not in self._md5:
            content = b"".join(self.file(number))
            self._md5[number] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._md5[number]

    @abc.abstractmethod
    def file(self, number: int) -> tuple[bytes, bytes, bytes]:
        """The bytes of a file, in pieces."""

    def entry(self, number: int) -> dict[str, object]:
        """A post as JSON."""
        tags = " ".join(sorted({*Random(number).choices(_WORDS, k=30)}))
        file_url = f"{self.url}/images/1/{number}.jpg"
        return {
            "preview_url": f"{self.url}/thumbnails/1/{number}.jpg",
            "sample_url": file_url,
            "file_url": file_url,
            "directory": 1,
            "hash": self.md5(number),
            "width": 1000,
            "height": 1333,
            "id": number,
            "image": f"{number}.jpg",
            "change": 1_700_000_000 + number,
            "owner": "danbooru",
            "parent_id": 0,
            "rating": "general",
            "sample": False,
            "score": 1,
            "tags": tags,
            "source": f"https://example.org/{number}",
            "status": "active",
        }

    def answer(self, target: str) -> bytes:
        """The body of an API answer."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if query.get("s") != "post":
            page = int(query.get("pid", 0))
            names = _WORDS[1000 * page : 1000 * (page + 1)] if "name" not in query else [query["name"]]
            rows = "".join(f'<tag type="0" count="9" name="{name}" id="1"/>' for name in names)
            return f'<tags type="array">{rows}</tags>'.encode()
        limit, page, top = min(int(query.get("limit", 100)), _PAGE), int(query.get("pid", 0)), self.posts
        for term in unquote(query.get("tags", "")).split():
            if term.startswith("id:<"):
                top = min(top, int(term[4:]) - 1)
        first = top - page * limit
        entries = [self.entry(number) for number in range(first, max(0, first - limit), -1)]
        if query.get("json") == "1":
            return json.dumps(entries).encode() if entries else b""
        rows = "".join(
            "<post " + " ".join(f"{key}={quoteattr(str(value))}" for key, value in _as_xml(entry)) + "/>"
            for entry in entries
        )
        return f'<posts count="{max(0, top)}" offset="{page * limit}">{rows}</posts>'.encode()


class SameBoard(Board):
    """One picture for all posts, with a comment of its own in each."""

    def __init__(self, *, posts: int, kilobytes: int) -> None:
        super().__init__(posts=posts)
        self._start, self._rest = parts(kilobytes)

    def file(self, number: int) -> tuple[bytes, bytes, bytes]:
        """The bytes of a file, in pieces."""
        return self._start, comment(number), self._rest


def _as_xml(entry: dict[str, object]) -> list[tuple[str, object]]:
    return [*entry.items(), ("md5", entry["hash"]), ("created_at", "Fri Sep 18 21:45:40 +0200 2026")]


class Connection(asyncio.Protocol):
    """One connection: requests without bodies, answers with a length."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        *requests, self._begun = (self._begun + data).split(b"\r\n\r\n")
        for request in requests:
            self.answer(request.split(b" ", 2)[1].decode())

    def answer(self, target: str) -> None:
        """Answer one request."""
        if target.startswith("/images/"):
            pieces = self._board.file(int(target.rsplit("/", 1)[1].partition(".")[0]))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        elif target.startswith("/index.php"):
            pieces = (self._board.answer(target), b"", b"")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
        else:
            pieces = (b"", b"", b"")
            head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n"
        self.transport.writelines((head % sum(map(len, pieces)), *pieces))


async def serve(board: Board, connection: Callable[[], asyncio.Protocol]) -> None:
    """Print the address, and serve until standard input ends."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    board.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(board.url, flush=True)

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=wait, daemon=True).start()
    await done.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, required=True)
    parser.add_argument("--kilobytes", type=int, required=True)
    options = parser.parse_args()
    board = SameBoard(posts=options.posts, kilobytes=options.kilobytes)
    board.prepare()
    asyncio.run(serve(board, lambda: Connection(board)))


if __name__ == "__main__":
    main()
