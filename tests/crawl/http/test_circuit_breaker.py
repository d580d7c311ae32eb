"""The circuit breaker: closed, open, half open, given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.http.circuit_breaker import CircuitBreaker
from alti2v.crawl.http.retry import RetryPolicy

POLICY = RetryPolicy(failures=3, rest_s=10, probes=2, longest_pause_s=15)


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(policy=POLICY)
    assert [breaker.failed(0.0, was_probe=False) for _ in range(3)] == [0, 0, 10]
    return breaker


def test_a_rest_begins_after_failures_in_a_row() -> None:
    """A success in between resets the count."""
    breaker = CircuitBreaker(policy=POLICY)
    breaker.failed(0.0, was_probe=False)
    breaker.failed(0.0, was_probe=False)
    breaker.succeeded()
    breaker.failed(0.0, was_probe=False)

    assert not breaker.is_open
    assert breaker.begin(0.0)


def test_one_probe_goes_after_a_rest() -> None:
    """No request is sent before the rest is over, and none beside the probe."""
    breaker = opened()

    assert not breaker.begin(9.9)
    assert breaker.begin(10.0)
    assert not breaker.begin(10.0)


def test_a_good_probe_closes_and_bad_ones_end_it() -> None:
    """The second rest is longer, but at most the policy's longest pause."""
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


def test_failures_of_requests_sent_before_the_rest_do_not_count() -> None:
    """Failures of requests sent before the circuit opened are not counted."""
    breaker = opened()

    assert breaker.failed(1.0, was_probe=False) == 0
    assert breaker.rest_s(1.0) == 9


@given(st.lists(st.booleans(), max_size=60))
def test_a_host_is_given_up_after_an_exact_number_of_failures(answers: list[bool]) -> None:
    """Exactly three failures and two failed probes without a success in between."""
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
