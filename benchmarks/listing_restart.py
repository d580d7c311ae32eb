"""A store that lists a whole board already: a crawler's time to its first request, and its tables.

The crawl of the store was killed in the middle of its listing. Its first posts are those of the stand-in board;
the others are invented and written through the ledger, as pages of 1,000 (33 draws of 200,000 tags a post,
frequency falling with the rank). Measured in a new process, from its start to the moment at which it asks for
the next page, with importing the program. Then, each in a process of its own, all tables are written, and after
20,000 more posts those that have changed. Run:

    python benchmarks/listing_restart.py [--posts 150000 7000000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.crawl.store.ledger import Ledger
from alti2v.records import Post
from alti2v.storage.layout import LEDGER_FILE
from benchmarks.support.processes import peak_rss_mb, running_server, stand_in_board

_PAGE = 1_000
_FIRST_ID = 10_000_000  # above those of the stand-in board
_TAGS, _TAGS_PER_POST, _TEXTS = 200_000, 33, 20_000
_MORE = 20_000  # new posts of a week

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

TABLES = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from alti2v.crawl.store import tables
from alti2v.crawl.store.ledger import Ledger
from alti2v.storage.layout import LEDGER_FILE
from benchmarks.support.processes import peak_rss_mb
begun_s = time.perf_counter()
with Ledger(Path(sys.argv[1]) / LEDGER_FILE) as ledger:
    tables.export(Path(sys.argv[1]), ledger)
print(json.dumps([time.perf_counter() - begun_s, time.process_time(), peak_rss_mb()]))
"""


def main() -> None:
    """Measure stores of some sizes; print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, nargs="+", default=[150_000, 7_000_000])
    parser.add_argument("--folder", type=Path, help="where stores are written; default: a temporary folder")
    options = parser.parse_args()
    results = []
    with running_server(stand_in_board(50, "gelbooru")) as (url, _):
        for posts in options.posts:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                results.append(_measure(url, Path(folder) / "store", posts))
    for name in results[0]:
        print(f"{name:32}" + "".join(f"{result[name]:>16}" for result in results))
    print(json.dumps(results))


def _measure(url: str, store: Path, posts: int) -> dict[str, float]:
    _run(CRAWL, url, str(store), "2")  # is killed before the second page
    texts = _tag_texts()
    written_cpu_s = _list(store, texts, range(_FIRST_ID, _FIRST_ID + posts))
    written_mb = peak_rss_mb()
    begun_s = time.time()
    asked_s, cpu_s, rss_mb = _run(CRAWL, url, str(store), "1")
    tables_s, tables_cpu_s, tables_mb = _run(TABLES, str(store))
    _list(store, texts, range(_FIRST_ID + posts, _FIRST_ID + posts + _MORE))
    more_s, more_cpu_s, more_mb = _run(TABLES, str(store))
    return {
        "posts": posts,
        "ledger, MB": round((store / LEDGER_FILE).stat().st_size / 1e6),
        "writing, us CPU/post": round(1e6 * written_cpu_s / posts, 1),
        "writing, peak MB": round(written_mb),
        "to the first request, s": round(asked_s - begun_s, 2),
        "to the first request, CPU s": round(cpu_s, 2),
        "to the first request, peak MB": round(rss_mb),
        "tables, s": round(tables_s, 1),
        "tables, us CPU/post": round(1e6 * tables_cpu_s / posts, 1),
        "tables, peak MB": round(tables_mb),
        f"after {_MORE} posts, s": round(more_s, 1),
        f"after {_MORE} posts, CPU s": round(more_cpu_s, 1),
        f"after {_MORE} posts, peak MB": round(more_mb),
    }


def _list(store: Path, texts: list[str], ids: range) -> float:
    """Record posts as if a board had listed them; return processor time."""
    begun_cpu_s = time.process_time()
    with Ledger(store / LEDGER_FILE) as ledger:
        for first in range(0, len(ids), _PAGE):
            with ledger.transaction():
                ledger.posts.add([_post(post_id, texts) for post_id in ids[first : first + _PAGE]])
    return time.process_time() - begun_cpu_s


def _tag_texts() -> list[str]:
    """Draw the tags of posts."""
    rng = np.random.default_rng(0)
    names = [f"tag_{number:06d}_of_a_board" for number in range(_TAGS)]
    ranks = np.exp(rng.random((_TEXTS, _TAGS_PER_POST)) * np.log(_TAGS)) - 1
    return [" ".join(names[rank] for rank in sorted(set(row))) for row in ranks.astype(np.int64).tolist()]


def _post(number: int, texts: list[str]) -> Post:
    return Post(
        id=number,
        tags_general=texts[number % _TEXTS],
        rating="general",
        source=f"https://art.example/works/{number}",
        created_at=number,
        width=1000,
        height=1230,
        md5=f"{number:032x}",
        file_ext="jpg",
        file_url=f"https://board.example/images/{number:08d}.jpg",
    )


def _run(program: str, *arguments: str) -> tuple[float, float, float]:
    """Run a program in a new process; return the three numbers that it prints last."""
    command = [sys.executable, "-c", program, *arguments, sys.path[0]]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    first, second, third = json.loads(done.stdout.splitlines()[-1])
    return first, second, third


if __name__ == "__main__":
    main()
