"""One post's file: which address, how often, and what the bytes have to prove."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from alti2v.crawl.answers import Purpose, Received
from alti2v.crawl.aside import Aside
from alti2v.crawl.boards.board import Skip
from alti2v.crawl.documents import Found, Stored, Wanted
from alti2v.crawl.ledger import Outcome
from alti2v.crawl.memory import Room
from alti2v.crawl.net import Client
from alti2v.crawl.network import FileRules
from alti2v.crawl.pictures import identify, is_whole
from alti2v.crawl.policy import FailKind, Failure, GiveUp, RetryPolicy, decide
from alti2v.records import Status

_OPT_OUT = frozenset({"noai", "noimageai"})  # the words of X-Robots-Tag that DeviantArt introduced in 2022


async def fetch(  # noqa: PLR0913 - the world of one fetch
    wanted: Wanted,
    *,
    rules: FileRules,
    client: Client,
    policy: RetryPolicy,
    rng: Random,
    sleep: Callable[[float], Awaitable[None]],
    aside: Aside,
    room: Room,
) -> Found | Outcome | None:
    """Fetch the file of a post, as often as the policy allows.

    Args:
        wanted: the file.
        rules: which of the post's files, and which bytes.
        client: obeys hosts; its failures come back as values.
        policy: how often to try.
        rng: of the back-off.
        sleep: waits so many seconds.
        aside: where bytes are examined.
        room: holds the bytes while they are in memory; the caller's if they are returned.

    Returns:
        The picture, or what to record in its place, or None if the host was given up, so that the post stays
        pending.
    """
    attempts = wanted.attempts
    failure = Failure(kind=FailKind.BAD_URL, message="the board shows no address")
    for url in addresses(wanted, original=rules.original):
        tries = 0
        while True:
            tries += 1
            attempts += 1
            found: Found | Outcome | Received | Failure
            found = await client.get(url, purpose=Purpose.FILE, max_bytes=rules.max_bytes, room=room)
            if isinstance(found, Received):
                found = await aside.run(
                    partial(_examine, found, wanted, url=url, attempts=attempts, rules=rules)
                )
            if not isinstance(found, Failure):
                return found
            failure = found
            room.leave()
            if failure.kind is FailKind.HOST_DOWN:
                return None
            verdict = decide(failure, tries=tries, policy=policy, rng=rng)
            if isinstance(verdict, GiveUp):
                break
            await sleep(verdict.delay_s)
        if failure.kind is not FailKind.HTTP_404:  # a listed sample that does not exist: try the original
            break
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


def _examine(
    received: Received, wanted: Wanted, *, url: str, attempts: int, rules: FileRules
) -> Found | Outcome | Failure:
    if _OPT_OUT & {word.strip() for word in received.robots_tag.split(",")}:
        return _skipped(Skip.OPT_OUT, error=received.robots_tag, attempts=attempts)
    picture = identify(received.body)
    if isinstance(picture, Failure):
        return Failure(kind=picture.kind, message=picture.message, status=received.status)
    # Samples are made by the board: only the original has a known md5.
    expected = wanted.md5 if url == wanted.file_url else None
    md5 = hashlib.md5(received.body, usedforsecurity=False).hexdigest()
    if expected is not None and md5 != expected and not rules.keep_mismatched:
        return Failure(
            kind=FailKind.MD5_MISMATCH,
            message=f"md5 {md5}, the board says {expected}",
            status=received.status,
        )
    if md5 != expected and not is_whole(picture, received.body):
        return Failure(
            kind=FailKind.TRUNCATED_BODY, message="the end of the picture is missing", status=received.status
        )
    stored = Stored(
        url=received.url,
        http_status=received.status,
        attempts=attempts,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        md5=md5,
    )
    return Found(stored, received.body)


def _skipped(reason: Skip, *, error: str, attempts: int) -> Outcome:
    return Outcome(status=Status.SKIPPED, reason=reason.value, error=error, attempts=attempts)
