"""The pace towards a host: one for all tasks and processes. Time is a number here."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.crawl.http.pacing.rate_limit import Pace, shared_directory


@dataclass
class Time:
    """Time that jumps to the next moment for which somebody waits."""

    now: float = 1000.0
    waiting: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=itertools.count)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (self.now + seconds, next(self.count), future))
        await future

    async def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Until all of it is done."""
        tasks = [asyncio.create_task(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(3 * len(tasks) + 5):
                await asyncio.sleep(0)
            if self.waiting:
                self.now, _, future = heapq.heappop(self.waiting)
                future.set_result(None)
        for task in tasks:
            task.result()


def pace(time: Time, directory: Path | None, *, rate: float, api_rate: float = 100.0) -> Pace:
    return Pace("http://a", rate=rate, api_rate=api_rate, directory=directory, clock=time, sleep=time.sleep)


def most_in_a_second(moments: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


@settings(deadline=None, max_examples=10)
@given(
    rate=st.floats(1, 40),
    api_rate=st.floats(0.5, 20),
    kinds=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_no_second_ever_holds_more_requests_than_the_rate(
    tmp_path_factory: pytest.TempPathFactory, rate: float, api_rate: float, kinds: list[list[bool]]
) -> None:
    """Whatever tasks of whatever processes ask for, API requests and files alike (a fraction is rounded up)."""
    time, left = Time(), []
    directory = tmp_path_factory.mktemp("pace")
    paces = [pace(time, directory, rate=rate, api_rate=api_rate) for _ in kinds]

    async def ask(one: Pace, *, is_api: bool) -> None:
        for _ in range(4):
            await one.turn(is_api=is_api)
            left.append((time.now, is_api))

    async def main() -> None:
        await time.run(
            *(ask(one, is_api=is_api) for one, tasks in zip(paces, kinds, strict=True) for is_api in tasks)
        )

    asyncio.run(main())
    for one in paces:
        one.close()
    api = [moment for moment, is_api in left if is_api]

    assert len(left) == 4 * sum(map(len, kinds))
    assert most_in_a_second([moment for moment, _ in left]) <= math.ceil(rate)
    assert not api or most_in_a_second(api) <= math.ceil(api_rate)


async def test_the_rate_is_used(tmp_path: Path) -> None:
    """Two processes together reach 95 % of it, and the waiting API does not keep files from leaving."""
    time, left = Time(), []
    first, second = (pace(time, tmp_path, rate=10.0, api_rate=0.1) for _ in range(2))

    async def ask(one: Pace, times: int, *, is_api: bool) -> None:
        for _ in range(times):
            await one.turn(is_api=is_api)
            left.append(time.now)

    await time.run(ask(first, 2, is_api=True), ask(first, 50, is_api=False), ask(second, 50, is_api=False))
    first.close()
    second.close()

    assert sorted(left)[100] - left[0] == pytest.approx(100 * 0.105, abs=0.2)


async def test_the_slowest_process_sets_the_pace(tmp_path: Path) -> None:
    """Its gap is kept free behind its own request, so the host never sees more than it wants of it."""
    time, left = Time(), []
    careful, quick = pace(time, tmp_path, rate=1.0), pace(time, tmp_path, rate=20.0)
    await careful.turn(is_api=False)
    await time.run(quick.turn(is_api=False))
    left.append(time.now)
    careful.close()
    quick.close()

    assert left == [pytest.approx(1000 + 1.05)]


async def test_a_silence_holds_for_every_process(tmp_path: Path) -> None:
    """One was told to wait: all wait; a shorter silence later does not shorten it."""
    time = Time()
    one, other = pace(time, tmp_path, rate=10.0), pace(time, tmp_path, rate=10.0)
    one.be_silent(30)
    time.now += 10
    other.be_silent(5)
    left = (one.silence_s(), other.silence_s())
    one.close()
    other.close()

    assert left == (20, 20)


async def test_f40_moments_of_an_earlier_boot_are_void(tmp_path: Path) -> None:
    """After a reboot the clock starts anew, so times from before, perhaps days ahead, are ignored."""
    time = Time(now=1e6)
    before = pace(time, tmp_path, rate=0.1)
    await before.turn(is_api=True)
    before.be_silent(3600)
    before.close()
    time.now = 50.0
    after = pace(time, tmp_path, rate=0.1)
    await time.run(after.turn(is_api=True))
    silence = after.silence_s()
    after.close()

    assert (time.now, silence) == (50.0, 0)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 48, b"\x00" * 48])
def test_a_damaged_file_stops_nobody(tmp_path: Path, content: bytes) -> None:
    """The next request writes a damaged file anew."""
    time = Time()
    pace(time, tmp_path, rate=1.0).close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    one = pace(time, tmp_path, rate=1.0)
    asyncio.run(time.run(one.turn(is_api=False), one.turn(is_api=False)))
    one.close()

    assert time.now <= 1000 + 2 * 1.05


async def test_without_a_place_to_write_each_process_keeps_its_own_pace(tmp_path: Path) -> None:
    """And says that it is not shared."""
    (tmp_path / "file").write_bytes(b"")
    time = Time()
    one = pace(time, tmp_path / "file" / "pace", rate=1.0)
    await time.run(one.turn(is_api=False), one.turn(is_api=False))

    assert not one.is_shared
    assert time.now == pytest.approx(1000 + 1.05)


def test_files_of_forgotten_hosts_are_removed(tmp_path: Path) -> None:
    """A day after the last request."""
    import os

    (tmp_path / "old").write_bytes(b"")
    os.utime(tmp_path / "old", (1, 1))
    pace(Time(), tmp_path, rate=1.0).close()

    assert [path.name == "old" for path in tmp_path.iterdir()] == [False]


def test_the_place_is_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME, else ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = shared_directory()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert here == tmp_path / "alti2v" / "pace"
    assert shared_directory() == tmp_path / ".cache" / "alti2v" / "pace"
