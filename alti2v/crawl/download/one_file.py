"""Download of one post's file: which address, and how often. The bytes are checked by `validate`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.boards.values import url_extension
from alti2v.crawl.download.interface import DownloadConfig, FileRules
from alti2v.crawl.download.validate import failed
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.config import PRODUCT
from alti2v.crawl.http.memory_budget import Reservation
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import HEALABLE, FailKind, retry_delay_s
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile
from alti2v.records import Status

_OPT_OUT = frozenset({"noai", "noimageai"})  # values of X-Robots-Tag that DeviantArt introduced in 2022


class FileFetcher:
    """Downloads files of posts, with retries.

    Args:
        config: Settings, with the rules for the choice of a file.
        client: HTTP client.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self, config: DownloadConfig, client: Client, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._rules = config.rules
        self._policy = config.net.retry
        self._client = client
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._sleep = sleep

    async def fetch(self, request: FileRequest, reservation: Reservation) -> ReceivedFile | Outcome | None:
        """Download the file of a post.

        Args:
            request: File.
            reservation: Memory for the bytes; the caller releases it if a file is returned.

        Returns:
            The file, not validated; or the outcome to record in its place; or None if the host was given up, so
            that the post stays pending.
        """
        if request.wait_s:
            await self._sleep(request.wait_s)
        attempts, tries = request.attempts, request.tries
        passed_over, failure = request.passed_over, None
        urls = addresses(request, self._rules)
        if not urls:
            return _skipped(Skip.HIDDEN, error="", attempts=attempts)
        for url in urls:
            is_last = url == urls[-1]
            while True:
                tries += 1
                attempts += 1
                answer = await self._client.get(
                    url,
                    purpose=Purpose.FILE,
                    max_bytes=self._rules.max_bytes,
                    reservation=reservation,
                    is_last=is_last,
                )
                if isinstance(answer, Received):
                    return _received(
                        answer, request, url=url, attempts=attempts, tries=tries, passed_over=passed_over
                    )
                failure = answer
                reservation.release()
                if failure.kind is FailKind.HOST_DOWN:
                    return None
                delay_s = retry_delay_s(
                    failure, tries=tries, policy=self._policy, rng=self._rng, is_last=is_last
                )
                if delay_s is None:
                    break
                await self._sleep(delay_s)
            if failure.kind is FailKind.ROBOTS:
                return _skipped(Skip.ROBOTS, error=failure.message, attempts=request.attempts)
            passed_over = passed_over or (failure.kind.value if failure.kind in HEALABLE else "")
            tries = 0  # a listed sample that cannot be had: try the original
        assert failure is not None
        return failed(failure, attempts=attempts, passed_over=passed_over)


def addresses(request: FileRequest, rules: FileRules) -> tuple[str, ...]:
    """Return the addresses of a file, in the order of trying."""
    original = rules.original and (rules.reads_avif or url_extension(request.file_url) != "avif")
    candidates = (request.file_url,) if original else (request.sample_url, request.file_url)
    return tuple(url for url in candidates if url is not None)


def _received(
    received: Received, request: FileRequest, *, url: str, attempts: int, tries: int, passed_over: str
) -> ReceivedFile | Outcome:
    if any(map(_is_opt_out, received.robots_tag.split(","))):
        return _skipped(Skip.OPT_OUT, error=received.robots_tag, attempts=attempts)
    return ReceivedFile(
        requested=url,
        url=received.url,
        http_status=received.status,
        attempts=attempts,
        tries=tries,
        content=received.body,
        has_mismatched=request.has_mismatched,
        passed_over=passed_over,
    )


def _is_opt_out(rule: str) -> bool:
    """Return whether a rule of X-Robots-Tag forbids us training: `noai`, `*: noai` or `alti2v: noai`."""
    agent, colon, word = rule.rpartition(":")
    return word.strip() in _OPT_OUT and (not colon or agent.strip() in (PRODUCT, "*"))


def _skipped(reason: Skip, *, error: str, attempts: int) -> Outcome:
    return Outcome(status=Status.SKIPPED, reason=reason.value, error=error, attempts=attempts)
