"""A board of real pictures that can be made difficult: faults, latency, and a cap on requests per second.

The pictures are the files of a folder; a comment of its own gives each post another md5. With `--faults`, five
posts in a hundred have one: no file (404), half a body, 503 with Retry-After: 1, a body that takes 2 s; all but
the first are well when asked again. `--latency` delays every answer; `--cap` answers 429, Retry-After: 1, when
there were so many requests within the last second. /traffic says what was asked. Serves until its standard
input ends:

    python benchmarks/support/picture_board.py --posts 1000 --pictures FOLDER [--faults] [--cap 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.support.loopback_board import Board, Connection, comment, serve

_SLOW_S = 2.0
_EVERY = 80  # four faults in eighty posts are five in a hundred
_MISSING, _CUT, _BUSY, _SLOW = range(4)


@contextmanager
def running(folder: Path, *, posts: int, wishes: list[str]) -> Iterator[str]:
    """A board in a process of its own; gives its address."""
    command = [sys.executable, __file__, "--posts", str(posts), "--pictures", str(folder), *wishes]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdin is not None
        assert board.stdout is not None
        try:
            yield board.stdout.readline().strip()
        finally:
            board.stdin.close()


class PictureBoard(Board):
    """Posts whose files are those of a folder, again and again."""

    def __init__(self, folder: Path, *, posts: int, faults: bool = False) -> None:
        super().__init__(posts=posts)
        self.faults = faults
        self._pictures = [path.read_bytes() for path in sorted(folder.iterdir())]

    def picture(self, number: int) -> bytes:
        """The picture of a post, as it lies in the folder."""
        return self._pictures[number % len(self._pictures)]

    def file(self, number: int) -> tuple[bytes, bytes, bytes]:
        """Its bytes as they are served, in pieces."""
        content = self.picture(number)
        if content.startswith(b"\xff\xd8"):
            return content[:2], comment(number), content[2:]
        after_header = 33  # signature and IHDR (PNG, 3rd edition, 5.2 and 11.2.1)
        text = b"tEXt" + b"number\0%012d" % number
        chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
        return content[:after_header], chunk, content[after_header:]

    def fault(self, number: int) -> int | None:
        """What is wrong with a post's file."""
        return number % _EVERY if self.faults and number % _EVERY <= _SLOW else None


class Traffic:
    """Who asked for what, and how often within the last second."""

    def __init__(self, cap: int | None) -> None:
        self.cap = cap
        self.tries: Counter[int] = Counter()
        self.served = 0
        self.refused = 0
        self._let_in: deque[float] = deque()

    def lets_in(self, now: float) -> bool:
        """Whether a request is within the cap."""
        if self.cap is None:
            return True
        while self._let_in and self._let_in[0] <= now - 1:
            self._let_in.popleft()
        if len(self._let_in) >= self.cap:
            self.refused += 1
            return False
        self._let_in.append(now)
        return True

    def summary(self) -> dict[str, int]:
        """Requests for files, whole answers to them, and all requests refused with 429."""
        return {"asked": self.tries.total(), "served": self.served, "refused": self.refused}


class DifficultConnection(Connection):
    """A connection of a board that delays, refuses and fails."""

    def __init__(self, board: PictureBoard, traffic: Traffic, latency_s: float) -> None:
        super().__init__(board)
        self._pictures = board
        self._traffic = traffic
        self._latency_s = latency_s
        self._loop = asyncio.get_running_loop()

    def answer(self, target: str) -> None:
        """Answer one request, after a while."""
        if target == "/traffic":
            body = json.dumps(self._traffic.summary()).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif self._latency_s:
            self._loop.call_later(self._latency_s, self._answer_now, target)
        else:
            self._answer_now(target)

    def _answer_now(self, target: str) -> None:
        if self.transport.is_closing():
            return
        number = int(target.rsplit("/", 1)[1].partition(".")[0]) if target.startswith("/images/") else None
        if number is not None:
            self._traffic.tries[number] += 1
        if not self._traffic.lets_in(self._loop.time()):
            self._refuse(b"429 Too Many Requests", b"Retry-After: 1\r\n")
        elif number is None:
            super().answer(target)
        else:
            self._send_file(target, number)

    def _send_file(self, target: str, number: int) -> None:
        fault = self._pictures.fault(number)
        if fault != _MISSING and self._traffic.tries[number] > 1:
            fault = None
        self._traffic.served += fault in (None, _SLOW)
        if fault is None:
            super().answer(target)
        elif fault == _MISSING:
            self._refuse(b"404 Not Found")
        elif fault == _BUSY:
            self._refuse(b"503 Service Unavailable", b"Retry-After: 1\r\n")
        else:
            body = b"".join(self._pictures.file(number))
            half = len(body) // 2
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:half])
            if fault == _SLOW:
                self._loop.call_later(_SLOW_S, self.transport.write, body[half:])
            else:
                self.transport.close()

    def _refuse(self, status: bytes, headers: bytes = b"") -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + headers + b"Content-Length: 0\r\n\r\n")


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--cap", type=int, default=None)
    options = parser.parse_args()
    board = PictureBoard(options.pictures, posts=options.posts, faults=options.faults)
    board.prepare()
    traffic = Traffic(options.cap)
    asyncio.run(serve(board, lambda: DifficultConnection(board, traffic, options.latency)))


if __name__ == "__main__":
    main()
