"""Who asked the stand-in board for what, and when: the counters that tests and benchmarks read."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class RequestKind(StrEnum):
    """What a request is for."""

    POSTS = "posts"  # the post search of the API
    POST = "post"  # one post of the API
    TAGS = "tags"
    COUNTS = "counts"
    PAGE = "page"  # HTML
    ROBOTS = "robots"
    ORIGINAL = "original"
    SAMPLE = "sample"
    THUMBNAIL = "thumbnail"
    OTHER = "other"


API_KINDS = (RequestKind.POSTS, RequestKind.POST, RequestKind.TAGS, RequestKind.COUNTS)
FILE_KINDS = (RequestKind.ORIGINAL, RequestKind.SAMPLE, RequestKind.THUMBNAIL)


@dataclass(slots=True)
class Traffic:
    """The requests so far, refused ones included.

    Attributes:
        kinds: requests by kind.
        statuses: answers by HTTP status; 0 for a connection that was reset on purpose.
        targets: requests by path and query; None if they are not to be kept (they grow with every new one).
        times_s: of arrival, by kind, seconds on the event loop's clock, ascending.
        struck: how often each fault struck, by the name of its switch.
        user_agents: requests by User-Agent.
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

    def most_in(self, window_s: float, *kinds: RequestKind) -> int:
        """The most requests within any `window_s` seconds, of these kinds, or of all if none is given."""
        times_s = sorted(
            time_s for kind, times in self.times_s.items() if not kinds or kind in kinds for time_s in times
        )
        return max(
            (bisect_right(times_s, start_s + window_s) - place for place, start_s in enumerate(times_s)),
            default=0,
        )

    def within(self, window_s: float, *, now_s: float) -> int:
        """Requests of every kind in the last `window_s` seconds."""
        return sum(len(times_s) - bisect_right(times_s, now_s - window_s) for times_s in self.times_s.values())
