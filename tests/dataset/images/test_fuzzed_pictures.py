"""Mutated pictures and hostile tags through a whole build: no crash, no hang, bounded memory, correct sums."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from alti2v.dataset.check.verify import verify_dataset
from alti2v.pictures.decoder_process import DecoderPool
from alti2v.pictures.limits import DecoderLimits
from alti2v.records import composed
from tests.dataset.helpers.building import build, samples
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

MOST_MB = 1024  # 50 megapixels at 4 bytes each, plus decoding; the decoder's own limit is 1.5 GiB
HOSTILE_TAGS = (
    "\x01\x02\x1b[31mred\x07",
    "a" * 10_000,
    "\u202egnp.egami",
    "<img/src=x/onerror=alert(1)>",
    "../../../etc/passwd",
    "C:\\aux.jpg",
    "'; DROP TABLE posts; --",
    "{{7*7}}",
    "=HYPERLINK(1)",
    "\u0000",
    "\ufeff",
    "\U0001f469\u200d\U0001f467",
    "e\u0301",
    '"',
)


def originals() -> list[bytes]:
    """Return valid pictures of every variant of the four formats."""
    rgb = drawing(1, width=160, height=200)
    frames = [drawing(seed, width=64, height=64) for seed in range(3)]
    animated = {"save_all": True, "append_images": frames[1:]}
    alpha = rgb.convert("RGBA")
    alpha.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(rgb, quality=90, exif=exif),
        encoded(rgb, progressive=True, optimize=True),
        encoded(rgb.convert("CMYK")),
        encoded(rgb.convert("L"), quality=40),
        encoded(rgb, "PNG"),
        encoded(alpha, "PNG"),
        encoded(rgb.quantize(16), "PNG", transparency=3),
        encoded(rgb.convert("I;16"), "PNG"),
        encoded(frames[0], "PNG", **animated),
        encoded(rgb.quantize(64), "GIF", transparency=1),
        encoded(frames[0], "GIF", **animated),
        encoded(rgb, "WEBP"),
        encoded(alpha, "WEBP", lossless=True),
        encoded(frames[0], "WEBP", **animated),
    ]


def mutated(rng: random.Random, contents: list[bytes]) -> bytes:
    """Return a picture with one or two mutations."""
    content = bytearray(rng.choice(contents))
    for _ in range(rng.randint(1, 2)):
        rng.choice((_flip, _cut, _splice, _repeat, _resize))(rng, content, contents)
    return bytes(content)


def _flip(rng: random.Random, content: bytearray, _contents: list[bytes]) -> None:
    # Half of them near the front, where the headers are.
    reach = len(content) if rng.random() < 0.5 else min(len(content), 200)
    for _ in range(rng.randint(1, 20) if reach else 0):
        content[rng.randrange(reach)] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _splice(rng: random.Random, content: bytearray, contents: list[bytes]) -> None:
    head = rng.choice(contents)[: rng.randint(1, 600)]
    content[: rng.choice((0, len(head)))] = head


def _repeat(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    start = rng.randrange(len(content) + 1)
    content[start:start] = content[start : start + rng.randint(1, 2000)] * rng.randint(1, 5)


def _resize(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    """Write other sides into the header, up to just below the pixel limit and far above it."""
    width, height = (rng.choice((0, 1, 17, 3000, 7000, 16383, 65535, 1 << 31)) for _ in "wh")
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    if content.startswith(b"\x89PNG") and len(content) > 33:
        content[16:24] = struct.pack(">II", width & 0xFFFFFFFF, height & 0xFFFFFFFF)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif content.startswith(b"GIF8"):
        content[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif frame > 0:
        content[frame + 5 : frame + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif content.startswith(b"RIFF"):
        content[24:30] = struct.pack("<I", width & 0xFFFFFF)[:3] + struct.pack("<I", height & 0xFFFFFF)[:3]


def hostile_posts(count: int) -> Iterator[TinyPost]:
    rng = random.Random(1988)
    contents = originals()
    for number in range(count):
        tags = ["1girl", *rng.sample(HOSTILE_TAGS, 3)]
        content = mutated(rng, contents) or b"\0"  # a crawl stores no file without bytes
        yield TinyPost(id=1000 + number, content=content, tags=tags)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_pictures_and_tags(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every post gets one outcome, none takes 10 s or kills its decoder, and the dataset is sound."""
    decoders = DecoderPool(limits=DecoderLimits(cpu_s=10))  # half the usual time
    monkeypatch.setattr("alti2v.dataset.images.prepare.process_decoders", lambda: decoders)
    posts = [*tiny_posts(20), *hostile_posts(count)]
    store = write_store(tmp_path / "store", posts, posts_per_tar=500, rows_per_part=2000)
    report = build(store, tmp_path / "dataset", shard_samples=1000)
    with decoders.borrowed() as decoder:
        status = Path(f"/proc/{decoder.pid}/status").read_text()
    decoders.close()

    peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    assert peak_mb < MOST_MB
    assert sum(report.outcomes.values()) == len(posts)
    assert not {"dropped crashed", "dropped too_slow"} & set(report.outcomes)
    assert report.outcomes["stored"] > 20 + count / 20  # the mutations leave something to decode
    assert report.outcomes["dropped damaged"] > count / 20
    assert verify_dataset(tmp_path / "dataset").findings == ()
    names = pq.read_table(tmp_path / "dataset" / "tags.parquet").column("name").to_pylist()
    assert {composed(tag) for tag in HOSTILE_TAGS} <= set(names)
    for sample in samples(tmp_path / "dataset", "test"):
        assert Image.open(io.BytesIO(sample["jpg"])).size == (32, 32)
        assert set(json.loads(sample["json"])["tags_general"].split(" ")) <= {*names, ""}
