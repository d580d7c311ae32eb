"""What it costs the stand-in board to list 1.5 M posts: peak memory of its processes, CPU time per post.

The ceiling beside it: the same HTTP requests for a page that is empty, which is what aiohttp itself costs. Run:

    python benchmarks/board_listing.py [--posts 1500000] [--dialect gelbooru]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve, list everything newest first by id cursor, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_500_000)
    parser.add_argument("--dialect", choices=("gelbooru", "danbooru"), default="gelbooru")
    options = parser.parse_args()
    command = [sys.executable, "-m", "alti2v", "board", "--until-eof", "--posts", str(options.posts)]
    with subprocess.Popen(
        [*command, "--dialect", options.dialect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as board:
        assert board.stdin is not None
        assert board.stdout is not None
        host = board.stdout.readline().strip().removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=300)
        _list(connection, options.dialect, most=2_100)  # draws every picture, as the first pages do
        drawn_s, begun_s = _cpu_s(board.pid), time.perf_counter()
        listed, requests = _list(connection, options.dialect, most=options.posts)
        seconds, cpu_s = time.perf_counter() - begun_s, _cpu_s(board.pid) - drawn_s
        before_s = _cpu_s(board.pid)
        for _ in range(requests):
            _get(connection, _address(options.dialect, 1))
        empty_s = _cpu_s(board.pid) - before_s
        result = {
            "dialect": options.dialect,
            "posts_listed": listed,
            "requests": requests,
            "seconds": round(seconds, 1),
            "board_cpu_us_per_post": round(1e6 * cpu_s / listed, 2),
            "of_which_empty_requests_us": round(1e6 * empty_s / listed, 2),
            "board_peak_rss_mb": round(_peak_rss_mb(board.pid)),
            "drawing_processes_peak_rss_mb": [round(_peak_rss_mb(pid)) for pid in _children(board.pid)],
        }
        board.stdin.close()
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


def _address(dialect: str, below: int) -> str:
    if dialect == "danbooru":
        return f"/posts.json?limit=200&page=b{below}"
    return f"/index.php?page=dapi&s=post&q=index&json=1&limit=1000&tags=id:%3C{below}"


def _list(connection: http.client.HTTPConnection, dialect: str, *, most: int) -> tuple[int, int]:
    """List at most so many posts; returns how many there were, and in how many requests."""
    # Only the ids are read: parsing is not the board's work. media_asset repeats the id of its post.
    ids_in = re.compile(rb'[{,]"id":(\d+),"(?:image|created_at":"[^"]*","uploader_id)"').findall
    below, listed, requests = 2_000_000_000, 0, 0
    while listed < most:
        ids = [int(found) for found in ids_in(_get(connection, _address(dialect, below)))]
        requests += 1
        if not ids:
            break
        below, listed = ids[-1], listed + len(ids)
    return listed, requests


def _get(connection: http.client.HTTPConnection, address: str) -> bytes:
    connection.request("GET", address)
    return connection.getresponse().read()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    main()
