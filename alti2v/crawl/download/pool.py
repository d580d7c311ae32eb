"""Downloads in this process: many fetchers share one queue, and fill batches.

requests ──queue──▶ fetchers ──▶ batch buffer
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
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
from alti2v.crawl.download.one_file import FileFetcher
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.memory_budget import MemoryBudget, Reservation
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile

_BATCH_S = 0.25  # maximum age of a batch, which a kill loses


class _BatchBuffer:
    """Results that wait to be taken, at most one batch; fetchers wait while it is full."""

    def __init__(self) -> None:
        self._results: dict[int, ReceivedFile | Outcome] = {}
        self._reservations: list[Reservation] = []
        self._bytes = 0
        self._has_results = asyncio.Event()
        self._is_due = asyncio.Event()  # full, or nothing else is in flight
        self._has_space = asyncio.Event()
        self._has_space.set()
        self._is_closed = False

    async def put(self, seq: int, result: ReceivedFile | Outcome, reservation: Reservation) -> None:
        """Wait for space, and add a result."""
        while not self._has_space.is_set():
            await self._has_space.wait()
        self._results[seq] = result
        self._reservations.append(reservation)
        self._bytes += len(result.content) if isinstance(result, ReceivedFile) else 0
        self._has_results.set()
        if len(self._reservations) >= BATCH_FILES or self._bytes >= BATCH_BYTES:
            self._is_due.set()
            self._has_space.clear()

    async def take(self) -> FileBatch | None:
        """Return the results once the buffer is full, or a quarter of a second after the first of them.

        None if the buffer is empty and closed.
        """
        await self._has_results.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BATCH_S):
                await self._is_due.wait()
        results, reservations = self._results, self._reservations
        if not results:
            return None
        self._results, self._reservations, self._bytes = {}, [], 0
        if not self._is_closed:
            self._has_results.clear()
            self._is_due.clear()
        self._has_space.set()
        return FileBatch(results, lambda: _release(reservations))

    def flush(self) -> None:
        """Do not wait for more results: nothing else is in flight."""
        self._is_due.set()

    def close(self) -> None:
        """Declare that no more results come."""
        self._is_closed = True
        self._has_results.set()
        self._is_due.set()


class DownloadPool:
    """Downloads of one crawl, in this process; an async context manager.

    Args:
        config: Settings.
        on_pause: Called with the reason and the length (s) of each pause of a host.
        on_notice: Called with other messages for users about hosts.
    """

    def __init__(
        self,
        config: DownloadConfig,
        *,
        on_pause: Callable[[str, float], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self._config = config
        self._stop = Stop()
        self._client = Client(config.net, on_pause=on_pause, on_notice=on_notice, sleep=self._stop.sleep)
        self._fetcher = FileFetcher(config, self._client, self._stop.sleep)
        self._gave_up = False  # a host of files is down: the remaining posts stay pending
        self._queue: asyncio.Queue[FileRequest | None] = asyncio.Queue()
        self._in_flight = 0
        self._buffer = _BatchBuffer()
        self._memory = MemoryBudget(max(config.rules.memory_bytes, config.rules.max_bytes))
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
        """Send a request to one address of the API."""
        return await self._client.get(url, purpose=Purpose.API, max_bytes=max_bytes)

    async def may_crawl(self, url: str) -> bool | None:
        """Return whether the robots.txt of the host allows an address; None if it cannot be read."""
        return await self._client.may_crawl(url)

    def request(self, files: Sequence[FileRequest]) -> None:
        """Queue files."""
        self._in_flight += len(files)
        for file in files:
            self._queue.put_nowait(file)

    def end_requests(self) -> None:
        """Declare that no more files are requested."""
        for _ in range(self._fetchers):
            self._queue.put_nowait(None)

    def stop(self) -> None:
        """Finish what is in flight, and start nothing new."""
        self._stop.request()
        self.end_requests()

    async def host_failures(self) -> HostFailures:
        """Return the failures of hosts in this run so far."""
        return HostFailures(hosts_down=self._client.hosts_down(), was_banned=self._client.was_banned)

    async def next_batch(self) -> FileBatch | None:
        """Return downloaded files; None after the last ones."""
        assert self._fetching is not None
        batch = await self._buffer.take()
        if batch is None:
            await self._fetching  # raises the exception that ended it, if any
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
            self._buffer.close()

    async def _fetch(self) -> None:
        while (file := await self._queue.get()) is not None:
            if not (self._stop.is_requested or self._gave_up):
                with contextlib.suppress(StoppedError):
                    await self._fetch_one(file)

    # A separate function, so that its locals (the body) are freed before the loop waits.
    async def _fetch_one(self, file: FileRequest) -> None:
        reservation = Reservation(self._memory)
        result = await self._fetcher.fetch(file, reservation)
        if result is None:
            self._gave_up = True
            self.end_requests()
            return
        await self._buffer.put(file.seq, result, reservation)
        self._in_flight -= 1
        if not self._in_flight:
            self._buffer.flush()


def _release(reservations: Sequence[Reservation]) -> None:
    for reservation in reservations:
        reservation.release()
