"""Bytes of the stand-in board's pictures: drawn once, off the event loop, cached in an unnamed file.

Post `index` shows picture `index % pictures`. From the second round on, a tail after the end of the image,
which decoders ignore, gives every post bytes and an MD5 of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING

from alti2v.child_processes import SafeSpawnContext
from alti2v.demo.drawing.corpus import Corpus, illustration
from alti2v.signals import ignore_signals_of_the_group

if TYPE_CHECKING:
    from hashlib import _Hash

SAMPLE_WIDTH = 850
"""Width of samples, px; wider originals have one (safebooru-wire.md, section 1)."""

KEPT_BYTES = 2**30
"""Size limit of the cache file; further pictures are drawn again for each request."""


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one picture; `sample` is a JPEG, or None if the original is not wide enough."""

    original: bytes
    sample: bytes | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Facts of a drawn picture; `offset` is its place in the cache file, or None if the file is full."""

    md5: _Hash
    offset: int | None
    original_size: int
    sample_size: int | None


class Pictures:
    """Draws the pictures of a corpus on demand, each once.

    Args:
        corpus: Pictures to draw.
        executor: Executor that draws them.
        file: Cache file, read and written by offset.
    """

    def __init__(self, corpus: Corpus, *, executor: Executor, file: io.FileIO) -> None:
        self.corpus = corpus
        self._executor = executor
        self._file = file
        self._end = 0
        self._kept: dict[int, _Kept] = {}
        self._underway: dict[int, asyncio.Future[_Kept]] = {}

    async def draw(self, numbers: Iterable[int]) -> None:
        """Draw these pictures unless they are drawn; `md5` and `original_size` need them."""
        missing = {number for number in numbers if number not in self._kept}
        await asyncio.gather(*map(self._known, missing))

    def md5(self, index: int) -> str:
        """MD5 of the original of the post at `index`, 32 hex digits; its picture must be drawn."""
        turn, number = divmod(index, self.corpus.pictures)
        digest = self._kept[number].md5
        if turn:
            digest = digest.copy()
            digest.update(tail(index))
        return digest.hexdigest()

    def original_size(self, index: int) -> int:
        """Size in bytes of the original of the post at `index`; its picture must be drawn."""
        turn, number = divmod(index, self.corpus.pictures)
        return self._kept[number].original_size + (len(tail(index)) if turn else 0)

    async def original(self, index: int) -> bytes:
        """The original of the post at `index`."""
        return self._own(index, (await self._files(index)).original)

    async def sample(self, index: int) -> bytes | None:
        """The sample of the post at `index`; None if it has none."""
        sample = (await self._files(index)).sample
        return None if sample is None else self._own(index, sample)

    async def thumbnail(self, index: int) -> bytes:
        """The thumbnail of the post at `index`."""
        number = index % self.corpus.pictures
        loop = asyncio.get_running_loop()
        return self._own(index, await loop.run_in_executor(self._executor, draw_thumbnail, self.corpus, number))

    async def reduced(self, index: int, size: tuple[int, int], *, image_format: str) -> bytes:
        """The picture of the post at `index`, resized to `size`, as "JPEG", "WEBP" or "AVIF"."""
        original = (await self._files(index)).original
        loop = asyncio.get_running_loop()
        return self._own(
            index, await loop.run_in_executor(self._executor, reduce, original, size, image_format)
        )

    async def index_of_md5(self, md5: str, indices: Collection[int]) -> int | None:
        """Return which of these files has this md5; draws every picture that is needed."""
        await self.draw({index % self.corpus.pictures for index in indices})
        for step, index in enumerate(indices):
            if self.md5(index) == md5:
                return index
            if step % 5000 == 4999:
                await asyncio.sleep(0)
        return None

    def _own(self, index: int, content: bytes) -> bytes:
        return content if index < self.corpus.pictures else content + tail(index)

    async def _files(self, index: int) -> Files:
        number = index % self.corpus.pictures
        kept = self._kept.get(number) or await self._known(number)
        if kept.offset is None:
            return await self._draw(number)
        descriptor = self._file.fileno()
        original = os.pread(descriptor, kept.original_size, kept.offset)
        sample = (
            None
            if kept.sample_size is None
            else os.pread(descriptor, kept.sample_size, kept.offset + kept.original_size)
        )
        return Files(original, sample)

    async def _known(self, number: int) -> _Kept:
        """Draw a picture and cache it, or wait for the drawing that is under way."""
        if number not in self._underway:
            self._underway[number] = asyncio.ensure_future(self._draw_and_keep(number))
        # A client that goes away cancels its own wait, not the drawing that others may be waiting for.
        return await asyncio.shield(self._underway[number])

    async def _draw_and_keep(self, number: int) -> _Kept:
        try:
            self._kept[number] = kept = self._keep(await self._draw(number))
            return kept
        finally:
            del self._underway[number]

    async def _draw(self, number: int) -> Files:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, draw_files, self.corpus, number)

    def _keep(self, files: Files) -> _Kept:
        content = files.original + (files.sample or b"")
        offset = None
        if self._end + len(content) <= KEPT_BYTES:
            with contextlib.suppress(OSError):  # on a full disk, pictures are drawn again
                os.pwrite(self._file.fileno(), content, self._end)
                offset = self._end
                self._end += len(content)
        return _Kept(
            md5=hashlib.md5(files.original, usedforsecurity=False),
            offset=offset,
            original_size=len(files.original),
            sample_size=None if files.sample is None else len(files.sample),
        )


@contextlib.asynccontextmanager
async def open_pictures(corpus: Corpus, *, processes: int) -> AsyncIterator[Pictures]:
    """Provide pictures for the duration of the block, drawn by a thread (`processes` = 0) or by processes."""
    executor: Executor
    if processes:
        executor = ProcessPoolExecutor(processes, mp_context=SafeSpawnContext(), initializer=_prepare_process)
    else:
        executor = ThreadPoolExecutor(1, thread_name_prefix="drawing")
    with tempfile.TemporaryFile(prefix="alti2v-board-", buffering=0) as file:
        try:
            yield Pictures(corpus, executor=executor, file=file)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def tail(index: int) -> bytes:
    """Return bytes to add at the end of a picture, so that posts of one picture have different files."""
    return b"\npost %d" % index


def draw_files(corpus: Corpus, number: int) -> Files:
    """Draw a picture's original and its sample."""
    # Imported here, so that a board with drawing processes does not load Pillow itself.
    from alti2v.demo.drawing import render

    original = render.original(corpus, number)
    is_wide = illustration(corpus, number).width > SAMPLE_WIDTH
    return Files(original, render.sample(corpus, number) if is_wide else None)


