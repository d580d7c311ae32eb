"""The state of one host: its rate, its pauses, and when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protego import Protego

from alti2v.crawl.http.pacing.adaptive_rate import AdaptiveRate, Latency
from alti2v.crawl.http.pacing.circuit_breaker import CircuitBreaker
from alti2v.crawl.http.pacing.rate_limit import Pace
from alti2v.crawl.http.results import Purpose
from alti2v.crawl.http.retry import RetryPolicy, pause_s
from alti2v.numerals import short_number

_NOTABLE_SHARE = 0.75  # of the share reported last; smaller changes are not reported
LONGEST_CRAWL_DELAY_S = 300.0  # with a longer delay, a crawl would never end


@dataclass(slots=True, kw_only=True)
class PurposeState:
    """State of a host for one purpose of requests. A board whose files are down may still answer its API.

    Attributes:
        breaker: Circuit breaker.
        latency: Time to the first byte.
        refusals: Addresses refused since the last good answer.
        has_answered: True once a request has succeeded.
        down: Reason why this run has given the host up; "" if it has not.
        probe_ended: Set when a probe has ended, so that waiting tasks check again.
    """

    breaker: CircuitBreaker
    latency: Latency = field(default_factory=Latency)
    refusals: set[str] = field(default_factory=set)
    has_answered: bool = False
    down: str = ""
    probe_ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class Machine:
    """Limits that all names and ports of one machine share.

    Attributes:
        pace: Rate limit, and pauses that the machine asked for.
        slots: Open connections.
        adaptive_rate: Share of the rate that it can bear.
        reported_share: Share that was reported last.
    """

    pace: Pace
    slots: asyncio.Semaphore
    adaptive_rate: AdaptiveRate = field(default_factory=AdaptiveRate)
    reported_share: float = 1.0


class Host:
    """State of one host: scheme, name, port.

    Args:
        origin: Scheme, name and port.
        machine: Limits that it shares with other hosts.
        policy: Decides on pauses and on giving up.
        on_pause: Called with the reason and the length (s) of each pause.
        on_notice: Called with messages for users about other changes.
        clock: Monotonic time, s.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        origin: str,
        machine: Machine,
        *,
        policy: RetryPolicy,
        on_pause: Callable[[str, float], None],
        on_notice: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.origin = origin
        self.slots = machine.slots
        self.pace = machine.pace
        self.states = {purpose: PurposeState(breaker=CircuitBreaker(policy=policy)) for purpose in Purpose}
        self.pauses = 0  # in a row
        self.has_banned_us = False
        self.robots: Protego | None = None
        self.robots_lock = asyncio.Lock()
        self._policy = policy
        self._machine = machine
        self._adaptive_rate = machine.adaptive_rate
        self._on_pause = on_pause
        self._on_notice = on_notice
        self._clock = clock
        self._sleep = sleep

    async def wait_until_available(self, purpose: Purpose) -> None:
        """Wait for the end of the pause that the host requested, and of its rest after failures."""
        state = self.states[purpose]
        while not state.down:
            wait = max(self.pace.silence_s(), state.breaker.rest_s(self._clock()))
            if wait > 0:
                await self._sleep(wait)
            elif state.breaker.is_probing:
                state.probe_ended.clear()
                await state.probe_ended.wait()
            else:
                return

    def begin(self, purpose: Purpose) -> bool:
        """Return whether a request may be sent now; if it is a probe, `end_probe` has to follow."""
        state = self.states[purpose]
        return not state.down and self.pace.silence_s() == 0 and state.breaker.begin(self._clock())

    def end_probe(self, purpose: Purpose) -> None:
        """End the probe, and wake the tasks that wait for it."""
        state = self.states[purpose]
        state.breaker.is_probing = False
        state.probe_ended.set()

    def throttled(self, status: int, retry_after: str | None, *, wall: float) -> None:
        """Pause as the host requested with Retry-After; `wall` is the time in unix seconds."""
        is_new = self.pace.silence_s() == 0
        if not is_new and not retry_after:
            return  # the request was sent before the pause began
        self.pauses += is_new
        seconds = pause_s(retry_after, now=wall, pauses=max(1, self.pauses), policy=self._policy)
        self.pace.be_silent(seconds)
        if not is_new:
            return
        self._adaptive_rate.complained()
        self._on_pause(f"{self.origin} asked to pause (HTTP {status})", seconds)
        self._update_share()
        if self.pauses > self._policy.pauses:
            self.give_up(f"{self.origin} keeps asking to pause (HTTP {status})")

    def answered(self, purpose: Purpose, latency_s: float) -> None:
        """Record a good answer."""
        state = self.states[purpose]
        state.breaker.succeeded()
        state.refusals.clear()
        self.pauses = 0
        state.has_answered = True
        state.latency.add(latency_s)
        self._adaptive_rate.answered(state.latency)
        self._update_share()

    def refused(self, purpose: Purpose, url: str, how: str) -> None:
        """Record a refusal. Many in a row mean a ban of this client, not a refusal of single files."""
        state = self.states[purpose]
        state.breaker.succeeded()
        state.refusals.add(url)
        if len(state.refusals) < self._policy.refusals or state.down:
            return
        once = "answered before, but now " if state.has_answered else ""
        addresses = f"{len(state.refusals)} addresses in a row, last: {how}"
        self.has_banned_us = True
        self.give_up(
            f"{self.origin} {once}refuses everything ({addresses}): it may "
            "have banned this address, so wait a day, then run again with a lower --rate and with --contact"
        )

    def failed(self, purpose: Purpose, message: str, *, status: int | None, was_probe: bool) -> None:
        """Record a failure of the host."""
        state = self.states[purpose]
        if status == 503:
            self._adaptive_rate.complained()
            self._update_share()
        rest_s = state.breaker.failed(self._clock(), was_probe=was_probe)
        if rest_s > 0:
            self._on_pause(f"{self.origin} failed {state.breaker.failures} times in a row ({message})", rest_s)
        elif state.breaker.is_given_up and not state.down:
            failures = state.breaker.failures
            self.give_up(f"{self.origin} failed {failures} times in a row (last: {message})", purpose)

    def give_up(self, why: str, *purposes: Purpose) -> None:
        """Send no more requests to this host in this run: for these purposes, or for all if there are none."""
        for purpose in purposes or tuple(Purpose):
            state = self.states[purpose]
            state.down = state.down or why
            state.probe_ended.set()

    def obey_crawl_delay(self, seconds: float) -> None:
        """Keep the time between two requests that the host's robots.txt asks for."""
        self.pace.crawl_delay_s = max(self.pace.crawl_delay_s, min(seconds, LONGEST_CRAWL_DELAY_S))
        if self.pace.crawl_delay_s > 1 / self.pace.rate:
            delay = f"{self.pace.crawl_delay_s:g} s between requests"
            self._on_notice(f"{self.origin}/robots.txt asks for {delay}")

    def _update_share(self) -> None:
        """Apply the adaptive rate; report it if it is clearly lower than reported last, or full again."""
        share = self.pace.share = self._adaptive_rate.share
        rate = self.pace.rate
        if rate == float("inf"):
            return
        if share < _NOTABLE_SHARE * self._machine.reported_share:
            now, full = short_number(rate * share, digits=2), short_number(rate, digits=6)
            self._on_notice(f"{self.origin} is slow or overloaded: {now} requests/s instead of {full}")
            self._machine.reported_share = share
        elif share == 1.0 > self._machine.reported_share:
            self._on_notice(f"{self.origin} has recovered: {short_number(rate, digits=6)} requests/s")
            self._machine.reported_share = share
