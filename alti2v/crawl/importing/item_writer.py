"""Writer of items into a store: it finds the post of each item, and counts its outcome.

A board's number is the id of a post; a picture without one gets a number that is derived from its bytes. All
ids of a store are numbers of one board, that of the first item with one; numbers of other boards are ignored.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from alti2v.crawl.boards.protocol import VIDEO, Skip
from alti2v.crawl.http.retry import HEALABLE
from alti2v.crawl.importing.reading import Failure, Reading, ReadPicture
from alti2v.crawl.importing.sources.facts import has_sentences, has_tags
from alti2v.crawl.importing.sources.folder import UNSUPPORTED_SUFFIXES
from alti2v.crawl.importing.sources.item import Fault, Item, ItemOutcome, Lack, Place, derived_id
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.items import KnownItem
from alti2v.crawl.store.ledger.outcomes import Outcome, Pending, PostCounts, Standing
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.post_json import FileRequest, TarLocation
from alti2v.crawl.store.writer import FetchedFile, FileResult, MissingFile, StoreWriter
from alti2v.numerals import counted
from alti2v.records import Post, Status

_NAMED = 3  # items in a remark
_LOGGED = 1_000  # skipped items in the log; a table can list millions of posts without pictures
_HAS_PICTURE = frozenset({Status.STORED, Status.DUPLICATE})


@dataclass(slots=True)
class _Batch:
    """Additions of a batch to the ledger.

    Attributes:
        known: Earlier imported files among the items, by name.
        standing: What the ledger records about posts of the batch, by id.
        posts: Facts to record, by id.
        skips: Reasons to skip some of them.
        readings: Results of reading the others.
        requests: Ids of known posts whose pictures are to be fetched, although they were skipped or failed.
        items: Files to record.
        md5s: MD5s of the pictures of posts that the batch adds, by id.
    """

    known: Mapping[str, KnownItem]
    standing: dict[int, Standing]
    posts: dict[int, Post] = field(default_factory=dict)
    skips: dict[int, Skip] = field(default_factory=dict)
    readings: dict[int, ReadPicture | Failure] = field(default_factory=dict)
    requests: list[int] = field(default_factory=list)
    items: list[KnownItem] = field(default_factory=list)
    md5s: dict[int, str] = field(default_factory=dict)


class ItemWriter:
    """Writer of the items of one import.

    Args:
        ledger: Ledger of the store.
        writer: Writer of the store.
        log: Log of the store; gets a line for each failed item and the first 1,000 skipped ones.
        link: Function that gives a tar file a name in the store and returns its number; None to copy pictures.

    Attributes:
        ledger: Ledger of the store.
        outcomes: Number of items by outcome and reason.
    """

    def __init__(
        self,
        ledger: Ledger,
        writer: StoreWriter,
        log: logging.Logger,
        *,
        link: Callable[[Path], int] | None = None,
    ) -> None:
        self._link = link
        self.outcomes: Counter[tuple[ItemOutcome, str]] = Counter()
        self._named: dict[ItemOutcome, list[str]] = {ItemOutcome.FAILED: [], ItemOutcome.SKIPPED: []}
        self._skipped = self._sentences = self.untagged = 0
        self._first_sentence = self._first_untagged = ""
        self.ledger = ledger
        self._writer = writer
        self._log = log
        self._first_seq = ledger.posts.next_seq()
        self._board = ledger.state.get(StateKey.ID_BOARD)

    def wanted(self, batch: Sequence[Item]) -> list[bool]:
        """Return which pictures have to be read: those of valid items that the store does not have."""
        known = self._known(batch)
        ids = [self._id_before_reading(item, known) for item in batch]
        standing = self.ledger.posts.standing_of([number for number in ids if number])
        return [
            item.problem is None
            and item.place is not None
            and skip_of(item) is None
            and not (number in standing and standing[number].status in _HAS_PICTURE)
            for item, number in zip(batch, ids, strict=True)
        ]

    def commit(self, read: Sequence[tuple[Item, Reading]]) -> None:
        """Make a batch durable; after a kill, the next import repeats what is missing of it."""
        known = self._known([item for item, _ in read])
        ids = [self._id_before_reading(item, known) for item, _ in read]
        derived = [
            derived_id(reading.stored.md5)
            for (_, reading), number in zip(read, ids, strict=True)
            if isinstance(reading, ReadPicture) and not number
        ]
        batch = _Batch(known, self.ledger.posts.standing_of([*filter(None, ids), *derived]))
        for item, reading in read:
            outcome, reason = self._settle(batch, item, reading)
            if outcome is ItemOutcome.FAILED:
                message = _message(item, reading)
                self._log.info("failed: %s: %s", reason, message)
                self._name(outcome, message)
            elif outcome is ItemOutcome.SKIPPED:
                self._skipped += 1
                if self._skipped <= _LOGGED:
                    self._log.info("skipped: %s: %s", reason, item.name)
                self._name(outcome, f"{unquote(item.name)} ({reason})")
            elif not has_tags(item.facts):
                self.untagged += 1
                self._first_untagged = self._first_untagged or unquote(item.name)
            elif has_sentences(item.facts):
                self._sentences += 1
                self._first_sentence = self._first_sentence or item.facts.tags_unknown.partition(" ")[0]
            if outcome is not ItemOutcome.NEW:  # whether a read picture is new is decided by the writer
                self.outcomes[outcome, reason] += 1
        with self.ledger.transaction():
            self.ledger.posts.add(
                batch.posts.values(), skip=lambda post: batch.skips.get(post.id), seen_at=int(time.time())
            )
            self.ledger.posts.record((number, Outcome(status=Status.PENDING)) for number in batch.requests)
            self.ledger.items.add(batch.items)
            if self._board is not None:
                self.ledger.state.set(StateKey.ID_BOARD, self._board)
        if batch.readings:
            self._write(batch)

    def count_fetched(self, before: PostCounts, after: PostCounts) -> None:
        """Replace the queued items by their outcomes, from the changes in the counts of posts since then."""
        self.outcomes[ItemOutcome.QUEUED, ""] = after.pending
        self.outcomes[ItemOutcome.NEW, ""] += after.stored - before.stored
        self.outcomes[ItemOutcome.DUPLICATE, ""] += after.duplicate - before.duplicate
        for outcome, was, is_now in (
            (ItemOutcome.SKIPPED, before.skipped, after.skipped),
            (ItemOutcome.FAILED, before.failed, after.failed),
        ):
            for reason, count in is_now.items():
                self.outcomes[outcome, reason] += count - was.get(reason, 0)
        self.outcomes = +self.outcomes

    def remarks(self) -> Iterator[str]:
        """Yield a line each about failed items, skipped items, empty captions, and captions of sentences."""
        for outcome, names in self._named.items():
            count = sum(count for (one, _), count in self.outcomes.items() if one is outcome)
            is_cut = outcome is ItemOutcome.SKIPPED and count > _LOGGED
            logged = f"the first {_LOGGED:,}" if is_cut else "all"
            if names:
                yield f"{outcome} items: {count:,}, the first: {'; '.join(names)}: crawl.log names {logged}"
        if self.untagged:
            yield (f"empty captions: {self.untagged:,}, the first: {self._first_untagged}: stored without tags")
        if self._sentences:
            seem = counted(self._sentences, "caption seems", "captions seem")
            yield (
                f"{seem} to be sentences, and what is between commas "
                f"became one tag, such as {self._first_sentence!r:.80}: captions of tags look like "
                "'1girl, long hair', see docs/IMPORT.md"
            )

    def _name(self, outcome: ItemOutcome, message: str) -> None:
        if len(self._named[outcome]) < _NAMED:
            self._named[outcome].append(message)

    def _settle(self, batch: _Batch, item: Item, reading: Reading) -> tuple[ItemOutcome, str]:
        """Decide the outcome of an item, and add it to the batch; NEW is confirmed when it is written."""
        if isinstance(item.problem, Fault):
            return ItemOutcome.FAILED, item.problem.kind
        if isinstance(item.problem, Lack):
            return ItemOutcome.SKIPPED, item.problem
        number = self._id_before_reading(item, batch.known)
        if number:
            return self._settle_numbered(batch, item, reading, number)
        if isinstance(reading, ReadPicture):
            return self._settle_derived(batch, item, reading)
        return _unread(item, reading)

    def _settle_numbered(
        self, batch: _Batch, item: Item, reading: Reading, number: int
    ) -> tuple[ItemOutcome, str]:
        """Decide the outcome of an item with an id from a board or an earlier batch."""
        standing = batch.standing.get(number)
        is_of_board = item.facts.id == number
        is_of_run = number in batch.posts or (standing is not None and standing.seq >= self._first_seq)
        if is_of_board and is_of_run:
            return ItemOutcome.SKIPPED, Lack.REPEATED_ID
        if is_of_board or batch.known[item.name].is_first:
            batch.posts[number] = _facts(item, number, standing)
        if standing is not None and standing.status in _HAS_PICTURE:
            return ItemOutcome.KNOWN, ""
        if reading is not None:
            batch.readings[number] = reading
            return (ItemOutcome.NEW, "") if isinstance(reading, ReadPicture) else _unread(item, reading)
        if _is_to_be_fetched(item):
            return _queue(batch, number, standing)
        batch.skips[number] = _skip(item)
        return _unread(item, reading)

    def _settle_derived(self, batch: _Batch, item: Item, reading: ReadPicture) -> tuple[ItemOutcome, str]:
        """Decide whether a picture without a number is new, or its bytes are already in the store."""
        assert item.place is not None
        md5 = reading.stored.md5
        number = self._free_id(batch, md5)
        known, standing = batch.known.get(item.name), batch.standing.get(number)
        is_there = number in batch.md5s or (standing is not None and standing.status in _HAS_PICTURE)
        is_first = (known is not None and known.id == number and known.is_first) or not is_there
        batch.items.append(KnownItem(name=item.name, id=number, version=item.place.version, is_first=is_first))
        if is_first:
            batch.posts[number] = _facts(item, number, standing)
        if not is_there:
            batch.md5s[number] = md5
            batch.readings[number] = reading
            return ItemOutcome.NEW, ""
        is_old = standing is not None and standing.seq < self._first_seq
        return (ItemOutcome.KNOWN if is_old else ItemOutcome.DUPLICATE), ""

    def _free_id(self, batch: _Batch, md5: str) -> int:
        """Return the number for some bytes: the first derived one that no other picture has."""
        for salt in itertools.count():
            number = derived_id(md5, salt=str(salt) if salt else "")
            if salt and number not in batch.standing:
                batch.standing |= self.ledger.posts.standing_of([number])
            standing = batch.standing.get(number)
            if (standing is None or standing.md5 in (None, md5)) and batch.md5s.get(number, md5) == md5:
                return number
        raise AssertionError  # the numbers do not end

    def _write(self, batch: _Batch) -> None:
        """Write the pictures and the failures of listed posts; count the outcomes."""
        standing = self.ledger.posts.standing_of(list(batch.readings))
        results: list[FileResult] = []
        for number, reading in batch.readings.items():
            request = FileRequest(standing[number].seq, 0, sample_url=None, file_url=None)
            pending = Pending(post=batch.posts[number], request=request)
            if isinstance(reading, ReadPicture):
                results.append(
                    FetchedFile(
                        pending=pending,
                        stored=reading.stored,
                        content=reading.content,
                        location=self._location(reading.place),
                    )
                )
            else:
                outcome = Outcome(status=Status.FAILED, reason=reading.kind, error=reading.message, attempts=1)
                results.append(MissingFile(pending=pending, outcome=outcome))
        self._writer.commit(results)
        read = [number for number, reading in batch.readings.items() if isinstance(reading, ReadPicture)]
        for one in self.ledger.posts.standing_of(read).values():
            self.outcomes[ItemOutcome.NEW if one.status is Status.STORED else ItemOutcome.DUPLICATE, ""] += 1

    def _location(self, place: Place) -> TarLocation | None:
        """Return the place of bytes that stay in their tar file; None to copy them."""
        if self._link is None or place.span is None:
            return None
        return TarLocation(tar=self._link(place.path), span=place.span)

    def _known(self, items: Sequence[Item]) -> dict[str, KnownItem]:
        """Return the items that an earlier batch imported and that have not changed since."""
        places = {item.name: item.place for item in items if item.place is not None}
        known = self.ledger.items.known(list(places))
        return {name: item for name, item in known.items() if item.version == places[name].version}

    def _id_before_reading(self, item: Item, known: Mapping[str, KnownItem]) -> int:
        """Return the id of an item, if it is known without its bytes; 0 otherwise."""
        if item.facts.id and item.board and self._board is None:
            self._board = item.board
        if item.facts.id and item.board in ("", self._board):
            return item.facts.id
        return known[item.name].id if item.name in known else 0


def _queue(batch: _Batch, number: int, standing: Standing | None) -> tuple[ItemOutcome, str]:
    """Add a post to those whose pictures are fetched; one that failed permanently is not requested again."""
    if standing is not None and standing.status is Status.FAILED and standing.reason not in HEALABLE:
        return ItemOutcome.FAILED, standing.reason
    if standing is not None and standing.status is not Status.PENDING:
        batch.requests.append(number)
    return ItemOutcome.QUEUED, ""


def _is_to_be_fetched(item: Item) -> bool:
    return item.place is None and item.problem is None and skip_of(item) is None


def _unread(item: Item, reading: Failure | None) -> tuple[ItemOutcome, str]:
    """Return the outcome of an item without bytes to store."""
    if isinstance(reading, Failure):
        return ItemOutcome.FAILED, reading.kind
    return ItemOutcome.SKIPPED, _skip(item)


def _facts(item: Item, number: int, standing: Standing | None) -> Post:
    """Return the facts to record about an item with an id, given what the ledger has about its post."""
    # A parent is a number of the item's board, which is not that of the store if the id is not.
    facts = item.facts if item.facts.id == number else item.facts._replace(id=number, parent_id=None)
    if standing is None or standing.status not in _HAS_PICTURE:
        return facts
    # Another file of the post does not take the place of the stored one, as that of a board would.
    return Post(**{**facts._asdict(), **standing.file})


def _skip(item: Item) -> Skip:
    return item.problem if isinstance(item.problem, Skip) else skip_of(item) or Skip.NO_PICTURE


def skip_of(item: Item) -> Skip | None:
    """Return the reason to skip an item because of the kind of its file."""
    suffix = item.facts.file_ext
    if suffix in VIDEO:
        return Skip.VIDEO
    if suffix == "swf":
        return Skip.FLASH
    return Skip.UNSUPPORTED if suffix in UNSUPPORTED_SUFFIXES else None


def _message(item: Item, reading: Reading) -> str:
    if isinstance(item.problem, Fault):
        return item.problem.message
    if isinstance(reading, Failure):
        return reading.message
    return f"post {item.facts.id} is not requested again" if item.facts.id else item.name
