"""The only writer of a store: appends pictures to tar files, then commits outcomes to the ledger.

Durability: a batch is appended to the open tar and synced once; then one transaction commits the outcomes
and the tar's new length. When the tar is opened again, bytes beyond that length, which a kill may leave, are
cut off. So no picture is lost, and none is stored twice.

Of posts with the same bytes, the one that was listed first holds them, and the others are its duplicates,
whatever the order of arrival. If it arrives after one of the others, it is stored under its own name, and the
other's bytes in the tar are dead. This is rare, because files arrive nearly in the order of listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import Holder, Outcome, Pending
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.crawl.store.post_json import Stored, TarLocation, member_document
from alti2v.errors import DamagedError
from alti2v.records import Post, Span, Status
from alti2v.storage.layout import (
    FIRST_LINKED,
    IMAGE_SUFFIX_OF_FORMAT,
    IMAGES_DIR,
    LEDGER_FILE,
    POST_JSON_SUFFIX,
    images_tar,
    member_key,
)
from alti2v.storage.publish import make_directory
from alti2v.storage.tar import END_MARKER, OpenTar


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A post and the bytes of its picture.

    Attributes:
        location: Where the bytes are already, in a linked tar file; None to append them.
    """

    pending: Pending
    stored: Stored
    content: bytes | memoryview
    location: TarLocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFile:
    """A post without bytes; `outcome` gives the reason."""

    pending: Pending
    outcome: Outcome


FileResult = FetchedFile | MissingFile


class StoreWriter:
    """Writer of a store's tar files and outcomes. Used by one thread at a time; close it at the end.

    Args:
        store: Folder.
        ledger: Ledger of this store.
        shard_bytes: Size at which a tar file is sealed.

    Attributes:
        sealed: Number of tar files that this writer has sealed.

    Raises:
        DamagedError: The open tar is shorter than the ledger says, or the ledger has pictures behind its end.
    """

    def __init__(self, store: Path, ledger: Ledger, *, shard_bytes: int) -> None:
        self.sealed = 0
        self._store = store
        self._ledger = ledger
        self._shard_bytes = shard_bytes
        tars = [tar for tar in ledger.tars.all() if tar.number < FIRST_LINKED]
        self._number = tars[-1].number + 1 if tars else 0
        self._tar: OpenTar | None = None
        make_directory(store / IMAGES_DIR)
        if tars and not tars[-1].sealed:
            self._number = tars[-1].number
            self._tar = self._open(committed=tars[-1].size)

    def commit(self, batch: Sequence[FileResult]) -> None:
        """Make a batch durable: all of it, or nothing if this raises or the process dies.

        Results for files that the board has replaced since the request are dropped; their posts stay pending.
        """
        outdated = self._ledger.posts.outdated([result.pending.post for result in batch])
        batch = [result for result in batch if result.pending.post.id not in outdated]
        outcomes: list[tuple[int, Outcome]] = []
        handed_over: list[tuple[int, int]] = []
        md5s = [result.stored.md5 for result in batch if isinstance(result, FetchedFile)]
        holders = self._ledger.posts.holders_of(md5s)
        for result in sorted(batch, key=lambda result: result.pending.request.seq):
            post_id, seq = result.pending.post.id, result.pending.request.seq
            if isinstance(result, MissingFile):
                outcomes.append((post_id, result.outcome))
                continue
            md5 = result.stored.md5
            holder = holders.get(md5)
            if holder is not None and holder.seq < seq:
                outcomes.append((post_id, _duplicate(result, holder.post_id)))
                continue
            if holder is not None and holder.post_id != post_id:
                handed_over.append((holder.post_id, post_id))
            holders[md5] = Holder(post_id, seq)
            outcomes.append((post_id, self._append(result)))
        if self._tar is not None:
            self._tar.sync()
        with self._ledger.transaction():
            self._ledger.posts.record(outcomes)
            for old, new in handed_over:
                self._ledger.posts.hand_over(old, new)
            if self._tar is not None:
                self._ledger.tars.set(TarState(number=self._number, size=self._tar.size, sealed=False))
        if self._tar is not None and self._tar.size >= self._shard_bytes:
            self._seal(self._tar)

    def seal(self) -> None:
        """Seal the open tar, whatever its size; the next picture starts another one."""
        if self._tar is not None:
            self._seal(self._tar)

    def close(self) -> None:
        """Close the open tar without sealing it; a later writer continues it."""
        if self._tar is not None:
            self._tar.close()

    def _open(self, *, committed: int) -> OpenTar:
        name = images_tar(self._number)
        # What is behind the recorded length is cut off, as left by a kill. It must not be pictures, which a
        # ledger with a wrong length or without this file still has.
        if self._ledger.posts.end_in(self._number) > committed:
            raise DamagedError(
                f"{self._store / LEDGER_FILE} has pictures beyond the end that it records for {name}: "
                f"run `alti2v verify {self._store} --repair`"
            )
        return OpenTar(self._store / name, committed=committed)

    def _append(self, file: FetchedFile) -> Outcome:
        if file.location is not None:
            return stored_outcome(file.stored, file.location)
        if self._tar is None:
            self._tar = self._open(committed=0)
        span = append_pair(self._tar, post=file.pending.post, stored=file.stored, content=file.content)
        return stored_outcome(file.stored, TarLocation(tar=self._number, span=span))

    def _seal(self, tar: OpenTar) -> None:
        size = tar.size
        tar.seal()
        # A kill before this line leaves an end marker, which is cut off when the tar is opened again.
        with self._ledger.transaction():
            self._ledger.tars.set(TarState(number=self._number, size=size + END_MARKER, sealed=True))
        self._tar = None
        self._number += 1
        self.sealed += 1


def append_pair(tar: OpenTar, *, post: Post, stored: Stored, content: bytes | memoryview) -> Span:
    """Append a picture and the JSON member that describes it; return the span of the picture."""
    key = member_key(post.id)
    span = tar.append(f"{key}.{IMAGE_SUFFIX_OF_FORMAT[stored.format]}", content)
    tar.append(f"{key}.{POST_JSON_SUFFIX}", member_document(post, stored))
    return span


def stored_outcome(stored: Stored, location: TarLocation) -> Outcome:
    """Return the outcome of a post whose bytes are stored."""
    return Outcome(
        status=Status.STORED,
        attempts=stored.attempts,
        http_status=stored.http_status,
        stored=stored,
        location=location,
    )


def _duplicate(file: FetchedFile, holder: int) -> Outcome:
    return Outcome(
        status=Status.DUPLICATE,
        duplicate_of=holder,
        attempts=file.stored.attempts,
        http_status=file.stored.http_status,
    )
