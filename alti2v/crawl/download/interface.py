"""What a crawl asks of the network, and what it gets: answers of the API one by one, files in batches.

There are two forms of it: `NetworkHere` lives in this process, `NetworkApart` in another one. This module loads
no HTTP client: a process that has its network elsewhere needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.interface import ApiClient
from alti2v.crawl.store.ledger import Outcome
from alti2v.crawl.store.post_json import Arrived, Wanted

# Those that wait for another try hold no connection: let others fetch meanwhile.
FETCHERS_PER_CONNECTION = 4
BATCH_FILES = 48
BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """What to fetch of a post, and at what cost.

    Attributes:
        original: fetch the original; otherwise the sample, and the original where there is no sample.
        max_bytes: larger files are not fetched to their end.
        memory_bytes: for files that are fetched, examined or wait to be written, together.
    """

    original: bool
    max_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadConfig:
    """How to behave towards hosts, and which files to fetch.

    Attributes:
        seed: of the back-off's jitter.
    """

    net: NetConfig
    rules: FileRules
    seed: int


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files that wait to be examined and stored.

    Attributes:
        results: by the `seq` of what was wanted: the bytes, or what to record in their place.
        settled: to be called once they are durable; the bytes are gone from then on.
    """

    results: Mapping[int, Arrived | Outcome]
    settled: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFailures:
    """What hosts kept from this run.

    Attributes:
        hosts_down: those that were given up for something, as `origin api` or `origin file`, and why.
        was_banned: a host has shut us out: then no single refusal says anything about its file.
    """

    hosts_down: Mapping[str, str]
    was_banned: bool


class Downloads(ApiClient, Protocol):
    """The network of one crawl; open inside an async `with`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def want(self, files: Sequence[Wanted]) -> None:
        """Fetch these, after those before them; the caller bounds how many are under way."""
        ...

    def want_no_more(self) -> None:
        """`batch` ends with what is wanted so far."""
        ...

    def stop(self) -> None:
        """Finish what is in flight, and begin nothing new."""
        ...

    async def batch(self) -> FileBatch | None:
        """What has arrived; None if nothing more comes: the end, a stop, or the files' host was given up."""
        ...

    async def losses(self) -> HostFailures:
        """What hosts kept from this run up to now."""
        ...
