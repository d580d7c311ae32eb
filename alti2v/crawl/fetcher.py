"""One post's file: which address, how often, and what the bytes have to prove."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from alti2v.crawl.aside import Aside
from alti2v.crawl.boards.board import Skip
from alti2v.crawl.documents import Stored
from alti2v.crawl.exchange import Purpose, Received
from alti2v.crawl.ledger import Outcome, Pending
from alti2v.crawl.memory import Room
from alti2v.crawl.net import Client
from alti2v.crawl.pictures import identify, is_whole
from alti2v.crawl.policy import FailKind, Failure, GiveUp, RetryPolicy, decide
from alti2v.crawl.shelf import Fetched, Lost, Settlement
from alti2v.records import Post, Status

_OPT_OUT = frozenset({"noai", "noimageai"})  # the words of X-Robots-Tag that DeviantArt introduced in 2022


async def fetch(  # noqa: PLR0913 - the world of one fetch
    pending: Pending,
    *,
    original: bool,
    keep_mismatched: bool,
    max_bytes: int,
    client: Client,
    policy: RetryPolicy,
    rng: Random,
    sleep: Callable[[float], Awaitable[None]],
    aside: Aside,
    room: Room,
) -> Settlement | None:
    """Fetch the file of a post, as often as the policy allows.

    Args:
        pending: the post.
        max_bytes: larger files are not fetched to their end.
        client: obeys hosts; its failures come back as values.
        policy: how often to try.
        rng: of the back-off.
        sleep: waits so many seconds.
        aside: where bytes are examined.
        room: holds the bytes while they are in memory; the caller's if they are returned.
        original: fetch the original; otherwise the sample, and the original where there is no sample.
        keep_mismatched: store an original whose md5 is not the one that the board says.

    Returns:
        What to record, or None if the host was given up, so that the post stays pending.
    """
    attempts = pending.attempts
    failure = Failure(kind=FailKind.BAD_URL, message="the board shows no address")
    for url in addresses(pending.post, original=original):
        tries = 0
        while True:
            tries += 1
            attempts += 1
            found: Settlement | Received | Failure
            found = await client.get(url, purpose=Purpose.FILE, max_bytes=max_bytes, room=room)
            if isinstance(found, Received):
                found = await aside.run(
                    partial(
                        _examine, found, pending, url=url, attempts=attempts, keep_mismatched=keep_mismatched
                    )
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
        if attempts == pending.attempts:
            return _skipped(pending, Skip.HIDDEN, error="", attempts=attempts)
    if failure.kind is FailKind.ROBOTS:
        return _skipped(pending, Skip.ROBOTS, error=failure.message, attempts=pending.attempts)
    outcome = Outcome(
        status=Status.FAILED,
        reason=failure.kind.value,
        error=failure.message,
        attempts=attempts,
        http_status=failure.status,
    )
    return Lost(pending=pending, outcome=outcome)


def addresses(post: Post, *, original: bool) -> tuple[str, ...]:
    """Where the file may be got from, in the order of trying."""
    candidates = (post.file_url,) if original else (post.sample_url, post.file_url)
    return tuple(url for url in candidates if url is not None)


def _examine(
    received: Received, pending: Pending, *, url: str, attempts: int, keep_mismatched: bool
) -> Settlement | Failure:
    if _OPT_OUT & {word.strip() for word in received.robots_tag.split(",")}:
        return _skipped(pending, Skip.OPT_OUT, error=received.robots_tag, attempts=attempts)
    picture = identify(received.body)
    if isinstance(picture, Failure):
        return Failure(kind=picture.kind, message=picture.message, status=received.status)
    post = pending.post
    # Samples are made by the board: only the original has a known md5.
    expected = post.md5 if url == post.file_url else None
    md5 = hashlib.md5(received.body, usedforsecurity=False).hexdigest()
    if expected is not None and md5 != expected and not keep_mismatched:
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
    return Fetched(pending=pending, stored=stored, content=received.body)


def _skipped(pending: Pending, reason: Skip, *, error: str, attempts: int) -> Lost:
    outcome = Outcome(status=Status.SKIPPED, reason=reason.value, error=error, attempts=attempts)
    return Lost(pending=pending, outcome=outcome)
