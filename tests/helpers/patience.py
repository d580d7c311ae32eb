"""Time limits that hold on an idle machine, and that other programs on a busy one do not break."""

from __future__ import annotations

import os


def limit_s(idle_s: float) -> float:
    """Return a time limit in s: the given one, or ten times as much if other programs keep the machine busy."""
    return idle_s if os.getloadavg()[0] < len(os.sched_getaffinity(0)) + 1 else 10 * idle_s
