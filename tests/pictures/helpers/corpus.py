"""Drawn pictures of every kind that the four formats know, and what damage may do to them."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from alti2v.pictures.check import find_flaw
from alti2v.pictures.decode import DecodedPicture, Unusable, decodable, decode
from alti2v.pictures.formats.png import chunks
from alti2v.pictures.header import ImageHeader, read_header
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.files import png_file

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def _rgb(seed: int) -> Image.Image:
    return drawing(seed, width=48 + seed % 17, height=40 + seed % 13)


def _alpha(seed: int) -> Image.Image:
    image = _rgb(seed).convert("RGBA")
    image.putalpha(_rgb(seed + 1).convert("L").resize(image.size))
    return image


def _sixteen_bits(seed: int) -> bytes:
    return png_file(np.asarray(_rgb(seed)).astype(np.uint16) * 257 + seed)


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "JPEG baseline": lambda seed: encoded(_rgb(seed), quality=70 + seed % 30),
    "JPEG progressive": lambda seed: encoded(_rgb(seed), quality=70 + seed % 30, progressive=True),
    "JPEG grey": lambda seed: encoded(_rgb(seed).convert("L"), optimize=True),
    "PNG 8 bit": lambda seed: encoded(_rgb(seed), "PNG"),
    "PNG alpha": lambda seed: encoded(_alpha(seed), "PNG"),
    "PNG 16 bit": _sixteen_bits,
    "PNG palette": lambda seed: encoded(_rgb(seed).quantize(32), "PNG"),
    "PNG interlaced": lambda seed: png_file(np.asarray(_rgb(seed)), is_interlaced=True),
    "GIF": lambda seed: encoded(_rgb(seed).quantize(64), "GIF"),
    "GIF interlaced": lambda seed: encoded(_rgb(seed).quantize(16), "GIF", interlace=1),
    "WebP lossy": lambda seed: encoded(_rgb(seed), "WEBP", quality=60 + seed % 40),
    "WebP lossless": lambda seed: encoded(_alpha(seed), "WEBP", lossless=True),
}


def flipped(rng: random.Random, content: bytes) -> bytes:
    """One bit of a file is another."""
    damaged = bytearray(content)
    damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(rng: random.Random, content: bytes) -> bytes:
    """The end of a file is missing: a byte, some bytes or most of them."""
    return content[: -rng.choice((rng.randint(1, 24), rng.randint(1, len(content) - 1)))]


def decoded_of(content: bytes) -> DecodedPicture | Unusable:
    """What the project decodes, at full size."""
    header = decodable(content)
    return header if isinstance(header, Unusable) else decode(content, header)


def pixels(content: bytes) -> np.ndarray | None:
    """What the project decodes; None if the picture cannot be used."""
    decoded = decoded_of(content)
    return None if isinstance(decoded, Unusable) else np.asarray(decoded.pixels)


def strict_pixels(content: bytes) -> np.ndarray | None:
    """What Pillow decodes, strictly, as far as it goes by itself; None if it refuses."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            image.load()
            return np.asarray(image.convert("RGBA"))
    except Exception:  # noqa: BLE001 - decoders raise nearly anything
        return None


def _has_sound_checksums(content: bytes) -> bool:
    """Whether libpng shows a PNG: it refuses image data with a wrong checksum, whatever the pixels are."""
    data = [part for part in chunks(content) if part.kind == b"IDAT"] if content[:4] == b"\x89PNG" else []
    return all(part.is_sound for part in data if part.crc is not None)


def is_stored(content: bytes) -> bool:
    """Return whether a crawl stores a file without a known MD5."""
    header = read_header(content)
    return isinstance(header, ImageHeader) and not find_flaw(header.format, content)


def count(kind: str, *, pictures: int, damages: int) -> Counter[str]:
    """Damage pictures of a kind, and count the outcomes.

    Raises:
        AssertionError: A promise does not hold.
    """
    counts = Counter[str]()
    for seed in range(pictures):
        content = KINDS[kind](seed)
        rng = random.Random(f"{kind} {seed}")
        ours, strict = pixels(content), strict_pixels(content)
        assert ours is not None, "a sound picture is lost"
        assert is_stored(content), "a sound picture is not stored"
        for name, damage in (("flips", flipped), ("cuts", cut)):
            for _ in range(damages):
                damaged = damage(rng, content)
                counts[f"{name} {_outcome(damaged, ours, strict, is_cut=name == 'cuts')}"] += 1
    return counts


def _outcome(damaged: bytes, ours: np.ndarray, strict: np.ndarray | None, *, is_cut: bool) -> str:
    got, got_strictly = pixels(damaged), strict_pixels(damaged)
    is_same = np.array_equal(got, ours) if got is not None else False
    if got_strictly is None:
        assert got is None or is_same, "a damaged picture is kept that Pillow refuses"
    elif strict is not None and np.array_equal(got_strictly, strict) and _has_sound_checksums(damaged):
        assert got is not None, "a picture is lost that is shown as it was"
    assert not is_cut or got is None or is_same, "a cut picture passes as whole"
    assert not is_cut or is_stored(damaged) == is_same, "crawl and build disagree"
    return "refused" if got is None else "kept, same pixels" if is_same else "kept, other pixels"
