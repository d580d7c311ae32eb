"""One post's file: which address, and how often. What the bytes have to prove is `examining`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.download.interface import FileRules
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.config import PRODUCT
from alti2v.crawl.http.memory_budget import Room
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailedTry, FailKind, GiveUp, RetryPolicy, decide
from alti2v.crawl.store.ledger import Outcome
from alti2v.crawl.store.post_json import Arrived, Wanted
from alti2v.records import Status

_OPT_OUT = frozenset({"noai", "noimageai"})  # the words of X-Robots-Tag that DeviantArt introduced in 2022


async def fetch(
    wanted: Wanted,
    *,
    rules: FileRules,
    client: Client,
    policy: RetryPolicy,
    rng: Random,
    sleep: Callable[[float], Awaitable[None]],
    room: Room,
) -> Arrived | Outcome | None:
    """Fetch the file of a post, as often as the policy allows.

    Args:
        wanted: the file.
        rules: which of the post's files, and how large.
        client: obeys hosts; its failures come back as values.
        policy: how often to try.
        rng: of the back-off.
        sleep: waits so many seconds.
        room: holds the bytes while they are in memory; the caller's if they are returned.

    Returns:
        The file, whatever it is, or what to record in its place, or None if the host was given up, so that the
        post stays pending.
    """
    if wanted.wait_s:
        await sleep(wanted.wait_s)
    attempts, tries = wanted.attempts, wanted.tries
    failure = FailedTry(kind=FailKind.BAD_URL, message="the board shows no address")
    for url in addresses(wanted, original=rules.original):
        while True:
            tries += 1
            attempts += 1
            answer = await client.get(url, purpose=Purpose.FILE, max_bytes=rules.max_bytes, room=room)
            if isinstance(answer, Received):
                return _arrived(answer, wanted, asked=url, attempts=attempts, tries=tries)
            failure = answer
            room.leave()
            if failure.kind is FailKind.HOST_DOWN:
                return None
            verdict = decide(failure, tries=tries, policy=policy, rng=rng)
            if isinstance(verdict, GiveUp):
                break
            await sleep(verdict.delay_s)
        if failure.kind is not FailKind.HTTP_404:
            break
        tries = 0  # a listed sample that does not exist: try the original
    else:
        if attempts == wanted.attempts:
            return _skipped(Skip.HIDDEN, error="", attempts=attempts)
    if failure.kind is FailKind.ROBOTS:
        return _skipped(Skip.ROBOTS, error=failure.message, attempts=wanted.attempts)
    return Outcome(
        status=Status.FAILED,
        reason=failure.kind.value,
        error=failure.message,
        attempts=attempts,
        http_status=failure.status,
    )


def addresses(wanted: Wanted, *, original: bool) -> tuple[str, ...]:
    """Where the file may be got from, in the order of trying."""
    candidates = (wanted.file_url,) if original else (wanted.sample_url, wanted.file_url)
    return tuple(url for url in candidates if url is not None)


def _arrived(received: Received, wanted: Wanted, *, asked: str, attempts: int, tries: int) -> Arrived | Outcome:
    if any(map(_is_opt_out, received.robots_tag.split(","))):
        return _skipped(Skip.OPT_OUT, error=received.robots_tag, attempts=attempts)
    return Arrived(
        asked=asked,
        url=received.url,
        http_status=received.status,
        attempts=attempts,
        tries=tries,
        content=received.body,
        has_mismatched=wanted.has_mismatched,
    )


def _is_opt_out(rule: str) -> bool:
    """Whether a rule of X-Robots-Tag speaks of training, and to us: `noai`, `*: noai` or `alti2v: noai`."""
    agent, colon, word = rule.rpartition(":")
    return word.strip() in _OPT_OUT and (not colon or agent.strip() in (PRODUCT, "*"))


def _skipped(reason: Skip, *, error: str, attempts: int) -> Outcome:
    return Outcome(status=Status.SKIPPED, reason=reason.value, error=error, attempts=attempts)
