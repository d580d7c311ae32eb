"""Pictures for a tagger: prepared as the training's were, in order, ahead, and never fatal."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.arrays import Uint8Array
from alti2v.errors import UsageError
from alti2v.model.tagging.preprocess import Preprocessing, Problem, pixels, prepared_ahead, source_of
from alti2v.pictures.decode import Unusable
from alti2v.pictures.framing import Framing, letterbox
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import prepare_picture
from tests.pictures.helpers.files import with_chunk

RECIPE = ImageRecipe(size=64)
AS_OURS = RECIPE
AS_OTHERS = Framing(steps=(letterbox(RECIPE.size),))


def noisy(size: Any = (150, 110)) -> Any:
    """Return a picture of mode RGBA."""
    rng = np.random.default_rng(5)
    grid = rng.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Any, form: Any, **saving: Any) -> Any:
    file = io.BytesIO()
    image.save(file, form, **saving)
    return file.getvalue()


def sound_pixels(content: bytes, preparation: Preprocessing = AS_OURS) -> Uint8Array:
    prepared = pixels(content, preparation)
    assert not isinstance(prepared, Problem), prepared
    return prepared


def as_pixels(picture: Any) -> Uint8Array:
    prepared = pixels(source_of(picture), AS_OURS)
    assert not isinstance(prepared, Problem), prepared
    return prepared


def jpeg_of_dataset(content: bytes) -> bytes:
    prepared = prepare_picture(content, RECIPE)
    assert not isinstance(prepared, Unusable), prepared
    return prepared.content


def test_pixels_are_those_of_the_dataset() -> None:
    """The network sees the decoded JPEG that a dataset would hold of the same file."""
    content = encoded(noisy().convert("RGB"), "JPEG", quality=90)
    square = Image.open(io.BytesIO(jpeg_of_dataset(content)))
    found = sound_pixels(content)

    assert found.dtype == np.uint8
    assert found.shape == (64, 64, 3)
    assert np.array_equal(found, np.asarray(square))


@pytest.mark.tf
def test_pixels_are_those_that_training_decodes() -> None:
    """TensorFlow's decoder, which training reads with, gives the same numbers as Pillow's."""
    from alti2v.model import backend

    content = encoded(noisy().convert("RGB"), "PNG")
    jpeg = jpeg_of_dataset(content)
    theirs = backend.tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE").numpy()

    assert np.array_equal(sound_pixels(content), theirs)


MODES = {
    "RGB.png": ("RGB", "PNG"),
    "RGBA.png": ("RGBA", "PNG"),
    "L.png": ("L", "PNG"),
    "LA.png": ("LA", "PNG"),
    "1.png": ("1", "PNG"),
    "P.gif": ("P", "GIF"),
    "I;16.png": ("I;16", "PNG"),
    "CMYK.jpg": ("CMYK", "JPEG"),
    "RGB.jpg": ("RGB", "JPEG"),
    "L.jpg": ("L", "JPEG"),
    "RGBA.webp": ("RGBA", "WEBP"),
}


@pytest.fixture(params=MODES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    mode, form = MODES[request.param]
    image = noisy().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image, np.uint16) * 257)
    path = tmp_path / request.param.replace(";", "")
    path.write_bytes(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
    return path


def test_networks_of_others_get_the_pixels_before_encoding() -> None:
    """The same picture without the JPEG step: noise survives it, where ours is smoothed by the encoder."""
    picture = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(picture), "PNG")

    assert np.array_equal(sound_pixels(content, AS_OTHERS), picture)
    assert not np.array_equal(sound_pixels(content), picture)


def test_a_picture_is_the_same_however_it_is_given(file: Any) -> None:
    """Path, text, or opened with Pillow: the same pixels, for every mode."""
    by_path = as_pixels(file)

    assert np.array_equal(as_pixels(str(file)), by_path)
    with Image.open(file) as opened:
        assert np.array_equal(as_pixels(opened), by_path)
        again = as_pixels(opened)
        assert np.array_equal(again, by_path)


def test_decoded_pictures_are_the_same_where_nothing_was_lost() -> None:
    """An array and a loaded image of a PNG give the PNG's pixels."""
    image = noisy()
    by_content = sound_pixels(encoded(image, "PNG"))

    assert np.array_equal(as_pixels(np.asarray(image)), by_content)
    assert np.array_equal(as_pixels(image), by_content)


def test_an_opened_jpeg_is_decoded_like_its_file(tmp_path: Path) -> None:
    """A large JPEG that Pillow has only opened is decoded at reduced size, as its file is: pixel by pixel."""
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(noisy((1500, 1100)).convert("RGB"), "JPEG", quality=80))
    with Image.open(path) as opened:
        found = as_pixels(opened)
        position_kept = np.asarray(opened)  # what was opened can still be loaded

    assert np.array_equal(found, as_pixels(path))
    assert position_kept.shape == (1100, 1500, 3)
    assert not np.array_equal(found, as_pixels(position_kept))


