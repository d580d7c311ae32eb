"""Bounds and choices of options: the same sentence for every configuration."""

from __future__ import annotations

from collections.abc import Iterable

from alti2v.errors import UsageError


def require_between(option: str, value: float | None, low: float, high: float | None = None) -> None:
    """Check a number against its bounds, both included; None means that the option is not given.

    Args:
        option: Name to show, such as "--epochs".
        value: The number; NaN is refused.
        low: Smallest number allowed.
        high: Largest number allowed; None for no limit.

    Raises:
        UsageError: The number is outside its bounds.
    """
    if value is None or (low <= value and (high is None or value <= high)):
        return
    allowed = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
    raise UsageError(f"{option} {value} is out of range: give {allowed}")


def require_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    """Check a word against the allowed ones; None means that the option is not given.

    Raises:
        UsageError: The word is not allowed.
    """
    names = [str(choice) for choice in choices]
    if value is not None and value not in names:
        raise UsageError(f"{option} {value!r} is unknown: give one of {', '.join(names)}")
