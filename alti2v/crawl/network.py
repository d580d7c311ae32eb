"""What a crawl asks of the network, and what it gets: answers of the API one by one, files in batches.

There are two forms of it: `NetworkHere` lives in this process, `NetworkApart` in another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from alti2v.crawl.documents import Wanted
from alti2v.crawl.exchange import Received
from alti2v.crawl.fetcher import FileRules, Found
from alti2v.crawl.ledger import Outcome
from alti2v.crawl.net import NetConfig
from alti2v.crawl.policy import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """How to behave towards hosts, and which files to fetch.

    Attributes:
        seed: of the back-off's jitter.
    """

    net: NetConfig
    rules: FileRules
    seed: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that wait to be stored.

    Attributes:
        results: by the `seq` of what was wanted: the bytes, or what to record in their place.
        settled: to be called once they are durable; the bytes are gone from then on.
    """

    results: Mapping[int, Found | Outcome]
    settled: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What hosts kept from this run.

    Attributes:
        hosts_down: those that were given up, and why.
        was_banned: a host has shut us out: then no single refusal says anything about its file.
    """

    hosts_down: Mapping[str, str]
    was_banned: bool


class Network(Protocol):
    """The network of one crawl; open inside an async `with`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def get(self, url: str, *, max_bytes: int) -> Received | Failure:
        """Ask the API at one address, politely.

        Raises:
            StoppedError: after `stop`, if it would have to wait.
        """
        ...

    def want(self, files: Sequence[Wanted]) -> None:
        """Fetch these, after those before them; the caller bounds how many are under way."""
        ...

    def want_no_more(self) -> None:
        """`batch` ends with what is wanted so far."""
        ...

    def stop(self) -> None:
        """Finish what is in flight, and begin nothing new."""
        ...

    async def batch(self) -> Batch | None:
        """What has arrived; None if nothing more comes: the end, a stop, or the files' host was given up."""
        ...

    async def losses(self) -> Losses:
        """What hosts kept from this run up to now."""
        ...
