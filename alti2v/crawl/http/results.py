"""Results and purposes of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Purpose(StrEnum):
    """Purpose of a request."""

    API = "api"  # a documented endpoint, used under the API's own terms
    FILE = "file"  # subject to robots.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A whole answer.

    Attributes:
        url: Address, after redirects.
        status: 200 for files; any for the API, whose error messages are in the body.
        body: Bytes of the body.
        robots_tag: Header X-Robots-Tag in lower case, "" if absent.
        waited_s: Time to the headers.
    """

    url: str
    status: int
    body: bytes
    robots_tag: str = ""
    waited_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """Redirect to another address."""

    url: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """An answer that asks for a pause.

    Attributes:
        status: 429 or 503.
        retry_after: Value of the header Retry-After; None if absent.
    """

    status: int
    retry_after: str | None
