"""Reading of items' pictures in threads, with the checks that a crawl applies to files."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from alti2v.crawl.download.validate import check_picture
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.importing.sources.files import read_place
from alti2v.crawl.importing.sources.item import Fault, Item, ItemFault, Place
from alti2v.crawl.store.ledger.outcomes import Pending
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile, Stored

_BATCH_ITEMS = 1_000
_BATCH_BYTES = 32 << 20
_AHEAD = 1  # batches that are read while one is written
_MOST_THREADS = 8
_READ_TOGETHER = 8  # pictures: handing a task to a thread takes as long as reading a small one


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPicture:
    """The bytes of an item's picture, the facts about them, and the place that they come from.

    `content` is empty if the bytes stay in that place.
    """

    stored: Stored
    content: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why an item's picture is not stored: an `ItemFault` or `FailKind`, and a message."""

    kind: str
    message: str


Reading = ReadPicture | Failure | None
"""None for an item that is not read: it has no picture, or the store has it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A batch, which of its items are read, and the results of these, some at a time."""

    batch: Sequence[Item]
    are_wanted: Sequence[bool]
    readings: Sequence[Future[list[Reading]]]


def read_batches(
    items: Iterable[Item],
    *,
    wanted: Callable[[Sequence[Item]], Sequence[bool]],
    most_bytes: int,
    keep_mismatched: bool,
    by_reference: bool,
) -> Iterator[list[tuple[Item, Reading]]]:
    """Yield the items with their pictures, in their order, in batches; the next batch is read meanwhile.

    Args:
        items: Items.
        wanted: Called with each batch in the caller's thread; returns which items to read.
        most_bytes: Size above which a picture is not read.
        keep_mismatched: True to keep a picture whose MD5 is not that of the source.
        by_reference: True to forget the bytes of pictures in tar files after they are checked.
    """

    def read(some: Sequence[Item]) -> list[Reading]:
        found = (read_item(item, most_bytes=most_bytes, keep_mismatched=keep_mismatched) for item in some)
        return [_forgotten(reading) if by_reference else reading for reading in found]

    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads, thread_name_prefix="import") as pool:
        waiting: deque[_Asked] = deque()
        try:
            for batch in _in_a_thread(_batches(items)):
                are_wanted = wanted(batch)
                to_read = list(itertools.compress(batch, are_wanted))
                chunks = (to_read[at : at + _READ_TOGETHER] for at in range(0, len(to_read), _READ_TOGETHER))
                waiting.append(_Asked(batch, are_wanted, [pool.submit(read, chunk) for chunk in chunks]))
                if len(waiting) > _AHEAD:
                    yield _results(waiting.popleft())
            while waiting:
                yield _results(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def read_item(item: Item, *, most_bytes: int, keep_mismatched: bool) -> ReadPicture | Failure:
    """Read and check the picture of an item, which has a place."""
    assert item.place is not None
    content = read_place(item.place, most_bytes=most_bytes)
    if isinstance(content, Fault):
        return Failure(content.kind, content.message)
    if _differs(content, item.place):
        return Failure(ItemFault.SHA256_MISMATCH, f"{item.name}: the index gives another SHA-256")
    # As a crawl checks the original file of a post, so that its md5 is compared.
    request = FileRequest(0, 0, sample_url=None, file_url=item.name)
    received = ReceivedFile(
        requested=item.name, url=item.name, http_status=None, attempts=1, tries=1, content=content
    )
    stored = check_picture(
        received,
        Pending(post=item.facts, request=request),
        keep_mismatched=keep_mismatched or not item.is_original,
    )
    if isinstance(stored, FailedTry):
        return Failure(stored.kind, f"{item.name}: {stored.message}")
    return ReadPicture(stored=stored, content=content, place=item.place)


def _differs(content: bytes, place: Place) -> bool:
    return place.sha256 is not None and hashlib.sha256(content).hexdigest() != place.sha256


def _results(asked: _Asked) -> list[tuple[Item, Reading]]:
    readings = itertools.chain.from_iterable(future.result() for future in asked.readings)
    return [
        (item, next(readings) if is_wanted else None)
        for item, is_wanted in zip(asked.batch, asked.are_wanted, strict=True)
    ]


def _forgotten(reading: Reading) -> Reading:
    if isinstance(reading, ReadPicture) and reading.place.span is not None:
        return replace(reading, content=b"")
    return reading


def _in_a_thread(batches: Generator[list[Item], None, None]) -> Iterator[list[Item]]:
    """Yield batches that a thread of its own makes, one ahead of the caller.

    Sidecars are parsed while the caller waits for the disk. A reader with an SQLite file uses one thread only.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="source") as thread:
        try:
            coming = thread.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = thread.submit(next, batches, None)
                yield batch
        finally:
            thread.submit(batches.close)


def _batches(items: Iterable[Item]) -> Generator[list[Item], None, None]:
    """Cut items into batches of a limited number and of about a limited size."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += _size(item.place)
        if len(batch) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(place: Place | None) -> int:
    if place is None:
        return 0
    return place.size if place.span is None else place.span.size