def test_a_loaded_jpeg_differs_little_from_its_file() -> None:
    """A JPEG that the caller decoded was decoded at full size: close to the reduced decoding, not the same."""
    content = encoded(noisy((900, 700)).convert("RGB"), "JPEG", quality=95)
    loaded = Image.open(io.BytesIO(content))
    loaded.load()
    difference = as_pixels(loaded).astype(int) - pixels(content, AS_OURS)

    assert np.abs(difference).mean() < 2


def test_orientation_is_obeyed_however_it_is_given(tmp_path: Path) -> None:
    """A picture stored on its side is turned, whether given by its path, opened, or loaded."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(noisy().convert("RGB"), "PNG", exif=exif))
    loaded = Image.open(path)
    loaded.load()

    assert not np.array_equal(as_pixels(path), sound_pixels(encoded(noisy().convert("RGB"), "PNG")))
    assert np.array_equal(as_pixels(loaded), as_pixels(path))


def test_modes_that_png_does_not_have_are_converted() -> None:
    """Floating point, premultiplied and CMYK images in memory are pictures too."""
    for mode in ("F", "RGBa", "CMYK", "HSV", "YCbCr"):
        image = noisy()
        image = (
            image.convert("L").convert("F")
            if mode == "F"
            else image.convert(mode)
            if mode == "RGBa"
            else (image.convert("RGB").convert(mode))
        )
        assert as_pixels(image).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"\(2, 8, 8, 3\)"),
        (np.zeros((8, 8, 2), np.uint8), r"\(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), "no pixel"),
        (b"bytes", "bytes is not a picture"),
        (None, "NoneType is not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, message: Any) -> None:
    """Other arrays and other things are refused by what they are."""
    with pytest.raises(UsageError, match=message):
        source_of(picture)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.with_name("gone.png"), "missing"),
        (lambda path: path.parent, "not_file"),
        (lambda path: path.with_name("a\0b"), "unreadable"),
        (lambda path: path.write_bytes(b"no picture") and path, "not_image"),
        (lambda path: path.write_bytes(encoded(noisy(), "PNG")[:300]) and path, "damaged"),
        (lambda path: path.write_bytes(encoded(noisy((8, 8)), "PNG")) and path, "too_small"),
        (lambda path: path.write_bytes(encoded(noisy((900, 20)), "PNG")) and path, "too_narrow"),
    ],
)
def test_problems_are_answers(tmp_path: Path, make: Any, kind: Any) -> None:
    """Unreadable and undecodable files come back with a kind and a sentence; nothing is raised."""
    problem = pixels(make(tmp_path / "x.png"), AS_OURS)

    assert isinstance(problem, Problem)
    assert problem.kind == kind
    assert len(problem.words) > 5


def test_order_stays_and_only_so_many_are_taken_ahead(tmp_path: Path) -> None:
    """Results come in the order of the pictures, and at most `ahead` of them are in memory at a time."""
    contents = [encoded(Image.new("L", (32, 32), 3 * i), "PNG") for i in range(60)]
    taken = []

    def source() -> Iterator[Any]:
        for number, content in enumerate(contents):
            taken.append(number)
            yield number, content

    seen = []
    for number, prepared in prepared_ahead(source(), ImageRecipe(size=32), ahead=7, threads=3):
        assert not isinstance(prepared, Problem), prepared
        seen.append((number, round(float(prepared.mean()) / 3)))
        assert len(taken) - len(seen) < 7

    assert seen == [(i, i) for i in range(60)]


def test_stopping_early_ends_the_threads() -> None:
    """Who takes one picture and goes away leaves no thread behind, and the warnings as they were."""
    before = list(warnings.filters)
    content = encoded(noisy(), "PNG")
    stream = prepared_ahead(((i, content) for i in range(1000)), AS_OURS, ahead=4, threads=2)
    next(stream)
    assert isinstance(stream, Generator)
    stream.close()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert warnings.filters == before


def test_pillows_warnings_reach_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """Of odd metadata: neither the terminal nor the caller's filters, which stay as they are."""
    odd = with_chunk(encoded(noisy().convert("RGB"), "PNG"), b"acTL", bytes(8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        found = list(prepared_ahead([(0, odd), (1, odd)], AS_OURS, ahead=2, threads=2))

        assert warnings.filters == before
    assert [isinstance(one, np.ndarray) for _, one in found] == [True, True]
    assert caught == []
    assert capfd.readouterr() == ("", "")


def test_known_problems_keep_their_place() -> None:
    """A picture that is already known to be unusable passes through in its place."""
    content = encoded(noisy(), "PNG")
    problem = Problem("same_sidecar", "shares")
    found = list(prepared_ahead([(0, content), (1, problem), (2, content)], AS_OURS, ahead=2, threads=1))

    assert [number for number, _ in found] == [0, 1, 2]
    assert found[1][1] is problem
