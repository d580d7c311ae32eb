"""Changes to a known post that is listed again with other facts. Pure.

A board can replace the file of a post: same id, other bytes. The row of a post and its bytes are always of one
file, so such a post loses its bytes and is downloaded again; `replaced` keeps where the former bytes are.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from alti2v.crawl.boards.protocol import Skip
from alti2v.records import Category, Post, Status

# Reasons that follow from what the board lists, unlike those that follow from a request for the file.
_OF_LISTING = frozenset(
    {
        *(Skip.GHOST.value, Skip.HIDDEN.value, Skip.FILTERED.value),
        *(Skip.VIDEO.value, Skip.FLASH.value, Skip.UGOIRA.value, Skip.UNSUPPORTED.value),
    }
)
_HAS_BYTES = frozenset({Status.STORED, Status.DUPLICATE})
_TAG_COLUMNS = tuple(category.tags_column for category in Category)


def is_replaced(former: Post, post: Post) -> bool:
    """Return whether a post has another file than before: another MD5 or, if one is unknown, another file name.

    Boards move files between hosts and sign addresses anew, so only the name at the end of the path counts.
    """
    if former.md5 and post.md5:
        return former.md5 != post.md5
    names = _file_name(former.file_url), _file_name(post.file_url)
    return "" not in names and names[0] != names[1]


def outcome_after(
    status: Status, former_reason: str, *, former: Post, post: Post, reason: str
) -> tuple[Status, str] | None:
    """Return the new status and reason of a known post; None if its outcome stays as it is.

    Args:
        status: Present status.
        former_reason: Present reason.
        former: Facts so far.
        post: Facts as listed now.
        reason: Reason to skip the post as listed now; "" for none.
    """
    is_new = is_replaced(former, post)
    if status is Status.PENDING:
        is_due = bool(reason)
    elif status in _HAS_BYTES:
        is_due = is_new
    elif status is Status.SKIPPED and former_reason in _OF_LISTING:
        is_due = reason != former_reason
    else:
        is_due = is_new or _addresses(former) != _addresses(post)
    return (Status.SKIPPED if reason else Status.PENDING, reason) if is_due else None


def with_former_facts(post: Post, former: Post) -> Post:
    """Complete a newer description with facts that only the former one has; keep tags that are the same."""
    if post.tags == former.tags:
        post = post._replace(**{name: getattr(former, name) for name in _TAG_COLUMNS})
    created_at = former.created_at if post.created_at is None else post.created_at
    md5 = post.md5 if is_replaced(former, post) else post.md5 or former.md5
    return post._replace(created_at=created_at, md5=md5)


def _addresses(post: Post) -> tuple[str | None, str | None]:
    return post.file_url, post.sample_url


def _file_name(url: str | None) -> str:
    return urlsplit(url).path.rpartition("/")[2] if url else ""
