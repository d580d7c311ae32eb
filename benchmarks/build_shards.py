"""Building shards from a store, beside img2dataset on the same pictures and beside measured floors.

Pictures are drawn, 1.23 megapixels, as JPEG (smooth, and with grain so that a file has about 400 kB), PNG and
WebP, and become 224 px. `alti2v` is the whole build from store to manifest; `img2dataset` is its Resizer and
WebDatasetSampleWriter, fed from memory, in a separate environment. The floors are the unavoidable steps,
each alone: entropy decoding (a JPEG at 1/8 scale; other formats whole, as the build decodes them), resizing the
result, encoding, and writing the tar. Listed beside them, but no part of their sum, are the hashes of a dataset
(SHA-256 of each picture and of the shard, and its git hash) and the appearance by which near-duplicates are
found. Per core means per second of processor time; the gain of a second worker is measured on the clock. Rounds
alternate, and each figure is the minimum of its rounds. Run on an idle machine:

    python3.11 -m venv ENV && ENV/bin/pip install img2dataset==1.47.0 setuptools
    python benchmarks/build_shards.py --img2dataset ENV/bin/python [--pictures 600] [--rounds 3]
    python benchmarks/build_shards.py --memory
    python benchmarks/build_shards.py --md5 [--pictures 600] [--rounds 3]

--md5 measures the clock time of preparing pictures with and without the comparison of their MD5, in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.engines.local import local_engine
from alti2v.dataset.images.prepare import Chunk, prepare_chunk
from alti2v.dataset.plan.posts import load_posts
from alti2v.pictures.decode import decodable, decode
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.header import ImageHeader
from alti2v.pictures.jobs import PrepareJob
from alti2v.pictures.recipe import LUMINANCE_SIDE_PX, ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture
from alti2v.records import Progress
from alti2v.storage.store import open_store
from alti2v.storage.tar import write_shard
from benchmarks.support.illustrations import decoded, drawn_pictures, encoded, fitting, reference, similarity
from benchmarks.support.processes import children, peak_rss_mb
from tests.dataset.helpers.tiny_store import TinyPost, write_store

_SIZE = 224
_COMPARED = 48  # pictures for floors and similarity
_KINDS = ("JPEG", "JPEG, grain", "PNG", "WebP")
_RECIPE = ImageRecipe(size=_SIZE)
# As in the decoder process: otherwise most of a floor would be page faults.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 24), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
_IMG2DATASET = """
import io, json, os, resource, sys, tempfile, time
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
from pathlib import Path
import cv2, pyarrow as pa
from img2dataset.resizer import Resizer
from img2dataset.writer import WebDatasetSampleWriter
contents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
count = int(sys.argv[2])
resizer = Resizer(int(sys.argv[3]), "border", False, downscale_interpolation="area", encode_quality=95)
schema = pa.schema([("key", pa.string()), ("width", pa.int32()), ("height", pa.int32())])
resizer(io.BytesIO(contents[0]))
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
with tempfile.TemporaryDirectory() as folder:
    wall_s, cpu_s = time.perf_counter(), cpu()
    writer = WebDatasetSampleWriter(0, folder, False, 5, schema, "jpg")
    for number in range(count):
        jpeg, width, height, _, _, error = resizer(io.BytesIO(contents[number % len(contents)]))
        assert error is None, error
        writer.write(jpeg, f"{number:09d}", None, {"key": f"{number:09d}", "width": width, "height": height})
    writer.close()
    print(json.dumps({"wall_s": time.perf_counter() - wall_s, "cpu_s": cpu() - cpu_s}))
for number, content in enumerate(contents[:100]):
    Path(sys.argv[4], f"{number:06d}.jpg").write_bytes(resizer(io.BytesIO(content))[0])
