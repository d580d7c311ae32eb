"""From a board to shards: `alti2v crawl` and `build-shards`, beside img2dataset 1.47.0 on the same files.

Both fetch over loopback from one server, check each file's MD5, and write 224 px JPEGs, quality 95, 4:2:0, on
white, into WebDataset shards, with one process per core. img2dataset gets its list of addresses for free;
alti2v lists the board first. "whole" is the time from the start of the commands to their end, "steady" is
without the start of Python: for img2dataset the window of its own statistics, for alti2v the seconds that its
commands report. The similarity (SSIM) of both results is that to full decoding and Lanczos alone.

Rows: JPEG; a mix with 30 % PNG; JPEG with five faulty files in a hundred; and a server that answers after 100
ms and refuses more than 10 requests per second (429, Retry-After: 1). In the last, alti2v runs twice: with that
rate, and with four times that rate, so that it has to adapt. img2dataset needs an environment of its own:

    python3.11 -m venv ENV && ENV/bin/pip install img2dataset==1.47.0 'webdataset<0.3' setuptools
    python benchmarks/crawl_and_build.py --img2dataset ENV/bin/img2dataset [--rows JPEG mix faults capped]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.illustrations import drawn_pictures, encoded, reference, similarity
from benchmarks.support.loopback_board import Board, read_pictures, running

_SIZE, _QUALITY = 224, 95
_COMPARED = 48  # pictures whose similarity is measured
_DISTINCT = 288  # drawn pictures
_CAP = 10
_CORES = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        png_share: Share of PNG files.
        server: Further options of the server.
        rates: Rates of alti2v, requests per second, one candidate each.
        retries: Retries of img2dataset, one candidate each.
    """

    png_share: float = 0.0
    server: tuple[str, ...] = ()
    rates: tuple[float, ...] = (float("inf"),)
    retries: tuple[int, ...] = (0,)


_ROWS = {
    "JPEG": Row(),
    "mix": Row(png_share=0.3),
    "faults": Row(server=("--faults",), retries=(0, 2)),
    "capped": Row(server=("--latency", "0.1", "--cap", str(_CAP)), rates=(_CAP, 4 * _CAP), retries=(0, 10)),
}


