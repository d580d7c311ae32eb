"""Headers of pictures: the fast path for ordinary JPEGs agrees with Pillow, or leaves the file to it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alti2v.crawl.download import image_header
from alti2v.crawl.download.image_header import ImageHeader, identify
from alti2v.crawl.http.retry import FailedTry, FailKind


def jpeg(width: int, height: int, *, mode: str = "RGB", progressive: bool = False, quality: int = 80) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), 90).save(
        out, "JPEG", progressive=progressive, quality=quality, comment=b"c"
    )
    return out.getvalue()


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    progressive=st.booleans(),
)
def test_sizes_of_jpegs(width: int, height: int, mode: str, progressive: bool) -> None:
    """Every kind of JPEG that Pillow writes is read correctly."""
    assert identify(jpeg(width, height, mode=mode, progressive=progressive)) == ImageHeader(
        "JPEG", width, height
    )


def test_ordinary_jpegs_do_not_reach_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordinary JPEGs take the fast path."""
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))

    assert identify(jpeg(64, 48)) == ImageHeader("JPEG", 64, 48)
    assert identify(jpeg(64, 48, progressive=True)) == ImageHeader("JPEG", 64, 48)


@given(at=st.integers(2, 250), byte=st.integers(0, 255), cut=st.integers(0, 700))
def test_damaged_headers_are_a_failure_or_a_size(at: int, byte: int, cut: int) -> None:
    """Never an exception, and never a picture with no or too many pixels."""
    content = bytearray(jpeg(64, 48))
    content[at] = byte
    for damaged in (bytes(content), bytes(content[:cut])):
        found = identify(damaged)
        assert isinstance(found, ImageHeader | FailedTry)
        if isinstance(found, ImageHeader):
            assert 0 < found.width * found.height <= image_header.MAX_PIXELS


def test_a_header_that_promises_too_many_pixels() -> None:
    """It is rejected without decoding, also on the fast path."""
    content = bytearray(jpeg(64, 48))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    found = identify(bytes(content))

    assert isinstance(found, FailedTry)
    assert found.kind is FailKind.TOO_MANY_PIXELS


def test_f23_of_several_pictures_in_a_jpeg_the_first_counts() -> None:
    """F23: MPO, as written by cameras with two lenses, is a JPEG with more pictures after the first."""
    out = io.BytesIO()
    first, second = Image.new("RGB", (64, 48), 90), Image.new("RGB", (64, 48), 10)
    first.save(out, "MPO", save_all=True, append_images=[second])

    assert identify(out.getvalue()) == ImageHeader("JPEG", 64, 48)
