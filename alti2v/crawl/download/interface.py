"""The interface between a crawl and its downloads: answers of the API one by one, files in batches.

It has two implementations: `pool.DownloadPool` runs in this process, `worker.parent.DownloadWorker` in another
one. This module imports no HTTP library, which a process with a download worker does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.interface import ApiClient
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile

# More than one, because a fetcher that waits for its next try holds no connection.
FETCHERS_PER_CONNECTION = 4
BATCH_FILES = 48
BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """Rules for the choice of a post's file, and limits of its size.

    Attributes:
        original: True for the original; False for the sample, or the original if there is no sample.
        reads_avif: False to take the sample in place of an original in AVIF.
        max_bytes: Maximum size of a file.
        memory_bytes: Memory for all files that are being downloaded, validated or written.
    """

    original: bool
    reads_avif: bool = True
    max_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadConfig:
    """Settings of downloads.

    Attributes:
        net: Settings of HTTP requests.
        rules: Which files to download.
        seed: Seed of the jitter of back-offs.
    """

    net: NetConfig
    rules: FileRules
    seed: int


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Downloaded files, to be validated and stored.

    Attributes:
        results: File, or outcome to record in its place, by the `seq` of the request.
        release: To be called when the files are durable; frees their memory.
    """

    results: Mapping[int, ReceivedFile | Outcome]
    release: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFailures:
    """Hosts that this run gave up on, and whether one of them banned us.

    Attributes:
        hosts_down: Reason by `origin api` or `origin file`.
        was_banned: True if a host has banned us; then a refusal says nothing about the single file.
    """

    hosts_down: Mapping[str, str]
    was_banned: bool


class Downloads(ApiClient, Protocol):
    """Downloads of one crawl; an async context manager."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def request(self, files: Sequence[FileRequest]) -> None:
        """Queue files; the caller limits the number of files in flight."""
        ...

    def end_requests(self) -> None:
        """Declare that no more files are requested: `next_batch` ends with those requested so far."""
        ...

    def stop(self) -> None:
        """Finish what is in flight, and start nothing new."""
        ...

    async def next_batch(self) -> FileBatch | None:
        """Return downloaded files; None after the last ones, after a stop, or if the host was given up."""
        ...

    async def host_failures(self) -> HostFailures:
        """Return the failures of hosts in this run so far."""
        ...
