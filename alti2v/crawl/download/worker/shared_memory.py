"""Memory that the two processes of a crawl share: one puts a batch of bytes on a tray, the other takes them.

A tray is a file without a name in memory (memfd_create). It is filled with one system call for a whole batch,
and read through a mapping, so that bodies go from the network to the tar file while no interpreter holds its
lock.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from alti2v.storage.tar import write_parts


def make_tray() -> int:
    """A new tray, empty: its file descriptor."""
    return os.memfd_create("alti2v-tray")


def fill(tray: int, contents: Sequence[bytes | memoryview], *, keep: int) -> None:
    """Put bytes on a tray, one after the other, in place of those before; it keeps so many bytes of memory."""
    size = sum(map(len, contents))
    if os.fstat(tray).st_size > max(size, keep):
        os.ftruncate(tray, max(size, keep))
    os.lseek(tray, 0, os.SEEK_SET)
    write_parts(tray, contents)


def look(tray: int, size: int) -> memoryview:
    """The first bytes of a tray; their mapping goes away with the last view of it."""
    return memoryview(mmap.mmap(tray, size, prot=mmap.PROT_READ) if size else b"")
