"""What every room of the test suite shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a machine that has other things to do, a draw may take a second; that says nothing of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
