"""Memory that the two processes of a crawl share: one writes the bodies of a batch, the other reads them.

A buffer is an unnamed file in memory (memfd_create). It is written with one system call per batch, and read
through a mapping, so that bodies go from the network to the tar file without an interpreter holding its lock.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from alti2v.storage.tar import write_parts


def make_buffer() -> int:
    """Create an empty buffer; return its file descriptor."""
    return os.memfd_create("alti2v-downloads")


def write_bodies(buffer: int, bodies: Sequence[bytes | memoryview], *, keep: int) -> None:
    """Overwrite the shared buffer with these bodies; keep at least `keep` bytes allocated."""
    size = sum(map(len, bodies))
    if os.fstat(buffer).st_size > max(size, keep):
        os.ftruncate(buffer, max(size, keep))
    os.lseek(buffer, 0, os.SEEK_SET)
    write_parts(buffer, bodies)


def read_bytes(buffer: int, size: int) -> memoryview:
    """Map the first `size` bytes of a buffer; the mapping ends with the last view of it."""
    return memoryview(mmap.mmap(buffer, size, prot=mmap.PROT_READ) if size else b"")
