"""A store behind a URL: what is finished goes there, and only what still changes stays on the local disk.

The crawl works in a local folder as always. A sealed tar file is uploaded, compared with what arrived,
remembered in the ledger, and only then removed from the local disk; tables follow at the end of a run, when
every tar file that they name is sealed and there. So a reader of the URL never sees a table that promises a
picture which is not there, and a kill at any moment costs at most one upload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.store.ledger import Ledger, TarState
from alti2v.storage.layout import POSTS_DIR, STORE_FILE, images_tar
from alti2v.storage.publish import TEMPORARY_PREFIX, publish_json, read_json
from alti2v.storage.remote import Remote, download, upload

_PUBLISHED = "published "  # + name -> SHA-256 of a table, size of a tar file; in the ledger's state


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a store is published, and from where.

    Attributes:
        store: the local folder.
        remote: the folder behind a URL.
    """

    store: Path
    remote: Remote

    def due_tars(self, ledger: Ledger) -> list[TarState]:
        """Sealed tar files that are still here; what a kill left of published ones is removed."""
        due = []
        for tar in ledger.tars():
            if is_published(ledger, images_tar(tar.number)):
                (self.store / images_tar(tar.number)).unlink(missing_ok=True)
            elif tar.sealed:
                due.append(tar)
        return due

    def upload_tar(self, tar: TarState) -> None:
        """Send a sealed tar file. Needs no ledger, so that it can take its time in a thread of its own.

        Raises:
            StorageError: it did not arrive.
        """
        name = images_tar(tar.number)
        upload(self.remote, self.store / name, name)

    def settle_tar(self, ledger: Ledger, tar: TarState) -> None:
        """Remember that a tar file has arrived, then remove it here."""
        name = images_tar(tar.number)
        with ledger.transaction(is_durable=True):  # or a power cut could leave neither the file nor a trace
            ledger.set_state(_PUBLISHED + name, str(tar.size))
        (self.store / name).unlink()

    def publish_tables(self, ledger: Ledger, *, on_file: Callable[[str], None]) -> None:
        """Send the tables that have changed since they were sent, and the store's description last.

        Call it when every tar file that they name has arrived.

        Raises:
            StorageError: one did not arrive.
        """
        tables = sorted([*self.store.glob("*.parquet"), *(self.store / POSTS_DIR).glob("posts-*.parquet")])
        documents = sorted(file for file in self.store.glob("*.json") if file.name != STORE_FILE)
        for file in (*tables, *documents):
            self._publish(ledger, file, file.relative_to(self.store).as_posix(), on_file)
        # There it lies where it says; a copy of it should not point back.
        description = {**read_json(self.store / STORE_FILE)}
        del description["url"]
        there = self.store / f"{TEMPORARY_PREFIX}{STORE_FILE}"
        publish_json(there, description)
        self._publish(ledger, there, STORE_FILE, on_file)
        there.unlink()

    def _publish(self, ledger: Ledger, file: Path, name: str, on_file: Callable[[str], None]) -> None:
        stamp = hashlib.sha256(file.read_bytes()).hexdigest()
        if ledger.state(_PUBLISHED + name) != stamp:
            on_file(name)
            upload(self.remote, file, name)
            with ledger.transaction():
                ledger.set_state(_PUBLISHED + name, stamp)

    def fetch_back(self, ledger: Ledger, name: str) -> bool:
        """Bring a published tar file back for a look at it; False if it is not published.

        Raises:
            StorageError: it cannot be read.
        """
        if not is_published(ledger, name):
            return False
        if not (self.store / name).exists():
            download(self.remote, name, self.store / name)
        return True

    def forget(self, ledger: Ledger, name: str) -> None:
        """What is published under this name is no longer right: it has to be sent again."""
        with ledger.transaction():
            ledger.set_state(_PUBLISHED + name, "")


def is_published(ledger: Ledger, name: str) -> bool:
    """Whether a file of the store has arrived behind the URL."""
    return bool(ledger.state(_PUBLISHED + name))
