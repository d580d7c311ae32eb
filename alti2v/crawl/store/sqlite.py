"""An SQLite file in WAL mode, and its errors as ours.

Contract (SQLite documentation, "Write-Ahead Logging"; `synchronous=NORMAL`): after a kill every
committed transaction is there; after a power cut the last ones may be missing, never half of one.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from alti2v.errors import DamagedError, StorageError


class Database:
    """An open database of one version; a context manager. One thread at a time.

    Args:
        path: made if it does not exist, unless `readonly`.
        schema: SQL that makes the tables. version: of the schema, > 0.
        readonly: for a look from outside, also while another process writes.

    Raises:
        DamagedError: it is no database of this version, or cannot be read.
        StorageError: the file system refuses.
    """

    def __init__(self, path: Path, *, schema: str, version: int, readonly: bool = False) -> None:
        self._path, self._is_readonly = path, readonly
        mode = "ro" if readonly else "rwc"
        with self._errors():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,  # opened here, used by the store's thread alone
                timeout=30,
            )
            try:
                self._prepare(schema, version, readonly=readonly)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, schema: str, version: int, *, readonly: bool) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA cache_size=-16384")  # 16 MB
        if not readonly:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
        found = self._one("PRAGMA user_version")
        if found == 0 and not readonly and self._one("SELECT count(*) FROM sqlite_master") == 0:
            self._db.executescript(f"BEGIN; {schema} PRAGMA user_version={version}; COMMIT;")
        elif found != version:
            raise DamagedError(f"{self._path} is not a ledger of this program: run `alti2v verify --repair`")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; harmless when closed already."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self, *, is_durable: bool = False) -> Iterator[None]:
        """All of the block or nothing of it.

        Args:
            is_durable: it survives a power cut, too, once the block has ended; costs a sync of the disk.
        """
        with self._errors(), self._synced() if is_durable else contextlib.nullcontext():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # SQLite rolls back by itself on a full disk
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def is_sound(self) -> bool:
        """Whether SQLite finds its own file in order (`PRAGMA quick_check`)."""
        try:
            return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError:
            return False

    def _rows(self, sql: str, *values: object) -> Sequence[sqlite3.Row]:
        with self._errors():
            return self._db.execute(sql, values).fetchall()

    def _row(self, sql: str, *values: object) -> sqlite3.Row | None:
        with self._errors():
            row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return row

    def _one(self, sql: str) -> Any:  # noqa: ANN401 - whatever the first column holds
        with self._errors():
            return self._db.execute(sql).fetchone()[0]

    @contextlib.contextmanager
    def _synced(self) -> Iterator[None]:
        """Sync the disk with every commit of the block, and no longer, however it ends."""
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate SQLite's errors: full or read-only disk, or a damaged file."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise StorageError(
                f"cannot {'read' if self._is_readonly else 'write'} {self._path}: {exc}: "
                "make room or choose another folder, then run the same command again"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise DamagedError(f"{self._path} is damaged ({exc}): run `alti2v verify --repair`") from exc
