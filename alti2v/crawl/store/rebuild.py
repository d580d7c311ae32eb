"""Repair a store: rebuild the ledger from tables and tar files, and tar files from their whole pictures.

The files are the truth, and the ledger is a cache of them. After a kill at any step, a second repair can
continue.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alti2v.crawl.store.ledger import NUMBERS, Ledger
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.crawl.store.linked import linked_tars
from alti2v.crawl.store.post_json import Stored, TarLocation
from alti2v.crawl.store.tables import GROWING_TABLES
from alti2v.crawl.store.tar_scan import WholePicture, scan
from alti2v.crawl.store.writer import append_pair, stored_outcome
from alti2v.errors import DamagedError
from alti2v.records import Category, Post, Span, Status, Tag
from alti2v.storage.columns import POSTS, STORE_TAGS
from alti2v.storage.layout import IMAGES_DIR, LEDGER_FILE, STORE_FILE, TAGS_FILE, images_tar, number_in
from alti2v.storage.publish import publish
from alti2v.storage.table import read_table
from alti2v.storage.tar import END_MARKER, OpenTar, read_span


@dataclass(frozen=True, slots=True, kw_only=True)
class TarContent:
    """Whole pictures of a tar file.

    Attributes:
        of_posts: Pictures of the posts as they are now, by post.
        replaced: Pictures of files that their posts had before.
    """

    of_posts: Mapping[int, WholePicture]
    replaced: tuple[WholePicture, ...]


def rebuild_ledger(store: Path) -> None:
    """Replace the ledger by one made from the tables; the next listing starts from the newest post.

    The caller compares the tar files with it afterwards.

    Raises:
        StorageError: The disk is full, for example; the ledger stays as it is.
    """

    def write(temporary: Path) -> None:
        _fill(store, temporary)
        # SQLite would apply the old one's to the new ledger.
        for suffix in ("-wal", "-shm"):
            (store / f"{LEDGER_FILE}{suffix}").unlink(missing_ok=True)

    publish(store / LEDGER_FILE, write)


# An odd ledger may have been exported. What a wrong `tar` means is decided by `PostTable.without_tar`.
_COUNTS = [name for name in NUMBERS if name != "tar"]


def _fill(store: Path, path: Path) -> None:
    from alti2v.storage.store import post_tables  # it loads pyarrow, 0.1 s

    with Ledger(path) as ledger:
        for part in post_tables(store):
            with contextlib.suppress(DamagedError):  # a damaged part: the next crawl lists its posts again
                for batch in read_table(part, POSTS).to_batches(max_chunksize=5_000):
                    _add_rows(ledger, batch.to_pylist())
        with contextlib.suppress(DamagedError, FileNotFoundError):
            _add_tags(ledger, read_table(store / TAGS_FILE, STORE_TAGS).to_pylist())
        for table in GROWING_TABLES:
            with contextlib.suppress(DamagedError, FileNotFoundError):
                rows = read_table(store / table.file, table.columns).to_pylist()
                with ledger.transaction():
                    for row in rows:
                        table.of(ledger).add({**row, "seen_at": int(row["seen_at"].timestamp())})
        numbers = tar_numbers(store)
        with ledger.transaction():
            for number in numbers:
                ledger.tars.set(_tar_state(store, number, is_last=number == numbers[-1]))
            for tar in linked_tars(store):
                ledger.tars.set(tar)
            for post_id in ledger.posts.without_tar():  # if its picture is in another one, it is found there
                make_pending(ledger, post_id, why="its tar file was lost")
            ledger.parts.mark_all_dirty()


def remove_unused_ledger(store: Path) -> None:
    """Remove the empty ledger of a first run that never recorded a post.

    Raises:
        DamagedError: The store holds pictures, so the ledger is not empty.
    """
    if tar_numbers(store):
        raise DamagedError(
            f"{store} holds pictures, but {STORE_FILE} is missing: restore it from a copy, or choose another "
            "folder"
        )
    for suffix in ("", "-wal", "-shm"):
        (store / f"{LEDGER_FILE}{suffix}").unlink(missing_ok=True)


def tar_numbers(store: Path) -> list[int]:
    """Return the numbers of the tar files in a store's folder; other files there belong to the user."""
    numbers = (number_in(file.name) for file in (store / IMAGES_DIR).glob("images-*.tar"))
    return sorted(number for number in numbers if number is not None)


