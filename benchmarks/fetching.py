"""Fetching over loopback: alti2v beside a bare aiohttp loop, gallery-dl, and the disk alone.

Each candidate runs in a separate process, one after the other, against the same server, several times.
"whole" is the time from the start of a command to its end; "steady" is that between a tenth and nine tenths of
the files. CPU and RSS are sums over all processes of a candidate; the peak of a second process begins with that
of the first, so the sum is an upper bound. The bare loop fetches the same addresses over the same number of
connections and hashes the bodies.

    python benchmarks/fetching.py [--kilobytes 120 360] [--posts 12000] [--connections 8] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.processes import cpu_s


def main() -> None:
    """Measure, print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[120, 360])
    parser.add_argument("--posts", type=int, default=12_000)
    parser.add_argument("--gallery-dl-posts", type=int, default=1_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["bare", "alti2v", "gallery-dl", "disk"])
    parser.add_argument("--folder", type=Path, help="where stores are written; default: a temporary folder")
    parser.add_argument("--as", dest="role", choices=_ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        print(json.dumps(_ROLES[options.role](options)))
        return
    # Imported here, and aiohttp below, so that no candidate loads what only another needs.
    from benchmarks.support.loopback_board import running

    results = []
    for kilobytes in options.kilobytes:
        with running("--kilobytes", str(kilobytes), posts=options.posts) as (url, pid):
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
            for _ in range(options.rounds):
                for name in options.only:
                    runs[name].append(_measure(name, url, pid, options))
        medians = {
            name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in runs.items()
        }
        results.append({"kilobytes": kilobytes, **_table(kilobytes, medians)})
    print(json.dumps(results))


def _measure(name: str, url: str, server: int, options: argparse.Namespace) -> dict[str, float]:
    """Run one candidate in a separate process."""
    command = [sys.executable, __file__, "--as", name, "--url", url, "--posts", str(options.posts)]
    command += ["--connections", str(options.connections), "--gallery-dl-posts", str(options.gallery_dl_posts)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:  # removed after the timing
        command += ["--folder", folder]
        before, begun = cpu_s(server), time.perf_counter()
        run: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        whole_s, files = time.perf_counter() - begun, run["files"]
    return {
        "whole files/s": files / whole_s,
        "steady files/s": run["steady"],
        "steady MB/s": run["steady"] * run["bytes"] / files / 1e6,
        "CPU ms/file": 1e3 * run["cpu_s"] / files,
        "server CPU ms/file": 1e3 * (cpu_s(server) - before) / files,
        "peak RSS MB": run["rss_mb"],
    }


def _table(kilobytes: int, medians: dict[str, dict[str, float]]) -> dict[str, Any]:
    columns = list(next(iter(medians.values())))
    print(f"\nfiles of {kilobytes} kB" + " " * 4 + "".join(f"{name:>20}" for name in columns))
    for name, of in medians.items():
        print(f"{name:18}" + "".join(f"{of[column]:20.2f}" for column in columns))
    ratios = {}
    for name in medians:
        if name != "alti2v" and "alti2v" in medians:
            for column in columns[:2]:
                key = f"alti2v / {name}, {column.split()[0]}"
                ratios[key] = round(medians["alti2v"][column] / medians[name][column], 3)
                print(f"{key:40} {ratios[key]:.2f}")
    rounded = {name: {key: round(value, 3) for key, value in of.items()} for name, of in medians.items()}
    return {"medians": rounded, "ratios": ratios}


class _Clock:
    """Times at which files were done; the steady rate is that between a tenth and nine tenths of them."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._seen: list[tuple[float, int]] = []

    def note(self, done: int) -> None:
        self._seen.append((time.perf_counter(), done))

    def result(self, size: int) -> dict[str, float]:
        steady = [(at, done) for at, done in self._seen if 0.1 <= done / self._files <= 0.9]
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {
            "files": self._files,
            "bytes": size,
            "steady": (steady[-1][1] - steady[0][1]) / (steady[-1][0] - steady[0][0]),
            "cpu_s": sum(each.ru_utime + each.ru_stime for each in used),
            "rss_mb": sum(each.ru_maxrss for each in used) / 1024,
        }


def _bare(options: argparse.Namespace) -> dict[str, float]:
    import aiohttp

    clock, numbers, size = _Clock(options.posts), iter(range(options.posts, 0, -1)), 0

    async def fetch(session: aiohttp.ClientSession) -> None:
        nonlocal size
        for number in numbers:
            async with session.get(f"{options.url}/images/1/{number}.jpg") as response:
                body = await response.read()
            hashlib.md5(body, usedforsecurity=False).hexdigest()
            size += len(body)
            clock.note(options.posts - number + 1)

    async def fetch_all() -> None:
        connector = aiohttp.TCPConnector(limit=options.connections)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            await asyncio.gather(*(fetch(session) for _ in range(options.connections)))

    asyncio.run(fetch_all())
    return clock.result(size)


class _NoPandas:
    """Import hook that hides pandas: pyarrow loads it if it is installed, which takes 0.6 s."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Refuse to find pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _alti2v(options: argparse.Namespace) -> dict[str, float]:
    sys.meta_path.insert(0, _NoPandas)
    from alti2v.crawl.crawler import CrawlConfig, crawl_board

    clock = _Clock(options.posts)
    config = CrawlConfig(
        store=options.folder / "store",
        board=options.url,
        rate=math.inf,
        api_rate=math.inf,
        connections=options.connections,
        allow_private=True,
    )
    report = crawl_board(config, progress=lambda progress: clock.note(progress.done))
    assert report.complete, report.missing
    assert report.stored == options.posts
    return clock.result(report.bytes)


def _gallery_dl(options: argparse.Namespace) -> dict[str, float]:
    most = options.gallery_dl_posts
    root = {"root": options.url, "pattern": re.escape(options.url.removeprefix("http://"))}
    quick = {"request-interval": 0, "sleep": 0, "sleep-request": 0}
    config, saved = options.folder / "gallery-dl.json", options.folder / "saved"
    config.write_text(json.dumps({"extractor": {**quick, "gelbooru_v02": {"local": root | quick}}}))
    command = [sys.executable, "-m", "gallery_dl", "--config-ignore", "-c", str(config), "-q"]
    command += ["-D", str(saved), "-f", "{id}.{extension}", "--range", f"1-{most}"]
    begun = time.perf_counter()
    subprocess.run([*command, f"gelbooru_v02:{options.url}/index.php?page=post&s=list&tags=all"], check=True)
    seconds = time.perf_counter() - begun
    sizes = [file.stat().st_size for file in saved.iterdir()]
    assert len(sizes) == most
    return _only_whole(most, sum(sizes), seconds)


def _disk(options: argparse.Namespace) -> dict[str, float]:
    """Write the same bytes to one file, synced every 16 MB: the ceiling of the disk."""
    content = os.urandom(int(_content_length(options.url)))
    every = max(1, 16_000_000 // len(content))
    with (options.folder / "bytes").open("wb", 0) as file:
        begun = time.perf_counter()
        for number in range(options.posts):
            file.write(content)
            if number % every == 0:
                os.fdatasync(file.fileno())
        os.fdatasync(file.fileno())
        seconds = time.perf_counter() - begun
    return _only_whole(options.posts, options.posts * len(content), seconds)


def _content_length(url: str) -> int:
    from urllib.request import urlopen

    with urlopen(f"{url}/images/1/1.jpg") as answer:
        return int(answer.headers["Content-Length"])


def _only_whole(files: int, size: int, seconds: float) -> dict[str, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "files": files,
        "bytes": size,
        "steady": files / seconds,
        "cpu_s": sum(each.ru_utime + each.ru_stime for each in used),
        "rss_mb": sum(each.ru_maxrss for each in used) / 1024,
    }


_ROLES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "bare": _bare,
    "alti2v": _alti2v,
    "gallery-dl": _gallery_dl,
    "disk": _disk,
}

if __name__ == "__main__":
    main()
