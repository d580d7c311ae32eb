"""Verification and repair of a store: re-reads every picture, and compares tables with the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

import pyarrow as pa

from alti2v.crawl.store.arrow import count_tags, post_batches
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.crawl.store.rebuild import TarContent, make_pending, rebuild_ledger, rewrite_tar, tar_numbers
from alti2v.crawl.store.sqlite import OddValueError
from alti2v.crawl.store.tables import GROWING_TABLES, GrowingTable, export_part, export_tags, sweep, tag_rows
from alti2v.crawl.store.tag_counts import forget_counts
from alti2v.crawl.store.tar_scan import BrokenMember, WholePicture, holds, scan
from alti2v.crawl.store.upload import StoreUpload, is_uploaded
from alti2v.errors import DamagedError, UsageError
from alti2v.records import Category, Finding, Progress, ProgressHook, Verification, ignore_progress
from alti2v.storage.checksum import file_sha256
from alti2v.storage.columns import POSTS, STORE_TAGS, Table
from alti2v.storage.directory import DirectoryKind, exclusive, read_description, unchanged
from alti2v.storage.layout import (
    ALIASES_FILE,
    CRAWL_LOCK_FILE,
    FIRST_LINKED,
    IMPLICATIONS_FILE,
    LEDGER_FILE,
    TAGS_FILE,
    images_tar,
    member_key,
    posts_table,
)
from alti2v.storage.remote import open_remote
from alti2v.storage.table import read_table, schema


def verify_store(
    store: Path, *, url: str | None = None, repair: bool = False, progress: ProgressHook = ignore_progress
) -> Verification:
    """Re-read a whole store: compare every picture with its md5, and tables and tar files with the ledger.

    Without `repair`, nothing is written into the folder. With it, a damaged ledger is rebuilt from the tables
    and tar files, damaged tar files and tables are written again, and posts whose picture is lost become
    pending, so that the next crawl downloads them.

    Args:
        store: Folder.
        url: URL that the store is uploaded to; None if all of it is in the folder. A URL that only the store's
            description names is never requested, because the store may come from somebody else.
        repair: True to repair.
        progress: Hook.

    Raises:
        UsageError: The folder is not a store, or has another URL, or a crawl is writing into it.
        DamagedError: The ledger of a store behind a URL is lost.
        StorageError: The URL cannot be read.
    """
    _check_url(store, url)
    upload = None if url is None else StoreUpload(store, open_remote(url))
    with (exclusive if repair else unchanged)(store, CRAWL_LOCK_FILE):
        check = _Check(store=store, repair=repair, progress=progress, upload=upload)
        if repair:
            sweep(store)
        what = _ledger_damage(store)
        if what:
            check.report(LEDGER_FILE, what)
            if not repair:
                check.tars_alone()
                return check.result()
            if upload is not None:
                raise DamagedError(
                    f"{store / LEDGER_FILE} {what}, and the pictures are at {url}: copy them into {store}, "
                    "remove the url from its store.json, then run `alti2v verify --repair` again"
                )
            rebuild_ledger(store)
        try:
            check.with_ledger()
        except OddValueError as exc:
            if what or not repair or upload is not None:
                raise
            check = replace(check, findings=[])
            check.report(LEDGER_FILE, _without_advice(exc).removeprefix(f"{store / LEDGER_FILE} "))
            rebuild_ledger(store)
            check.with_ledger()
        return check.result()


def _check_url(store: Path, url: str | None) -> None:
    stated = read_description(store, DirectoryKind.STORE).get("url")
    if url is not None and str(stated).rstrip("/") != url.rstrip("/"):
        raise UsageError(f"{store} does not belong to {url}: give the folder that `alti2v crawl` had as --work")
    if url is None and stated is not None:
        raise UsageError(
            f"{store} keeps its pictures at {stated}: "
            f"if that is yours, run `alti2v verify {stated} --work {store}`"
        )


class _Place(Enum):
    """Place of a whole picture in a tar file, compared with the ledger."""

    RIGHT = auto()
    FORMER = auto()  # of a file that its post had before
    OTHER_FILE = auto()  # where the ledger has the picture of its post, but of another file of the board
    DEAD = auto()  # another post with the same bytes was listed earlier, or a later tar file holds them
    STRAY = auto()  # not where the ledger says, or not in the ledger


@dataclass(slots=True, kw_only=True)
class _Check:
    """A verification in progress."""

    store: Path
    repair: bool
    progress: ProgressHook
    upload: StoreUpload | None = None
    pictures: int = 0
    posts: int = 0
    tables_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    def report(self, where: str, what: str) -> None:
        self.findings.append(Finding(where=where, what=what, repaired=self.repair))

    def result(self) -> Verification:
        checked = {"pictures": self.pictures, "posts": self.posts, "tables": self.tables_read}
        return Verification(checked=checked, findings=tuple(self.findings))

    def with_ledger(self) -> None:
        """Compare tar files and tables with the ledger.

        Raises:
            OddValueError: The ledger holds a value that nobody can compare with.
        """
        with Ledger(self.store / LEDGER_FILE, readonly=not self.repair) as ledger, ledger.believed():
            self.tars(ledger)
            self.tables(ledger)

    # Tar files ------------------------------------------------------------------------------------

    def tars_alone(self) -> None:
        """Check the tar files without a ledger: each picture against its own JSON member."""
        for number in tar_numbers(self.store):
            path = self.store / images_tar(number)
            tar = TarState(number=number, size=path.stat().st_size, sealed=False)
            for _ in self._scan(tar, path, total=None):
                pass

    def tars(self, ledger: Ledger) -> None:
        """Compare every tar file with the ledger."""
        states = ledger.tars.all()
        for tar in states:
            with self._local_tar(ledger, images_tar(tar.number)) as path:
                self._tar(ledger, tar, path)
        last = max((tar.number for tar in states if tar.number < FIRST_LINKED), default=-1)
        for number in sorted(set(tar_numbers(self.store)) - {tar.number for tar in states}):
            # A file after the last one is left by a kill before its first commit, and does not count.
            if number < last:
                self.report(images_tar(number), "the ledger does not know this file")

    @contextlib.contextmanager
    def _local_tar(self, ledger: Ledger, name: str) -> Iterator[Path]:
        """Provide a tar file; uploaded ones are downloaded one at a time, into the store only for a repair."""
        if self.upload is None or not is_uploaded(ledger, name):
            yield self.store / name
            return
        if not self.repair:
            with tempfile.TemporaryDirectory(prefix="alti2v-") as folder:
                yield self.upload.fetch_back(name, Path(folder))
            return
        before = len(self.findings)
        path = self.upload.fetch_back(name, self.store)
        yield path
        if len(self.findings) > before:
            self.upload.forget(ledger, name)  # the next crawl uploads it again
        else:
            path.unlink(missing_ok=True)

    def _tar(self, ledger: Ledger, tar: TarState, path: Path) -> None:
        name = images_tar(tar.number)
        expected = ledger.posts.stored_in(tar.number)
        if not path.exists():
            self.report(name, f"is missing, with {len(expected)} pictures")
            if self.repair:
                self._make_pending(ledger, expected, name)
                with ledger.transaction():
                    ledger.replaced.forget_places(tar.number)
                    ledger.tars.forget(tar.number)
            return
        if tar.number >= FIRST_LINKED:
            self._linked(ledger, tar, expected)
            return
        before = len(self.findings)
        keep = self._pictures(ledger, tar, path, expected)
        if self.repair and len(self.findings) > before:
            self._make_pending(ledger, expected.keys() - keep.of_posts.keys(), name)
            rewrite_tar(self.store, ledger, tar, keep)

    def _linked(self, ledger: Ledger, tar: TarState, expected: Mapping[int, tuple[int, int, str]]) -> None:
        """Compare the pictures in somebody else's tar file with their md5s; it is never written to."""
        name = images_tar(tar.number)
        changed = []
        with (self.store / name).open("rb", buffering=0) as file:
            for post_id, (offset, size, md5) in sorted(expected.items(), key=lambda item: item[1]):
                content = os.pread(file.fileno(), size, offset)
                self.pictures += 1
                if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                    self.report(f"{name}: {member_key(post_id)}", "has changed since it was imported")
                    changed.append(post_id)
        if self.repair:
            self._make_pending(ledger, changed, name)

    def _pictures(
        self, ledger: Ledger, tar: TarState, path: Path, expected: Mapping[int, tuple[int, int, str]]
    ) -> TarContent:
        """Compare one tar file with the ledger; return its whole pictures."""
        name = images_tar(tar.number)
        size = path.stat().st_size
        if size < tar.size:
            self.report(name, f"has {size:,} bytes of {tar.size:,}")
        former = ledger.replaced.stored_in(tar.number)
        found: dict[_Place, list[WholePicture]] = {place: [] for place in _Place}
        told: set[int] = set()  # posts whose damage is reported
        for member in self._scan(tar, path, total=ledger.posts.counts().stored):
            if isinstance(member, BrokenMember):
                told.add(member.post_id or 0)
                continue
            place = self._place(ledger, member, tar.number, expected.get(member.post_id), former)
            found[place].append(member)
            if place is _Place.OTHER_FILE:
                told.add(member.post_id)
                self.report(f"{name}: {member_key(member.post_id)}", "is another file than its post's")
        good = {member.post_id: member for member in found[_Place.RIGHT]}
        strays = {member.post_id: member for member in found[_Place.STRAY]}
        replaced = (*found[_Place.FORMER], *found[_Place.OTHER_FILE])
        self._report_lost(name, former, replaced)
        for post_id in sorted(expected.keys() - good.keys()):
            if post_id in strays or post_id not in told:
                what = "is not where the ledger says" if post_id in strays else "is not there"
                self.report(f"{name}: {member_key(post_id)}", what)
        for post_id in sorted(strays.keys() - expected.keys()):
            self.report(f"{name}: {member_key(post_id)}", "is there, but not in the ledger")
        return TarContent(of_posts=strays | good, replaced=replaced)

    def _place(
        self,
        ledger: Ledger,
        picture: WholePicture,
        tar: int,
        expected: tuple[int, int, str] | None,
        former: Collection[tuple[int, int, int, str]],
    ) -> _Place:
        """Compare the place of a picture with the ledger."""
        post_id = picture.post_id
        found = (picture.span.offset, picture.span.size, picture.stored.md5)
        md5 = ledger.posts.board_md5(post_id)
        is_of_row = md5 is None or picture.post.md5 in (None, md5)  # by the board's MD5
        if expected == found:
            return _Place.RIGHT if is_of_row else _Place.OTHER_FILE
        if (post_id, *found) in former or not is_of_row:
            return _Place.FORMER
        if ledger.posts.duplicate_of(post_id) is not None:
            return _Place.DEAD
        place = ledger.posts.place_of(post_id)
        is_elsewhere = place is not None and place[0] != tar and holds(self.store, *place)
        return _Place.DEAD if is_elsewhere else _Place.STRAY

    def _report_lost(
        self, name: str, former: Collection[tuple[int, int, int, str]], found: Sequence[WholePicture]
    ) -> None:
        places = {(each.post_id, each.span.offset, each.span.size, each.stored.md5) for each in found}
        for post_id, *_ in sorted(set(former) - places):
            self.report(f"{name}: {member_key(post_id)}", "a former file of the post is not there")

    def _scan(self, tar: TarState, path: Path, *, total: int | None) -> Iterator[WholePicture | BrokenMember]:
        """Scan a tar file, and report broken members."""
        name = images_tar(tar.number)
        for member in scan(path, length=tar.size):
            if isinstance(member, BrokenMember):
                key = "" if member.post_id is None else f": {member_key(member.post_id)}"
                self.report(f"{name}{key}", f"{member.what} (byte {member.offset:,})")
            else:
                self.pictures += 1
                if self.pictures % 100 == 0:
                    done = min(self.pictures, total or self.pictures)
                    self.progress(Progress(stage="verifying", done=done, total=total, unit="pictures"))
            yield member

    def _make_pending(self, ledger: Ledger, posts: Collection[int], name: str) -> None:
        with ledger.transaction():
            for post_id in posts:
                make_pending(ledger, post_id, why=f"its picture in {name} was lost")

    # Tables ---------------------------------------------------------------------------------------

    def tables(self, ledger: Ledger) -> None:
        """Compare every table with the ledger, except what an interrupted crawl has not exported yet."""
        categories = ledger.tags.categories()
        stale = set(ledger.parts.dirty())
        was_exported = (
            not stale
            and ledger.state.get(StateKey.EXPORTED_TAGS) == ledger.tags.revision()
            and ledger.state.get(StateKey.TAGS_OUTDATED) is None
        )
        for part in ledger.parts.all():
            if part not in stale and self._is_damaged_part(ledger, part, categories):
                stale.add(part)
        for table in GROWING_TABLES:
            self._growing(ledger, table)
        self._relations(ledger)
        are_tags_damaged = was_exported and self._is_damaged(
            TAGS_FILE, STORE_TAGS, _batches(STORE_TAGS, tag_rows(ledger, categories, count_tags(ledger)))
        )
        if self.repair and (stale or are_tags_damaged):
            for part in sorted(stale):
                export_part(self.store, ledger, part, categories)
            forget_counts(ledger)
            export_tags(self.store, ledger, categories)

    def _is_damaged_part(self, ledger: Ledger, part: int, categories: Mapping[str, Category]) -> bool:
        return self._is_damaged(posts_table(part), POSTS, post_batches(ledger, part, categories))

    def _is_damaged(self, name: str, table: Table, expected: Iterable[pa.RecordBatch]) -> bool:
        """Compare a table with the rows that it should have; report it if it differs."""
        what = self._damage(name, table, expected)
        if what:
            self.report(name, what)
        return bool(what)

    def _damage(self, name: str, table: Table, expected: Iterable[pa.RecordBatch]) -> str:
        try:
            content = read_table(self.store / name, table)
        except FileNotFoundError:
            return "is missing"
        except DamagedError as exc:
            return _without_advice(exc)
        self.tables_read += 1
        if table is POSTS:
            self.posts += content.num_rows
        offset = 0
        for batch in expected:
            if not content.slice(offset, batch.num_rows).equals(pa.Table.from_batches([batch])):
                return "differs from the ledger"
            offset += batch.num_rows
        return "" if offset == content.num_rows else "has rows that the ledger does not have"

    def _growing(self, ledger: Ledger, table: GrowingTable) -> None:
        rows = table.of(ledger)
        count = rows.count()
        if not count or ledger.state.get(table.exported) != str(count):
            return  # an interrupted crawl has not exported it yet
        is_damaged = self._is_damaged(table.file, table.columns, _batches(table.columns, rows.rows()))
        if is_damaged and self.repair:
            table.export(self.store, ledger)

    def _relations(self, ledger: Ledger) -> None:
        """Compare the tables of tag relations with their checksums: the ledger does not hold the relations."""
        for file in (ALIASES_FILE, IMPLICATIONS_FILE):
            checksum = ledger.state.get(StateKey.WRITTEN, file)
            if checksum is None:
                continue
            path = self.store / file
            if path.exists():
                self.tables_read += 1
                if file_sha256(path) == checksum:
                    continue
            what = "has changed since it was written" if path.exists() else "is missing"
            self.report(file, f"{what}: `alti2v crawl --tag-relations donmai` reads it again")
            if self.repair:
                path.unlink(missing_ok=True)
                with ledger.transaction():
                    ledger.state.forget(StateKey.WRITTEN, file)


def _batches(table: Table, rows: Iterable[Mapping[str, object]]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pylist(list(rows), schema(table))


def _ledger_damage(store: Path) -> str:
    """Return what is wrong with the ledger as a file; "" if nothing is."""
    try:
        with Ledger(require_ledger(store), readonly=True) as ledger:
            return "" if ledger.is_sound() else "is damaged"
    except DamagedError as exc:
        return _without_advice(exc).removeprefix(f"{store / LEDGER_FILE} ")


def _without_advice(error: DamagedError) -> str:
    """Return the message of an error without the advice to run this command."""
    return str(error).partition(": run `")[0]
