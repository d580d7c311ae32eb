"""Putting a store right: the ledger from the tables and tar files, tar files from their whole pictures.

The files are the truth, the ledger is a cache of them. Each step leaves a store that a second repair
can go on with, whenever the first one is killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alti2v.crawl.store.ledger import Ledger, Outcome, TagChange, TarState
from alti2v.crawl.store.post_json import Place, Stored
from alti2v.crawl.store.tar_scan import Found, scan
from alti2v.crawl.store.writer import END_MARKER, append_pair, stored_outcome
from alti2v.errors import Alti2vError
from alti2v.records import Category, Post, Span, Status, Tag
from alti2v.storage.layout import (
    HISTORY,
    HISTORY_FILE,
    IMAGES_DIR,
    LEDGER_FILE,
    POSTS,
    POSTS_DIR,
    STORE_TAGS,
    TAGS_FILE,
    images_tar,
)
from alti2v.storage.publish import publish
from alti2v.storage.table import read_table
from alti2v.storage.tar import OpenTar, read_span


def rebuild_ledger(store: Path) -> None:
    """Replace the ledger by one that says what the tables say; listing starts from the newest post again.

    The tar files are held against it afterwards, as against any ledger.
    """
    for suffix in ("-wal", "-shm"):
        (store / f"{LEDGER_FILE}{suffix}").unlink(missing_ok=True)
    publish(store / LEDGER_FILE, lambda temporary: _fill(store, temporary))


def _fill(store: Path, path: Path) -> None:
    with Ledger(path) as ledger:
        for part in sorted((store / POSTS_DIR).glob("posts-*.parquet")):
            with contextlib.suppress(Alti2vError):  # a damaged part: its posts are listed again
                rows = read_table(part, POSTS)
                for batch in rows.to_batches(max_chunksize=5_000):
                    _add_rows(ledger, batch.to_pylist())
        with contextlib.suppress(Alti2vError, FileNotFoundError):
            tags = read_table(store / TAGS_FILE, STORE_TAGS).to_pylist()
            with ledger.transaction():
                for counted in (False, True):
                    ledger.add_tags(
                        (
                            Tag(name=row["name"], category=Category(row["category"]), count=row["board_count"])
                            for row in tags
                            if (row["board_count"] is not None) is counted
                            and (counted or row["category"] != Category.UNKNOWN)
                        ),
                        counted=counted,
                    )
        with contextlib.suppress(Alti2vError, FileNotFoundError):
            changes = read_table(store / HISTORY_FILE, HISTORY).to_pylist()
            with ledger.transaction():
                for row in changes:
                    ledger.add_change(
                        TagChange(
                            id=row["id"],
                            seen_at=int(row["seen_at"].timestamp()),
                            added=tuple(row["tags_added"]),
                            removed=tuple(row["tags_removed"]),
                        )
                    )
        numbers = tar_numbers(store)
        with ledger.transaction():
            for number in numbers:
                ledger.set_tar(_tar_state(store, number, is_last=number == numbers[-1]))
            ledger.set_all_dirty()


def tar_numbers(store: Path) -> list[int]:
    """The numbers of the tar files that are there."""
    files = (store / IMAGES_DIR).glob("images-*.tar")
    return sorted(int(file.stem.removeprefix("images-")) for file in files)


def _add_rows(ledger: Ledger, rows: Sequence[Mapping[str, Any]]) -> None:
    with ledger.transaction():
        ledger.add_posts([_post(row) for row in rows])
        ledger.settle([(row["id"], _outcome(row)) for row in rows])


def adopt(ledger: Ledger, found: Found, *, tar: int) -> None:
    """Make the ledger say that a post's picture lies there; inside a transaction."""
    post_id = found.post.id
    ledger.add_posts([] if ledger.is_listed(post_id) else [found.post])
    ledger.settle([(post_id, stored_outcome(found.stored, Place(tar=tar, span=found.span)))])


def make_pending(ledger: Ledger, post_id: int, *, why: str) -> None:
    """Let the next crawl fetch a post again, and those that relied on its bytes; inside a transaction."""
    again = Outcome(status=Status.PENDING, error=why)
    ledger.settle([(number, again) for number in (post_id, *ledger.duplicates_of(post_id))])


def rewrite_tar(store: Path, ledger: Ledger, tar: TarState, keep: Iterable[Found]) -> None:
    """Write a damaged tar file again from the pictures that are whole, and tell the ledger where they are."""
    path = store / images_tar(tar.number)
    moved: list[Found] = []
    size = 0

    def write(temporary: Path) -> None:
        nonlocal size
        new = OpenTar(temporary, committed=0)
        with path.open("rb") as old:
            for found in keep:
                content = read_span(old, found.span)
                span = append_pair(new, post=found.post, stored=found.stored, content=content)
                moved.append(replace(found, span=span, end=new.size))
        size = new.size
        if tar.sealed:
            new.seal()
            size += END_MARKER
        new.close()

    publish(path, write)
    with ledger.transaction():
        for found in moved:
            adopt(ledger, found, tar=tar.number)
        ledger.set_tar(TarState(number=tar.number, size=size, sealed=tar.sealed))


def _tar_state(store: Path, number: int, *, is_last: bool) -> TarState:
    """What a tar file's own bytes say about its length and whether it is sealed."""
    path = store / images_tar(number)
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_MARKER))
        is_sealed = size >= END_MARKER and not any(file.read(END_MARKER))
    if is_sealed or not is_last:
        return TarState(number=number, size=size, sealed=True)
    # Behind the last whole picture there may be what a kill left behind; it was never promised.
    ends = [found.end for found in scan(path) if isinstance(found, Found)]
    return TarState(number=number, size=max(ends, default=0), sealed=False)


def _post(row: Mapping[str, Any]) -> Post:
    facts = {name: row[name] for name in Post._fields}
    for category in Category:
        facts[category.tags_column] = " ".join(row[category.tags_column])
    for name in ("created_at", "changed_at"):
        facts[name] = None if facts[name] is None else int(facts[name].timestamp())
    return Post(**facts)


def _outcome(row: Mapping[str, Any]) -> Outcome:
    is_stored = row["status"] == Status.STORED
    return Outcome(
        status=Status(row["status"]),
        reason=row["reason"],
        error=row["error"],
        attempts=row["attempts"],
        http_status=row["http_status"],
        duplicate_of=row["duplicate_of"],
        stored=_stored(row) if is_stored else None,
        place=Place(tar=row["tar"], span=Span(offset=row["offset"], size=row["size"])) if is_stored else None,
    )


def _stored(row: Mapping[str, Any]) -> Stored:
    return Stored(
        url=row["fetched_url"],
        http_status=row["http_status"],
        attempts=row["attempts"],
        format=row["stored_format"],
        width=row["stored_width"],
        height=row["stored_height"],
        md5=row["stored_md5"],
    )
