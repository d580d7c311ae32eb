"""A board that is never the bottleneck: prepared bytes from a bare asyncio protocol, for the other benchmarks.

The API is that of Gelbooru 0.2: JSON by id cursor (alti2v), XML by page (gallery-dl). Every file is a drawn
JPEG, or the next of the pictures in a folder, with a comment that gives it an MD5 of its own. The board can be
made difficult: with `--faults`, five posts in a hundred have a fault: no file (404), half a body, 503 with
Retry-After: 1, or a body that takes 2 s; all but the first are gone on the second try. `--latency` delays every
answer; `--cap` answers 429, Retry-After: 1, to more requests within one second. /traffic counts the requests.
The board stops when its standard input ends:

    python benchmarks/support/loopback_board.py --posts 1000 --kilobytes 120
    python benchmarks/support/loopback_board.py --posts 1000 --pictures FOLDER [--faults] [--cap 10]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import sys
import threading
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.support.processes import running_server

_MAX_LIMIT = 1000
_WORDS = [f"tag_{number:04}" for number in range(2000)]
_SLOW_S = 2.0
_POSTS_PER_FAULT_CYCLE = 80  # four faults in eighty posts are five in a hundred
_MISSING, _CUT, _BUSY, _SLOW = range(4)


def running(*options: str, posts: int) -> AbstractContextManager[tuple[str, int]]:
    """Run a board in a separate process; the context is its URL and process id."""
    return running_server([sys.executable, __file__, "--posts", str(posts), *options])


def noisy_jpeg(kilobytes: int) -> bytes:
    """A noisy JPEG of about this size."""
    low, high = 16, 4096
    while high - low > 8:  # search for the width that gives this size
        middle = (low + high) // 2
        low, high = (middle, high) if len(_jpeg(middle)) < 1000 * kilobytes else (low, middle)
    return _jpeg(low)


def _jpeg(width: int) -> bytes:
    size = (width, width * 4 // 3)
    noise = Image.effect_noise(size, 24)
    ramp = Image.linear_gradient("L").resize(size)
    out = io.BytesIO()
    Image.merge("RGB", (noise, ramp, Image.blend(noise, ramp, 0.5))).save(out, "JPEG", quality=87)
    return out.getvalue()


class Board:
    """Posts 1 to `posts`, which show the given pictures (JPEG or PNG) in turn."""

    def __init__(self, pictures: Sequence[bytes], *, posts: int, url: str = "") -> None:
        self.posts = posts
        self.url = url
        # A PNG begins with its signature and IHDR, 33 bytes (PNG, 3rd edition, 5.2 and 11.2.1).
        heads = [2 if picture.startswith(b"\xff\xd8") else 33 for picture in pictures]
        self._parts = [(picture[:head], picture[head:]) for picture, head in zip(pictures, heads, strict=True)]
        self._md5: dict[int, str] = {}

    def prepare(self) -> None:
        """Hash every file now, because hashing takes longer than the rest of an answer."""
        for number in range(1, self.posts + 1):
            self._md5[number] = hashlib.md5(b"".join(self.file(number)), usedforsecurity=False).hexdigest()

    def picture(self, number: int) -> bytes:
        """Picture of a post, without a comment."""
        return b"".join(self._parts[number % len(self._parts)])

    def file(self, number: int) -> tuple[bytes, bytes, bytes]:
        """File of a post, in pieces."""
        head, rest = self._parts[number % len(self._parts)]
        return head, _jpeg_comment(number) if len(head) == 2 else _png_comment(number), rest

    def entry(self, number: int) -> dict[str, object]:
        """Post as JSON."""
        file_url = f"{self.url}/images/1/{number}.jpg"
        return {
            "preview_url": f"{self.url}/thumbnails/1/{number}.jpg",
            "sample_url": file_url,
            "file_url": file_url,
            "directory": 1,
            "hash": self._md5[number],
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
            "tags": " ".join(sorted({*Random(number).choices(_WORDS, k=30)})),
            "source": f"https://example.org/{number}",
            "status": "active",
        }

    def answer(self, target: str) -> bytes:
        """Body of an API answer."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if query.get("s") != "post":
            page = int(query.get("pid", 0))
            names = _WORDS[1000 * page : 1000 * (page + 1)] if "name" not in query else [query["name"]]
            rows = "".join(f'<tag type="0" count="9" name="{name}" id="1"/>' for name in names)
            return f'<tags type="array">{rows}</tags>'.encode()
        limit, page = min(int(query.get("limit", 100)), _MAX_LIMIT), int(query.get("pid", 0))
        newest = self.posts
        for term in unquote(query.get("tags", "")).split():
            if term.startswith("id:<"):
                newest = min(newest, int(term[4:]) - 1)
        first = newest - page * limit
        entries = [self.entry(number) for number in range(first, max(0, first - limit), -1)]
        if query.get("json") == "1":
            return json.dumps(entries).encode() if entries else b""
        rows = "".join(
            "<post " + " ".join(f"{key}={quoteattr(str(value))}" for key, value in _as_xml(entry)) + "/>"
            for entry in entries
        )
        return f'<posts count="{max(0, newest)}" offset="{page * limit}">{rows}</posts>'.encode()


