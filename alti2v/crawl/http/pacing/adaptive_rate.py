"""An adaptive rate for one host, from its answers and complaints. Pure.

Additive increase, multiplicative decrease (D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease
Algorithms for Congestion Avoidance in Computer Networks", Computer Networks and ISDN Systems 17, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass

_AFTER_COMPLAINT = 0.5
_AFTER_SLOWNESS = 0.7
_LOWEST = 1 / 16
_STEP = 0.05
_STEADY = 20  # good answers per step up, and before slowness counts
_PATIENCE = 10  # answers between two steps down, so that the first can take effect
_SLOW_FACTOR = 3.0  # a latency is slow if it is this many times the usual one ...
_SLOW_S = 0.5  # ... and longer than it by this many seconds


@dataclass(slots=True)
class Latency:
    """Usual and recent time to the first byte of one kind of request, in s."""

    answers: int = 0
    usual_s: float = 0.0
    recent_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Add one answer."""
        self.answers += 1
        if self.answers <= _STEADY:  # at first, the plain mean
            self.usual_s += (seconds - self.usual_s) / self.answers
            self.recent_s = self.usual_s
            return
        self.recent_s += 0.2 * (seconds - self.recent_s)
        # The usual latency adapts soon when a host gets faster, over hundreds of answers when it gets slower.
        self.usual_s += (0.05 if seconds < self.usual_s else 0.002) * (seconds - self.usual_s)

    @property
    def has_grown(self) -> bool:
        """True if answers take clearly longer than usual."""
        return self.recent_s > max(_SLOW_FACTOR * self.usual_s, self.usual_s + _SLOW_S)


@dataclass(slots=True)
class AdaptiveRate:
    """The share of the configured rate that a host can bear, in [1/16, 1]."""

    share: float = 1.0
    since_change: int = 0

    def complained(self) -> None:
        """Slow down: the host throttled us or is overloaded (429, 503)."""
        self._slow(_AFTER_COMPLAINT)

    def answered(self, latency: Latency) -> None:
        """Adapt to a good answer, which is already part of `latency`."""
        self.since_change += 1
        if latency.has_grown:
            if self.since_change > _PATIENCE:
                self._slow(_AFTER_SLOWNESS)
        elif self.since_change >= _STEADY:
            self.share = min(1.0, self.share + _STEP)
            self.since_change = 0

    def _slow(self, factor: float) -> None:
        self.share = max(_LOWEST, self.share * factor)
        self.since_change = 0
