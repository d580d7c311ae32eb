"""An SQLite file in WAL mode, with SQLite's errors translated to those of this program.

Contract (SQLite documentation, "Write-Ahead Logging"; `synchronous=NORMAL`): after a kill every
committed transaction is there; after a power cut the last ones may be missing, never half of one.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from alti2v.errors import DamagedError, StorageError

_CODE = "SELECT sql FROM sqlite_master WHERE type IN ('view', 'trigger') OR sql LIKE 'CREATE VIRTUAL%'"


class OddValueError(DamagedError):
    """A sound file holds a value that this program never writes."""


class Database:
    """An open database of one schema version; a context manager. Used by one thread at a time.

    Args:
        path: SQLite file; created if missing, unless `readonly`.
        schema: SQL that creates the tables.
        version: Version of the schema, > 0.
        readonly: Open only for reading, which is possible while another process writes; nothing is written.

    Attributes:
        folder: Folder with the file.

    Raises:
        DamagedError: The file is not a database of this version, or cannot be read.
        StorageError: The file system refuses.
    """

    def __init__(self, path: Path, *, schema: str, version: int, readonly: bool = False) -> None:
        self._path, self._is_readonly = path, readonly
        self._schema, self.folder = schema, path.parent
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._repair = f"run `alti2v verify {path.parent} --repair`"
        with self.errors():
            self._connection = sqlite3.connect(
                self._readable() if readonly else f"{path.absolute().as_uri()}?mode=rwc",
                uri=True,
                isolation_level=None,
                check_same_thread=False,  # opened here, then used only by the store's thread
                timeout=30,
            )
            try:
                self._prepare(schema, version, readonly=readonly)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, schema: str, version: int, *, readonly: bool) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA cache_size=-16384")  # 16 MB
        # The file may be somebody else's (SQLite documentation, "Defense Against The Dark Arts").
        self._connection.execute("PRAGMA trusted_schema=OFF")
        if not readonly:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
        found = self.select_value("PRAGMA user_version")
        if found == 0 and not readonly and self.select_value("SELECT count(*) FROM sqlite_master") == 0:
            self._connection.executescript(f"BEGIN; {schema} PRAGMA user_version={version}; COMMIT;")
        # Another view or trigger would run where tables are read and written.
        elif (
            found != version
            or any(str(sql) not in schema for (sql,) in self._connection.execute(_CODE))
            or not _columns_of(schema) <= _columns(self._connection)
        ):
            kind = "of an earlier version" if found and found < version else "not a ledger of this program"
            raise DamagedError(f"{self._path} is {kind}: {self._repair}")

    def _readable(self) -> str:
        """Return the URI with which the database can be read without writing anything beside it.

        Opened for reading alone, SQLite would still create or change the index of its log. A log that has been
        written back needs none; an index that exists can be read; without it, a copy is opened.
        """
        log, index = (self._path.with_name(f"{self._path.name}{suffix}") for suffix in ("-wal", "-shm"))
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        if not (log.exists() and log.stat().st_size):
            return f"{uri}&immutable=1"
        if index.exists():
            return f"{uri}&readonly_shm=1"
        self._copy = tempfile.TemporaryDirectory(prefix="alti2v-")
        for file in (self._path, log):
            shutil.copyfile(file, Path(self._copy.name) / file.name)
        return f"{(Path(self._copy.name) / self._path.name).as_uri()}?mode=ro"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; does nothing if it is closed."""
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    @contextlib.contextmanager
    def transaction(self, *, is_durable: bool = False) -> Iterator[None]:
        """Commit the whole block, or nothing of it if it raises.

        Args:
            is_durable: Sync the disk, so that the transaction also survives a power cut.
        """
        with self.errors(), self._synced() if is_durable else contextlib.nullcontext():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself on a full disk
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def is_sound(self) -> bool:
        """Return whether SQLite finds no fault (`PRAGMA quick_check`), and each value its type."""
        odd = dict[str, list[str]]()
        for table, column, kind in _columns_of(self._schema):
            odd.setdefault(table, []).append(f"typeof({column}) NOT IN ('null','{kind.lower()}')")
        try:
            return bool(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok") and not any(
                self.has_row(f"SELECT 1 FROM {table} WHERE {' OR '.join(odd[table])}")  # noqa: S608 - our schema
                for table in odd
            )
        except sqlite3.DatabaseError:
            return False

    def has_row(self, sql: str) -> bool:
        """Return whether a query has a row."""
        with self.errors():
            return self._connection.execute(sql).fetchone() is not None

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement. The caller is inside `transaction` or `errors`, which translate exceptions."""
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row. The caller is inside `transaction`."""
        self._connection.executemany(sql, rows)

    def select(self, sql: str, *values: object) -> Sequence[sqlite3.Row]:
        """Return all rows of a query."""
        with self.errors():
            return self._connection.execute(sql, values).fetchall()

    def select_one(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query; None if it has none."""
        with self.errors():
            row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return row

    def select_value(self, sql: str) -> Any:  # noqa: ANN401 - the type of the column
        """Return the first column of the first row of a query."""
        with self.errors():
            return self._connection.execute(sql).fetchone()[0]

    @contextlib.contextmanager
    def _synced(self) -> Iterator[None]:
        """Sync the disk with every commit of the block."""
        self._connection.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Translate SQLite's exceptions: a full or read-only disk, or a damaged file."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            if str(exc).startswith("Could not decode to UTF-8"):
                raise self._odd(exc) from exc
            advice = "check its permissions" if self._is_readonly else "make room or choose another folder"
            raise StorageError(
                f"cannot {'read' if self._is_readonly else 'write'} {self._path}: {exc}: "
                f"{advice}, then run the same command again"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise DamagedError(f"{self._path} is damaged ({exc}): {self._repair}") from exc

    @contextlib.contextmanager
    def believed(self) -> Iterator[None]:
        """Translate what values of another type or range lead to: SQLite takes any value in any column.

        Raises:
            OddValueError: There is such a value.
        """
        try:
            yield
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
            raise self._odd(exc) from exc

    def _odd(self, exc: Exception) -> OddValueError:
        return OddValueError(f"{self._path} holds a value that no crawl writes ({exc!s:.80}): {self._repair}")


def _columns_of(schema: str) -> set[tuple[str, str, str]]:
    """Return table, name and type of each column that a schema makes."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema)
        return _columns(connection)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    sql = "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type='table'"
    return {(str(table), str(name), str(kind)) for table, name, kind in connection.execute(sql)}
