"""What comes of one request to a host, and what a request is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Purpose(StrEnum):
    """What a request is for."""

    API = "api"  # a documented endpoint, under the API's own terms
    FILE = "file"  # under robots.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A whole answer.

    Attributes:
        url: where it came from, after redirects.
        status: 200 for files; any for the API, whose errors speak in their bodies.
        robots_tag: the header X-Robots-Tag, lower case, "" if absent.
        waited_s: until the headers were there.
    """

    url: str
    status: int
    body: bytes
    robots_tag: str = ""
    waited_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """The answer is elsewhere."""

    url: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The host wants to be left alone.

    Attributes:
        retry_after: the header's value, None if absent.
    """

    status: int
    retry_after: str | None
