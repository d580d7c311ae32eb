"""Looking at a store and putting it right: every picture re-read, tables and ledger held against them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from alti2v.crawl.listing.tag_relations import STAMP, stamp_of
from alti2v.crawl.store.ledger import Ledger, TarState
from alti2v.crawl.store.rebuild import make_pending, rebuild_ledger, rewrite_tar, tar_numbers
from alti2v.crawl.store.tables import (
    export_history,
    export_part,
    export_tags,
    history_rows,
    known_categories,
    post_rows,
    sweep,
    tag_rows,
)
from alti2v.crawl.store.tar_scan import Broken, Found, scan
from alti2v.crawl.store.upload import Mirror
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
    images_tar,
    member_key,
    posts_table,
)
from alti2v.storage.remote import open_remote
from alti2v.storage.table import read_table, schema

_SLICE = 5_000  # rows compared at once


def verify_store(
    store: Path, *, repair: bool = False, progress: ProgressHook = ignore_progress
) -> Verification:
    """Re-read a whole store: every picture against its md5, the tables and the ledger against them.

    With `repair`, a damaged ledger is rebuilt from the tables and tar files, damaged tar files and tables
    are written again, and posts whose picture is lost become pending, so that the next crawl fetches them.

    Raises:
        UsageError: it is no store, or a crawl is writing into it.
        DamagedError: the ledger of a store behind a URL is lost.
        StorageError: what is behind the URL cannot be read.
    """
    url = read_description(store, DirectoryKind.STORE).get("url")
    mirror = None if url is None else Mirror(store, open_remote(url))
    with exclusive(store, CRAWL_LOCK_FILE):
        check = _Check(store=store, repair=repair, progress=progress, mirror=mirror)
        if repair:
            sweep(store)
        what = _ledger_damage(store)
        if what:
            check.find(LEDGER_FILE, what)
            if not repair:
                check.tars_alone()
                return check.result()
            if mirror is not None:
                raise DamagedError(
                    f"{store / LEDGER_FILE} {what}, and the pictures are at {url}: copy them into {store}, "
                    "take the url out of its store.json, then run `alti2v verify --repair` again"
                )
            rebuild_ledger(store)
        with Ledger(store / LEDGER_FILE) as ledger:
            check.tars(ledger)
            check.tables(ledger)
        return check.result()


@dataclass(slots=True, kw_only=True)
class _Check:
    """A verification under way."""

    store: Path
    repair: bool
    progress: ProgressHook
    mirror: Mirror | None = None
    pictures: int = 0
    posts: int = 0
    tables_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    def find(self, where: str, what: str) -> None:
        self.findings.append(Finding(where=where, what=what, repaired=self.repair))

    def result(self) -> Verification:
        checked = {"pictures": self.pictures, "posts": self.posts, "tables": self.tables_read}
        return Verification(checked=checked, findings=tuple(self.findings))

    def tars_alone(self) -> None:
        """Without a ledger: what the tar files say about themselves."""
        for number in tar_numbers(self.store):
            size = (self.store / images_tar(number)).stat().st_size
            for _ in self._scan(TarState(number=number, size=size, sealed=False), total=None):
                pass

    def tars(self, ledger: Ledger) -> None:
        """Every tar file against the ledger."""
        states = ledger.tars()
        for tar in states:
            name = images_tar(tar.number)
            # What is behind a URL comes back for a look, one file at a time.
            is_visitor = self.mirror is not None and self.mirror.fetch_back(ledger, name)
            before = len(self.findings)
            self._tar(ledger, tar)
            if self.mirror is not None and is_visitor:
                if self.repair and len(self.findings) > before:
                    self.mirror.forget(ledger, name)  # the next crawl sends it again
                else:
                    (self.store / name).unlink(missing_ok=True)
        last = states[-1].number if states else -1
        for number in sorted(set(tar_numbers(self.store)) - {tar.number for tar in states}):
            # A kill between a new file's first byte and its commit leaves one behind the last, not promised.
            if number < last:
                self.find(images_tar(number), "the ledger does not know this file")

    def _tar(self, ledger: Ledger, tar: TarState) -> None:
        name = images_tar(tar.number)
        wanted = ledger.stored_in(tar.number)
        if not (self.store / name).exists():
            self.find(name, f"is missing, with {len(wanted)} pictures")
            if self.repair:
                self._lose(ledger, wanted, name)
                with ledger.transaction():
                    ledger.forget_tar(tar.number)
            return
        before = len(self.findings)
        keep = self._pictures(ledger, tar, wanted)
        if self.repair and len(self.findings) > before:
            self._lose(ledger, wanted.keys() - keep.keys(), name)
            rewrite_tar(self.store, ledger, tar, sorted(keep.values(), key=lambda found: found.span.offset))

    def _pictures(
        self, ledger: Ledger, tar: TarState, wanted: Mapping[int, tuple[int, int, str]]
    ) -> dict[int, Found]:
        """Hold one tar file against what the ledger wants of it; the whole pictures, by post."""
        name = images_tar(tar.number)
        size = (self.store / name).stat().st_size
        if size < tar.size:
            self.find(name, f"has {size:,} bytes of {tar.size:,}")
        good: dict[int, Found] = {}
        strays: dict[int, Found] = {}
        broken: set[int] = set()
        for found in self._scan(tar, total=ledger.counts().stored):
            if isinstance(found, Broken):
                broken.add(found.post_id or 0)
            elif wanted.get(found.post_id) == (found.span.offset, found.span.size, found.stored.md5):
                good[found.post_id] = found
            elif ledger.duplicate_of(found.post_id) is not None:
                continue  # a post that was listed earlier took its bytes over
            elif ledger.place_of(found.post_id) in (None, tar.number):  # else a later file holds it
                strays[found.post_id] = found
        for post_id in sorted(wanted.keys() - good.keys()):
            if post_id in strays or post_id not in broken:
                what = "lies elsewhere than the ledger says" if post_id in strays else "is not there"
                self.find(f"{name}: {member_key(post_id)}", what)
        for post_id in sorted(strays.keys() - wanted.keys()):
            self.find(f"{name}: {member_key(post_id)}", "is there, but the ledger does not say so")
        return strays | good

    def _scan(self, tar: TarState, *, total: int | None) -> Iterator[Found | Broken]:
        """Scan a tar file; what is broken is a finding."""
        name = images_tar(tar.number)
        for found in scan(self.store / name, length=tar.size):
            if isinstance(found, Broken):
                member = "" if found.post_id is None else f": {member_key(found.post_id)}"
                self.find(f"{name}{member}", f"{found.what} (byte {found.offset:,})")
            else:
                self.pictures += 1
                if self.pictures % 100 == 0:
                    done = min(self.pictures, total or self.pictures)
                    self.progress(Progress(stage="verifying", done=done, total=total, unit="pictures"))
            yield found

    def _lose(self, ledger: Ledger, posts: Collection[int], name: str) -> None:
        with ledger.transaction():
            for post_id in posts:
                make_pending(ledger, post_id, why=f"its picture in {name} was lost")

    def tables(self, ledger: Ledger) -> None:
        """Every table against the ledger, but for what an interrupted crawl has not exported yet."""
        categories = known_categories(ledger)
        stale = set(ledger.dirty_parts())
        was_exported = not stale and ledger.state("exported_tags") == ledger.tags_edition()
        for part in ledger.parts():
            if part not in stale:
                what = self._part_damage(ledger, part, categories)
                if what:
                    self.find(posts_table(part), what)
                    stale.add(part)
        history_damage = self._history_damage(ledger)
        if history_damage:
            self.find(HISTORY_FILE, history_damage)
            if self.repair:
                export_history(self.store, ledger)
        self._relations(ledger)
        tags_damage = self._tags_damage(ledger, categories) if was_exported else ""
        if tags_damage:
            self.find(TAGS_FILE, tags_damage)
        if self.repair and (stale or tags_damage):
            for part in sorted(stale):
                export_part(self.store, ledger, part, categories)
            export_tags(self.store, ledger, categories)

    def _part_damage(self, ledger: Ledger, part: int, categories: Mapping[str, Category]) -> str:
        try:
            table = read_table(self.store / posts_table(part), POSTS)
        except FileNotFoundError:
            return "is missing"
        except DamagedError as exc:
            return _in_short(exc)
        self.tables_read += 1
        self.posts += table.num_rows
        offset = 0
        rows = post_rows(ledger, part, categories)
        while expected := list(itertools.islice(rows, _SLICE)):
            if not table.slice(offset, len(expected)).equals(pa.Table.from_pylist(expected, schema(POSTS))):
                return "does not say what the ledger says"
            offset += len(expected)
        return "" if offset == table.num_rows else "has rows that the ledger does not have"

    def _history_damage(self, ledger: Ledger) -> str:
        if ledger.state("exported_history") != str(ledger.changes()) or not ledger.changes():
            return ""  # an interrupted crawl has not exported it yet
        try:
            table = read_table(self.store / HISTORY_FILE, HISTORY)
        except FileNotFoundError:
            return "is missing"
        except DamagedError as exc:
            return _in_short(exc)
        self.tables_read += 1
        is_same = table.equals(pa.Table.from_pylist(list(history_rows(ledger)), schema(HISTORY)))
        return "" if is_same else "does not say what the ledger says"

    def _relations(self, ledger: Ledger) -> None:
        """The tables of another site against what was written: the ledger does not hold what they say."""
        for file in (ALIASES_FILE, IMPLICATIONS_FILE):
            stamp = ledger.state(f"{STAMP}{file}")
            if stamp is None:
                continue
            path = self.store / file
            if path.exists():
                self.tables_read += 1
                if stamp_of(path) == stamp:
                    continue
            again = "crawl --tag-relations donmai brings it again"
            self.find(file, f"{'is not what was written' if path.exists() else 'is missing'}: {again}")
            if self.repair:
                path.unlink(missing_ok=True)
                with ledger.transaction():
                    ledger.forget_state(f"{STAMP}{file}")

    def _tags_damage(self, ledger: Ledger, categories: Mapping[str, Category]) -> str:
        try:
            table = read_table(self.store / TAGS_FILE, STORE_TAGS)
        except FileNotFoundError:
            return "is missing"
        except DamagedError as exc:
            return _in_short(exc)
        self.tables_read += 1
        is_same = table.equals(pa.Table.from_pylist(list(tag_rows(ledger, categories)), schema(STORE_TAGS)))
        return "" if is_same else "does not say what the ledger says"


def _ledger_damage(store: Path) -> str:
    """What is wrong with the ledger as a file; "" if nothing is."""
    path = store / LEDGER_FILE
    if not path.exists():
        return "is missing"
    try:
        with Ledger(path) as ledger:
            return "" if ledger.is_sound() else "is damaged"
    except DamagedError as exc:
        return _in_short(exc)


def _in_short(error: DamagedError) -> str:
    """What is wrong, without the advice to run what is running."""
    return str(error).partition(": run `")[0]
