"""Cost of listing a whole board with `alti2v crawl --files none`, beside the board's own cost.

The stand-in board and the crawler are separate processes; pacing is off, and tag categories are not requested.
Memory should not depend on the number of posts, and the board should be slower than the crawler. "listing" ends
with the last post, "whole" includes the Parquet tables. Run:

    python benchmarks/listing.py [--posts 150000 1520000] [--dialect gelbooru] [--key]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.processes import cpu_s, peak_rss_mb, running_server, stand_in_board

_KEY = "0123456789abcdef" * 4  # as long as Gelbooru's
_DRAWN = 2_100  # the first pages draw every picture of the board


def main() -> None:
    """List boards of some sizes; print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, nargs="+", default=[150_000, 1_520_000])
    parser.add_argument("--dialect", choices=("gelbooru", "danbooru"), default="gelbooru")
    parser.add_argument("--key", action="store_true", help="send an API key, and search the answers for it")
    parser.add_argument("--folder", type=Path, help="where stores are written; default: a temporary folder")
    parser.add_argument("--as-crawler", nargs=2, metavar=("URL", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_crawler is not None:
        print(json.dumps(_crawl(*options.as_crawler, dialect=options.dialect, has_key=options.key)))
        return
    results = [_measure(posts, options) for posts in options.posts]
    for name in results[0]:
        print(f"{name:32}" + "".join(f"{result[name]:>16}" for result in results))
    print(json.dumps(results))


def _measure(posts: int, options: argparse.Namespace) -> dict[str, float | str]:
    with (
        running_server(stand_in_board(posts, options.dialect)) as (url, board),
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        _draw_pictures(url, options.dialect)
        before_s = cpu_s(board)
        command = [sys.executable, __file__, "--dialect", options.dialect, *(["--key"] if options.key else [])]
        crawler = subprocess.run(
            [*command, "--as-crawler", url, f"{folder}/store"], check=True, stdout=subprocess.PIPE
        )
        board_cpu_s, board_rss_mb = cpu_s(board) - before_s, peak_rss_mb(board)
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


def _crawl(url: str, store: str, *, dialect: str, has_key: bool) -> dict[str, float]:
    """List a board in this process; the listing ends with the last page."""
    from alti2v.crawl.boards.protocol import Dialect
    from alti2v.crawl.crawler import CrawlConfig, crawl_board
    from alti2v.records import Progress

    last, begun_s, begun_cpu_s = (0, 0.0, 0.0, 0.0), time.perf_counter(), time.process_time()

    def note(progress: Progress) -> None:
        nonlocal last
        if progress.done > last[0]:
            last = (progress.done, time.perf_counter(), time.process_time(), peak_rss_mb())

    netrc = Path(f"{store}.netrc")
    netrc.touch(mode=0o600)
    netrc.write_text(f"machine 127.0.0.1 login 4711 password {_KEY}\n")
    config = CrawlConfig(
        store=Path(store),
        board=url,
        dialect=Dialect(dialect),
        files="none",
        rate=math.inf,
        api_rate=math.inf,
        tag_categories=False,
        allow_private=True,
        netrc=netrc if has_key else None,
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


def _draw_pictures(url: str, dialect: str) -> None:
    """List the first pages, for which the board has to draw its pictures."""
    for page in range(math.ceil(_DRAWN / 100)):
        address = f"posts.json?limit=100&page={page + 1}"
        if dialect == "gelbooru":
            address = f"index.php?page=dapi&s=post&q=index&json=1&limit=100&pid={page}"
        with urlopen(f"{url}/{address}") as answer:
            answer.read()


if __name__ == "__main__":
    main()
