"""The circuit breaker by itself: closed, open, half open, given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.http.pacing.circuit_breaker import CircuitBreaker
from alti2v.crawl.http.retry import RetryPolicy

POLICY = RetryPolicy(failures=3, rest_s=10, probes=2, longest_pause_s=15)


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(policy=POLICY)
    assert [breaker.failed(0.0, was_probe=False) for _ in range(3)] == [0, 0, 10]
    return breaker


def test_a_rest_begins_after_failures_in_a_row() -> None:
    """A success in between starts the count again."""
    breaker = CircuitBreaker(policy=POLICY)
    breaker.failed(0.0, was_probe=False)
    breaker.failed(0.0, was_probe=False)
    breaker.succeeded()
    breaker.failed(0.0, was_probe=False)

    assert not breaker.is_open
    assert breaker.begin(0.0)


def test_one_probe_goes_after_a_rest() -> None:
    """No request goes before the pause is over, and only the probe goes after it."""
    breaker = opened()

    assert not breaker.begin(9.9)
    assert breaker.begin(10.0)
    assert not breaker.begin(10.0)


def test_a_good_probe_closes_and_bad_ones_end_it() -> None:
    """The second rest is longer, but never longer than the policy's longest pause."""
    good, bad = opened(), opened()
    assert good.begin(10.0)
    good.succeeded()
    assert bad.begin(10.0)
    rest = bad.failed(10.0, was_probe=True)
    bad.is_probing = False

    assert good.begin(10.0)
    assert not good.is_open
    assert (rest, bad.rest_s(10.0)) == (15, 15)
    assert bad.begin(25.0)
    assert bad.failed(25.0, was_probe=True) == 0
    assert bad.is_given_up


def test_what_was_under_way_when_the_rest_began_does_not_count() -> None:
    """Their failures are no news."""
    breaker = opened()

    assert breaker.failed(1.0, was_probe=False) == 0
    assert breaker.rest_s(1.0) == 9


@given(st.lists(st.booleans(), max_size=60))
def test_a_host_is_given_up_after_exactly_so_many_failures_in_a_row(answers: list[bool]) -> None:
    """Three failures and two probes without a success in between, never sooner, never later."""
    breaker, now, in_a_row, longest = CircuitBreaker(policy=POLICY), 0.0, 0, 0
    for is_well in answers:
        if breaker.is_given_up:
            break
        now += breaker.rest_s(now)
        was_probe = breaker.is_open
        assert breaker.begin(now)
        if is_well:
            breaker.succeeded()
        else:
            breaker.failed(now, was_probe=was_probe)
        breaker.is_probing = False
        in_a_row = 0 if is_well else in_a_row + 1
        longest = max(longest, in_a_row)

    assert breaker.is_given_up == (longest == 5)
