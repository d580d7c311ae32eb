"""Log of the requests to the stand-in board: the counters that tests and benchmarks read."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class RequestKind(StrEnum):
    """Purpose of a request."""

    POSTS = "posts"  # the post search of the API
    POST = "post"  # one post of the API
    TAGS = "tags"
    COUNTS = "counts"
    ACCOUNT = "account"  # facts about the account whose key is sent
    PAGE = "page"  # HTML
    ROBOTS = "robots"
    ORIGINAL = "original"
    SAMPLE = "sample"
    THUMBNAIL = "thumbnail"
    OTHER = "other"


API_KINDS = (RequestKind.POSTS, RequestKind.POST, RequestKind.TAGS, RequestKind.COUNTS, RequestKind.ACCOUNT)
FILE_KINDS = (RequestKind.ORIGINAL, RequestKind.SAMPLE, RequestKind.THUMBNAIL)


@dataclass(slots=True)
class Traffic:
    """The requests so far, refused ones included.

    Attributes:
        kinds: Requests by kind.
        statuses: Answers by HTTP status; 0 for a connection that was reset on purpose.
        targets: Requests by path and query; None to save memory, because every new address adds one.
        times_s: Times of arrival by kind, seconds on the event loop's clock, ascending.
        struck: Number of times that each fault struck, by the name of its switch.
        user_agents: Requests by User-Agent.
    """

    kinds: Counter[RequestKind] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    targets: Counter[str] | None = field(default_factory=Counter)
    times_s: dict[RequestKind, array[float]] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    user_agents: Counter[str] = field(default_factory=Counter)

    def note(self, kind: RequestKind, target: str, *, user_agent: str, now_s: float) -> None:
        """Count one request."""
        self.kinds[kind] += 1
        self.times_s.setdefault(kind, array("d")).append(now_s)
        if user_agent in self.user_agents or len(self.user_agents) < 100:
            self.user_agents[user_agent] += 1
        if self.targets is not None:
            self.targets[target] += 1

    @property
    def total(self) -> int:
        """Requests of every kind."""
        return self.kinds.total()

    def within(self, window_s: float, *, now_s: float) -> int:
        """Requests of every kind in the last `window_s` seconds."""
        return sum(len(times_s) - bisect_right(times_s, now_s - window_s) for times_s in self.times_s.values())
