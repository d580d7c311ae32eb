"""Upload of a store to a URL: finished files go there, and only what still changes stays on the local disk.

The crawl works in a local folder as always. A sealed tar file is uploaded, compared with what arrived,
recorded in the ledger, and only then removed from the local disk. Tables follow at the end of a run, when
every tar file that they name is sealed and uploaded. So a reader of the URL never sees a table that names a
picture which is not there, and a kill costs at most one upload.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.ledger.tars import TarState
from alti2v.crawl.store.writer_thread import StoreThread
from alti2v.storage.checksum import file_sha256
from alti2v.storage.layout import STORE_FILE, images_tar
from alti2v.storage.publish import TEMPORARY_PREFIX, make_directory, publish_json, read_json
from alti2v.storage.remote import Remote, download, upload
from alti2v.storage.store import post_tables


@dataclass(frozen=True, slots=True)
class StoreUpload:
    """The local folder of a store, and the URL that it is uploaded to."""

    store: Path
    remote: Remote

    def sealed_tars(self, ledger: Ledger) -> list[TarState]:
        """Return the sealed tar files that are still to be uploaded; remove local copies of uploaded ones."""
        tars = []
        for tar in ledger.tars.all():
            name = images_tar(tar.number)
            if is_uploaded(ledger, name):
                (self.store / name).unlink(missing_ok=True)  # left by a kill
            elif tar.sealed:
                tars.append(tar)
        return tars

    def upload_tar(self, tar: TarState) -> None:
        """Upload a sealed tar file. Does not use the ledger, so that it can run in its own thread.

        Raises:
            StorageError: The upload failed.
        """
        name = images_tar(tar.number)
        upload(self.remote, self.store / name, name)

    def mark_uploaded(self, ledger: Ledger, tar: TarState) -> None:
        """Record that a tar file has been uploaded, then remove the local copy."""
        name = images_tar(tar.number)
        # Durable, or a power cut could leave neither the file nor a record of it.
        with ledger.transaction(is_durable=True):
            ledger.state.set(StateKey.PUBLISHED, str(tar.size), name=name)
        (self.store / name).unlink()

    def upload_rest(self, ledger: Ledger, *, on_file: Callable[[str], None]) -> None:
        """Upload what is left at the end of a run: sealed tar files, then the tables that name them."""
        for tar in self.sealed_tars(ledger):
            self.upload_tar(tar)
            self.mark_uploaded(ledger, tar)
        self.upload_tables(ledger, on_file=on_file)

    def upload_tables(self, ledger: Ledger, *, on_file: Callable[[str], None]) -> None:
        """Upload the tables that have changed since their last upload, and the store's description last.

        Every tar file that they name must have been uploaded.

        Args:
            ledger: Ledger of the store.
            on_file: Called with the name of each file before its upload.

        Raises:
            StorageError: An upload failed.
        """
        tables = sorted([*self.store.glob("*.parquet"), *post_tables(self.store)])
        documents = sorted(file for file in self.store.glob("*.json") if file.name != STORE_FILE)
        for file in (*tables, *documents):
            self._upload(ledger, file, file.relative_to(self.store).as_posix(), on_file)
        # The uploaded description does not name the URL: a copy of the store should not point back to it.
        description = {**read_json(self.store / STORE_FILE)}
        del description["url"]
        temporary = self.store / f"{TEMPORARY_PREFIX}{STORE_FILE}"
        publish_json(temporary, description)
        self._upload(ledger, temporary, STORE_FILE, on_file)
        temporary.unlink()

    def _upload(self, ledger: Ledger, file: Path, name: str, on_file: Callable[[str], None]) -> None:
        checksum = file_sha256(file)
        if ledger.state.get(StateKey.PUBLISHED, name) != checksum:
            on_file(name)
            upload(self.remote, file, name)
            ledger.state.commit(StateKey.PUBLISHED, checksum, name=name)

    def fetch_back(self, name: str, folder: Path) -> Path:
        """Return an uploaded tar file, in the store if it is still there; else download it into a folder.

        Raises:
            StorageError: It cannot be read.
        """
        path = next((path for path in (self.store / name, folder / name) if path.exists()), folder / name)
        if not path.exists():
            make_directory(path.parent)
            download(self.remote, name, path)
        return path

    def forget(self, ledger: Ledger, name: str) -> None:
        """Record that the uploaded file of this name is damaged: the next crawl uploads it again."""
        ledger.state.commit(StateKey.PUBLISHED, "", name=name)


class TarUploads:
    """Uploads of sealed tar files while the crawl fills others.

    Args:
        upload: Store and URL.
        ledger: Ledger of the store; used only in `thread`.
        thread: Thread that works on the store.
        log: Log of the store.
    """

    def __init__(
        self, upload: StoreUpload, *, ledger: Ledger, thread: StoreThread, log: logging.Logger
    ) -> None:
        self._upload = upload
        self._ledger = ledger
        self._thread = thread
        self._log = log
        self._woken = asyncio.Event()
        self._has_ended = False

    def wake(self) -> None:
        """Look for sealed tar files."""
        self._woken.set()

    def end(self) -> None:
        """Declare that no more tar files will be sealed."""
        self._has_ended = True
        self._woken.set()

    async def run(self) -> None:
        """Upload tar files until `end`."""
        uploads = StoreThread()  # so that the store's own thread does not wait for the network
        try:
            while True:
                self._woken.clear()
                for tar in await self._thread.run(self._upload.sealed_tars, self._ledger):
                    self._log.info("uploading tar file %d to %s", tar.number, self._upload.remote.url)
                    await uploads.run(self._upload.upload_tar, tar)
                    await self._thread.run(self._upload.mark_uploaded, self._ledger, tar)
                if self._has_ended:
                    return
                await self._woken.wait()
        finally:
            uploads.close()


def is_uploaded(ledger: Ledger, name: str) -> bool:
    """Return whether a file of the store has been uploaded."""
    return bool(ledger.state.get(StateKey.PUBLISHED, name))