def _jpeg_comment(number: int) -> bytes:
    """A COM segment (ITU T.81, B.2.4.5)."""
    text = b"%012d" % number
    return b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text


def _png_comment(number: int) -> bytes:
    """A tEXt chunk (PNG, 3rd edition, 11.3.3.3)."""
    chunk = b"tEXt" + b"number\0%012d" % number
    return (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")


def _as_xml(entry: dict[str, object]) -> list[tuple[str, object]]:
    return [*entry.items(), ("md5", entry["hash"]), ("created_at", "Fri Sep 18 21:45:40 +0200 2026")]


class Server:
    """A board's answers with latency, a cap and faults, and its counters.

    Args:
        board: Board to serve.
        has_faults: True if five files in a hundred have a fault.
        latency_s: Delay of every answer, seconds.
        cap: Requests within one second, beyond which 429 is answered; None for no limit.
    """

    def __init__(self, board: Board, *, has_faults: bool, latency_s: float, cap: int | None) -> None:
        self.board = board
        self.latency_s = latency_s
        self._has_faults = has_faults
        self._cap = cap
        self._tries: Counter[int] = Counter()
        self._served = 0
        self._refused = 0
        self._admitted_s: deque[float] = deque()

    def answer(self, target: str, transport: asyncio.Transport) -> None:
        """Answer one request."""
        loop = asyncio.get_running_loop()
        if transport.is_closing():
            return
        if target == "/traffic":
            requests = {"requested": self._tries.total(), "served": self._served, "refused": self._refused}
            _send(transport, (json.dumps(requests).encode(),))
            return
        number = int(target.rsplit("/", 1)[1].partition(".")[0]) if target.startswith("/images/") else None
        if number is not None:
            self._tries[number] += 1
        if not self._is_admitted(loop.time()):
            _send(transport, (b"",), b"429 Too Many Requests", b"Retry-After: 1\r\n")
        elif number is not None:
            self._send_file(number, transport, loop)
        elif target.startswith("/index.php"):
            _send(transport, (self.board.answer(target),), headers=b"Content-Type: text/html\r\n")
        else:
            _send(transport, (b"",), b"404 Not Found")

    def _is_admitted(self, now_s: float) -> bool:
        if self._cap is None:
            return True
        while self._admitted_s and self._admitted_s[0] <= now_s - 1:
            self._admitted_s.popleft()
        if len(self._admitted_s) >= self._cap:
            self._refused += 1
            return False
        self._admitted_s.append(now_s)
        return True

    def _fault(self, number: int) -> int | None:
        fault = number % _POSTS_PER_FAULT_CYCLE
        if not self._has_faults or fault > _SLOW:
            return None
        return fault if fault == _MISSING or self._tries[number] == 1 else None

    def _send_file(self, number: int, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        fault = self._fault(number)
        self._served += fault in (None, _SLOW)
        if fault == _MISSING:
            _send(transport, (b"",), b"404 Not Found")
        elif fault == _BUSY:
            _send(transport, (b"",), b"503 Service Unavailable", b"Retry-After: 1\r\n")
        elif fault is None:
            _send(transport, self.board.file(number), headers=b"Content-Type: image/jpeg\r\n")
        else:
            body = b"".join(self.board.file(number))
            half = len(body) // 2
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:half])
            if fault == _SLOW:
                loop.call_later(_SLOW_S, transport.write, body[half:])
            else:
                transport.close()


def _send(
    transport: asyncio.Transport, body: Sequence[bytes], status: bytes = b"200 OK", headers: bytes = b""
) -> None:
    head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, sum(map(len, body)))
    transport.writelines((head, *body))


class Connection(asyncio.Protocol):
    """One connection: requests without bodies, answers with a length."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unfinished = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        *requests, self._unfinished = (self._unfinished + data).split(b"\r\n\r\n")
        for request in requests:
            target = request.split(b" ", 2)[1].decode()
            if self._server.latency_s and target != "/traffic":
                loop = asyncio.get_running_loop()
                loop.call_later(self._server.latency_s, self._server.answer, target, self._transport)
            else:
                self._server.answer(target, self._transport)


async def _serve(server: Server) -> None:
    """Print the URL, and serve until standard input ends."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    server.board.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    print(server.board.url, flush=True)

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=wait, daemon=True).start()
    await done.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, required=True)
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--kilobytes", type=int, help="size of the drawn JPEG")
    files.add_argument("--pictures", type=Path, help="folder of JPEG and PNG files")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--cap", type=int, default=None, help="requests per second")
    options = parser.parse_args()
    pictures = read_pictures(options.pictures) if options.pictures else [noisy_jpeg(options.kilobytes)]
    board = Board(pictures, posts=options.posts)
    board.prepare()
    server = Server(board, has_faults=options.faults, latency_s=options.latency, cap=options.cap)
    asyncio.run(_serve(server))


def read_pictures(folder: Path) -> list[bytes]:
    """Read the files of a folder in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


if __name__ == "__main__":
    main()
