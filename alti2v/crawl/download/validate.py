"""Checks that the bytes of a file have to pass before they are stored, and what follows if they fail."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

from zlib_ng import zlib_ng

from alti2v.crawl.http.retry import HEALABLE, FailedTry, FailKind, RetryPolicy, retry_delay_s
from alti2v.crawl.store.ledger.outcomes import Outcome, Pending
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile, Stored
from alti2v.crawl.store.writer import FetchedFile, MissingFile
from alti2v.pictures.check import find_flaw
from alti2v.pictures.header import NoPicture, PictureRefusal, read_header
from alti2v.records import Status

_KINDS = {
    NoPicture.NOT_IMAGE: FailKind.NOT_IMAGE,
    NoPicture.UNSUPPORTED_FORMAT: FailKind.UNSUPPORTED_FORMAT,
    NoPicture.TOO_MANY_PIXELS: FailKind.TOO_MANY_PIXELS,
    NoPicture.DAMAGED: FailKind.TRUNCATED_BODY,  # another try may bring it sound
}


def validate(
    pending: Pending, result: ReceivedFile | Outcome, *, keep_mismatched: bool, policy: RetryPolicy, rng: Random
) -> FetchedFile | MissingFile | FileRequest:
    """Turn the result of a download into a result to write, or into another request.

    Args:
        pending: Post.
        result: Its file, or the outcome to record in its place.
        keep_mismatched: True to store an original whose md5 is not the board's.
        policy: Limits of retries.
        rng: Randomness of the back-off.
    """
    if isinstance(result, Outcome):
        return MissingFile(pending=pending, outcome=result)
    stored = check_picture(result, pending, keep_mismatched=keep_mismatched)
    if isinstance(stored, Stored):
        return FetchedFile(pending=pending, stored=stored, content=result.content)
    is_mismatch = stored.kind is FailKind.MD5_MISMATCH
    # Mismatched bytes are requested once more, whatever the failures before them.
    tries = 1 + result.has_mismatched if is_mismatch else result.tries
    request = pending.request
    is_sample = request.file_url is not None and result.requested != request.file_url
    delay_s = retry_delay_s(stored, tries=tries, policy=policy, rng=rng, is_last=not is_sample)
    if delay_s is None and is_sample:  # what is there is no sample: try the original
        passed_over = stored.kind.value if stored.kind in HEALABLE else ""
        return replace(request, attempts=result.attempts, sample_url=None, passed_over=passed_over)
    if delay_s is None:
        outcome = failed(stored, attempts=result.attempts, passed_over=result.passed_over)
        return MissingFile(pending=pending, outcome=outcome)
    return replace(
        request,
        attempts=result.attempts,
        # The same address again: a sample that does not exist is not requested twice.
        sample_url=request.sample_url if result.requested == request.sample_url else None,
        tries=result.tries,
        wait_s=delay_s,
        has_mismatched=result.has_mismatched or is_mismatch,
        passed_over=result.passed_over,
    )


def failed(failure: FailedTry, *, attempts: int, passed_over: str) -> Outcome:
    """Return the outcome of a post without a file; a passing failure of its sample is worth another run."""
    return Outcome(
        status=Status.FAILED,
        reason=passed_over or failure.kind.value,
        error=failure.message,
        attempts=attempts,
        http_status=failure.status,
    )


def check_picture(file: ReceivedFile, pending: Pending, *, keep_mismatched: bool) -> Stored | FailedTry:
    """Identify and hash a picture, or return why it is not stored."""
    content = file.content
    header = read_header(content)
    if isinstance(header, PictureRefusal):
        return FailedTry(kind=_KINDS[header.kind], message=header.message, status=file.http_status)
    # Samples are made by the board: only the original has a known md5.
    expected = pending.post.md5 if file.requested == pending.request.file_url else None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected is not None and md5 != expected and not keep_mismatched:
        return FailedTry(
            kind=FailKind.MD5_MISMATCH,
            message=f"md5 {md5} in place of {expected}",
            status=file.http_status,
        )
    # What the board says it has is stored as it is: another request would bring the same.
    flaw = "" if md5 == expected else find_flaw(header.format, content)
    if flaw:
        return FailedTry(kind=FailKind.TRUNCATED_BODY, message=flaw, status=file.http_status)
    return Stored(
        url=file.url,
        http_status=file.http_status,
        attempts=file.attempts,
        format=header.format,
        width=header.width,
        height=header.height,
        md5=md5,
        crc32=zlib_ng.crc32(content),
    )
