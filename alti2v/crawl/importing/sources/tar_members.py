"""Members of an untrusted tar file, read from its headers only; damage becomes a fault."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from alti2v.crawl.importing.sources.files import OPEN_FLAGS, printable, unreadable
from alti2v.crawl.importing.sources.item import Fault, ItemFault
from alti2v.records import Span
from alti2v.storage.tar import Member


def tar_members(path: Path) -> Iterator[Member | Fault]:
    """Yield the files in a tar file in order, without links, folders and devices; a fault at damage ends it."""
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:", errorlevel=2) as tar:
            length = os.fstat(file.fileno()).st_size
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else a million of them would stay in memory
                if info.offset_data + info.size > length:
                    yield Fault(ItemFault.UNREADABLE, f"{printable(path)} ends inside {info.name!r:.100}")
                    return
                if info.isreg() and not info.issparse():
                    yield Member(info.name, Span(offset=info.offset_data, size=info.size))
            file.seek(tar.offset)  # the module takes a damaged header for the end of the file
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                yield Fault(
                    ItemFault.UNREADABLE,
                    f"{printable(path)} is damaged at byte {tar.offset:,}: the rest is not read",
                )
    except tarfile.TarError as exc:
        yield Fault(ItemFault.UNREADABLE, f"{printable(path)} is not a whole tar file: {exc}")
    except OSError as exc:
        yield unreadable(path, exc)


def open_regular(path: Path) -> BufferedReader:
    """Open a file that is neither a link nor a pipe.

    Raises:
        OSError: It is one, or cannot be opened.
    """
    file = open(os.open(path, OPEN_FLAGS), "rb")  # noqa: PTH123, SIM115 - a descriptor; the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "not a file")
    return file
