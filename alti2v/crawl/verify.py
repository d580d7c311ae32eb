"""Verification and repair of a store: re-reads every picture, and compares tables with the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from alti2v.crawl.listing.tag_relations import checksum_of
from alti2v.crawl.store.arrow import post_batches
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.crawl.store.rebuild import make_pending, rebuild_ledger, rewrite_tar, tar_numbers
from alti2v.crawl.store.tables import (
    export_history,
    export_part,
    export_tags,
    history_rows,
    sweep,
    tag_rows,
)
from alti2v.crawl.store.tar_scan import BrokenMember, WholePicture, scan
from alti2v.crawl.store.upload import StoreUpload
from alti2v.errors import DamagedError
from alti2v.records import Category, Finding, Progress, ProgressHook, Verification, ignore_progress
from alti2v.storage.directory import DirectoryKind, exclusive, read_description
from alti2v.storage.layout import (
    ALIASES_FILE,
    CRAWL_LOCK_FILE,
    HISTORY,
    HISTORY_FILE,
    IMPLICATIONS_FILE,
    LEDGER_FILE,
    POSTS,
    STORE_TAGS,
    TAGS_FILE,
    Table,
    images_tar,
    member_key,
    posts_table,
)
from alti2v.storage.remote import open_remote
from alti2v.storage.table import read_table, schema


def verify_store(
    store: Path, *, repair: bool = False, progress: ProgressHook = ignore_progress
) -> Verification:
    """Re-read a whole store: compare every picture with its md5, and tables and tar files with the ledger.

    With `repair`, a damaged ledger is rebuilt from the tables and tar files, damaged tar files and tables
    are written again, and posts whose picture is lost become pending, so that the next crawl downloads them.

    Raises:
        UsageError: the folder is not a store, or a crawl is writing into it.
        DamagedError: the ledger of a store behind a URL is lost.
        StorageError: the URL cannot be read.
    """
    url = read_description(store, DirectoryKind.STORE).get("url")
    upload = None if url is None else StoreUpload(store, open_remote(url))
    with exclusive(store, CRAWL_LOCK_FILE):
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
        with Ledger(store / LEDGER_FILE) as ledger:
            check.tars(ledger)
            check.tables(ledger)
        return check.result()


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

    # Tar files ------------------------------------------------------------------------------------

    def tars_alone(self) -> None:
        """Check the tar files without a ledger: each picture against its own JSON member."""
        for number in tar_numbers(self.store):
            size = (self.store / images_tar(number)).stat().st_size
            for _ in self._scan(TarState(number=number, size=size, sealed=False), total=None):
                pass

    def tars(self, ledger: Ledger) -> None:
        """Compare every tar file with the ledger."""
        states = ledger.tars.all()
        for tar in states:
            name = images_tar(tar.number)
            # Uploaded tar files are downloaded one at a time.
            is_temporary = self.upload is not None and self.upload.fetch_back(ledger, name)
            before = len(self.findings)
            self._tar(ledger, tar)
            if self.upload is not None and is_temporary:
                if self.repair and len(self.findings) > before:
                    self.upload.forget(ledger, name)  # the next crawl uploads it again
                else:
                    (self.store / name).unlink(missing_ok=True)
        last = states[-1].number if states else -1
        for number in sorted(set(tar_numbers(self.store)) - {tar.number for tar in states}):
            # A file after the last one is left by a kill before its first commit, and does not count.
            if number < last:
                self.report(images_tar(number), "the ledger does not know this file")

    def _tar(self, ledger: Ledger, tar: TarState) -> None:
        name = images_tar(tar.number)
        expected = ledger.posts.stored_in(tar.number)
        if not (self.store / name).exists():
            self.report(name, f"is missing, with {len(expected)} pictures")
            if self.repair:
                self._make_pending(ledger, expected, name)
                with ledger.transaction():
                    ledger.tars.forget(tar.number)
            return
        before = len(self.findings)
        keep = self._pictures(ledger, tar, expected)
        if self.repair and len(self.findings) > before:
            self._make_pending(ledger, expected.keys() - keep.keys(), name)
            rewrite_tar(self.store, ledger, tar, sorted(keep.values(), key=lambda each: each.span.offset))

    def _pictures(
        self, ledger: Ledger, tar: TarState, expected: Mapping[int, tuple[int, int, str]]
    ) -> dict[int, WholePicture]:
        """Compare one tar file with the ledger; return its whole pictures by post."""
        name = images_tar(tar.number)
        size = (self.store / name).stat().st_size
        if size < tar.size:
            self.report(name, f"has {size:,} bytes of {tar.size:,}")
        good: dict[int, WholePicture] = {}
        strays: dict[int, WholePicture] = {}
        broken: set[int] = set()
        for member in self._scan(tar, total=ledger.posts.counts().stored):
            if isinstance(member, BrokenMember):
                broken.add(member.post_id or 0)
            elif expected.get(member.post_id) == (member.span.offset, member.span.size, member.stored.md5):
                good[member.post_id] = member
            elif ledger.posts.duplicate_of(member.post_id) is not None:
                continue  # dead bytes: another post with the same bytes was listed earlier
            elif ledger.posts.tar_of(member.post_id) in (None, tar.number):  # else a later file holds it
                strays[member.post_id] = member
        for post_id in sorted(expected.keys() - good.keys()):
            if post_id in strays or post_id not in broken:
                what = "is at another place than the ledger says" if post_id in strays else "is not there"
                self.report(f"{name}: {member_key(post_id)}", what)
        for post_id in sorted(strays.keys() - expected.keys()):
            self.report(f"{name}: {member_key(post_id)}", "is there, but not in the ledger")
        return strays | good

    def _scan(self, tar: TarState, *, total: int | None) -> Iterator[WholePicture | BrokenMember]:
        """Scan a tar file, and report broken members."""
        name = images_tar(tar.number)
        for member in scan(self.store / name, length=tar.size):
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
        was_exported = not stale and ledger.state.get(StateKey.EXPORTED_TAGS) == ledger.tags.revision()
        for part in ledger.parts.all():
            if part not in stale and self._is_damaged_part(ledger, part, categories):
                stale.add(part)
        self._history(ledger)
        self._relations(ledger)
        are_tags_damaged = was_exported and self._is_damaged(
            TAGS_FILE, STORE_TAGS, _batches(STORE_TAGS, tag_rows(ledger, categories))
        )
        if self.repair and (stale or are_tags_damaged):
            for part in sorted(stale):
                export_part(self.store, ledger, part, categories)
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

    def _history(self, ledger: Ledger) -> None:
        changes = ledger.history.count()
        if not changes or ledger.state.get(StateKey.EXPORTED_HISTORY) != str(changes):
            return  # an interrupted crawl has not exported it yet
        is_damaged = self._is_damaged(HISTORY_FILE, HISTORY, _batches(HISTORY, history_rows(ledger)))
        if is_damaged and self.repair:
            export_history(self.store, ledger)

    def _relations(self, ledger: Ledger) -> None:
        """Compare the tables of tag relations with their checksums: the ledger does not hold the relations."""
        for file in (ALIASES_FILE, IMPLICATIONS_FILE):
            checksum = ledger.state.get(StateKey.WRITTEN, file)
            if checksum is None:
                continue
            path = self.store / file
            if path.exists():
                self.tables_read += 1
                if checksum_of(path) == checksum:
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
        with Ledger(require_ledger(store)) as ledger:
            return "" if ledger.is_sound() else "is damaged"
    except DamagedError as exc:
        return _without_advice(exc).removeprefix(f"{store / LEDGER_FILE} ")


def _without_advice(error: DamagedError) -> str:
    """Return the message of an error without the advice to run this command."""
    return str(error).partition(": run `")[0]
