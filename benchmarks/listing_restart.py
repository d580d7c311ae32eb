"""Time from the start of a crawler to its first request, on a store that lists a whole board already.

The crawl of the store was killed in the middle of its listing. Its first posts are those of the stand-in board;
the others are invented and written through the ledger, as pages of 1,000. Measured in a new process, from its
start to the moment at which it asks for the next page, with importing the program. Run:

    python benchmarks/listing_restart.py [--posts 150000 7000000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.crawl.store.ledger import Ledger
from alti2v.records import Post
from alti2v.storage.layout import LEDGER_FILE
from benchmarks.support.processes import peak_rss_mb, running_server, stand_in_board

_PAGE = 1_000
_FIRST_ID = 10_000_000  # above those of the stand-in board
_TAGS = " ".join(f"tag_{number:04d}_of_a_board" for number in range(33))

CRAWL = """
import json, math, os, sys, time
sys.path.insert(0, sys.argv[4])
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.boards.protocol import Dialect
from alti2v.crawl.listing.pages import Pager
from benchmarks.support.processes import peak_rss_mb
asked, real = 0, Pager.get
async def get(self, query):
    global asked
    asked += 1
    if asked == int(sys.argv[3]):  # as a kill at this moment would
        print(json.dumps([time.time(), time.process_time(), peak_rss_mb()]), flush=True)
        os._exit(0)
    return await real(self, query)
Pager.get = get
crawl_board(CrawlConfig(store=Path(sys.argv[2]), board=sys.argv[1], dialect=Dialect.GELBOORU, files="none",
                        rate=math.inf, api_rate=math.inf, tag_categories=False, allow_private=True))
"""


def main() -> None:
    """Measure stores of some sizes; print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, nargs="+", default=[150_000, 7_000_000])
    options = parser.parse_args()
    results = []
    with running_server(stand_in_board(50, "gelbooru")) as (url, _):
        for posts in options.posts:
            with tempfile.TemporaryDirectory() as folder:
                results.append(_measure(url, Path(folder) / "store", posts))
    for name in results[0]:
        print(f"{name:32}" + "".join(f"{result[name]:>16}" for result in results))
    print(json.dumps(results))


def _measure(url: str, store: Path, posts: int) -> dict[str, float]:
    _crawl(url, store, pages=2)
    begun_cpu_s = time.process_time()
    with Ledger(store / LEDGER_FILE) as ledger:
        for first in range(0, posts - _PAGE, _PAGE):
            with ledger.transaction():
                ledger.posts.add([_post(_FIRST_ID + number) for number in range(first, first + _PAGE)])
    written_cpu_s = time.process_time() - begun_cpu_s
    begun_s = time.time()
    asked_s, cpu_s, rss_mb = _crawl(url, store, pages=1)
    return {
        "posts": posts,
        "ledger, MB": round((store / LEDGER_FILE).stat().st_size / 1e6),
        "writing, us CPU/post": round(1e6 * written_cpu_s / posts, 1),
        "writing, peak MB": round(peak_rss_mb()),
        "to the first request, s": round(asked_s - begun_s, 2),
        "to the first request, CPU s": round(cpu_s, 2),
        "to the first request, peak MB": round(rss_mb),
    }


def _post(number: int) -> Post:
    return Post(
        id=number,
        tags_general=_TAGS,
        rating="general",
        source=f"https://art.example/works/{number}",
        created_at=number,
        width=1000,
        height=1230,
        md5=f"{number:032x}",
        file_ext="jpg",
        file_url=f"https://board.example/images/{number:08d}.jpg",
    )


def _crawl(url: str, store: Path, *, pages: int) -> tuple[float, float, float]:
    """Crawl in a new process that ends before it asks for a page; return time, processor time and memory."""
    command = [sys.executable, "-c", CRAWL, url, str(store), str(pages), sys.path[0]]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    asked_s, cpu_s, rss_mb = json.loads(done.stdout.splitlines()[-1])
    return asked_s, cpu_s, rss_mb


if __name__ == "__main__":
    main()
