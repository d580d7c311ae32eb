"""What `alti2v crawl --files none` costs to list a whole board, beside what it costs the board.

The stand-in board and the crawler are processes of their own; pacing is off, tags are not asked for. Memory
should not depend on the number of posts, and the board, not the crawler, should be what limits. "listing" is up
to the last post, "whole" includes the Parquet tables and the end. Run:

    python benchmarks/listing.py [--posts 150000 1520000] [--dialect gelbooru]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

_TICKS = os.sysconf("SC_CLK_TCK")
_DRAWN = 2_100  # the first pages draw every picture that the board has


def main() -> None:
    """List boards of some sizes; print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, nargs="+", default=[150_000, 1_520_000])
    parser.add_argument("--dialect", choices=("gelbooru", "danbooru"), default="gelbooru")
    parser.add_argument("--folder", type=Path, help="where stores are written; default: a temporary folder")
    parser.add_argument("--as-crawler", nargs=2, metavar=("URL", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_crawler is not None:
        print(json.dumps(_crawl(*options.as_crawler, dialect=options.dialect)))
        return
    results = [_measure(posts, options) for posts in options.posts]
    for name in results[0]:
        print(f"{name:32}" + "".join(f"{result[name]:>16}" for result in results))
    print(json.dumps(results))


def _measure(posts: int, options: argparse.Namespace) -> dict[str, float | str]:
    with (
        _running_board(posts, options.dialect) as (url, board),
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        before_s = _cpu_s(board)
        command = [sys.executable, __file__, "--dialect", options.dialect]
        crawler = subprocess.run(
            [*command, "--as-crawler", url, f"{folder}/store"], check=True, stdout=subprocess.PIPE
        )
        board_cpu_s, board_rss_mb = _cpu_s(board) - before_s, _peak_rss_mb(board)
        found: dict[str, float] = json.loads(crawler.stdout.splitlines()[-1])
    listed = found["listed"]
    return {
        "dialect": options.dialect,
        "posts listed": listed,
        "listing, s": round(found["listing_s"], 1),
        "whole, s": round(found["whole_s"], 1),
        "crawler CPU, us/post, listing": round(1e6 * found["listing_cpu_s"] / listed, 2),
        "crawler CPU, us/post, whole": round(1e6 * found["whole_cpu_s"] / listed, 2),
        "board CPU, us/post": round(1e6 * board_cpu_s / listed, 2),
        "crawler peak RSS MB, listing": round(found["listing_rss_mb"]),
        "crawler peak RSS MB, whole": round(found["whole_rss_mb"]),
        "board peak RSS MB": round(board_rss_mb),
        "store MB": round(found["store_mb"]),
    }


def _crawl(url: str, store: str, *, dialect: str) -> dict[str, float]:
    """List, in this process; the last page is where the listing ends."""
    from alti2v.crawl.boards.protocol import Dialect
    from alti2v.crawl.crawler import CrawlConfig, crawl_board
    from alti2v.records import Progress

    last, begun_s, begun_cpu_s = (0, 0.0, 0.0, 0.0), time.perf_counter(), time.process_time()

    def note(progress: Progress) -> None:
        nonlocal last
        if progress.done > last[0]:
            last = (progress.done, time.perf_counter(), time.process_time(), _peak_rss_mb(os.getpid()))

    config = CrawlConfig(
        store=Path(store),
        board=url,
        dialect=Dialect(dialect),
        files="none",
        rate=math.inf,
        api_rate=math.inf,
        tag_categories=False,
        allow_private=True,
    )
    report = crawl_board(config, progress=note)
    assert report.complete, report.missing
    assert report.listed == report.pending == last[0]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "listed": report.listed,
        "listing_s": last[1] - begun_s,
        "whole_s": time.perf_counter() - begun_s,
        "listing_cpu_s": last[2] - begun_cpu_s,
        "whole_cpu_s": used.ru_utime + used.ru_stime - begun_cpu_s,
        "listing_rss_mb": last[3],
        "whole_rss_mb": used.ru_maxrss / 1024,
        "store_mb": sum(file.stat().st_size for file in Path(store).rglob("*") if file.is_file()) / 1e6,
    }


@contextmanager
def _running_board(posts: int, dialect: str) -> Iterator[tuple[str, int]]:
    """A board whose pictures are drawn already; gives its address and its process id."""
    command = [sys.executable, "-m", "alti2v", "board", "--until-eof", "--posts", str(posts)]
    with subprocess.Popen(
        [*command, "--dialect", dialect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as board:
        assert board.stdin is not None
        assert board.stdout is not None
        try:
            url = board.stdout.readline().strip()
            for page in range(math.ceil(_DRAWN / 100)):
                by_page = f"posts.json?limit=100&page={page + 1}"
                if dialect == "gelbooru":
                    by_page = f"index.php?page=dapi&s=post&q=index&json=1&limit=100&pid={page}"
                with urlopen(f"{url}/{by_page}") as answer:
                    answer.read()
            yield url, board.pid
        finally:
            board.stdin.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