def main() -> None:
    """Measure, print a table for each row, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--img2dataset", type=Path, required=True, help="its executable")
    parser.add_argument("--rows", nargs="+", choices=_ROWS, default=list(_ROWS))
    parser.add_argument("--posts", type=int, default=5_000)
    parser.add_argument("--capped-posts", type=int, default=600, help="number of posts in the row `capped`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[16, 32], help="thread counts of img2dataset")
    parser.add_argument("--folder", type=Path, help="folder for all files; default: a temporary folder")
    options = parser.parse_args()
    if not os.access(options.img2dataset, os.X_OK):
        parser.error(
            f"{options.img2dataset} is no program: python3.11 -m venv i2d, then "
            "i2d/bin/pip install img2dataset==1.47.0 'webdataset<0.3' setuptools"
        )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps({name: _measure(name, options, Path(folder, name)) for name in options.rows}))


def _measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    row = _ROWS[name]
    posts = options.capped_posts if name == "capped" else options.posts
    pictures = folder / "pictures"
    _draw(pictures, png_share=row.png_share)
    board = Board(read_pictures(pictures), posts=posts)
    board.prepare()
    options_of_server = ("--pictures", str(pictures), *row.server)
    runs: dict[str, list[dict[str, float]]] = {}
    for turn in range(options.rounds):
        for rate in row.rates:
            label = "alti2v" if rate == row.rates[0] else f"alti2v, --rate {rate:g}"
            with running(*options_of_server, posts=posts) as (url, _):
                found = _alti2v(url, folder / f"alti2v-{rate:g}-{turn}", rate)
                runs.setdefault(label, []).append(found | _traffic(url, posts))
        for retries in row.retries:
            for threads in options.threads:
                with running(*options_of_server, posts=posts) as (url, _):
                    board.url = url
                    where = folder / f"img2dataset-{retries}-{threads}-{turn}"
                    found = _img2dataset(options.img2dataset, board, where, retries=retries, threads=threads)
                    label = f"img2dataset, {threads} threads, {retries} retries"
                    runs.setdefault(label, []).append(found | _traffic(url, posts))
    result = {
        who: {figure: statistics.median(run[figure] for run in of) for figure in of[0]}
        | {"steady/s spread": max(run["steady/s"] for run in of) - min(run["steady/s"] for run in of)}
        for who, of in runs.items()
    }
    last = folder / f"img2dataset-{row.retries[-1]}-{options.threads[-1]}-0"
    ours = _ssim_loss(board, _ours(folder / f"alti2v-{row.rates[0]:g}-0"))
    theirs = _ssim_loss(board, _theirs(last))
    for who, figures in result.items():
        is_ours = who.startswith("alti2v")
        figures["SSIM loss"] = ours if is_ours else theirs
        if not is_ours and figures["pictures"]:
            for figure in ("whole/s", "steady/s"):
                figures[f"alti2v is faster, {figure}"] = result["alti2v"][figure] / figures[figure]
    print(f"\n{name}: {posts} posts, median of {options.rounds}")
    for who, figures in result.items():
        print(f"  {who}: " + ", ".join(f"{figure} {round(value, 4):g}" for figure, value in figures.items()))
    return {who: {key: round(value, 4) for key, value in of.items()} for who, of in result.items()}


def _draw(folder: Path, *, png_share: float) -> None:
    folder.mkdir(parents=True)
    pngs = round(_DISTINCT * png_share)
    jpegs = drawn_pictures("JPEG", _DISTINCT)[pngs:]
    every = drawn_pictures("PNG", pngs) + jpegs if pngs else jpegs
    for number, content in enumerate(every):
        # Mixed by a stride that is coprime to their number.
        Path(folder, f"{number * 101 % _DISTINCT:04d}").write_bytes(content)


def _alti2v(url: str, folder: Path, rate: float) -> dict[str, float]:
    store, dataset = folder / "store", folder / "dataset"
    rates = ["--rate", str(rate), "--api-rate", str(rate), "--connections", "8"]
    listing = ["--board", url, "--dialect", "gelbooru", "--files", "original", "--allow-private"]
    crawled = _timed([*_ALTI2V, "crawl", str(store), *listing, *rates, "--json"])
    sizes = ["--size", str(_SIZE), "--test", "0", "--validation", "0", "--shard-samples", "1000"]
    built = _timed([*_ALTI2V, "build-shards", str(store), str(dataset), *sizes, "--json"])
    pictures = built.report["train"]
    return {
        "pictures": pictures,
        "whole/s": pictures / (crawled.wall_s + built.wall_s),
        "steady/s": pictures / (crawled.report["seconds"] + built.report["seconds"]),
        "whole s": crawled.wall_s + built.wall_s,
        "of which crawl s": crawled.wall_s,
        "CPU ms": 1e3 * (crawled.cpu_s + built.cpu_s) / pictures,
    }


_ALTI2V = [sys.executable, "-m", "alti2v"]


def _img2dataset(program: Path, board: Board, folder: Path, *, retries: int, threads: int) -> dict[str, float]:
    folder.mkdir()
    numbers = range(board.posts, 0, -1)
    columns = {
        "url": [f"{board.url}/images/1/{number}.jpg" for number in numbers],
        "tags": [str(board.entry(number)["tags"]) for number in numbers],
        "md5": [str(board.entry(number)["hash"]) for number in numbers],
    }
    pq.write_table(pa.table(columns), folder / "urls.parquet")
    settings = {
        "url_list": folder / "urls.parquet",
        "input_format": "parquet",
        "output_folder": folder / "out",
        "url_col": "url",
        "caption_col": "tags",
        "output_format": "webdataset",
        "processes_count": _CORES,
        "thread_count": threads,
        "retries": retries,
        "timeout": 10,
        "image_size": _SIZE,
        "resize_mode": "border",
        "resize_only_if_bigger": False,
        "downscale_interpolation": "area",
        "encode_format": "jpg",
        "encode_quality": _QUALITY,
        # Shards of at most 1,000, and at least one for each process.
        "number_sample_per_shard": min(1000, -(-board.posts // _CORES)),
        "compute_hash": "md5",
        "verify_hash": '["md5","md5"]',
        "extract_exif": False,
        "enable_wandb": False,
        "disallowed_header_directives": "[]",
        "distributor": "multiprocessing",
    }
    command = [str(program)]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    done = _timed(command)
    shards = [json.loads(path.read_text()) for path in (folder / "out").glob("*_stats.json")]
    seconds = max(shard["end_time"] for shard in shards) - min(shard["start_time"] for shard in shards)
    pictures = sum(shard["successes"] for shard in shards)
    return {
        "pictures": pictures,
        "whole/s": pictures / done.wall_s,
        "steady/s": pictures / seconds,
        "whole s": done.wall_s,
        "CPU ms": 1e3 * done.cpu_s / max(1, pictures),
    }


@dataclass(frozen=True, kw_only=True)
class Done:
    """Result of a program; `report` is its last line if that is JSON."""

    wall_s: float
    cpu_s: float
    report: dict[str, Any]


def _timed(command: list[str]) -> Done:
    quiet = {"WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}
    with tempfile.TemporaryFile() as out:
        begun_s, before = time.perf_counter(), os.times()
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | quiet, check=False
        )
        wall_s, after = time.perf_counter() - begun_s, os.times()
        out.seek(0)
        text = out.read().decode(errors="replace")
    # 3: some files are missing on the board.
    assert done.returncode in (0, 3), text[-2000:]
    reports = [line for line in text.splitlines() if line.startswith("{")]
    return Done(
        wall_s=wall_s,
        cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
        report=json.loads(reports[-1]) if reports else {},
    )


def _traffic(url: str, posts: int) -> dict[str, float]:
    with urlopen(f"{url}/traffic") as answer:
        traffic = json.load(answer)
    wasted = traffic["requested"] - traffic["served"]
    return {"of the posts": posts, "file requests": traffic["requested"], "without a file": wasted}


def _ours(folder: Path) -> dict[int, bytes]:
    """The JPEGs of our dataset by post."""
    found = {}
    for path in sorted((folder / "dataset/data").glob("*.tar")):
        for name, content in _members(path):
            found[int(name.partition(".")[0])] = content
    return found


def _theirs(folder: Path) -> dict[int, bytes]:
    """The JPEGs of img2dataset by post, which JSON files beside them name by address."""
    found = {}
    for path in sorted((folder / "out").glob("*.tar")):
        urls = {}
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    urls[member.name.partition(".")[0]] = json.load(file)["url"]
        for name, content in _members(path):
            url = urls[name.partition(".")[0]]
            found[int(url.rsplit("/", 1)[1].partition(".")[0])] = content
    return found


def _members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar if member.name.endswith(".jpg"))
        return [(name, io.BytesIO(file.read()).getvalue()) for name, file in files if file is not None]


def _ssim_loss(board: Board, found: dict[int, bytes]) -> float:
    """Loss of similarity (SSIM) to the reference, beyond that of the reference's own JPEG encoding."""
    numbers = sorted(found)[:_COMPARED]
    wanted = [reference(board.picture(number), _SIZE) for number in numbers]
    best = similarity(wanted, [encoded(image, quality=_QUALITY) for image in wanted])
    return best - similarity(wanted, [found[number] for number in numbers])


if __name__ == "__main__":
    main()
