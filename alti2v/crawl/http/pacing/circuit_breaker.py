"""A circuit breaker, which stops requests to a host that fails. Pure.

Closed: every request may go. After failures in a row the host rests; then one request probes it (half open). If
the probe succeeds, the breaker closes; if not, the host rests twice as long; after several failed probes it is
given up. (M. T. Nygard, "Release It!", 2007, chapter 5.)
"""

from __future__ import annotations

from dataclasses import dataclass

from alti2v.crawl.http.retry import RetryPolicy


@dataclass(slots=True, kw_only=True)
class CircuitBreaker:
    """Circuit breaker of one host for one purpose.

    Attributes:
        policy: Failures before the first rest, length of a rest, and number of probes.
        failures: Failures in a row.
        rests: Rests since the breaker was last closed; 0 if it is closed.
        rests_until_s: Time of the next probe, on the caller's clock.
        is_probing: True while the probe is in flight.
    """

    policy: RetryPolicy
    failures: int = 0
    rests: int = 0
    rests_until_s: float = 0.0
    is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """True if only a probe may be sent."""
        return self.rests > 0

    @property
    def is_given_up(self) -> bool:
        """True if the last probe has failed."""
        return self.rests > self.policy.probes

    def rest_s(self, now: float) -> float:
        """Return the remaining rest in s."""
        return max(0.0, self.rests_until_s - now) if self.is_open else 0.0

    def begin(self, now: float) -> bool:
        """Return whether a request may be sent now; if the breaker is open, it is the probe."""
        if not self.is_open:
            return True
        if self.is_probing or self.rest_s(now) > 0:
            return False
        self.is_probing = True
        return True

    def succeeded(self) -> None:
        """Close the breaker after a good answer."""
        self.failures = self.rests = 0

    def failed(self, now: float, *, was_probe: bool) -> float:
        """Record a failure of the host; return the rest that begins now, in s, 0 if no rest begins."""
        if self.is_open and not was_probe:
            return 0.0  # it was sent before the rest began
        self.failures += 1
        if not self.is_open and self.failures < self.policy.failures:
            return 0.0
        self.rests += 1
        rest = min(self.policy.rest_s * 2 ** min(self.rests - 1, 30), self.policy.longest_pause_s)
        self.rests_until_s = now + rest
        return 0.0 if self.is_given_up else rest
