"""What bytes are, from the header alone, without Pillow."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alti2v.pictures.header import ImageHeader, NoPicture, PictureRefusal, read_header
from alti2v.pictures.limits import MAX_STORED_PIXELS


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
    """Every kind that Pillow writes."""
    assert read_header(jpeg(width, height, mode=mode, progressive=progressive)) == ImageHeader(
        "JPEG", width, height
    )


def test_headers_do_not_reach_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever parses hostile bytes in the crawl's own process is not Pillow."""
    contents = {form: io.BytesIO() for form in ("JPEG", "PNG", "GIF", "WEBP")}
    for form, out in contents.items():
        Image.new("RGB", (64, 48)).save(out, form)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))

    for form, out in contents.items():
        assert read_header(out.getvalue()) == ImageHeader(form, 64, 48)


@given(at=st.integers(2, 250), byte=st.integers(0, 255), cut=st.integers(0, 700))
def test_damaged_headers_are_a_failure_or_a_size(at: int, byte: int, cut: int) -> None:
    """Never an exception; never a picture without pixels or with too many."""
    content = bytearray(jpeg(64, 48))
    content[at] = byte
    for damaged in (bytes(content), bytes(content[:cut])):
        found = read_header(damaged)
        assert isinstance(found, ImageHeader | PictureRefusal)
        if isinstance(found, ImageHeader):
            assert 0 < found.width * found.height <= MAX_STORED_PIXELS


def test_a_header_that_promises_too_many_pixels() -> None:
    """Checked without decoding, in the quick way too."""
    content = bytearray(jpeg(64, 48))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    found = read_header(bytes(content))

    assert isinstance(found, PictureRefusal)
    assert found.kind is NoPicture.TOO_MANY_PIXELS


def test_f23_of_several_pictures_in_a_jpeg_the_first_counts() -> None:
    """MPO, as cameras with two lenses write it: a JPEG with more pictures behind the first."""
    out = io.BytesIO()
    first, second = Image.new("RGB", (64, 48), 90), Image.new("RGB", (64, 48), 10)
    first.save(out, "MPO", save_all=True, append_images=[second])

    assert read_header(out.getvalue()) == ImageHeader("JPEG", 64, 48)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", NoPicture.NOT_IMAGE),
        (b"<!DOCTYPE html><html>", NoPicture.NOT_IMAGE),
        (b'{"success": false}', NoPicture.NOT_IMAGE),
        (b"try again later", NoPicture.NOT_IMAGE),
        (b"BM" + bytes(100), NoPicture.UNSUPPORTED_FORMAT),
        (b"\0\0\0 ftypheic" + bytes(100), NoPicture.UNSUPPORTED_FORMAT),
        (b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x0b\x0c\0\1\0\1\1\1\x11\0", NoPicture.UNSUPPORTED_FORMAT),
        (b"\xff\xd8\xff", NoPicture.DAMAGED),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), NoPicture.DAMAGED),
        (b"GIF89a\1\0", NoPicture.DAMAGED),
        (b"RIFF\0\0\0\0WEBPVP8 ", NoPicture.DAMAGED),
    ],
)
def test_what_is_no_picture_has_its_kind(content: bytes, kind: NoPicture) -> None:
    """A damaged header is distinguished from another format, so that a crawl tries it again."""
    found = read_header(content)

    assert isinstance(found, PictureRefusal)
    assert found.kind is kind
