"""Requests to a board's API, repeated until it answers in its dialect or the retry policy gives up."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol, TypeVar

from alti2v.crawl.boards.protocol import Refusal, Unreadable, Wall
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.http.api_key import ApiKey
from alti2v.crawl.http.interface import ApiClient
from alti2v.crawl.http.retry import FailedTry, FailKind, kind_of_status, retry_delay_s
from alti2v.crawl.listing.missing_key import key_advice, wants_key

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)
MAX_API_BYTES = 16 * 1024 * 1024  # 1000 posts are about 1 MB
_KINDS_OF_PROXIES = frozenset({FailKind.HTTP_5XX, FailKind.FORBIDDEN})


class AnswerReader(Protocol[_T_co]):
    """Reader of answers; boards have one for each kind of request."""

    def __call__(self, body: bytes, /, *, status: int) -> _T_co:
        """Read the body of an answer with an HTTP status."""
        ...


class ApiRequests:
    """Requests to the API of one board.

    Args:
        config: Configuration of the crawl, with its rule of retries.
        client: Sends single requests.
        sleep: Waits for a number of seconds.
        key: API key that `client` sends to the board's host; None if it has none.

    Attributes:
        client: See above.
        tries: Requests for one address.
    """

    def __init__(
        self,
        config: CrawlConfig,
        client: ApiClient,
        sleep: Callable[[float], Awaitable[None]],
        key: ApiKey | None = None,
    ) -> None:
        self.client = client
        self.tries = config.retry.tries
        self._policy = config.retry
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._sleep = sleep
        self._key = key

    async def pause(self, tries: int) -> None:
        """Wait as long as at most after a number of failed tries."""
        await self._sleep(self._policy.longest_delay_s(tries))

    async def send(self, urls: tuple[str, ...], read: AnswerReader[T]) -> T | FailedTry:
        """Send a request; repeat it after a failure, a temporary refusal, or an unreadable answer.

        Args:
            urls: Forms of the same request. After an answer that is a refusal or unreadable, the next try uses
                the next form, so that a board that refuses one (JSON) is asked for another (XML). Failures on
                the way keep the form.
            read: Interprets a body and its status.
        """
        forms = itertools.cycle(urls)
        url = next(forms)
        tries = 0
        while True:
            answer = await self.send_once(url, read)
            tries += 1
            failure = _as_failure(answer)
            if failure is None:
                return answer
            delay_s = retry_delay_s(failure, tries=tries, policy=self._policy, rng=self._rng)
            if delay_s is None:
                return answer
            if not isinstance(answer, FailedTry):
                url = next(forms)
            await self._sleep(delay_s)

    async def send_once(self, url: str, read: AnswerReader[T]) -> T | FailedTry:
        """Send a request once."""
        received = await self.client.get(url, max_bytes=MAX_API_BYTES)
        if isinstance(received, FailedTry):
            return received
        answer = read(received.body, status=received.status)
        if isinstance(answer, Refusal | Unreadable) and wants_key(answer, status=received.status):
            message = key_advice(url, answer, status=received.status, key=self._key)
            return FailedTry(kind=FailKind.UNAUTHORIZED, message=message, status=received.status)
        # The status is checked after the body: a page in place of an answer may be a guard's or a proxy's.
        if isinstance(answer, Unreadable) and (kind := kind_of_status(received.status)) in _KINDS_OF_PROXIES:
            return FailedTry(kind=kind, message=f"HTTP {received.status}", status=received.status)
        return answer


def describe(answer: Refusal | Unreadable | Wall | FailedTry) -> str:
    """Describe an answer that is not the requested one, for users."""
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
