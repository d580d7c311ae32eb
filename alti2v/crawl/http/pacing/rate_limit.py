"""A rate limit for one host, shared by all tasks and, through a small file, by all processes.

The file of a host holds the times of the last requests and of the pause that the host asked for, on the
machine's monotonic clock, which processes share. No time is reserved ahead: a process waits until the host is
free, and then records under the kernel's lock (flock) that it sends now, so a process that dies leaves nothing
behind. After a reboot the clock starts again: a time in the future is from an earlier boot, and ignored.
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
from pathlib import Path
from typing import NamedTuple

# Requests sent exactly 1/rate apart arrive a little closer together or wider apart; 5 % keep every second at
# the host within the rate.
_MARGIN = 1.05
_EXPIRES_AFTER_S = 86_400.0


class _Moments(NamedTuple):
    """Times recorded for a host, in s of the monotonic clock.

    Attributes:
        left_s, gap_s: Time of the last request, and the gap that its process keeps after it.
        api_left_s, api_gap_s: The same for the last request to the API.
        silent_from_s, silent_for_s: Begin and length of the pause that the host asked for.
    """

    left_s: float = -math.inf
    gap_s: float = 0.0
    api_left_s: float = -math.inf
    api_gap_s: float = 0.0
    silent_from_s: float = -math.inf
    silent_for_s: float = 0.0


_FORMAT = struct.Struct("<6d")


def shared_directory() -> Path:
    """Return the folder through which the processes of this user share rates (XDG Base Directory, 0.8)."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "alti2v" / "pace"


class Pace:
    """Rate limit of one host.

    Args:
        name: Name of the host, the same for all its ports.
        rate: Requests/s for all purposes; infinity for no limit.
        api_rate: Requests/s of these for the API.
        directory: Folder shared with other processes; None for this process only.
        clock: Monotonic time, s; the same for all processes that share `directory`.
        sleep: Waits for a number of seconds.

    Attributes:
        rate: Configured requests/s.
        share: Share of the configured rates that the host can bear, in (0, 1].
        crawl_delay_s: Time between two requests that the host's robots.txt asks for, s.
        is_shared: False if `directory` cannot be used, so that other processes are not counted.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: float,
        api_rate: float,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.rate = rate
        self.share = 1.0
        self.crawl_delay_s = 0.0
        self._gap_s = _MARGIN / rate
        self._api_gap_s = _MARGIN / api_rate
        self._clock = clock
        self._sleep = sleep
        self._moments = _Moments()
        self._left_unpaced_s = -math.inf
        self._queue = asyncio.Lock()
        self._api_queue = asyncio.Lock()
        paced = self._gap_s or self._api_gap_s
        self._file = _open(directory, name) if directory is not None and paced else None
        self.is_shared = self._file is not None or directory is None or not paced

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def gap_s(self) -> float:
        """Present time between two requests, s."""
        return max(self._gap_s / self.share, self.crawl_delay_s)

    async def turn(self, *, is_api: bool) -> None:
        """Wait until a request may be sent, and record it; first come, first served."""
        if self._file is None and not (self._gap_s or self._api_gap_s or self.crawl_delay_s):
            self._left_unpaced_s = self._clock()  # for a crawl delay that becomes known later
            return
        if self._left_unpaced_s > self._moments.left_s:
            self._moments = self._moments._replace(left_s=self._left_unpaced_s)
        async with self._api_queue if is_api else contextlib.nullcontext():
            # A request that waits for the API's rate lets requests for files pass.
            while (api_s := await self._send(is_api=is_api)) > 0:
                await self._sleep(api_s)

    def silence_s(self) -> float:
        """Return the rest of the pause that the host asked for, s; of other processes as of the last turn."""
        return _left(self._moments.silent_from_s, self._moments.silent_for_s, self._clock())

    def be_silent(self, seconds: float) -> None:
        """Pause requests to the host for a number of seconds, in all processes."""
        now = self._clock()
        with self._locked() as moments:
            if seconds > _left(moments.silent_from_s, moments.silent_for_s, now):
                self._write(moments._replace(silent_from_s=now, silent_for_s=seconds))

    async def _send(self, *, is_api: bool) -> float:
        """Record a request and return 0, or return how long the API's rate is used up, in s."""
        async with self._queue:
            while True:
                host_s, api_s = self._try(is_api=is_api)
                if api_s > 0:
                    return api_s
                if host_s <= 0:
                    return 0.0
                await self._sleep(host_s)

    def _try(self, *, is_api: bool) -> tuple[float, float]:
        """Record a request if host and API are free; return how long each is not, in s."""
        gap_s, api_gap_s = self.gap_s, self._api_gap_s / self.share
        with self._locked() as moments:
            now = self._clock()
            # The slowest process decides: its gap is kept before and after its requests.
            host_s = _left(moments.left_s, max(gap_s, moments.gap_s), now)
            api_s = _left(moments.api_left_s, max(api_gap_s, moments.api_gap_s), now) if is_api else 0.0
            if host_s <= 0 and api_s <= 0:
                left = moments._replace(left_s=now, gap_s=gap_s)
                self._write(left._replace(api_left_s=now, api_gap_s=api_gap_s) if is_api else left)
            return host_s, api_s

    @contextlib.contextmanager
    def _locked(self) -> Iterator[_Moments]:
        """Read the recorded times, and keep other processes from changing them during the block."""
        if self._file is None:
            yield self._moments
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            data = os.pread(self._file, _FORMAT.size, 0)
            self._moments = _Moments(*_FORMAT.unpack(data)) if len(data) == _FORMAT.size else _Moments()
            yield self._moments
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, moments: _Moments) -> None:
        self._moments = moments
        if self._file is not None:
            os.pwrite(self._file, _FORMAT.pack(*moments), 0)


def _left(since_s: float, seconds: float, now: float) -> float:
    """Return the rest of a period, in s; 0 if it begins in the future, or its length is not a number."""
    return max(0.0, since_s + seconds - now) if since_s <= now and seconds < math.inf else 0.0


def _open(directory: Path, name: str) -> int | None:
    """Open the file of a host; None if the folder cannot be used."""
    file_name = hashlib.sha256(name.encode()).hexdigest()[:32]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        file = os.open(directory / file_name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_UN)
        os.utime(file)
    except OSError:
        os.close(file)
        return None
    return file


def _sweep(directory: Path) -> None:
    """Remove the files of hosts without a request for a day."""
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _EXPIRES_AFTER_S:
                path.unlink()
