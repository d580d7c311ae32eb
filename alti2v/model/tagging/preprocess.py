"""Preparation of pictures for a tagger: from files, bytes or images to square pixels, ahead of the network.

A network trained by this program gets pictures from the code that made its training pictures
(`pictures.square`), including the JPEG encoding.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from alti2v.arrays import Uint8Array
from alti2v.errors import UsageError
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import Decoder, process_decoders
from alti2v.pictures.framing import Framing
from alti2v.pictures.jobs import FramedJob, PixelsJob
from alti2v.pictures.limits import MAX_ASPECT, MAX_FILE_BYTES, MAX_PIXELS, MIN_SIDE_PX
from alti2v.pictures.recipe import ImageRecipe

# What a tagger takes: a path, an opened picture, or (H, W), (H, W, 3) or (H, W, 4) uint8, RGB(A).
PictureInput = str | Path | Image.Image | Uint8Array
_P = TypeVar("_P")
_S = TypeVar("_S")
_R = TypeVar("_R")

_IN_WORDS = {
    "not_image": "not a JPEG, PNG, GIF, WebP or AVIF picture",
    "damaged": "damaged: it cannot be decoded",
    "too_large": f"more than {MAX_PIXELS // 1_000_000} million pixels",
    "too_small": f"a side shorter than {MIN_SIDE_PX} px",
    "too_narrow": f"one side more than {MAX_ASPECT:g} times the other",
    "too_slow": "decoding it takes too long",
    "crashed": "the decoder crashes on it",
}
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}
_MOST_THREADS = 8
_PICTURES_PER_DECODER = 10  # decoding them takes about as long as starting a decoder: 0.17 s


@dataclass(frozen=True, slots=True)
class Problem:
    """Reason why a picture cannot be tagged.

    Attributes:
        kind: Kind, for counting: "missing", "unreadable", "not_file", "not_image", "too_large", "too_small",
            "too_narrow", "damaged", "too_slow", "crashed", "same_sidecar", "sidecar" or "no_vector".
        words: Description for the user, without the picture's name.
    """

    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Square:
    """A picture of a dataset: a prepared JPEG, which is not encoded a second time."""

    jpeg: bytes


# How pictures are prepared: as for the dataset that the network was trained on, its JPEG included, or as other
# people's clients do it.
Preprocessing = ImageRecipe | Framing
# A problem stands in the order of the pictures for one that is known to be unusable.
Source = Path | bytes | Square | Problem


def decoding_threads(pictures: int | None = None) -> int:
    """Return the number of decoding threads: one for each core that this process may use, at most eight.

    Args:
        pictures: Number of pictures, if known: a few do not repay the start of several decoders.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    useful = _MOST_THREADS if pictures is None else -(-pictures // _PICTURES_PER_DECODER)
    return max(1, min(cores, _MOST_THREADS, useful))


def prepared_ahead(
    pictures: Iterable[tuple[_P, Source]], preparation: Preprocessing, *, ahead: int, threads: int
) -> Iterator[tuple[_P, Uint8Array | Problem]]:
    """Prepare pictures in threads while the caller works on earlier ones; yield them in order.

    Args:
        pictures: (identifier, file, content or problem) of each picture.
        preparation: See `pixels`.
        ahead: See `decoded_ahead`.
        threads: See `decoded_ahead`.
    """
    return decoded_ahead(
        pictures,
        lambda source, decoder: _pixels(source, preparation, decoder),
        ahead=ahead,
        threads=threads,
    )


def decoded_ahead(
    pictures: Iterable[tuple[_P, _S]],
    prepare: Callable[[_S, Decoder], _R],
    *,
    ahead: int,
    threads: int,
) -> Iterator[tuple[_P, _R]]:
    """Process pictures in threads with a decoder each, ahead of the caller; yield the results in order.

    Args:
        pictures: (identifier, what `prepare` takes) of each picture.
        prepare: Function that processes a picture; it must not wait for anything but its decoder.
        ahead: Number of pictures in memory: those taken from `pictures` before the first is yielded, > 0.
        threads: Number of threads; each waits for a decoder process, which a picture may slow down or crash.
    """
    waiting: deque[tuple[_P, Future[_R]]] = deque()
    decoding, is_over = set[Decoder](), threading.Event()

    def borrowing(source: _S) -> _R:
        with process_decoders().borrowed() as decoder:
            decoding.add(decoder)
            if is_over.is_set():
                decoder.stop()
            try:
                return prepare(source, decoder)
            finally:
                decoding.discard(decoder)

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for known_by, source in pictures:
                waiting.append((known_by, pool.submit(borrowing, source)))
                if len(waiting) >= ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            # After Ctrl-C, do not wait for a picture that takes long.
            pool.shutdown(wait=False, cancel_futures=True)
            is_over.set()
            for decoder in tuple(decoding):
                decoder.stop()


def pixels(source: Source, preparation: Preprocessing) -> Uint8Array | Problem:
    """Prepare one picture: (S, S, 3) uint8 RGB, with a mask (S, S, 4), or the problem with it."""
    with process_decoders().borrowed() as decoder:
        return _pixels(source, preparation, decoder)


def _pixels(source: Source, preparation: Preprocessing, decoder: Decoder) -> Uint8Array | Problem:
    if isinstance(source, Problem):
        return source
    content = read_picture_file(source) if isinstance(source, Path) else source
    if isinstance(content, Problem):
        return content
    if isinstance(content, Square):
        content = content.jpeg
    prepared = decoder.run(job_of(preparation, is_square=isinstance(source, Square)), content)
    if isinstance(prepared, Unusable):
        return Problem(prepared.reason, _IN_WORDS.get(prepared.reason, prepared.reason))
    return prepared


def job_of(preparation: Preprocessing, *, is_square: bool) -> PixelsJob | FramedJob:
    """Return the decoder's job for a preparation; `is_square` says if pictures are from a dataset."""
    if isinstance(preparation, Framing):
        return FramedJob(preparation)
    return PixelsJob(preparation, is_square=is_square)


def read_picture_file(path: Path) -> bytes | Problem:
    """Read a file, or return the problem: it is not a regular file, too large for a picture, or unreadable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening, which has side effects on some devices
            return Problem("not_file", "not a file, but a folder, a pipe or a device")
        # Not blocking: a pipe that has meanwhile taken the name would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            if size <= MAX_FILE_BYTES:
                return file.read(size)  # not more: so much memory would be taken, and given back
    except FileNotFoundError:
        return Problem("missing", "there is no such file")
    except (OSError, ValueError) as exc:  # ValueError: a name that no file can have
        return Problem("unreadable", f"unreadable: {getattr(exc, 'strerror', None) or exc}")
    return Problem("too_large", f"a file of more than {MAX_FILE_BYTES // 1_000_000} MB")


def source_of(picture: PictureInput) -> Path | bytes:
    """Return the path or the bytes of a picture; decoded pixels are encoded as PNG, without loss.

    A JPEG that Pillow has opened but not decoded is read from its file, so that it is decoded like one given by
    its path.

    Raises:
        UsageError: It is not a picture.
    """
    if isinstance(picture, str | Path):
        return Path(picture)
    if isinstance(picture, np.ndarray):
        return _png(_image_of(picture))
    if not isinstance(picture, Image.Image):
        raise UsageError(
            f"{type(picture).__name__} is not a picture: give a path, a PIL image or a uint8 array"
        )
    if isinstance(picture, JpegImageFile) and picture.tile and picture.fp is not None:
        return _whole_file(picture)
    return _png(picture)


def _image_of(array: Uint8Array) -> Image.Image:
    is_grey = array.ndim == 2
    if array.dtype != np.uint8 or not (is_grey or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise UsageError(
            f"an array of {array.dtype} {array.shape} is not a picture: "
            "give (H, W), (H, W, 3) or (H, W, 4) uint8"
        )
    if not array.size:
        raise UsageError(f"an array of shape {array.shape} has no pixels: give a larger one")
    return Image.fromarray(np.ascontiguousarray(array))


def _whole_file(image: JpegImageFile) -> bytes:
    assert image.fp is not None
    position = image.fp.tell()
    image.fp.seek(0)
    content: bytes = image.fp.read()
    image.fp.seek(position)
    return content


def _png(image: Image.Image) -> bytes:
    try:
        plain = image if image.mode in _PNG_MODES else image.convert("RGBA" if "a" in image.mode else "RGB")
        # A colour profile is valid only for the mode that the picture came in.
        profile = image.info.get("icc_profile") if plain is image else None
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
        file = io.BytesIO()
        plain.save(file, "PNG", compress_level=1, icc_profile=profile, exif=exif)
    except (OSError, ValueError, SyntaxError) as exc:  # what Pillow's decoders raise on damaged files
        raise UsageError(f"a picture given as a PIL image cannot be decoded ({exc})") from exc
    return file.getvalue()
