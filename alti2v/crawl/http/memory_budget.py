"""Memory for the bodies of files, counted in bytes: whoever reads one takes room for all of it first.

Room is taken once, for the most that the body can become, and from then on only given back. So nobody waits
for room while holding some, and nobody waits for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Memory:
    """So many bytes for all bodies together, first come, first served.

    Args:
        total: bytes; nobody can take more at once.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until so many bytes are free, and take them.

        Args:
            size: at most `total`.
        """
        assert size <= self.total, "nobody would ever get that much"
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                self._waiting.remove((size, turn))
            raise

    def give(self, size: int) -> None:
        """Give bytes back; the first who wait get theirs."""
        self.free += size
        while self._waiting and self._waiting[0][0] <= self.free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)


class Room:
    """What one body takes up."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    async def take(self, size: int) -> None:
        """Wait for room for a body of at most so many bytes; what an earlier one took is given back first."""
        self.leave()
        size = min(size, self._memory.total)
        await self._memory.take(size)
        self._size = size

    def shrink(self, size: int) -> None:
        """The body is there, and has so many bytes."""
        surplus = self._size - size
        if surplus > 0:
            self._size = size
            self._memory.give(surplus)

    def leave(self) -> None:
        """The body is not needed any longer."""
        self.shrink(0)
