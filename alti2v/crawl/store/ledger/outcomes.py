"""Rows of the ledger's posts as values: pending posts, outcomes of downloads, and counts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alti2v.crawl.boards.protocol import PICTURE
from alti2v.crawl.store.post_json import FileRequest, Stored, TarLocation
from alti2v.records import Post, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A post whose file is still to be downloaded."""

    post: Post
    request: FileRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of the download of one post: the columns of the table `posts` with the same names.

    Attributes:
        stored, location: Stored bytes; both None unless the status is STORED.
    """

    status: Status
    reason: str = ""
    error: str = ""
    attempts: int = 0
    http_status: int | None = None
    duplicate_of: int | None = None
    stored: Stored | None = None
    location: TarLocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCounts:
    """Number of posts of a store with each outcome.

    Attributes:
        listed: All posts; the sum of all outcomes.
        stored: Posts whose picture is stored.
        duplicate: Posts whose bytes are stored for another post.
        pending: Posts whose download is not finished: run again.
        skipped, failed: Posts by reason and by kind of failure.
        bytes: Size of all stored pictures.
    """

    listed: int
    stored: int
    duplicate: int
    pending: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    bytes: int

    def __post_init__(self) -> None:
        assert self.listed == self.finished + self.pending, "the outcomes do not add up to the listed posts"

    @property
    def finished(self) -> int:
        """Number of posts that are not pending."""
        return self.stored + self.duplicate + sum(self.skipped.values()) + sum(self.failed.values())


@dataclass(frozen=True, slots=True)
class Holder:
    """A post whose own bytes are stored, and its position in the order of listing."""

    post_id: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a post in the ledger.

    Attributes:
        seq: Position in the order of listing.
        reason: Reason of the status; "" if it has none.
        md5: MD5 of its stored bytes; None unless it is stored.
        file: MD5 and addresses of its file, as listed; for `Post._replace`.
    """

    seq: int
    status: Status
    reason: str
    md5: str | None
    file: Mapping[str, str | None]


def outcome_columns(outcome: Outcome) -> tuple[str | int | None, ...]:
    """Return the columns of `posts` from `status` to `size`, in the order of `PostTable.record`."""
    stored, location = outcome.stored, outcome.location
    of_bytes = (
        (None,) * 6
        if stored is None
        else (stored.url, stored.format, stored.width, stored.height, stored.md5, stored.crc32)
    )
    of_location = (None,) * 3 if location is None else (location.tar, location.span.offset, location.span.size)
    of_requests = (outcome.status, outcome.reason, outcome.error[:500], outcome.attempts, outcome.http_status)
    return (*of_requests, outcome.duplicate_of, *of_bytes, *of_location)


def pending_post(seq: int, attempts: int, post: Post) -> Pending:
    """Make a pending post of its row; its original is only requested if it is a picture."""
    file_url = post.file_url if post.file_ext in PICTURE else None
    request = FileRequest(seq, attempts, sample_url=post.sample_url, file_url=file_url)
    return Pending(post=post, request=request)
