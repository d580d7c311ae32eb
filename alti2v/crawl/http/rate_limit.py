"""When a request to a host may leave: one pace for all tasks and, through a small file, all processes.

The file of a host holds the moments of its last departures and of the silence it asked for, on the machine's
monotonic clock, which processes share. Nobody reserves a moment ahead: a process waits until the host is free
and then writes down that it leaves now, under the kernel's lock (flock), so a process that dies leaves nothing
behind. After a reboot the clock begins again: a moment that lies ahead of it is of an earlier boot, and void.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import math
import os
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

# Departures exactly 1/rate apart arrive a little closer together or wider apart; 5 % keep any one second at
# the host within the rate.
_MARGIN = 1.05
_FORGOTTEN_AFTER_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Moments:
    """What is written down about a host, in s of the monotonic clock.

    Attributes:
        left_s, gap_s: the last departure, and what its process keeps free behind it.
        api_left_s, api_gap_s: the same of the last request to the API.
        silent_from_s, silent_for_s: the silence that the host asked for.
    """

    left_s: float = -math.inf
    gap_s: float = 0.0
    api_left_s: float = -math.inf
    api_gap_s: float = 0.0
    silent_from_s: float = -math.inf
    silent_for_s: float = 0.0


_FORMAT = struct.Struct("<6d")


def shared_directory() -> Path:
    """Where the processes of this user tell each other when they asked a host (XDG Base Directory, 0.8)."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "alti2v" / "pace"


class Pace:
    """The pace towards one host.

    Args:
        origin: of the host.
        rate: requests/s in all; infinity for no pace at all.
        api_rate: the API's share of it.
        directory: where other processes look, too; None for this process alone. See `is_shared`.
        clock: seconds that never go back; shared by the processes of the machine if `directory` is.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        origin: str,
        *,
        rate: float,
        api_rate: float,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.share = 1.0  # of the configured rates, while the host needs to be spared
        self.crawl_delay_s = 0.0  # what its robots.txt asks for
        self._gap_s = _MARGIN / rate
        self._api_gap_s = _MARGIN / api_rate
        self._clock = clock
        self._sleep = sleep
        self._moments = _Moments()
        self._left_unpaced_s = -math.inf
        self._queue = asyncio.Lock()
        self._api_queue = asyncio.Lock()
        paced = self._gap_s or self._api_gap_s
        self._file = _open(directory, origin) if directory is not None and paced else None
        self.is_shared = self._file is not None or directory is None or not paced

    def close(self) -> None:
        """Forget the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def gap_s(self) -> float:
        """What is kept free between two requests now."""
        return max(self._gap_s / self.share, self.crawl_delay_s)

    async def turn(self, *, is_api: bool) -> None:
        """Wait until a request may leave, and take that moment; first come, first served."""
        if self._file is None and not (self._gap_s or self._api_gap_s or self.crawl_delay_s):
            self._left_unpaced_s = self._clock()  # for a delay that is yet to come
            return
        if self._left_unpaced_s > self._moments.left_s:
            self._moments = replace(self._moments, left_s=self._left_unpaced_s)
        async with self._api_queue if is_api else contextlib.nullcontext():
            # A request that waits for the API's share lets the others pass.
            while (api_s := await self._leave(is_api=is_api)) > 0:
                await self._sleep(api_s)

    def silence_s(self) -> float:
        """How long the host is still to be left alone; 0 if it is not."""
        if self._file is None:  # asked several times for each request
            return _left(self._moments.silent_from_s, self._moments.silent_for_s, self._clock())
        with self._written() as moments:
            return _left(moments.silent_from_s, moments.silent_for_s, self._clock())

    def be_silent(self, seconds: float) -> None:
        """Leave the host alone for so long, and tell the other processes."""
        now = self._clock()
        with self._written() as moments:
            if seconds > _left(moments.silent_from_s, moments.silent_for_s, now):
                self._write(replace(moments, silent_from_s=now, silent_for_s=seconds))

    async def _leave(self, *, is_api: bool) -> float:
        """Leave and return 0, or return for how long the API's share is used up, in s."""
        async with self._queue:
            while True:
                host_s, api_s = self._try_to_leave(is_api=is_api)
                if api_s > 0:
                    return api_s
                if host_s <= 0:
                    return 0.0
                await self._sleep(host_s)

    def _try_to_leave(self, *, is_api: bool) -> tuple[float, float]:
        """Take this moment if host and API are free; else for how long each is not, in s."""
        gap_s, api_gap_s = self.gap_s, self._api_gap_s / self.share
        with self._written() as moments:
            now = self._clock()
            # The most careful process counts: it keeps its own gap free on both sides.
            host_s = _left(moments.left_s, max(gap_s, moments.gap_s), now)
            api_s = _left(moments.api_left_s, max(api_gap_s, moments.api_gap_s), now) if is_api else 0.0
            if host_s <= 0 and api_s <= 0:
                left = replace(moments, left_s=now, gap_s=gap_s)
                self._write(replace(left, api_left_s=now, api_gap_s=api_gap_s) if is_api else left)
            return host_s, api_s

    @contextlib.contextmanager
    def _written(self) -> Iterator[_Moments]:
        """What is written down; nobody else changes it for the length of the block."""
        if self._file is None:
            yield self._moments
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            data = os.pread(self._file, _FORMAT.size, 0)
            yield _Moments(*_FORMAT.unpack(data)) if len(data) == _FORMAT.size else _Moments()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, moments: _Moments) -> None:
        self._moments = moments
        if self._file is not None:
            os.pwrite(self._file, _FORMAT.pack(*astuple(moments)), 0)


def _left(since_s: float, seconds: float, now: float) -> float:
    """What is left of a time that began at a moment, in s; nothing if that moment is not yet, or no number."""
    return max(0.0, since_s + seconds - now) if since_s <= now and seconds < math.inf else 0.0


def _open(directory: Path, origin: str) -> int | None:
    """The file of a host; None if this user can have none."""
    name = hashlib.sha256(origin.encode()).hexdigest()[:32]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        file = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # some file systems of networks have no locks
        fcntl.flock(file, fcntl.LOCK_UN)
        os.utime(file)
    except OSError:
        os.close(file)
        return None
    return file


def _sweep(directory: Path) -> None:
    """Remove the files of hosts that nobody has asked for a day."""
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                path.unlink()
