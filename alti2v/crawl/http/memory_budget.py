"""A budget in bytes for the bodies of files; each body reserves its memory before it is read.

Memory is reserved once, for the largest size that the body can have, and after that only released. So no task
waits for memory while it holds some, and no task waits forever.
"""

from __future__ import annotations

import asyncio
from collections import deque


class MemoryBudget:
    """A number of bytes for all bodies together, first come, first served.

    Args:
        total: Bytes; also the maximum of a single reservation.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, size: int) -> None:
        """Wait until `size` bytes are free, and reserve them; `size` is at most `total`."""
        assert size <= self.total, "more than the whole budget"
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            else:
                self._waiting.remove((size, turn))
            raise

    def release(self, size: int) -> None:
        """Release `size` bytes, and serve the waiting tasks in their order."""
        self.free += size
        while self._waiting and self._waiting[0][0] <= self.free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)


class Reservation:
    """The memory reserved for one body."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    async def acquire(self, size: int) -> None:
        """Release the present reservation, then wait for memory for a body of at most `size` bytes."""
        self.release()
        size = min(size, self._budget.total)
        await self._budget.acquire(size)
        self._size = size

    def shrink(self, size: int) -> None:
        """Shrink the reservation to the size of the body."""
        surplus = self._size - size
        if surplus > 0:
            self._size = size
            self._budget.release(surplus)

    def release(self) -> None:
        """Release the memory; the body is no longer needed."""
        self.shrink(0)