"""


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--img2dataset", type=Path, default=None, help="Python with img2dataset")
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=_KINDS, choices=_KINDS)
    parser.add_argument("--memory", action="store_true", help="measure the memory of a worker instead")
    parser.add_argument("--md5", action="store_true", help="measure the cost of the MD5 check instead")
    parser.add_argument("--build", nargs=3, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--floors", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--peaks", nargs=2, type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        print(json.dumps(_build(Path(options.build[0]), Path(options.build[1]), int(options.build[2]))))
    elif options.floors is not None:
        print(json.dumps(_floors(options.floors, drawn_pictures(options.floors, _COMPARED))))
    elif options.peaks is not None:
        print(json.dumps(_peaks(*options.peaks)))
    elif options.md5:
        print(json.dumps({kind: _md5_cost(kind, options.pictures, options.rounds) for kind in options.kinds}))
    elif options.memory:
        print(json.dumps(_memory()))
    else:
        kinds = {
            kind: _measure(kind, options.pictures, options.rounds, options.img2dataset)
            for kind in options.kinds
        }
        print(json.dumps(kinds))


def _measure(kind: str, pictures: int, rounds: int, img2dataset: Path | None) -> dict[str, float]:
    contents = drawn_pictures(kind, pictures)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("pictures", "theirs"):
            (folder / part).mkdir()
        for number, content in enumerate(contents):
            (folder / "pictures" / f"{number:06d}").write_bytes(content)
        few = pictures // 4
        for count in (few, pictures):
            _store(folder / f"store-{count}", contents, count)
        rounds_seen = []
        for turn in range(rounds):
            small, one, two = (
                _run(
                    [
                        sys.executable,
                        __file__,
                        "--build",
                        folder / f"store-{count}",
                        folder / f"{turn}-{name}",
                        workers,
                    ]
                )
                for name, count, workers in (("few", few, 1), ("one", pictures, 1), ("two", pictures, 2))
            )
            seen = {
                "few_s": small["cpu_s"],
                "all_s": one["cpu_s"],
                "ms_1_worker": 1e3 / one["per_s"],
                "ms_2_workers": 1e3 / two["per_s"],
                **_run([sys.executable, __file__, "--floors", kind], **_MALLOC),
            }
            if img2dataset is not None:
                arguments = [folder / "pictures", pictures, _SIZE, folder / "theirs"]
                seen["theirs_ms"] = (
                    1e3 * _run([img2dataset, "-c", _IMG2DATASET, *arguments])["cpu_s"] / pictures
                )
            rounds_seen.append(seen)
        result = {figure: min(seen[figure] for seen in rounds_seen) for figure in rounds_seen[0]}
        # What every build costs once, such as importing, cancels out. The least difference of any round would
        # be that of the one whose small build was slowed down most.
        result["ours_ms"] = 1e3 * (result.pop("all_s") - result.pop("few_s")) / (pictures - few)
        result["gain_of_2_workers"] = result["ms_1_worker"] / result["ms_2_workers"]
        floors = sum(value for figure, value in result.items() if figure.startswith("floor"))
        result["of_floors"] = result["ours_ms"] / floors
        if img2dataset is not None:
            result["faster"] = result["theirs_ms"] / result["ours_ms"]
        result = {figure: round(value, 2) for figure, value in result.items()}
        result |= {"kb": round(sum(map(len, contents)) / len(contents) / 1e3)}
        result |= _ssim(contents[:_COMPARED], sorted((folder / "theirs").iterdir())[:_COMPARED])
    print(f"{kind}: " + ", ".join(f"{figure} {value:g}" for figure, value in result.items()))
    return result


def _store(path: Path, contents: Sequence[bytes], posts: int) -> None:
    # Bytes after the end of a picture, which decoders ignore, make every file distinct.
    write_store(
        path,
        (
            TinyPost(id=number + 1, content=contents[number % len(contents)] + number.to_bytes(8, "big"))
            for number in range(posts)
        ),
        posts_per_tar=1000,
        rows_per_part=10_000,
    )


def _run(command: Sequence[object], **environment: str) -> dict[str, float]:
    words = [str(word) for word in command]
    environment = {**os.environ, **environment}
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _build(store: Path, dataset: Path, workers: int) -> dict[str, float]:
    # Starting takes half a second once, which 1.5 million pictures do not notice: it is left out.
    with process_decoders().borrowed() as started:
        started.run(PrepareJob(_RECIPE), b"")
    begun_s = _processor_s()
    if workers == 1:
        build_shards(
            BuildConfig(store=store, dataset=dataset, size=_SIZE, test=0, validation=0, workers=workers)
        )
    cpu_s = _processor_s() - begun_s
    return {"cpu_s": cpu_s, "per_s": _rate(store, dataset.with_suffix(".work"), workers)}


def _processor_s() -> float:
    """Processor time of this process and its decoder, s."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    with process_decoders().borrowed() as decoder:
        fields = Path(f"/proc/{decoder.pid}/stat").read_text().rpartition(")")[2].split()
    return mine.ru_utime + mine.ru_stime + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _md5_cost(kind: str, pictures: int, rounds: int) -> dict[str, float]:
    """Milliseconds on the clock per picture with and without the check, for one and two workers."""
    seen: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _store(folder / "store", drawn_pictures(kind, pictures), pictures)
        for turn in range(rounds):
            for workers in (1, 2):
                for checks in (True, False) if turn % 2 else (False, True):
                    work = folder / f"{turn}-{workers}-{checks}"
                    figure = f"{'with' if checks else 'without'}_{workers}_ms"
                    seen.setdefault(figure, []).append(
                        1e3 / _rate(folder / "store", work, workers, checks=checks)
                    )
    result = {figure: min(values) for figure, values in sorted(seen.items())}
    for workers in (1, 2):
        result[f"ratio_{workers}"] = result[f"with_{workers}_ms"] / result[f"without_{workers}_ms"]
    print(f"{kind}: " + ", ".join(f"{figure} {value:.3f}" for figure, value in result.items()))
    return {figure: round(value, 3) for figure, value in result.items()}


