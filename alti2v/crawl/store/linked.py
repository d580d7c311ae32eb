"""Somebody else's tar files as hard links in a store, so that pictures need no second copy.

A hard link names the file itself, not a path, so a store never refers to anything outside. The file keeps its
other name. Whoever changes it in place changes the pictures of the store: builds and `verify` compare each with
its MD5.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.errors import StorageError, UsageError
from alti2v.storage.layout import FIRST_LINKED, IMAGES_DIR, images_tar, number_in
from alti2v.storage.publish import fsync_directory

# Errors of link(2) between file systems, and on those without hard links.
_IMPOSSIBLE = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class LinkedTars:
    """The linked tar files of a store.

    Args:
        store: Folder of the store.
        ledger: Ledger of the store.
    """

    def __init__(self, store: Path, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._numbers = {_identity(store / images_tar(tar.number)): tar.number for tar in linked_tars(store)}
        self._recorded = {tar.number for tar in ledger.tars.all()}

    def number_of(self, path: Path) -> int:
        """Return the number of a tar file; link it into the store if it is not there yet.

        Raises:
            UsageError: It is on another file system, or this one has no hard links.
            StorageError: The file system refuses.
        """
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is not a file: it cannot be imported by reference")
        number = self._numbers.get((found.st_dev, found.st_ino))
        if number is None:
            number = self._add(path)
            self._numbers[found.st_dev, found.st_ino] = number
        if number not in self._recorded:  # also after a kill between the two
            with self._ledger.transaction():
                self._ledger.tars.set(TarState(number=number, size=found.st_size, sealed=True))
            self._recorded.add(number)
        return number

    def _add(self, path: Path) -> int:
        number = max((FIRST_LINKED - 1, *self._numbers.values(), *self._recorded)) + 1
        try:
            os.link(path, self._store / images_tar(number), follow_symlinks=False)
            fsync_directory(self._store / IMAGES_DIR)
        except OSError as exc:
            if exc.errno in _IMPOSSIBLE:
                raise UsageError(
                    f"{path} cannot be linked into {self._store} ({exc.strerror}): put the store on the same "
                    "file system, or leave out --by-reference"
                ) from exc
            raise StorageError(f"cannot link {path} into {self._store}: {exc.strerror}") from exc
        return number


def linked_tars(store: Path) -> Iterator[TarState]:
    """Yield the linked tar files in a store's folder."""
    for path in sorted((store / IMAGES_DIR).glob("linked-*.tar")):
        number = number_in(path.name)
        if number is not None:
            yield TarState(number=number, size=path.stat().st_size, sealed=True)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
