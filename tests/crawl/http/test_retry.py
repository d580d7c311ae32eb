"""Retries: which failures, when, and how long a host is left alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.http.retry import (
    HEALABLE,
    FailedTry,
    FailKind,
    RetryPolicy,
    kind_of_status,
    pause_s,
    retry_delay_s,
)
from alti2v.errors import UsageError

POLICY = RetryPolicy(tries=4, base_s=1, ceiling_s=5, throttle_s=2, longest_pause_s=100)
NOW = 1_784_000_000.0


def delay_s(kind: FailKind, tries: int) -> float | None:
    return retry_delay_s(FailedTry(kind=kind, message=""), tries=tries, policy=POLICY, rng=Random(0))


@pytest.mark.parametrize(
    "kind",
    [
        FailKind.HTTP_404,
        FailKind.FORBIDDEN,
        FailKind.TOO_LARGE,
        FailKind.PRIVATE_ADDRESS,
        FailKind.UNSUPPORTED_FORMAT,
        FailKind.TLS,
    ],
)
def test_permanent_failures_are_not_tried_again(kind: FailKind) -> None:
    """A second request could not change the answer."""
    assert delay_s(kind, 1) is None


def test_a_wrong_md5_is_tried_once_more() -> None:
    """A second download tells a broken transfer from a board whose md5 is not true."""
    assert delay_s(FailKind.MD5_MISMATCH, 1) is not None
    assert delay_s(FailKind.MD5_MISMATCH, 2) is None


def test_passing_failures_are_tried_as_often_as_the_policy_says() -> None:
    """Not once more, not once less."""
    assert delay_s(FailKind.HTTP_5XX, 3) is not None
    assert delay_s(FailKind.HTTP_5XX, 4) is None


@given(st.integers(1, 3), st.integers())
def test_f01_back_off_is_jittered_between_nothing_and_its_ceiling(tries: int, seed: int) -> None:
    """Full jitter: uniform in [0, min(ceiling, base * 2^(tries - 1))]."""
    failure = FailedTry(kind=FailKind.RESET, message="")
    delay = retry_delay_s(failure, tries=tries, policy=POLICY, rng=Random(seed))

    assert delay is not None
    assert 0 <= delay <= min(5, 2 ** (tries - 1))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("999999999", 100),
        ("99999999999999999999", 100),
        ("Tue, 14 Jul 2026 03:33:30 GMT", 10),
        ("Tue, 14 Jul 2020 03:33:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 100),
        ("soon", 8),
        ("-5", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_f04_retry_after_is_obeyed_and_capped(header: str | None, expected: float) -> None:
    """Seconds and dates count; anything else gives the policy's own doubling pause."""
    assert pause_s(header, now=NOW, pauses=3, policy=POLICY) == expected


def test_now_of_the_cases_is_what_the_dates_mean() -> None:
    """The dates above are ten seconds after, and six years before, NOW."""
    assert pause_s("Tue, 14 Jul 2026 03:33:20 GMT", now=NOW - 3, pauses=1, policy=POLICY) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, FailKind.HTTP_404),
        (410, FailKind.HTTP_404),
        (403, FailKind.FORBIDDEN),
        (451, FailKind.FORBIDDEN),
        (418, FailKind.HTTP_4XX),
        (408, FailKind.HTTP_5XX),
        (500, FailKind.HTTP_5XX),
        (522, FailKind.HTTP_5XX),
        (204, FailKind.NOT_IMAGE),
        (304, FailKind.REDIRECTS),
    ],
)
def test_statuses_have_kinds(status: int, kind: FailKind) -> None:
    """Every status that is no success has exactly one kind."""
    assert kind_of_status(status) is kind


def test_only_moments_heal() -> None:
    """What a later run tries again by itself says something about a moment, not about the file."""
    assert FailKind.TIMEOUT in HEALABLE
    assert not HEALABLE & {FailKind.HTTP_404, FailKind.MD5_MISMATCH, FailKind.NOT_IMAGE, FailKind.FORBIDDEN}


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"base_s": -1.0}, {"ceiling_s": float("inf")}, {"pauses": 0}])
def test_a_policy_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    """The error names the value and the bound in one line."""
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=rf"{name}.* {value} is out of range: give "):
        RetryPolicy(**wrong)