def _add_rows(ledger: Ledger, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [{**row, **{name: 0 for name in _COUNTS if (row[name] or 0) < 0}} for row in rows]
    with ledger.transaction():
        ledger.posts.add([_post(row) for row in rows])
        ledger.posts.record([(row["id"], _outcome(row)) for row in rows])


def _add_tags(ledger: Ledger, rows: Sequence[Mapping[str, Any]]) -> None:
    uncounted = [row for row in rows if row["board_count"] is None and row["category"] != Category.UNKNOWN]
    counted = [row for row in rows if row["board_count"] is not None]
    with ledger.transaction():
        ledger.tags.add(map(_tag, uncounted), counted=False)
        ledger.tags.add(map(_tag, counted), counted=True)


def _tag(row: Mapping[str, Any]) -> Tag:
    return Tag(name=row["name"], category=Category(row["category"]), count=row["board_count"])


def _adopt(ledger: Ledger, picture: WholePicture, *, tar: int) -> None:
    """Record the location of a post's picture; inside a transaction."""
    post_id = picture.post.id
    ledger.posts.add([] if ledger.posts.is_listed(post_id) else [picture.post])
    ledger.posts.record([(post_id, stored_outcome(picture.stored, TarLocation(tar=tar, span=picture.span)))])


def make_pending(ledger: Ledger, post_id: int, *, why: str) -> None:
    """Let the next crawl download a post and its duplicates again; inside a transaction."""
    again = Outcome(status=Status.PENDING, error=why)
    ledger.posts.record([(each, again) for each in (post_id, *ledger.posts.duplicates_of(post_id))])


def rewrite_tar(store: Path, ledger: Ledger, tar: TarState, keep: TarContent) -> None:
    """Rewrite a damaged tar file with its undamaged pictures, and record their new positions."""
    path = store / images_tar(tar.number)
    moved: list[WholePicture] = []
    size = 0
    former = set(keep.replaced)

    def write(temporary: Path) -> None:
        nonlocal size
        new = OpenTar(temporary, committed=0)
        with path.open("rb") as old:
            for picture in sorted((*keep.of_posts.values(), *former), key=lambda each: each.span.offset):
                content = read_span(old, picture.span)
                span = append_pair(new, post=picture.post, stored=picture.stored, content=content)
                moved.append(replace(picture, span=span, end=new.size))
                if picture in former:
                    former.remove(picture)
                    former.add(moved[-1])
        size = new.size
        if tar.sealed:
            new.seal()
            size += END_MARKER
        new.close()

    publish(path, write)
    with ledger.transaction():
        ledger.replaced.forget_places(tar.number)
        for picture in moved:
            if picture not in former:
                _adopt(ledger, picture, tar=tar.number)
            else:
                _adopt_former(ledger, picture, tar=tar.number)
        ledger.tars.set(TarState(number=tar.number, size=size, sealed=tar.sealed))


def _adopt_former(ledger: Ledger, picture: WholePicture, *, tar: int) -> None:
    """Record the location of a picture of a former file; inside a transaction."""
    post, stored = picture.post, picture.stored
    if ledger.replaced.set_place(post.id, md5=stored.md5, tar=tar, span=picture.span):
        return
    ledger.replaced.add(
        {
            "id": post.id,
            "seen_at": int(time.time()),
            "md5": post.md5,
            "file_url": post.file_url,
            "fetched_url": stored.url,
            "tar": tar,
            "offset": picture.span.offset,
            "size": picture.span.size,
            "stored_format": stored.format,
            "stored_width": stored.width,
            "stored_height": stored.height,
            "stored_md5": stored.md5,
        }
    )


def _tar_state(store: Path, number: int, *, is_last: bool) -> TarState:
    """Return a tar file's length, and whether it is sealed, from its bytes."""
    path = store / images_tar(number)
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_MARKER))
        is_sealed = size >= END_MARKER and not any(file.read(END_MARKER))
    if is_sealed or not is_last:
        return TarState(number=number, size=size, sealed=True)
    # Bytes after the last whole picture may be left from a kill; they were never committed.
    ends = [member.end for member in scan(path) if isinstance(member, WholePicture)]
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
        location=TarLocation(tar=row["tar"], span=Span(offset=row["offset"], size=row["size"]))
        if is_stored
        else None,
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
        crc32=row["stored_crc32"],
    )
