"""Whether a host that fails is asked at all: a circuit breaker, pure, told of each request's begin and end.

Closed: everything may go. After failures in a row the host rests; then one request probes it (half open). If
that one goes well, the breaker closes; if not, the host rests twice as long; after several probes it is given
up. (M. T. Nygard, "Release It!", 2007, chapter 5.)
"""

from __future__ import annotations

from dataclasses import dataclass

from alti2v.crawl.http.retry import RetryPolicy


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one host for one purpose.

    Attributes:
        policy: after how many failures, how long, how many probes.
        failures: in a row, of answers while closed.
        rests: begun since it was closed last; 0 if it is closed.
        rests_until_s: when the next probe may go, on the caller's clock.
        is_probing: the probe is under way.
    """

    policy: RetryPolicy
    failures: int = 0
    rests: int = 0
    rests_until_s: float = 0.0
    is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing but a probe may go."""
        return self.rests > 0

    @property
    def is_given_up(self) -> bool:
        """Whether the last probe has failed."""
        return self.rests > self.policy.probes

    def rest_s(self, now: float) -> float:
        """How long the host still rests."""
        return max(0.0, self.rests_until_s - now) if self.is_open else 0.0

    def begin(self, now: float) -> bool:
        """Whether a request may go now; if the breaker is open, it is the probe."""
        if not self.is_open:
            return True
        if self.is_probing or self.rest_s(now) > 0:
            return False
        self.is_probing = True
        return True

    def succeeded(self) -> None:
        """An answer shows that the host is well."""
        self.failures = self.rests = 0

    def failed(self, now: float, *, was_probe: bool) -> float:
        """A request failed for the host's own sake; returns the rest that begins now, in s, 0 if none does."""
        if self.is_open and not was_probe:
            return 0.0  # it was under way when the rest began
        self.failures += 1
        if not self.is_open and self.failures < self.policy.failures:
            return 0.0
        self.rests += 1
        rest = min(self.policy.rest_s * 2 ** min(self.rests - 1, 30), self.policy.longest_pause_s)
        self.rests_until_s = now + rest
        return 0.0 if self.is_given_up else rest
