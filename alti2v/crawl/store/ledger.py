"""The ledger: what is listed, stored, skipped and failed, and where listing stands.

The bytes in the tar files are synced before the transaction that names them, so the ledger never promises
what is not on disk. It is a cache of the store: `verify --repair` rebuilds it.

A ledger is used by one thread at a time; the crawl gives it a thread of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.crawl.boards.protocol import Skip, skip_reason
from alti2v.crawl.store.post_json import Place, Stored, Wanted, encode
from alti2v.crawl.store.schema import PART_ROWS, SCHEMA, SCHEMA_VERSION
from alti2v.crawl.store.sqlite import Database
from alti2v.crawl.store.walk_state import Walk, read_walk, walk_document
from alti2v.records import Category, Post, Status, Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A post whose file is wanted."""

    post: Post
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a post stands; the columns of the table `posts` of the same names.

    Attributes:
        stored, place: of its bytes; both None unless the status is STORED.
    """

    status: Status
    reason: str = ""
    error: str = ""
    attempts: int = 0
    http_status: int | None = None
    duplicate_of: int | None = None
    stored: Stored | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCounts:
    """Posts by outcome; `bytes` is the size of all stored pictures."""

    pending: int
    stored: int
    duplicate: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    bytes: int

    @property
    def listed(self) -> int:
        """Every post of the store."""
        return self.pending + self.settled

    @property
    def settled(self) -> int:
        """Posts that are not pending."""
        return self.stored + self.duplicate + sum(self.skipped.values()) + sum(self.failed.values())


@dataclass(frozen=True, slots=True)
class Holder:
    """A post that holds bytes, and its place in the order of listing."""

    post_id: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChange:
    """A post was seen with other tags than before; `seen_at` in unix seconds."""

    id: int
    seen_at: int
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarState:
    """One tar file of the store: how many of its bytes are committed, and whether it grows."""

    number: int
    size: int
    sealed: bool


class Ledger(Database):
    """An open ledger; a context manager.

    Args:
        path: made if it does not exist, unless `readonly`.
        readonly: for a look from outside, also while a crawl writes.

    Raises:
        DamagedError: it is no ledger of this version, or cannot be read.
        StorageError: the file system refuses.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        super().__init__(path, schema=SCHEMA, version=SCHEMA_VERSION, readonly=readonly)

    # Listing --------------------------------------------------------------------------------------

    def add_posts(
        self,
        posts: Iterable[Post],
        *,
        ghosts: Iterable[int] = (),
        wanted: Callable[[Post], bool] = lambda _: True,
        seen_at: int = 0,
    ) -> int:
        """Record listed posts; a known post gets the newer facts and keeps its outcome.

        Args:
            posts: as the board describes them.
            ghosts: ids without a post.
            wanted: whether a post's file is wanted; others are recorded as skipped.
            seen_at: unix seconds, for the history of the tags of known posts.

        Returns:
            How many were new.
        """
        listed = list(_with_reasons(posts, ghosts, wanted))
        known = self._known([post.id for post, _ in listed])
        new: dict[int, tuple[Post, str]] = {}
        again: list[tuple[Post, str]] = []
        for post, reason in listed:
            if post.id in known or post.id in new:
                again.append((post, reason))
            else:
                new[post.id] = post, reason
        self._insert(list(new.values()))
        known |= new
        for post, reason in again:
            known[post.id] = self._update(known[post.id], post, reason, seen_at)
        return len(new)

    def _insert(self, new: Sequence[tuple[Post, str]]) -> None:
        """Record posts that are not known yet, skipped where there is a reason, and count them."""
        if not new:
            return
        first = int(self._one("SELECT coalesce(max(seq) + 1, 0) FROM posts"))
        self._db.executemany(
            _INSERT,
            [
                (seq, *post, _SKIPPED if reason else _PENDING, reason)
                for seq, (post, reason) in enumerate(new, start=first)
            ],
        )
        self._db.executemany(
            "INSERT INTO outcomes VALUES (?,?,?,0) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [
                (_SKIPPED if reason else _PENDING, reason, count)
                for reason, count in Counter(reason for _, reason in new).items()
            ],
        )
        last = first + len(new) - 1
        self._db.executemany(
            "INSERT OR IGNORE INTO dirty_parts VALUES (?)",
            [(part,) for part in range(first // PART_ROWS, last // PART_ROWS + 1)],
        )

    def _update(self, known: tuple[Post, str], post: Post, reason: str, seen_at: int) -> tuple[Post, str]:
        """Record what is new about a known post; returns what is known then."""
        former, former_reason = known
        if former == post or reason == Skip.GHOST:
            return known
        post = _with_what_was_known(post, former)
        if former_reason != Skip.GHOST:
            self._remember_tags(former, post, seen_at)
        if former == post:
            return known
        self._db.execute(_UPDATE, (*post, post.id))
        if former_reason not in _MAY_APPEAR:
            return post, former_reason
        self._db.execute(
            "UPDATE posts SET status=?, reason=? WHERE id=?",
            (_SKIPPED if reason else _PENDING, reason, post.id),
        )
        return post, reason

    def _known(self, ids: Sequence[int]) -> dict[int, tuple[Post, str]]:
        """Those of some posts that are recorded, with their reasons, by id."""
        rows = self._rows(
            f"SELECT {_FACTS}, reason FROM posts WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608 - names of columns
            json.dumps(ids),
        )
        return {row[0]: (Post(*row[:-1]), row[-1]) for row in rows}

    def _remember_tags(self, former: Post, post: Post, seen_at: int) -> None:
        before, after = set(former.tags.all), set(post.tags.all)
        if before != after:
            self.add_change(
                TagChange(
                    id=post.id,
                    seen_at=seen_at,
                    added=tuple(sorted(after - before)),
                    removed=tuple(sorted(before - after)),
                )
            )

    def add_change(self, change: TagChange) -> None:
        """Remember that a post was seen with other tags."""
        self._db.execute(
            "INSERT INTO history VALUES (?,?,?,?)",
            (change.id, change.seen_at, json.dumps(change.added), json.dumps(change.removed)),
        )

    def history(self) -> Iterator[TagChange]:
        """Every change of tags that was seen, in the order of seeing."""
        with self._errors():
            for row in self._db.execute("SELECT * FROM history ORDER BY rowid"):
                added, removed = tuple(json.loads(row["added"])), tuple(json.loads(row["removed"]))
                yield TagChange(id=row["id"], seen_at=row["seen_at"], added=added, removed=removed)

    def changes(self) -> int:
        """How many changes of tags were seen."""
        return int(self._one("SELECT count(*) FROM history"))

    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest id of a post that is not a ghost; (1, 0) without any."""
        row = self._row("SELECT min(id), max(id) FROM posts WHERE reason!='ghost'")
        return (1, 0) if row is None or row[0] is None else (row[0], row[1])

    def present(self, *, low: int, below: int) -> list[int]:
        """The posts with low <= id < below that the board had when it was last asked, highest first."""
        return [
            row["id"]
            for row in self._rows(
                "SELECT id FROM posts WHERE id>=? AND id<? AND reason!='ghost' AND board_status!='deleted' "
                "ORDER BY id DESC",
                low,
                below,
            )
        ]

    def mark_deleted(self, post_id: int) -> None:
        """The board does not have a post any more; its row and its picture stay."""
        self._db.execute("UPDATE posts SET board_status='deleted' WHERE id=?", (post_id,))

    def listed(self, *, below: int | None = None, top: int | None = None) -> int:
        """How many posts are recorded, ghosts included: they are listed, and perhaps counted.

        Args:
            below: only those with a lower id; None for all.
            top: the newest post's id: ghosts above it count whatever the bound, because their ids say
                nothing about where the board keeps them. None to count them by their ids.
        """
        if below is None:
            return int(self._one("SELECT count(*) FROM posts"))
        # With OR in one query, SQLite would remember the rows that it has counted: 16 bytes for each.
        row = self._row(
            "SELECT (SELECT count(*) FROM posts WHERE id<?)"
            " + (SELECT count(*) FROM posts WHERE id>? AND reason='ghost')",
            below,
            2**62 if top is None else max(top, below - 1),
        )
        return 0 if row is None else int(row[0])

    def walk(self) -> Walk | None:
        """Where listing stands; None before the first answer."""
        text = self.state("walk")
        return None if text is None else read_walk(json.loads(text))

    def set_walk(self, walk: Walk) -> None:
        """Remember where listing stands."""
        self.set_state("walk", encode(walk_document(walk)))

    # Fetching -------------------------------------------------------------------------------------

    def pending(self, *, after_seq: int, limit: int, tried: bool = False) -> list[Pending]:
        """The next pending posts in the order of listing; with `tried`, only those asked for before."""
        rows = self._rows(
            f"SELECT seq, attempts, {_FACTS} FROM posts INDEXED BY pending_posts "  # noqa: S608 - names of columns
            "WHERE status='pending' AND seq>? AND attempts>=? ORDER BY seq LIMIT ?",
            after_seq,
            int(tried),
            limit,
        )
        return [_pending(row[0], row[1], Post(*row[2:])) for row in rows]

    def retry_failed(self, kinds: Iterable[str], *, below_attempts: int = 2**62) -> int:
        """Make posts that failed in one of these ways, after fewer attempts, pending again; how many."""
        reasons = tuple(kinds)
        marks = ",".join("?" * len(reasons))
        of_these = f"status='failed' AND reason IN ({marks}) AND attempts < ?"
        return self._db.execute(
            f"UPDATE posts SET status='pending', reason='' WHERE {of_these}",  # noqa: S608 - question marks only
            (*reasons, below_attempts),
        ).rowcount

    def is_listed(self, post_id: int) -> bool:
        """Whether a post is recorded."""
        return self._row("SELECT 1 FROM posts WHERE id=?", post_id) is not None

    def stored_in(self, tar: int) -> dict[int, tuple[int, int, str]]:
        """What a tar file should hold: offset, size and md5 of the picture, by post."""
        rows = self._rows("SELECT id, offset, size, stored_md5 FROM posts WHERE status='stored' AND tar=?", tar)
        return {row["id"]: (row["offset"], row["size"], row["stored_md5"]) for row in rows}

    def place_of(self, post_id: int) -> int | None:
        """The tar file that holds a post's picture; None if none does."""
        row = self._row("SELECT tar FROM posts WHERE status='stored' AND id=?", post_id)
        return None if row is None else int(row["tar"])

    def duplicates_of(self, post_id: int) -> list[int]:
        """The posts that rely on the bytes of this one."""
        return [row[0] for row in self._rows("SELECT id FROM posts WHERE duplicate_of=?", post_id)]

    def duplicate_of(self, post_id: int) -> int | None:
        """The post on whose bytes this one relies; None if it relies on none."""
        row = self._row("SELECT duplicate_of FROM posts WHERE id=?", post_id)
        return None if row is None else row["duplicate_of"]

    def holders_of(self, md5s: Sequence[str]) -> dict[str, Holder]:
        """The posts whose stored bytes have these md5s, by md5."""
        # The one that was listed first comes last, and stays.
        rows = self._rows(
            "SELECT stored_md5, id, seq FROM posts WHERE status='stored' "
            "AND stored_md5 IN (SELECT value FROM json_each(?)) ORDER BY seq DESC",
            json.dumps(md5s),
        )
        return {row[0]: Holder(row[1], row[2]) for row in rows}

    def hand_over(self, old: int, new: int) -> None:
        """Make a post that held bytes, and those that relied on it, duplicates of another one."""
        self._db.execute("UPDATE posts SET duplicate_of=? WHERE duplicate_of=?", (new, old))
        self._db.execute(
            "UPDATE posts SET status='duplicate', duplicate_of=?, fetched_url=NULL, stored_format=NULL, "
            "stored_width=NULL, stored_height=NULL, stored_md5=NULL, tar=NULL, offset=NULL, size=NULL "
            "WHERE id=?",
            (new, old),
        )

    def settle(self, outcomes: Iterable[tuple[int, Outcome]]) -> None:
        """Record how posts stand now, all of it, by id."""
        self._db.executemany(
            "UPDATE posts SET status=?, reason=?, error=?, attempts=?, http_status=?, duplicate_of=?, "
            "fetched_url=?, stored_format=?, stored_width=?, stored_height=?, stored_md5=?, tar=?, offset=?, "
            "size=? WHERE id=?",
            ((*_columns(outcome), post_id) for post_id, outcome in outcomes),
        )

    # Tar files, parts, tags -----------------------------------------------------------------------

    def tars(self) -> list[TarState]:
        """The tar files of the store, in order; at most the last one is not sealed."""
        rows = self._rows("SELECT number, size, sealed FROM tars ORDER BY number")
        return [TarState(number=row[0], size=row[1], sealed=bool(row[2])) for row in rows]

    def set_tar(self, tar: TarState) -> None:
        """Remember how long a tar file is."""
        self._db.execute("INSERT OR REPLACE INTO tars VALUES (?,?,?)", (tar.number, tar.size, int(tar.sealed)))

    def forget_tar(self, number: int) -> None:
        """A tar file is gone."""
        self._db.execute("DELETE FROM tars WHERE number=?", (number,))

    def parts(self) -> list[int]:
        """The Parquet parts that the store needs."""
        last = self._one("SELECT max(seq) FROM posts")
        return [] if last is None else list(range(last // PART_ROWS + 1))

    def dirty_parts(self) -> list[int]:
        """The Parquet parts that no longer say what the ledger says."""
        return [row[0] for row in self._rows("SELECT part FROM dirty_parts ORDER BY part")]

    def set_clean(self, part: int) -> None:
        """A part was exported."""
        self._db.execute("DELETE FROM dirty_parts WHERE part=?", (part,))

    def set_all_dirty(self) -> None:
        """Every part has to be exported again."""
        self._db.execute(f"INSERT OR IGNORE INTO dirty_parts SELECT DISTINCT seq/{PART_ROWS} FROM posts")  # noqa: S608 - a constant

    def rows(self, part: int | None = None) -> Iterator[sqlite3.Row]:
        """The rows of a part, or all, in the order of listing."""
        with self._errors():
            yield from self._db.execute("SELECT * FROM posts WHERE seq>=? AND seq<? ORDER BY seq", _seqs(part))

    def slices(
        self, names: Sequence[str], *, part: int | None = None, rows: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        """These columns of the posts of a part, or of all, in the order of listing, so many rows at a time."""
        with self._errors():
            columns = ", ".join(names)
            cursor = self._db.execute(
                f"SELECT {columns} FROM posts WHERE seq>=? AND seq<? ORDER BY seq",  # noqa: S608 - the caller's names
                _seqs(part),
            )
            cursor.row_factory = None
            while found := cursor.fetchmany(rows):
                yield found

    def known_tags(self) -> dict[str, Category]:
        """The categories that a tag API gave, UNKNOWN for names that it did not know."""
        return {row[0]: Category(row[1]) for row in self._rows("SELECT name, category FROM tags")}

    def board_counts(self) -> dict[str, int]:
        """How many posts of the board carry each tag, as far as the board was asked."""
        rows = self._rows("SELECT name, board_count FROM tags WHERE board_count IS NOT NULL")
        return {row[0]: row[1] for row in rows}

    def tags_unknown_elsewhere(self) -> set[str]:
        """The tags that another site than the board was asked for, and did not know."""
        rows = self._rows("SELECT name FROM tags WHERE category='unknown' AND board_count IS NULL")
        return {row[0] for row in rows}

    def tags_edition(self) -> str:
        """A text that differs whenever more is known about tags."""
        return " ".join(
            map(str, self._rows("SELECT count(*), sum(category!='unknown'), count(board_count) FROM tags")[0])
        )

    def add_tags(self, tags: Iterable[Tag], *, counted: bool = True) -> None:
        """Remember what was said about tags, for ever; `counted`: their counts are the board's."""
        self._db.executemany(
            "INSERT OR REPLACE INTO tags VALUES (?,?,?)",
            [(tag.name, tag.category, tag.count if counted else None) for tag in tags],
        )

    def counts(self) -> PostCounts:
        """Posts by outcome, at once, whatever the size of the store."""
        by: dict[str, dict[str, int]] = {status.value: {} for status in Status}
        stored_bytes = 0
        for row in self._rows("SELECT * FROM outcomes WHERE count>0 ORDER BY status, reason"):
            by[row["status"]][row["reason"]] = row["count"]
            stored_bytes += row["bytes"] if row["status"] == Status.STORED else 0
        return PostCounts(
            pending=sum(by["pending"].values()),
            stored=sum(by["stored"].values()),
            duplicate=sum(by["duplicate"].values()),
            skipped=by["skipped"],
            failed=by["failed"],
            bytes=stored_bytes,
        )

    def state(self, key: str) -> str | None:
        """A remembered text; None if there is none."""
        row = self._row("SELECT value FROM state WHERE key=?", key)
        return None if row is None else str(row["value"])

    def set_state(self, key: str, value: str) -> None:
        """Remember a text."""
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?,?)", (key, value))

    def forget_state(self, key: str) -> None:
        """Forget a text."""
        self._db.execute("DELETE FROM state WHERE key=?", (key,))


# A post that was skipped for one of these reasons may come to have a file.
_MAY_APPEAR = frozenset({Skip.GHOST.value, Skip.HIDDEN.value, Skip.FILTERED.value})

_PENDING, _SKIPPED = Status.PENDING.value, Status.SKIPPED.value
_FACTS = ", ".join(Post._fields)
_TAG_COLUMNS = tuple(category.tags_column for category in Category)
_INSERT = (
    f"INSERT INTO posts (seq, {_FACTS}, status, reason) "  # noqa: S608 - names of columns
    f"VALUES (?, {', '.join('?' * len(Post._fields))}, ?, ?)"
)
_UPDATE = f"UPDATE posts SET {', '.join(f'{name}=?' for name in Post._fields)} WHERE id=?"  # noqa: S608 - names of columns


def _seqs(part: int | None) -> tuple[int, int]:
    """From which `seq` on and below which the posts of a part stand; of all parts if None."""
    return (0, 2**62) if part is None else (part * PART_ROWS, (part + 1) * PART_ROWS)


def _columns(outcome: Outcome) -> tuple[str | int | None, ...]:
    """The columns of `posts` from `status` to `size`, in the order of `Ledger.settle`."""
    stored, place = outcome.stored, outcome.place
    of_bytes = (
        (None,) * 5 if stored is None else (stored.url, stored.format, stored.width, stored.height, stored.md5)
    )
    of_place = (None,) * 3 if place is None else (place.tar, place.span.offset, place.span.size)
    said = (outcome.status, outcome.reason, outcome.error[:500], outcome.attempts, outcome.http_status)
    return (*said, outcome.duplicate_of, *of_bytes, *of_place)


def _pending(seq: int, attempts: int, post: Post) -> Pending:
    wanted = Wanted(seq, attempts, sample_url=post.sample_url, file_url=post.file_url)
    return Pending(post=post, wanted=wanted)


def _with_what_was_known(post: Post, former: Post) -> Post:
    """A newer description, with what this form of it does not say; other tags only if they are others."""
    if post.tags == former.tags:
        post = post._replace(**{name: getattr(former, name) for name in _TAG_COLUMNS})
    created_at = former.created_at if post.created_at is None else post.created_at
    return post._replace(created_at=created_at, md5=post.md5 or former.md5)


def _with_reasons(
    posts: Iterable[Post], ghosts: Iterable[int], wanted: Callable[[Post], bool]
) -> Iterator[tuple[Post, str]]:
    """Posts and ghosts, and why each is skipped: "" if it is not."""
    for post in posts:
        reason = skip_reason(post) if wanted(post) else Skip.FILTERED
        yield post, reason.value if reason else ""
    for number in ghosts:
        yield Post(id=number), Skip.GHOST.value
