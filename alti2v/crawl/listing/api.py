"""Asking a board's API until it answers in its dialect, or the policy's patience ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from alti2v.crawl.boards.protocol import Refusal, Unreadable, Wall
from alti2v.crawl.http.interface import ApiClient
from alti2v.crawl.http.retry import FailedTry, FailKind, GiveUp, RetryPolicy, decide, kind_of_status

T = TypeVar("T")
MAX_API_BYTES = 16 * 1024 * 1024  # 1000 posts are about 1 MB
_OF_A_PROXY = frozenset({FailKind.HTTP_5XX, FailKind.FORBIDDEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What asking needs.

    Attributes:
        sleep: waits so many seconds.
    """

    network: ApiClient
    policy: RetryPolicy
    rng: Random
    sleep: Callable[[float], Awaitable[None]]

    async def ask(self, urls: tuple[str, ...], read: Callable[[bytes, int], T]) -> T | FailedTry:
        """Ask, and ask again after a failure, a passing refusal or an answer that cannot be read.

        Args:
            urls: forms of one question; an answer that is none makes the next try take the next, so that a
                board that refuses one form (JSON) is asked in the other (XML). Failures on the way do not.
            read: what a body and its status mean.
        """
        tries = form = 0
        while True:
            answer = await self.ask_once(urls[form % len(urls)], read)
            tries += 1
            form += not isinstance(answer, FailedTry)
            failure = _as_failure(answer)
            if failure is None:
                return answer
            verdict = decide(failure, tries=tries, policy=self.policy, rng=self.rng)
            if isinstance(verdict, GiveUp):
                return answer
            await self.sleep(verdict.delay_s)

    async def ask_once(self, url: str, read: Callable[[bytes, int], T]) -> T | FailedTry:
        """Ask one time."""
        received = await self.network.get(url, max_bytes=MAX_API_BYTES)
        if isinstance(received, FailedTry):
            return received
        answer = read(received.body, received.status)
        # Only now the status: a page in place of an answer may be a guard's or a proxy's.
        if isinstance(answer, Unreadable) and (kind := kind_of_status(received.status)) in _OF_A_PROXY:
            return FailedTry(kind=kind, message=f"HTTP {received.status}", status=received.status)
        return answer


def in_words(answer: Refusal | Unreadable | Wall | FailedTry) -> str:
    """What came instead of an answer, for a person."""
    match answer:
        case Refusal(message=message) | Wall(message=message):
            return f"the board refuses: {message.rstrip('.')}"
        case Unreadable(what=what):
            return f"the board answers with {what}"
        case FailedTry(message=message):
            return message


def _as_failure(answer: object) -> FailedTry | None:
    match answer:
        case FailedTry():
            return answer
        case Refusal(message=message, is_final=is_final):
            kind = FailKind.FORBIDDEN if is_final else FailKind.BAD_ANSWER
            return FailedTry(kind=kind, message=message)
        case Unreadable(what=what):
            return FailedTry(kind=FailKind.BAD_ANSWER, message=what)
    return None
