"""A thread for short work that the event loop should not wait for, such as hashing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


# Going to the thread and back costs 0.1 ms, as much as hashing a small file. At full speed about six calls
# share that; nobody else feels such a wait.
_GATHER_S = 0.003


class Aside:
    """Runs calls in a thread of its own, all that have gathered in one go."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._trip: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` there; its exceptions come out here."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, result))
        if self._trip is None:
            self._trip = asyncio.create_task(self._work())
        return await result

    async def close(self) -> None:
        """Wait for what the thread is doing; calls whose results nobody has yet are cancelled."""
        if self._trip is not None:
            self._trip.cancel()
            await asyncio.wait([self._trip])
        for _, result in self._waiting:
            result.cancel()
        self._executor.shutdown(wait=True)

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            await self._make_trip()
        self._trip = None

    async def _make_trip(self) -> None:
        calls, self._waiting = self._waiting, []
        works = [work for work, _ in calls]
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._executor, _run, works)
        except BaseException:  # closed meanwhile
            for _, result in calls:
                result.cancel()
            raise
        for (_, result), (value, error) in zip(calls, outcomes, strict=True):
            if result.done():  # who asked is gone
                continue
            if error is None:
                result.set_result(value)
            else:
                result.set_exception(error)


def _run(calls: Sequence[Callable[[], Any]]) -> list[tuple[Any, Exception | None]]:
    outcomes: list[tuple[Any, Exception | None]] = []
    for work in calls:
        try:
            outcomes.append((work(), None))
        except Exception as exc:  # noqa: BLE001 - handed to who asked
            outcomes.append((None, exc))
    return outcomes
