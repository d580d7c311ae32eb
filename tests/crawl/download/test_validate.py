"""Checks of files, in shared memory as in bytes, and the outcomes of failures."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from alti2v.crawl.download.validate import validate
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.crawl.store.ledger.outcomes import Outcome, Pending
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile
from alti2v.crawl.store.writer import FetchedFile, MissingFile
from alti2v.records import Post, Status
from tests.crawl.helpers.scripted_board import picture

SAMPLE, ORIGINAL = "http://board/samples/1.jpg", "http://board/images/1.jpg"
WHOLE = picture(1)
POLICY = RetryPolicy(tries=3, base_s=0.5, ceiling_s=0.5)


def judged(
    content: bytes | memoryview,
    *,
    asked: str,
    tries: int = 1,
    keep_mismatched: bool = False,
    has_mismatched: bool = False,
    original: str | None = ORIGINAL,
) -> FetchedFile | MissingFile | FileRequest:
    """The file of a post whose original is `WHOLE`, asked for after two requests of earlier runs."""
    request = FileRequest(seq=4, attempts=2, sample_url=SAMPLE, file_url=original)
    pending = Pending(post=Post(id=1, md5=hashlib.md5(WHOLE).hexdigest()), request=request)
    file = ReceivedFile(
        requested=asked,
        url=asked,
        http_status=200,
        attempts=2 + tries,
        tries=tries,
        content=content,
        has_mismatched=has_mismatched,
    )
    return validate(pending, file, keep_mismatched=keep_mismatched, policy=POLICY, rng=Random(1))


@pytest.mark.parametrize("form", [bytes, memoryview])
def test_a_whole_picture_is_stored_as_it_is(form: type[bytes] | type[memoryview]) -> None:
    """A whole picture is stored with the facts about it."""
    good = judged(form(WHOLE), asked=ORIGINAL)

    assert isinstance(good, FetchedFile)
    assert good.content == WHOLE
    assert (good.stored.format, good.stored.attempts) == ("JPEG", 3)
    assert good.stored.md5 == hashlib.md5(WHOLE).hexdigest()


@pytest.mark.parametrize("form", [bytes, memoryview])
@pytest.mark.parametrize(
    ("content", "asked", "kind"),
    [
        (b"<html>busy</html>", SAMPLE, "not_image"),
        (WHOLE[:-40], SAMPLE, "truncated_body"),
        (WHOLE[:-40], ORIGINAL, "md5_mismatch"),
        (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(range(200)), SAMPLE, "unsupported_format"),
        (b"", SAMPLE, "not_image"),
    ],
)
def test_what_is_no_whole_picture_fails_in_its_own_way(
    form: type[bytes] | type[memoryview], content: bytes, asked: str, kind: str
) -> None:
    """After the last try, with its status and every request counted, if no other file is left."""
    original = None if asked == SAMPLE else ORIGINAL
    lost = judged(form(content), asked=asked, tries=3, has_mismatched=kind == "md5_mismatch", original=original)

    assert isinstance(lost, MissingFile)
    assert (lost.outcome.status, lost.outcome.reason) == (Status.FAILED, kind)
    assert (lost.outcome.attempts, lost.outcome.http_status) == (5, 200)


@pytest.mark.parametrize("content", [b"<html>busy</html>", WHOLE[:-40], b"", b"FWS" + bytes(200)])
def test_what_is_no_sample_lets_the_original_be_asked_for(content: bytes) -> None:
    """At once, and with tries of its own; that the sample was cut, which may pass, is remembered."""
    again = judged(content, asked=SAMPLE, tries=3)

    assert isinstance(again, FileRequest)
    assert (again.sample_url, again.file_url, again.attempts) == (None, ORIGINAL, 5)
    assert (again.tries, again.wait_s) == (0, 0)
    assert again.passed_over == ("truncated_body" if content == WHOLE[:-40] else "")


def test_only_an_original_is_held_against_the_md5() -> None:
    """Samples are the board's own make; and who wants mismatched originals gets them, if they are whole."""
    other = picture(2)

    assert isinstance(judged(other, asked=SAMPLE), FetchedFile)
    assert isinstance(judged(other, asked=ORIGINAL), FileRequest)
    assert isinstance(judged(other, asked=ORIGINAL, keep_mismatched=True), FetchedFile)
    assert isinstance(judged(other[:-40], asked=ORIGINAL, keep_mismatched=True), FileRequest)


def test_the_address_that_failed_is_asked_again() -> None:
    """After a pause, with its tries counted; a sample that was passed over is not asked for a second time."""
    of_sample, of_original = judged(WHOLE[:-40], asked=SAMPLE), judged(WHOLE[:-40], asked=ORIGINAL)

    assert isinstance(of_sample, FileRequest)
    assert isinstance(of_original, FileRequest)
    assert (of_sample.sample_url, of_original.sample_url) == (SAMPLE, None)
    for again in (of_sample, of_original):
        assert (again.seq, again.attempts, again.tries, again.file_url) == (4, 3, 1, ORIGINAL)
        assert 0 < again.wait_s <= 0.5


def test_a_wrong_md5_is_fetched_once_more_and_no_oftener() -> None:
    """Whatever the policy says of passing failures, and however many of them came before."""
    again = judged(picture(2), asked=ORIGINAL, tries=3)

    assert isinstance(again, FileRequest)
    assert again.has_mismatched
    assert isinstance(judged(picture(2), asked=ORIGINAL, tries=4, has_mismatched=True), MissingFile)


def test_what_is_no_file_is_recorded_as_it_is() -> None:
    """Somebody else has decided."""
    outcome = Outcome(status=Status.FAILED, reason="http_404", attempts=1)
    pending = Pending(post=Post(id=1), request=FileRequest(0, 0, None, None))

    assert validate(pending, outcome, keep_mismatched=False, policy=POLICY, rng=Random(1)) == MissingFile(
        pending=pending, outcome=outcome
    )
