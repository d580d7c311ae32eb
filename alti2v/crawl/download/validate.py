"""What the bytes of a file have to prove before they are stored, and what follows if they do not. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

from alti2v.crawl.download.image_header import identify, is_whole
from alti2v.crawl.http.retry import FailedTry, FailKind, GiveUp, RetryPolicy, decide
from alti2v.crawl.store.ledger import Outcome, Pending
from alti2v.crawl.store.post_json import Arrived, Stored, Wanted
from alti2v.crawl.store.writer import Fetched, Lost
from alti2v.records import Status


def judge(
    pending: Pending, result: Arrived | Outcome, *, keep_mismatched: bool, policy: RetryPolicy, rng: Random
) -> Fetched | Lost | Wanted:
    """Say what comes of what has arrived for a post.

    Args:
        pending: the post.
        result: its file, or what to record in its place.
        keep_mismatched: store an original whose md5 is not the one that the board says.
        policy: how often to try.
        rng: of the back-off.

    Returns:
        What to store or to record, or what to fetch again, and when.
    """
    if isinstance(result, Outcome):
        return Lost(pending=pending, outcome=result)
    stored = examine(result, pending, keep_mismatched=keep_mismatched)
    if isinstance(stored, Stored):
        return Fetched(pending=pending, stored=stored, content=result.content)
    is_mismatch = stored.kind is FailKind.MD5_MISMATCH
    # Bytes that differ are asked for once more, however the tries before them failed.
    tries = 1 + result.has_mismatched if is_mismatch else result.tries
    verdict = decide(stored, tries=tries, policy=policy, rng=rng)
    if isinstance(verdict, GiveUp):
        outcome = Outcome(
            status=Status.FAILED,
            reason=stored.kind.value,
            error=stored.message,
            attempts=result.attempts,
            http_status=stored.status,
        )
        return Lost(pending=pending, outcome=outcome)
    wanted = pending.wanted
    return replace(
        wanted,
        attempts=result.attempts,
        # The same address again: a sample that does not exist is not asked for twice.
        sample_url=wanted.sample_url if result.asked == wanted.sample_url else None,
        tries=result.tries,
        wait_s=verdict.delay_s,
        has_mismatched=result.has_mismatched or is_mismatch,
    )


def examine(arrived: Arrived, pending: Pending, *, keep_mismatched: bool) -> Stored | FailedTry:
    """Say what picture it is and hash it, or say why it is not stored."""
    content = arrived.content
    picture = identify(content)
    if isinstance(picture, FailedTry):
        return replace(picture, status=arrived.http_status)
    # Samples are made by the board: only the original has a known md5.
    expected = pending.post.md5 if arrived.asked == pending.wanted.file_url else None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected is not None and md5 != expected and not keep_mismatched:
        return FailedTry(
            kind=FailKind.MD5_MISMATCH,
            message=f"md5 {md5}, the board says {expected}",
            status=arrived.http_status,
        )
    if md5 != expected and not is_whole(picture, content):
        return FailedTry(
            kind=FailKind.TRUNCATED_BODY,
            message="the end of the picture is missing",
            status=arrived.http_status,
        )
    return Stored(
        url=arrived.url,
        http_status=arrived.http_status,
        attempts=arrived.attempts,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        md5=md5,
    )