def _rate(store: Path, work: Path, workers: int, *, checks: bool = True) -> float:
    """Pictures prepared per second on the clock, from the moment when all workers are at it."""
    work.mkdir()
    with open_store(store) as opened:
        posts = load_posts(opened, work)
    columns = (posts.numbers(name).tolist() for name in ("tar", "offset", "size"))
    md5s = [md5 if checks else "" for md5 in posts.md5s().texts(np.arange(len(posts.ids)))]
    by_place = sorted(zip(*columns, posts.ids.tolist(), md5s, strict=True))
    chunks = [
        Chunk(
            work=work,
            store=store,
            tar=by_place[first][0],
            pictures=tuple(
                (post_id, offset, size, md5) for _, offset, size, post_id, md5 in by_place[first : first + 20]
            ),
            recipe=_RECIPE,
            made_with="",
        )
        for first in range(0, len(by_place), 20)  # 20 divides the pictures of a tar
    ]
    with local_engine(workers) as engine:
        list(engine(prepare_chunk, chunks[: 4 * workers]))
        begun_s = time.perf_counter()
        list(engine(prepare_chunk, chunks[4 * workers :]))
        return sum(len(chunk.pictures) for chunk in chunks[4 * workers :]) / (time.perf_counter() - begun_s)


def _floors(kind: str, contents: Sequence[bytes]) -> dict[str, float]:
    """Milliseconds of processor time per picture of each step alone."""
    is_jpeg = kind.startswith("JPEG")
    # What the build leaves of a JPEG of this size to resize.
    reduced = [decoded(content, 4 if is_jpeg else 1) for content in contents]
    small = [image.resize((_SIZE, _SIZE)) for image in reduced]
    jpegs = [_as_jpeg(image) for image in small]

    def write_tar() -> None:
        with tempfile.TemporaryDirectory() as folder:
            samples = ((f"{number:012d}", {"jpg": jpeg, "json": b"{}"}) for number, jpeg in enumerate(jpegs))
            write_shard(Path(folder, "floor.tar"), samples)

    def each(step: Callable[[Any], object], inputs: Sequence[object]) -> Callable[[], object]:
        return lambda: deque(map(step, inputs), maxlen=0)  # results that are kept would take new memory each

    return {
        "floor_decode_ms": _alone(each(_decoded_eighth if is_jpeg else _decoded_whole, contents)),
        "floor_resize_ms": _alone(
            each(
                lambda image: image.resize(fitting(_SIZE), Image.Resampling.BICUBIC, reducing_gap=1.3), reduced
            )
        ),
        "floor_encode_ms": _alone(each(_as_jpeg, small)),
        "floor_tar_ms": _alone(write_tar),
        "beside_hashes_ms": _alone(each(_hashes, jpegs)),
        "beside_appearances_ms": _alone(each(_luminance, reduced)),
    }


