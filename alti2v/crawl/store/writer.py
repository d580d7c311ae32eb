"""The one writer of a store: pictures into tar files, outcomes into the ledger, in that order.

Durability: bytes are appended to the open tar, synced in one go for a whole batch, and then one
transaction commits the outcomes and the tar's new length. Whatever a kill leaves behind that length is
cut off when the tar is opened again, so no picture is lost and none is there twice.

Of posts with the same bytes the one that was listed first holds them and the others are its duplicates,
whatever the order of arrival. A post that arrives after a later-listed one is stored under its own name,
and what lies in the tar under the other's name is dead from then on: rare, because files arrive nearly in
the order of listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.store.ledger import Holder, Ledger, Outcome, Pending, TarState
from alti2v.crawl.store.post_json import Place, Stored, member_document
from alti2v.records import Post, Span, Status
from alti2v.storage.layout import (
    IMAGE_SUFFIX_OF_FORMAT,
    IMAGES_DIR,
    POST_JSON_SUFFIX,
    images_tar,
    member_key,
)
from alti2v.storage.publish import make_directory
from alti2v.storage.tar import OpenTar


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A post with the bytes of its picture."""

    pending: Pending
    stored: Stored
    content: bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A post without bytes: `outcome` says why."""

    pending: Pending
    outcome: Outcome


Settlement = Fetched | Lost


class Shelf:
    """The tar files of a store and its ledger. One thread at a time; close it at the end.

    Args:
        store: the directory.
        ledger: of this store, open.
        shard_bytes: a tar file that has grown to this size is sealed.

    Raises:
        DamagedError: the open tar is shorter than the ledger says.
    """

    def __init__(self, store: Path, ledger: Ledger, *, shard_bytes: int) -> None:
        self._store = store
        self._ledger = ledger
        self._shard_bytes = shard_bytes
        tars = ledger.tars()
        self._number = tars[-1].number + 1 if tars else 0
        self._tar: OpenTar | None = None
        self.sealed = 0  # tar files that this shelf has finished
        make_directory(store / IMAGES_DIR)
        if tars and not tars[-1].sealed:
            self._number = tars[-1].number
            self._tar = OpenTar(store / images_tar(self._number), committed=tars[-1].size)

    def settle(self, batch: Sequence[Settlement]) -> None:
        """Make a batch durable: all of it, or, if this raises or the process dies, nothing of it."""
        outcomes: list[tuple[int, Outcome]] = []
        handed_over: list[tuple[int, int]] = []
        holders = self._ledger.holders_of([each.stored.md5 for each in batch if isinstance(each, Fetched)])
        for settlement in sorted(batch, key=lambda settlement: settlement.pending.wanted.seq):
            pending = settlement.pending
            post_id, seq = pending.post.id, pending.wanted.seq
            if isinstance(settlement, Lost):
                outcomes.append((post_id, settlement.outcome))
                continue
            md5 = settlement.stored.md5
            holder = holders.get(md5)
            # Of posts with the same bytes the one that was listed first holds them, whatever came first.
            if holder is not None and holder.seq < seq:
                outcomes.append((post_id, _duplicate(settlement, holder.post_id)))
                continue
            if holder is not None and holder.post_id != post_id:
                handed_over.append((holder.post_id, post_id))
            holders[md5] = Holder(post_id, seq)
            outcomes.append((post_id, self._append(settlement)))
        if self._tar is not None:
            self._tar.sync()
        with self._ledger.transaction():
            self._ledger.settle(outcomes)
            for old, new in handed_over:
                self._ledger.hand_over(old, new)
            if self._tar is not None:
                self._ledger.set_tar(TarState(number=self._number, size=self._tar.size, sealed=False))
        if self._tar is not None and self._tar.size >= self._shard_bytes:
            self._seal(self._tar)

    def seal(self) -> None:
        """Seal the open tar, whatever its size; what comes next begins another one."""
        if self._tar is not None:
            self._seal(self._tar)

    def close(self) -> None:
        """Close the open tar; a later shelf goes on with it."""
        if self._tar is not None:
            self._tar.close()

    def _append(self, fetched: Fetched) -> Outcome:
        if self._tar is None:
            self._tar = OpenTar(self._store / images_tar(self._number), committed=0)
        pending, stored = fetched.pending, fetched.stored
        span = append_pair(self._tar, post=pending.post, stored=stored, content=fetched.content)
        return stored_outcome(stored, Place(tar=self._number, span=span))

    def _seal(self, tar: OpenTar) -> None:
        size = tar.size
        tar.seal()
        # A kill before this line leaves an end marker that the next opening cuts off again.
        with self._ledger.transaction():
            self._ledger.set_tar(TarState(number=self._number, size=size + END_MARKER, sealed=True))
        self._tar = None
        self._number += 1
        self.sealed += 1


def append_pair(tar: OpenTar, *, post: Post, stored: Stored, content: bytes | memoryview) -> Span:
    """Append a picture and the JSON member that vouches for it; returns where the picture lies."""
    key = member_key(post.id)
    span = tar.append(f"{key}.{IMAGE_SUFFIX_OF_FORMAT[stored.format]}", content)
    tar.append(f"{key}.{POST_JSON_SUFFIX}", member_document(post, stored))
    return span


def stored_outcome(stored: Stored, place: Place) -> Outcome:
    """The outcome of a post whose bytes lie at a place."""
    return Outcome(
        status=Status.STORED,
        attempts=stored.attempts,
        http_status=stored.http_status,
        stored=stored,
        place=place,
    )


END_MARKER = 1024  # bytes: two zero blocks (POSIX.1-2017 pax, "ustar Interchange Format")


def _duplicate(fetched: Fetched, holder: int) -> Outcome:
    stored = fetched.stored
    return Outcome(
        status=Status.DUPLICATE,
        duplicate_of=holder,
        attempts=stored.attempts,
        http_status=stored.http_status,
    )
