"""The board as a process: it prints its URL, stays small, and stops when it should."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alti2v.demo.board.app import BoardConfig, start_board
from alti2v.errors import UsageError
from tests.demo.helpers.board_client import Start


@contextmanager
def served(*options: str, **pipes: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a board in a separate process; yield the process and the URL."""
    command = [sys.executable, "-m", "alti2v", "board", "--posts", "12", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **pipes
    ) as process:
        try:
            yield process, (process.stdout or io.StringIO()).readline().strip()
        finally:
            process.kill()


def ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def errors_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.read()


def listing(url: str) -> str:
    return f"{url}/index.php?page=dapi&s=post&q=index"


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_ended(*pids: int) -> None:
    deadline_s = time.monotonic() + 20
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline_s, "still running"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_board(number: int) -> None:
    """The board stops with status 0, prints no error, and leaves no drawing process behind."""
    with served() as (process, url):
        assert b'count="12"' in ask(listing(url))
        drawing = descendants(process.pid)
        process.send_signal(number)

        assert process.wait(timeout=20) == 0
        assert errors_of(process) == ""
        assert drawing
        wait_until_ended(*drawing)


def test_the_board_ends_with_its_parent() -> None:
    """The board stops at the end of file on its pipe, which comes even if the parent is killed."""
    with served("--until-eof", stdin=subprocess.PIPE) as (process, url):
        assert ask(listing(url))
        assert process.stdin
        process.stdin.close()

        assert process.wait(timeout=20) == 0


def test_drawing_processes_end_with_a_killed_board() -> None:
    """SIGKILL of the board leaves no orphan."""
    with served() as (process, url):
        ask(listing(url))
        drawing = descendants(process.pid)
        process.kill()
        process.wait()

        assert drawing
        wait_until_ended(*drawing)


def test_a_port_in_use_is_one_line() -> None:
    """A port in use ends the command with status 2 and one line that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served("--port", str(port)) as (process, url):
            assert url == ""
            assert process.wait(timeout=20) == 2
            message = errors_of(process)

    assert f"port {port} of 127.0.0.1 is in use" in message
    assert len(message.splitlines()) == 1


async def test_a_port_that_becomes_free_is_waited_for() -> None:
    """A board takes the port of another that stops a moment later."""
    first = await start_board(BoardConfig(posts=3))
    port = int(first.url.rpartition(":")[2])
    second = asyncio.create_task(start_board(BoardConfig(posts=3, port=port), patience_s=5))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="in use"):
        await start_board(BoardConfig(posts=3, port=port))
    await first.stop()

    board = await second
    assert board.url == first.url
    await board.stop()


async def test_a_host_that_is_not_here_is_one_line() -> None:
    """A host of another machine is a usage error."""
    with pytest.raises(UsageError, match="cannot listen"):
        await start_board(BoardConfig(posts=3, host="192.0.2.1"))


def test_a_million_posts_start_at_once_in_little_memory() -> None:
    """A board of 1.5 M posts serves its newest and oldest pages and stays below 200 MB."""
    with served("--posts", "1500000") as (process, url):
        body = ask(f"{listing(url)}&limit=20")
        oldest = ask(f"{listing(url)}&limit=20&tags=id:%3C15")
        status = Path(f"/proc/{process.pid}/status").read_text()

    assert body.count(b"<post ") == 20
    assert b'count="1500000"' in body
    assert b' id="1' in body
    assert 10 < oldest.count(b"<post ") <= 14
    assert int(status.partition("VmHWM:")[2].split()[0]) < 200 * 1024


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"posts": -1}, "--posts -1"),
        ({"pictures": 0}, "--pictures 0"),
        ({"dialect": "moebooru"}, "moebooru"),
        ({"port": 70_000}, "70000"),
        ({"drawing_processes": -1}, "drawing_processes -1"),
    ],
)
def test_impossible_boards_are_refused(options: dict[str, Any], named: str) -> None:
    """Each wrong value is a usage error that names the value."""
    with pytest.raises(UsageError, match=named):
        BoardConfig(**options)


async def test_the_same_seed_is_the_same_board(start: Start) -> None:
    """Another process with the same seed lists the same posts under its own URL; another seed lists others."""
    here, other = await start(posts=12, pictures=12), await start(posts=12, pictures=12, seed=5)
    with served() as (_, url):
        there = await here.get(listing(url))

    assert (await here.api()).body.replace(here.url.encode(), url.encode()) == there.body
    assert (await other.api()).body.replace(other.url.encode(), url.encode()) != there.body
