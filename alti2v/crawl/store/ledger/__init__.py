"""The ledger of a store: an SQLite file that records which posts are listed, stored, skipped and failed.

The bytes in the tar files are synced before the transaction that names them, so the ledger never promises
more than the disk holds. It can be rebuilt from the store's other files: `alti2v verify --repair` does.
"""

from __future__ import annotations

from pathlib import Path

from alti2v.crawl.store.ledger.history import HistoryTable
from alti2v.crawl.store.ledger.id_ranges import IdRanges
from alti2v.crawl.store.ledger.items import ItemTable
from alti2v.crawl.store.ledger.parts import PartTable
from alti2v.crawl.store.ledger.posts import PostTable
from alti2v.crawl.store.ledger.replaced import ReplacedTable
from alti2v.crawl.store.ledger.state import StateTable
from alti2v.crawl.store.ledger.tags import TagCategoryTable
from alti2v.crawl.store.ledger.tars import TarTable
from alti2v.crawl.store.schema import SCHEMA, SCHEMA_VERSION
from alti2v.crawl.store.sqlite import Database
from alti2v.records import Category, Status
from alti2v.storage.columns import POSTS
from alti2v.storage.directory import missing_file
from alti2v.storage.layout import ID_END, LEDGER_FILE, MOST_MEMBER_BYTES

# Columns of posts that are never negative.
NUMBERS = [column.name for column in POSTS.columns if column.type == "int32"]
_STATUSES = tuple(map(str, Status))
_ODD_POST = (
    f"SELECT 1 FROM posts WHERE id NOT BETWEEN 0 AND {ID_END - 1}"  # noqa: S608 - constants of the program
    f" OR seq NOT BETWEEN 0 AND {ID_END - 1} OR status NOT IN {_STATUSES!r}"
    " OR (status='stored' AND coalesce(min(tar, offset, size - 1, (stored_md5 IS NOT NULL) - 1), -1) < 0)"
    f" OR size > {MOST_MEMBER_BYTES}"
    f" OR {' OR '.join(f'{name} NOT BETWEEN 0 AND {(1 << 31) - 1}' for name in NUMBERS)}"
)
_ODD = (
    _ODD_POST,
    f"SELECT 1 FROM outcomes WHERE min(count, bytes) < 0 OR status NOT IN {_STATUSES!r}",  # noqa: S608 - as above
    f"SELECT 1 FROM tags WHERE category NOT IN {tuple(map(str, Category))!r}",  # noqa: S608
    "SELECT 1 FROM tars WHERE min(number, size) < 0",
    "SELECT 1 FROM posts LEFT JOIN tars ON number=tar "
    "WHERE status='stored' AND (number IS NULL OR offset + posts.size > tars.size)",
)


class Ledger(Database):
    """An open ledger; a context manager. Used by one thread at a time.

    Args:
        path: SQLite file; created if missing, unless `readonly`.
        readonly: Open only for reading, which is possible while a crawl writes.

    Attributes:
        posts: Listed posts and their outcomes.
        history: Changes of the tags of posts.
        replaced: Files that posts had before the board replaced them.
        items: Imported files that came without an id.
        tars: Tar files.
        parts: Parts of the post table, and which of them need exporting.
        tags: Categories and counts of tags.
        state: Values that are kept between runs.
        ids: Posts by ranges of ids.

    Raises:
        DamagedError: The file is not a ledger of this version, or cannot be read.
        StorageError: The file system refuses.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        super().__init__(path, schema=SCHEMA, version=SCHEMA_VERSION, readonly=readonly)
        self.history = HistoryTable(self)
        self.items = ItemTable(self)
        self.replaced = ReplacedTable(self)
        self.tars = TarTable(self)
        self.parts = PartTable(self)
        self.tags = TagCategoryTable(self)
        self.state = StateTable(self)
        self.ids = IdRanges(self)
        self.posts = PostTable(self, parts=self.parts, history=self.history, replaced=self.replaced)

    def is_sound(self) -> bool:
        """Return whether the file has no fault, and every value is one that a crawl may write."""
        return super().is_sound() and not any(map(self.has_row, _ODD))


def require_ledger(store: Path) -> Path:
    """Return the path of a store's ledger.

    Raises:
        DamagedError: The file is missing.
    """
    path = store / LEDGER_FILE
    if not path.exists():
        raise missing_file(store, LEDGER_FILE)
    return path
