"""The thread beside the event loop: results, exceptions, and an end at any moment without a trace."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from alti2v.crawl.aside import Aside


async def test_results_and_exceptions_come_back_to_who_asked() -> None:
    """Several calls of one trip do not mix."""
    aside = Aside()
    outcomes = await asyncio.gather(
        aside.run(lambda: 1), aside.run(lambda: 1 // 0), aside.run(lambda: 3), return_exceptions=True
    )
    await aside.close()

    assert outcomes[::2] == [1, 3]
    assert isinstance(outcomes[1], ZeroDivisionError)


@pytest.mark.parametrize("is_begun", [False, True], ids=["gathering", "under way"])
async def test_closing_leaves_nothing_behind(*, is_begun: bool) -> None:
    """Who still waits is cancelled, nothing runs afterwards, and the loop hears of no lost exception."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    began, may_end = asyncio.Event(), threading.Event()
    aside = Aside()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait(timeout=10)

    asking = asyncio.create_task(aside.run(work))
    if is_begun:
        await began.wait()
        later = asyncio.create_task(aside.run(work))
    else:
        later = asking
    await asyncio.sleep(0)  # both have asked
    may_end.set()
    await aside.close()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(asking, later, return_exceptions=True)
    others = asyncio.all_tasks() - {asyncio.current_task()}

    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
    assert began.is_set() == is_begun
    assert not others
    assert not complaints


async def test_a_fetcher_that_is_cancelled_first_leaves_nothing_behind() -> None:
    """As when Ctrl-C comes twice: who asked is gone before the trip began, and then it is closed."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    ran: list[int] = []
    aside = Aside()
    asking = asyncio.create_task(aside.run(lambda: ran.append(1)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await aside.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}

    assert not ran
    assert not others
    assert not complaints
