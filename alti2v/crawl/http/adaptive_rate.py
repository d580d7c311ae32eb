"""How much of its configured rate a host can bear: pure, told of answers and complaints.

Down by a factor, up by a step (D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms for
Congestion Avoidance in Computer Networks", Computer Networks and ISDN Systems 17, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass

_AFTER_COMPLAINT = 0.5
_AFTER_SLOWNESS = 0.7
_LEAST = 1 / 16
_STEP = 0.05
_STEADY = 20  # good answers per step up, and answers before slowness may count
_PATIENCE = 10  # answers between two steps down, so that the first can show its effect
_CLEARLY = 3.0  # times the usual latency ...
_AT_LEAST_S = 0.5  # ... and so much more than it


@dataclass(slots=True)
class Latency:
    """The time to the first byte of one kind of request, usual and recent, in s."""

    answers: int = 0
    usual_s: float = 0.0
    recent_s: float = 0.0

    def note(self, seconds: float) -> None:
        """One more answer."""
        self.answers += 1
        if self.answers <= _STEADY:  # the plain mean first
            self.usual_s += (seconds - self.usual_s) / self.answers
            self.recent_s = self.usual_s
            return
        self.recent_s += 0.2 * (seconds - self.recent_s)
        # What is usual follows soon when a host gets faster, over hundreds of answers when it gets slower.
        self.usual_s += (0.05 if seconds < self.usual_s else 0.002) * (seconds - self.usual_s)

    @property
    def has_grown(self) -> bool:
        """Whether answers take clearly longer than they used to."""
        return self.recent_s > max(_CLEARLY * self.usual_s, self.usual_s + _AT_LEAST_S)


@dataclass(slots=True)
class Tempo:
    """The share of the configured rate, in [1/16, 1], and what it follows from."""

    share: float = 1.0
    since_change: int = 0

    def complained(self) -> None:
        """The host throttled us or is overloaded (429, 503)."""
        self._slow(_AFTER_COMPLAINT)

    def answered(self, latency: Latency) -> None:
        """The host answered well; its latency has been noted."""
        self.since_change += 1
        if latency.has_grown:
            if self.since_change > _PATIENCE:
                self._slow(_AFTER_SLOWNESS)
        elif self.since_change >= _STEADY:
            self.share = min(1.0, self.share + _STEP)
            self.since_change = 0

    def _slow(self, factor: float) -> None:
        self.share = max(_LEAST, self.share * factor)
        self.since_change = 0
