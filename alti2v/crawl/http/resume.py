"""Beginnings of files that were cut off, so that the next try requests only the rest (RFC 9110, 13.1.5 and 14).

Pure. The rest is requested only if the server gave the file a strong validator, so that both parts belong to
the same version, and accepted only if the answer says exactly where it begins and ends.
"""

from __future__ import annotations

import email.utils
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

_BUDGET = 64 * 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The first bytes of a file.

    Attributes:
        body: Bytes received.
        validator: Value for If-Range: a strong entity tag or a strong date.
        total: Size of the whole file in bytes; None if the server did not say.
    """

    body: bytes
    validator: str
    total: int | None

    def request_headers(self) -> dict[str, str]:
        """Return headers that request the rest, or the whole file if it has changed."""
        return {"Range": f"bytes={len(self.body)}-", "If-Range": self.validator}

    def is_continued_by(self, headers: Mapping[str, str]) -> bool:
        """Return whether the body of a 206 answer with these headers is the rest of this file."""
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if match is None or "Content-Encoding" in headers:
            return False
        begin, end, total = map(int, match.groups())
        tag = headers.get("ETag")
        is_same = tag is None or not self.validator.startswith('"') or tag == self.validator
        return is_same and begin == len(self.body) and end == total - 1 and self.total in (None, total)


class Partials:
    """The first bytes of files by address; the oldest are dropped when they take more than the budget.

    Args:
        budget: Bytes.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        self._budget = budget
        self._size = 0
        self._held: OrderedDict[str, Partial] = OrderedDict()

    def take(self, url: str) -> Partial | None:
        """Return and forget the first bytes of a file; None if there are none."""
        partial = self._held.pop(url, None)
        if partial is not None:
            self._size -= len(partial.body)
        return partial

    def keep(self, url: str, body: bytes, *, headers: Mapping[str, str], total: int | None) -> None:
        """Keep the first bytes of a file, if the rest can be requested."""
        self.take(url)
        validator = strong_validator(headers)
        if not body or validator is None or len(body) > self._budget:
            return
        if "Content-Encoding" in headers or headers.get("Accept-Ranges", "").strip().lower() == "none":
            return
        self._held[url] = Partial(body=body, validator=validator, total=total)
        self._size += len(body)
        while self._size > self._budget:
            self.take(next(iter(self._held)))


def strong_validator(headers: Mapping[str, str]) -> str | None:
    """Return the strong validator of a file's version: ETag, else Last-Modified, else None.

    A date is strong if the answer is at least one second younger (RFC 9110, 8.8.2.2).
    """
    tag = headers.get("ETag", "").strip()
    if len(tag) > 2 and tag[0] == tag[-1] == '"':
        return tag
    modified = headers.get("Last-Modified", "").strip()
    try:
        age = (
            email.utils.parsedate_to_datetime(headers.get("Date", "")).timestamp()
            - email.utils.parsedate_to_datetime(modified).timestamp()
        )
    except (ValueError, OverflowError):
        return None
    return modified if age >= 1 else None
