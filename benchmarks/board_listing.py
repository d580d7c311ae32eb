"""Cost of listing 1.5 M posts for the stand-in board: peak memory of its processes, CPU time per post.

The floor beside it is the same number of requests for an empty page, which is the cost of aiohttp itself. Run:

    python benchmarks/board_listing.py [--posts 1500000] [--dialect gelbooru]
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.processes import children, cpu_s, peak_rss_mb, running_server, stand_in_board


def main() -> None:
    """Serve, list everything newest first by id cursor, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_500_000)
    parser.add_argument("--dialect", choices=("gelbooru", "danbooru"), default="gelbooru")
    options = parser.parse_args()
    with running_server(stand_in_board(options.posts, options.dialect)) as (url, board):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
        _list(connection, options.dialect, limit=2_100)  # the first pages draw every picture
        drawn_s, begun_s = cpu_s(board), time.perf_counter()
        listed, requests = _list(connection, options.dialect, limit=options.posts)
        seconds, listing_s = time.perf_counter() - begun_s, cpu_s(board) - drawn_s
        before_s = cpu_s(board)
        for _ in range(requests):
            _get(connection, _address(options.dialect, 1))
        empty_s = cpu_s(board) - before_s
        result = {
            "dialect": options.dialect,
            "posts_listed": listed,
            "requests": requests,
            "seconds": round(seconds, 1),
            "board_cpu_us_per_post": round(1e6 * listing_s / listed, 2),
            "of_which_empty_requests_us": round(1e6 * empty_s / listed, 2),
            "board_peak_rss_mb": round(peak_rss_mb(board)),
            "drawing_processes_peak_rss_mb": [round(peak_rss_mb(pid)) for pid in children(board)],
        }
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


def _address(dialect: str, below: int) -> str:
    if dialect == "danbooru":
        return f"/posts.json?limit=200&page=b{below}"
    return f"/index.php?page=dapi&s=post&q=index&json=1&limit=1000&tags=id:%3C{below}"


def _list(connection: http.client.HTTPConnection, dialect: str, *, limit: int) -> tuple[int, int]:
    """List at least `limit` posts, or all; return the number of posts and of requests."""
    # Only the ids are read, because parsing is not the board's work; media_asset repeats the id of its post.
    ids_in = re.compile(rb'[{,]"id":(\d+),"(?:image|created_at":"[^"]*","uploader_id)"').findall
    below, listed, requests = 2_000_000_000, 0, 0
    while listed < limit:
        ids = [int(found) for found in ids_in(_get(connection, _address(dialect, below)))]
        requests += 1
        if not ids:
            break
        below, listed = ids[-1], listed + len(ids)
    return listed, requests


def _get(connection: http.client.HTTPConnection, address: str) -> bytes:
    connection.request("GET", address)
    return connection.getresponse().read()


if __name__ == "__main__":
    main()
