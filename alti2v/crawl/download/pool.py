"""The network in this process: many fetchers behind one queue, and what they get in batches.

wanted ──queue──▶ fetchers ──▶ the batch that is gathered
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from random import Random
from types import TracebackType
from typing import Self

from alti2v.crawl.cancellation import Stop, StoppedError
from alti2v.crawl.download.interface import (
    BATCH_BYTES,
    BATCH_FILES,
    FETCHERS_PER_CONNECTION,
    DownloadConfig,
    FileBatch,
    HostFailures,
)
from alti2v.crawl.download.one_file import fetch
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.memory_budget import Memory, Room
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.store.ledger import Outcome
from alti2v.crawl.store.post_json import Arrived, Wanted

_BATCH_S = 0.25  # what a kill may cost at most, in time


class _Basket:
    """What has arrived and waits to be taken, at most a batch: whoever brings more waits, too."""

    def __init__(self) -> None:
        self._results: dict[int, Arrived | Outcome] = {}
        self._rooms: list[Room] = []
        self._bytes = 0
        self._has_some = asyncio.Event()
        self._is_full = asyncio.Event()
        self._has_place = asyncio.Event()
        self._has_place.set()
        self._is_closed = False

    async def put(self, seq: int, result: Arrived | Outcome, room: Room) -> None:
        """Wait for a place, and put something there."""
        while not self._has_place.is_set():
            await self._has_place.wait()
        self._results[seq] = result
        self._rooms.append(room)
        self._bytes += len(result.content) if isinstance(result, Arrived) else 0
        self._has_some.set()
        if len(self._rooms) >= BATCH_FILES or self._bytes >= BATCH_BYTES:
            self._is_full.set()
            self._has_place.clear()

    async def take(self) -> FileBatch | None:
        """What is there once it is full or nothing follows, at the latest in a quarter of a second.

        None if it is empty and closed.
        """
        await self._has_some.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BATCH_S):
                await self._is_full.wait()
        results, rooms = self._results, self._rooms
        if not results:
            return None
        self._results, self._rooms, self._bytes = {}, [], 0
        if not self._is_closed:
            self._has_some.clear()
            self._is_full.clear()
        self._has_place.set()
        return FileBatch(results, lambda: _leave(rooms))

    def nothing_follows(self) -> None:
        """Nothing else is under way now: there is no reason to wait for company."""
        self._is_full.set()

    def close(self) -> None:
        """Nothing more comes: what is there can be taken at once."""
        self._is_closed = True
        self._has_some.set()
        self._is_full.set()


class DownloadPool:
    """The network of one crawl, in this process; an async context manager.

    Args:
        config: how to behave.
        on_pause: told why and for how long (s) a host is left alone.
        on_notice: told in words what else a host makes us do.
    """

    def __init__(
        self,
        config: DownloadConfig,
        *,
        on_pause: Callable[[str, float], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self._config = config
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._stop = Stop()
        self._client = Client(config.net, on_pause=on_pause, on_notice=on_notice, sleep=self._stop.sleep)
        self._gave_up = False  # a host of files is down: what is left stays pending
        self._wanted: asyncio.Queue[Wanted | None] = asyncio.Queue()
        self._under_way = 0  # files that are wanted and have not arrived
        self._basket = _Basket()
        self._memory = Memory(max(config.rules.memory_bytes, config.rules.max_bytes))
        self._fetching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._fetching = asyncio.create_task(self._fetch_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.__aexit__(kind, error, trace)

    async def get(self, url: str, *, max_bytes: int) -> Received | FailedTry:
        """Ask the API at one address, politely."""
        return await self._client.get(url, purpose=Purpose.API, max_bytes=max_bytes)

    async def may_crawl(self, url: str) -> bool | None:
        """Whether robots.txt allows an address; None if it cannot be read."""
        return await self._client.may_crawl(url)

    def want(self, files: Sequence[Wanted]) -> None:
        """Fetch these, after those before them."""
        self._under_way += len(files)
        for wanted in files:
            self._wanted.put_nowait(wanted)

    def want_no_more(self) -> None:
        """`batch` ends with what is wanted so far."""
        for _ in range(self._fetchers):
            self._wanted.put_nowait(None)

    def stop(self) -> None:
        """Finish what is in flight, and begin nothing new."""
        self._stop.want()
        self.want_no_more()

    async def losses(self) -> HostFailures:
        """What hosts kept from this run up to now."""
        return HostFailures(hosts_down=self._client.hosts_down(), was_banned=self._client.was_banned)

    async def batch(self) -> FileBatch | None:
        """What has arrived; None if nothing more comes."""
        assert self._fetching is not None
        batch = await self._basket.take()
        if batch is None:
            await self._fetching  # whatever broke it comes out here
        return batch

    @property
    def _fetchers(self) -> int:
        return FETCHERS_PER_CONNECTION * self._config.net.connections

    async def _fetch_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._fetchers):
                    tasks.create_task(self._fetch())
        finally:
            self._basket.close()

    async def _fetch(self) -> None:
        while (wanted := await self._wanted.get()) is not None:
            if not (self._stop.is_wanted or self._gave_up):
                with contextlib.suppress(StoppedError):
                    await self._fetch_one(wanted)

    # What holds bytes is a function of its own: a loop's variables would keep them while it waits.

    async def _fetch_one(self, wanted: Wanted) -> None:
        room = Room(self._memory)
        result = await fetch(
            wanted,
            rules=self._config.rules,
            client=self._client,
            policy=self._config.net.retry,
            rng=self._rng,
            sleep=self._stop.sleep,
            room=room,
        )
        if result is None:
            self._gave_up = True
            self.want_no_more()
            return
        await self._basket.put(wanted.seq, result, room)
        self._under_way -= 1
        if not self._under_way:
            self._basket.nothing_follows()


def _leave(rooms: Sequence[Room]) -> None:
    for room in rooms:
        room.leave()
