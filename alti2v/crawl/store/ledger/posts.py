"""Listed posts, their outcomes, and the counts of both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alti2v.crawl.boards.protocol import PICTURE, Skip, skip_reason
from alti2v.crawl.store.ledger.history import HistoryTable
from alti2v.crawl.store.ledger.listed_again import is_replaced, outcome_after, with_former_facts
from alti2v.crawl.store.ledger.outcomes import (
    Holder,
    Outcome,
    Pending,
    PostCounts,
    Standing,
    outcome_columns,
    pending_post,
)
from alti2v.crawl.store.ledger.parts import PartTable
from alti2v.crawl.store.ledger.replaced import ReplacedTable
from alti2v.crawl.store.schema import PART_ROWS
from alti2v.crawl.store.sqlite import Database
from alti2v.records import Post, Status


@dataclass(frozen=True, slots=True)
class _Known:
    """A recorded post and its outcome."""

    post: Post
    status: Status
    reason: str


class PostTable:
    """The tables `posts` and `outcomes` of a ledger."""

    def __init__(
        self, database: Database, *, parts: PartTable, history: HistoryTable, replaced: ReplacedTable
    ) -> None:
        self._database = database
        self._parts = parts
        self._history = history
        self._replaced = replaced

    # Listing --------------------------------------------------------------------------------------

    def add(
        self,
        posts: Iterable[Post],
        *,
        deleted_ids: Iterable[int] = (),
        wanted: Callable[[Post], bool] = lambda _: True,
        skip: Callable[[Post], Skip | None] = skip_reason,
        seen_at: int = 0,
    ) -> int:
        """Record listed posts; a known post gets the newer facts, and keeps its outcome with its file.

        Args:
            posts: Posts as the board describes them.
            deleted_ids: Ids that the board lists without a post.
            wanted: True if a post's file is wanted; other posts are recorded as skipped.
            skip: Reason to skip a wanted post; None to record it as pending.
            seen_at: Time of the listing, unix seconds, for the history of tags.

        Returns:
            Number of new posts.
        """
        listed = list(_with_reasons(posts, deleted_ids, wanted, skip))
        known = self._known([post.id for post, _ in listed])
        new: dict[int, tuple[Post, str]] = {}
        again: list[tuple[Post, str]] = []
        for post, reason in listed:
            if post.id in known or post.id in new:
                again.append((post, reason))
            else:
                new[post.id] = post, reason
        self._insert(list(new.values()))
        with self._database.believed():
            for post, reason in again:
                if post.id not in known:  # twice on this page
                    first, first_reason = new[post.id]
                    known[post.id] = _Known(first, _status_of(first_reason), first_reason)
                known[post.id] = self._update(known[post.id], post, reason, seen_at)
        return len(new)

    def _insert(self, new: Sequence[tuple[Post, str]]) -> None:
        """Record posts that are not known yet, as skipped if they have a reason, and count them."""
        if not new:
            return
        first = self.next_seq()
        self._database.executemany(
            _INSERT,
            [
                (seq, *post, _SKIPPED if reason else _PENDING, reason)
                for seq, (post, reason) in enumerate(new, start=first)
            ],
        )
        self._database.executemany(
            "INSERT INTO outcomes VALUES (?,?,?,0) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [
                (_SKIPPED if reason else _PENDING, reason, count)
                for reason, count in Counter(reason for _, reason in new).items()
            ],
        )
        self._parts.mark_dirty(first, first + len(new) - 1)

    def _update(self, known: _Known, post: Post, reason: str, seen_at: int) -> _Known:
        """Record changes of a known post; return its facts and its outcome afterwards."""
        former = known.post
        if former == post or reason == Skip.GHOST:
            return known
        changed = outcome_after(known.status, known.reason, former=former, post=post, reason=reason)
        has_other_file = is_replaced(former, post)
        post = with_former_facts(post, former)
        if known.reason != Skip.GHOST:
            self._record_tag_change(former, post, seen_at)
        if has_other_file:
            self._replaced.keep(post.id, seen_at=seen_at)
        if former != post:
            self._database.execute(_UPDATE, (*post, post.id))
        if changed is None:
            return _Known(post, known.status, known.reason)
        status, reason = changed
        self.record([(post.id, Outcome(status=status, reason=reason))])
        if known.status is Status.STORED:  # it no longer holds the bytes of its duplicates
            self.record([(each, Outcome(status=Status.PENDING)) for each in self.duplicates_of(post.id)])
        return _Known(post, status, reason)

    def _known(self, ids: Sequence[int]) -> dict[int, _Known]:
        """Return those of some posts that are recorded, by id."""
        rows = self._database.select(
            f"SELECT {_FACTS}, status, reason FROM posts WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608 - names of columns
            json.dumps(ids),
        )
        return {row[0]: _Known(Post(*row[:-2]), Status(row[-2]), row[-1]) for row in rows}

    def _record_tag_change(self, former: Post, post: Post, seen_at: int) -> None:
        before, after = set(former.tags.all), set(post.tags.all)
        if before != after:
            added, removed = sorted(after - before), sorted(before - after)
            self._history.add({"id": post.id, "seen_at": seen_at, "tags_added": added, "tags_removed": removed})

    def id_bounds(self) -> tuple[int, int]:
        """Return the lowest and the highest id, without ids that have no post; (1, 0) if there is no post."""
        row = self._database.select_one("SELECT min(id), max(id) FROM posts WHERE reason!='ghost'")
        return (1, 0) if row is None or row[0] is None else (row[0], row[1])

    def present_ids(self, *, low: int, below: int) -> list[int]:
        """Return the ids in [low, below) of posts that the board had when last asked, highest first."""
        rows = self._database.select(
            "SELECT id FROM posts WHERE id>=? AND id<? AND reason!='ghost' AND board_status!='deleted' "
            "ORDER BY id DESC",
            low,
            below,
        )
        return [row["id"] for row in rows]

    def mark_deleted(self, post_id: int) -> None:
        """Record that the board no longer has a post; its row and its picture are kept."""
        self._database.execute("UPDATE posts SET board_status='deleted' WHERE id=?", (post_id,))

    def count_listed(self, *, below: int | None = None, top: int | None = None) -> int:
        """Count the recorded posts, including ids without a post: boards list them, and may count them.

        Args:
            below: Count only lower ids; None for all.
            top: Id of the newest post. Ids without a post above it are always counted, because such an id
                does not tell where the board lists it. None to treat them like posts.
        """
        if below is None:
            return int(self._database.select_value("SELECT count(*) FROM posts"))
        # With OR in a single query, SQLite would remember the rows it has counted: 16 bytes for each.
        row = self._database.select_one(
            "SELECT (SELECT count(*) FROM posts WHERE id<?)"
            " + (SELECT count(*) FROM posts WHERE id>? AND reason='ghost')",
            below,
            2**62 if top is None else max(top, below - 1),
        )
        return 0 if row is None else int(row[0])

    def counts(self) -> PostCounts:
        """Count the posts by outcome, in constant time."""
        by: dict[str, dict[str, int]] = {status.value: {} for status in Status}
        listed = stored_bytes = 0
        with self._database.believed():
            for row in self._database.select("SELECT * FROM outcomes WHERE count>0 ORDER BY status, reason"):
                listed += int(row["count"])
                by[row["status"]][str(row["reason"])] = int(row["count"])
                stored_bytes += int(row["bytes"]) if row["status"] == Status.STORED else 0
        return PostCounts(
            listed=listed,
            pending=sum(by["pending"].values()),
            stored=sum(by["stored"].values()),
            duplicate=sum(by["duplicate"].values()),
            skipped=by["skipped"],
            failed=by["failed"],
            bytes=stored_bytes,
        )

    # Downloads ------------------------------------------------------------------------------------

    def pending(self, *, after_seq: int, limit: int, tried: bool = False) -> list[Pending]:
        """Return the next pending posts in the order of listing.

        Args:
            after_seq: Position after which to begin.
            limit: Maximum number of posts.
            tried: Return only posts whose file has been requested before.
        """
        rows = self._database.select(
            f"SELECT seq, attempts, {_FACTS} FROM posts INDEXED BY pending_posts "  # noqa: S608 - names of columns
            "WHERE status='pending' AND seq>? AND attempts>=? ORDER BY seq LIMIT ?",
            after_seq,
            int(tried),
            limit,
        )
        return [pending_post(row[0], row[1], Post(*row[2:])) for row in rows]

    def retry_failed(self, kinds: Iterable[str], *, below_attempts: int = 2**62) -> None:
        """Make posts pending again that failed with one of these reasons after fewer attempts."""
        reasons = tuple(kinds)
        marks = ",".join("?" * len(reasons))
        selected = f"status='failed' AND reason IN ({marks}) AND attempts < ?"
        self._database.execute(
            f"UPDATE posts SET status='pending', reason='' WHERE {selected}",  # noqa: S608 - question marks only
            (*reasons, below_attempts),
        )

    def record(self, outcomes: Iterable[tuple[int, Outcome]]) -> None:
        """Replace the outcomes of posts, given by id."""
        self._database.executemany(
            "UPDATE posts SET status=?, reason=?, error=?, attempts=?, http_status=?, duplicate_of=?, "
            "fetched_url=?, stored_format=?, stored_width=?, stored_height=?, stored_md5=?, stored_crc32=?, "
            "tar=?, offset=?, size=? WHERE id=?",
            ((*outcome_columns(outcome), post_id) for post_id, outcome in outcomes),
        )

    def skip_unread(self) -> None:
        """Skip pending posts whose original is of a kind that is not read: their samples are not wanted."""
        rows = self._database.select(
            f"SELECT {_FACTS} FROM posts INDEXED BY pending_posts WHERE status='pending'"  # noqa: S608 - names of columns
            " AND file_ext NOT IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(PICTURE)),
        )
        posts = [Post(*row) for row in rows]
        self.record(
            (post.id, Outcome(status=Status.SKIPPED, reason=reason.value))
            for post in posts
            if (reason := skip_reason(post))
        )

    def outdated(self, posts: Sequence[Post]) -> set[int]:
        """Return the ids of those posts whose file the board has replaced since these descriptions."""
        rows = self._database.select(
            "SELECT id, md5, file_url FROM posts WHERE id IN (SELECT value FROM json_each(?))",
            json.dumps([post.id for post in posts]),
        )
        present = {row[0]: Post(id=row[0], md5=row[1], file_url=row[2]) for row in rows}
        return {post.id for post in posts if post.id in present and is_replaced(post, present[post.id])}

    def is_listed(self, post_id: int) -> bool:
        """Return whether a post is recorded."""
        return self._database.select_one("SELECT 1 FROM posts WHERE id=?", post_id) is not None

    def standing_of(self, ids: Sequence[int]) -> dict[int, Standing]:
        """Return those of some posts that are recorded, by id."""
        rows = self._database.select(
            "SELECT id, seq, status, reason, stored_md5, md5, file_url, sample_url FROM posts "
            "WHERE id IN (SELECT value FROM json_each(?))",
            json.dumps(ids),
        )
        files = [dict(zip(("md5", "file_url", "sample_url"), row[5:], strict=True)) for row in rows]
        return {
            row[0]: Standing(seq=row[1], status=Status(row[2]), reason=row[3], md5=row[4], file=file)
            for row, file in zip(rows, files, strict=True)
        }

    def next_seq(self) -> int:
        """Return the position that the next new post gets."""
        return int(self._database.select_value("SELECT coalesce(max(seq) + 1, 0) FROM posts"))

    # Stored bytes ---------------------------------------------------------------------------------

    def stored_in(self, tar: int) -> dict[int, tuple[int, int, str]]:
        """Return offset, size and md5 of the pictures that a tar file should hold, by post."""
        rows = self._database.select(
            "SELECT id, offset, size, stored_md5 FROM posts WHERE status='stored' AND tar=?", tar
        )
        return {row["id"]: (row["offset"], row["size"], row["stored_md5"]) for row in rows}

    def end_in(self, tar: int) -> int:
        """Return the offset in a tar file behind the last picture that it should hold; 0 without any."""
        sql = "SELECT max(offset + size) FROM posts WHERE status='stored' AND tar=?"
        row = self._database.select_one(sql, tar)
        with self._database.believed():
            return 0 if row is None or row[0] is None else int(row[0])

    def without_tar(self) -> list[int]:
        """Return the stored posts whose tar file is not recorded."""
        sql = "SELECT id FROM posts WHERE status='stored' AND tar NOT IN (SELECT number FROM tars)"
        return [row[0] for row in self._database.select(sql)]

    def board_md5(self, post_id: int) -> str | None:
        """Return the board's md5 of a post; None if the post or its md5 is not known."""
        row = self._database.select_one("SELECT md5 FROM posts WHERE id=?", post_id)
        return None if row is None else row["md5"]

    def place_of(self, post_id: int) -> tuple[int, int, int, str] | None:
        """Return tar file, offset, size and md5 of a post's picture; None if it is not stored."""
        sql = "SELECT tar, offset, size, stored_md5 FROM posts WHERE status='stored' AND id=?"
        row = self._database.select_one(sql, post_id)
        return None if row is None else (row[0], row[1], row[2], row[3])

    def duplicates_of(self, post_id: int) -> list[int]:
        """Return the posts that are duplicates of this one."""
        return [row[0] for row in self._database.select("SELECT id FROM posts WHERE duplicate_of=?", post_id)]

    def duplicate_of(self, post_id: int) -> int | None:
        """Return the post of which this one is a duplicate; None if it is not a duplicate."""
        row = self._database.select_one("SELECT duplicate_of FROM posts WHERE id=?", post_id)
        return None if row is None else row["duplicate_of"]

    def holders_of(self, md5s: Sequence[str]) -> dict[str, Holder]:
        """Return the posts whose stored bytes have these md5s, by md5."""
        # In descending order, so that the post that was listed first overwrites the others.
        rows = self._database.select(
            "SELECT stored_md5, id, seq FROM posts WHERE status='stored' "
            "AND stored_md5 IN (SELECT value FROM json_each(?)) ORDER BY seq DESC",
            json.dumps(md5s),
        )
        return {row[0]: Holder(row[1], row[2]) for row in rows}

    def hand_over(self, old: int, new: int) -> None:
        """Make a post that held bytes, and its duplicates, duplicates of another post."""
        self._database.execute("UPDATE posts SET duplicate_of=? WHERE duplicate_of=?", (new, old))
        self._database.execute(
            "UPDATE posts SET status='duplicate', duplicate_of=?, fetched_url=NULL, stored_format=NULL, "
            "stored_width=NULL, stored_height=NULL, stored_md5=NULL, stored_crc32=NULL, tar=NULL, offset=NULL, "
            "size=NULL WHERE id=?",
            (new, old),
        )

    # Export ---------------------------------------------------------------------------------------

    def slices(
        self, names: Sequence[str], *, part: int | None = None, rows: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Read columns of a part, or of all posts if None, in the order of listing, `rows` posts at a time."""
        bounds = (0, 2**62) if part is None else (part * PART_ROWS, (part + 1) * PART_ROWS)
        with self._database.errors():
            columns = ", ".join(names)
            cursor = self._database.execute(
                f"SELECT {columns} FROM posts WHERE seq>=? AND seq<? ORDER BY seq",  # noqa: S608 - the caller's names
                bounds,
            )
            cursor.row_factory = None
            while values := cursor.fetchmany(rows):
                yield values


_PENDING, _SKIPPED = Status.PENDING.value, Status.SKIPPED.value
_FACTS = ", ".join(Post._fields)
_INSERT = (
    f"INSERT INTO posts (seq, {_FACTS}, status, reason) "  # noqa: S608 - names of columns
    f"VALUES (?, {', '.join('?' * len(Post._fields))}, ?, ?)"
)
_UPDATE = f"UPDATE posts SET {', '.join(f'{name}=?' for name in Post._fields)} WHERE id=?"  # noqa: S608 - names of columns


def _status_of(reason: str) -> Status:
    return Status.SKIPPED if reason else Status.PENDING


def _with_reasons(
    posts: Iterable[Post],
    deleted_ids: Iterable[int],
    wanted: Callable[[Post], bool],
    skip: Callable[[Post], Skip | None],
) -> Iterator[tuple[Post, str]]:
    """Pair posts and deleted ids with the reason to skip them; "" for posts that are not skipped."""
    for post in posts:
        reason = skip(post) if wanted(post) else Skip.FILTERED
        yield post, reason.value if reason else ""
    for post_id in deleted_ids:
        yield Post(id=post_id), Skip.GHOST.value