def draw_thumbnail(corpus: Corpus, number: int) -> bytes:
    """Draw a picture's thumbnail."""
    from alti2v.demo.drawing import render

    return render.thumbnail(corpus, number)


_ENCODING: Mapping[str, Mapping[str, int]] = {
    "JPEG": {"quality": 85},
    "WEBP": {"quality": 85},
    "AVIF": {"quality": 60, "speed": 10, "max_threads": 1},  # one thread: the same bytes on every machine
}


def reduce(content: bytes, size: tuple[int, int], image_format: str) -> bytes:
    """Encode a picture anew at `size` (width, height) px; transparency becomes white."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        flat = Image.new("RGB", picture.size, "white")
        rgba = picture.convert("RGBA")
        flat.paste(rgba, mask=rgba)
    stream = io.BytesIO()
    flat.resize(size).save(stream, image_format, **_ENCODING[image_format])
    return stream.getvalue()


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Largest (width, height) of the same aspect ratio that fits in a box, never larger than `size`."""
    width, height = size
    if width <= box[0] and height <= box[1]:
        return size
    # The shorter side is rounded as Pillow's `thumbnail` does, which makes some of the pictures.
    if box[0] * height >= box[1] * width:
        exact = box[1] * width / height
        choices = (math.floor(exact), math.ceil(exact))
        return max(1, min(choices, key=lambda side: abs(width / height - side / box[1]))), box[1]
    exact = box[0] * height / width
    choices = (max(1, math.floor(exact)), max(1, math.ceil(exact)))
    return box[0], min(choices, key=lambda side: abs(width / height - box[0] / side))


def _prepare_process() -> None:
    """Leave Ctrl-C and a closed terminal to the parent, and exit when it ends, even by SIGKILL."""
    ignore_signals_of_the_group()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=end_with, args=(parent.sentinel,), daemon=True).start()


def newest_first(posts: int, pictures: int) -> Iterator[int]:
    """Numbers of all pictures in the order in which a listing of `posts` posts, newest first, shows them."""
    return (index % pictures for index in range(posts - 1, max(-1, posts - 1 - pictures), -1))