def _decoded_eighth(content: bytes) -> Image.Image:
    return decoded(content, 8)


def _decoded_whole(content: bytes) -> object:
    header = decodable(content)
    assert isinstance(header, ImageHeader)
    return decode(content, header)


def _hashes(jpeg: bytes) -> None:
    for make in (hashlib.sha256, hashlib.sha256, hashlib.sha1):
        make(jpeg)


def _luminance(image: Image.Image) -> bytes:
    grey = image.convert("L")
    return grey.resize((LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX), Image.Resampling.BOX, reducing_gap=1.5).tobytes()


def _as_jpeg(image: Image.Image) -> bytes:
    return encoded(image, quality=_RECIPE.quality)


def _alone(step: Callable[[], object]) -> float:
    step()
    spent = []
    for _ in range(5):
        begun_s = time.process_time()
        step()
        spent.append(time.process_time() - begun_s)
    return 1e3 * statistics.median(spent) / _COMPARED


def _ssim(contents: Sequence[bytes], theirs: Sequence[Path]) -> dict[str, float]:
    """Mean SSIM against full decoding and Lanczos alone: of that picture as a JPEG, of ours, of theirs."""
    wanted = [reference(content, _SIZE) for content in contents]
    prepared = [prepare_picture(content, _RECIPE) for content in contents]
    ours = [picture.content for picture in prepared if isinstance(picture, PreparedPicture)]
    best = similarity(wanted, [encoded(image, quality=_RECIPE.quality) for image in wanted])
    result = {"ssim_best": best, "ssim_loss": best - similarity(wanted, ours)}
    if theirs:
        result["their_ssim_loss"] = best - similarity(wanted, [path.read_bytes() for path in theirs])
    return {name: round(value, 4) for name, value in result.items()}


def _memory() -> dict[str, float]:
    """Peak memory of a worker and of its decoder for few and for many posts and shards."""
    result: dict[str, float] = {}
    content = drawn_pictures("JPEG, grain", 2)
    tiny = io.BytesIO()
    Image.open(io.BytesIO(content[0])).resize((40, 50)).save(tiny, "JPEG")
    with tempfile.TemporaryDirectory() as name:
        for posts in (2_000, 20_000):
            folder = Path(name, str(posts))
            folder.mkdir()
            # Large ones first and last; in between nothing but numbers grows.
            _store(folder / "store", [*content, *[tiny.getvalue()] * 98], posts)
            found = _run([sys.executable, __file__, "--peaks", folder / "store", folder / "dataset"])
            result |= {f"{figure}_{posts}": round(value) for figure, value in found.items()}
    return result


def _peaks(store: Path, dataset: Path) -> dict[str, float]:
    peaks: dict[str, float] = {}

    def measure(_: Progress) -> None:
        for child in children(os.getpid()):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                for role, pids in (("worker", [child]), ("decoder", children(child))):
                    peaks[f"{role}_mb"] = max([peaks.get(f"{role}_mb", 0.0), *map(peak_rss_mb, pids)])

    report = build_shards(
        BuildConfig(
            store=store, dataset=dataset, size=_SIZE, test=0, validation=0, shard_samples=500, workers=2
        ),
        progress=measure,
    )
    return {**peaks, "main_mb": peak_rss_mb(), "shards": report.shards}


if __name__ == "__main__":
    main()
