"""What one host has let us know, and what follows from it: pace, rest, and when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protego import Protego

from alti2v.crawl.http.adaptive_rate import Latency, Tempo
from alti2v.crawl.http.circuit_breaker import Breaker
from alti2v.crawl.http.rate_limit import Pace
from alti2v.crawl.http.results import Purpose
from alti2v.crawl.http.retry import RetryPolicy, pause_s

_CLEARLY_LESS = 0.75  # times the share that was said last, or every complaint of a long crawl would be told
LONGEST_CRAWL_DELAY_S = 300.0  # beyond it, robots.txt asks for a crawl that never ends


@dataclass(slots=True, kw_only=True)
class Lane:
    """What requests for one purpose have met. A board whose files are down may still answer its API.

    Attributes:
        refusals: addresses refused since the last good answer.
        has_answered: well, at least once.
        down: why this run has given it up; "" if it has not.
        settled: set when a probe has ended, so that those who wait may look again.
    """

    breaker: Breaker
    latency: Latency = field(default_factory=Latency)
    refusals: set[str] = field(default_factory=set)
    has_answered: bool = False
    down: str = ""
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Host:
    """One host: scheme, name, port.

    Args:
        origin: of the host.
        policy: how patient we are.
        connections: open at once.
        pace: towards this host.
        rate: configured, requests/s; only to be shown.
        on_pause: told why and for how long (s) the host is left alone.
        on_notice: told in words what else changes.
        clock: seconds that never go back. sleep: waits so many seconds.
    """

    def __init__(  # noqa: PLR0913 - what it is, how to treat it, whom to tell, and time
        self,
        origin: str,
        *,
        policy: RetryPolicy,
        connections: int,
        pace: Pace,
        rate: float,
        on_pause: Callable[[str, float], None],
        on_notice: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.origin = origin
        self.slots = asyncio.Semaphore(connections)
        self.pace = pace
        self.lanes = {purpose: Lane(breaker=Breaker(policy=policy)) for purpose in Purpose}
        self.pauses = 0  # in a row
        self.has_banned_us = False
        self.robots: Protego | None = None
        self.robots_lock = asyncio.Lock()
        self._policy = policy
        self._rate = rate
        self._tempo = Tempo()
        self._told_share = 1.0  # the last that was said
        self._on_pause = on_pause
        self._on_notice = on_notice
        self._clock = clock
        self._sleep = sleep

    async def until_asked_again(self, purpose: Purpose) -> None:
        """Wait for the end of the silence that the host asked for, and of its rest."""
        lane = self.lanes[purpose]
        while not lane.down:
            wait = max(self.pace.silence_s(), lane.breaker.rest_s(self._clock()))
            if wait > 0:
                await self._sleep(wait)
            elif lane.breaker.is_probing:
                lane.settled.clear()
                await lane.settled.wait()
            else:
                return

    def begin(self, purpose: Purpose) -> bool:
        """Whether a request may go at this very moment; if it is a probe, `end_probe` has to follow."""
        lane = self.lanes[purpose]
        return not lane.down and self.pace.silence_s() == 0 and lane.breaker.begin(self._clock())

    def end_probe(self, purpose: Purpose) -> None:
        """The probe is over, however it went: those who wait may look again."""
        lane = self.lanes[purpose]
        lane.breaker.is_probing = False
        lane.settled.set()

    def throttled(self, status: int, retry_after: str | None, *, wall: float) -> None:
        """The host asks for silence, in the words of Retry-After; `wall` in unix seconds."""
        is_new = self.pace.silence_s() == 0
        if not is_new and not retry_after:
            return  # an answer to a request that was under way when the silence began
        self.pauses += is_new
        seconds = pause_s(retry_after, now=wall, pauses=max(1, self.pauses), policy=self._policy)
        self.pace.be_silent(seconds)
        if not is_new:
            return
        self._tempo.complained()
        self._on_pause(f"{self.origin} asked for silence (HTTP {status})", seconds)
        self._set_share()
        if self.pauses > self._policy.pauses:
            self.give_up(f"{self.origin} keeps asking for silence (HTTP {status})")

    def answered(self, purpose: Purpose, latency_s: float) -> None:
        """An answer shows that the host is well."""
        lane = self.lanes[purpose]
        lane.breaker.succeeded()
        lane.refusals.clear()
        self.pauses = 0
        lane.has_answered = True
        lane.latency.note(latency_s)
        self._tempo.answered(lane.latency)
        self._set_share()

    def refused(self, purpose: Purpose, url: str, how: str) -> None:
        """The host is up, but does not want us: many in a row are no matter of single files."""
        lane = self.lanes[purpose]
        lane.breaker.succeeded()
        lane.refusals.add(url)
        if len(lane.refusals) < self._policy.refusals or lane.down:
            return
        once = "answered before, but now " if lane.has_answered else ""
        addresses = f"{len(lane.refusals)} addresses in a row, last: {how}"
        self.has_banned_us = True
        self.give_up(
            f"{self.origin} {once}refuses everything ({addresses}): it may "
            "have shut this address out, so wait a day, then run again with a lower --rate and with --contact"
        )

    def failed(self, purpose: Purpose, message: str, *, status: int | None, was_probe: bool) -> None:
        """A request failed, and the host is to blame."""
        lane = self.lanes[purpose]
        if status == 503:
            self._tempo.complained()
            self._set_share()
        rest_s = lane.breaker.failed(self._clock(), was_probe=was_probe)
        if rest_s > 0:
            self._on_pause(f"{self.origin} failed {lane.breaker.failures} times in a row ({message})", rest_s)
        elif lane.breaker.is_given_up and not lane.down:
            failures = lane.breaker.failures
            self.give_up(f"{self.origin} failed {failures} times in a row (last: {message})", purpose)

    def give_up(self, why: str, *purposes: Purpose) -> None:
        """Ask this host no more in this run; for nothing at all, or not for these purposes."""
        for purpose in purposes or tuple(Purpose):
            lane = self.lanes[purpose]
            lane.down = lane.down or why
            lane.settled.set()

    def obey_crawl_delay(self, seconds: float) -> None:
        """Its robots.txt asks for so much time between two requests."""
        self.pace.crawl_delay_s = min(max(seconds, 0.0), LONGEST_CRAWL_DELAY_S)
        if self.pace.crawl_delay_s > 1 / self._rate:
            asked = f"{self.pace.crawl_delay_s:g} s between requests"
            self._on_notice(f"{self.origin}/robots.txt asks for {asked}")

    def _set_share(self) -> None:
        """Follow what the host can bear; say so when that is clearly less than what was said, or all again."""
        share = self.pace.share = self._tempo.share
        if self._rate == float("inf"):
            return
        if share < _CLEARLY_LESS * self._told_share:
            now = f"{self._rate * share:.2g} requests/s instead of {self._rate:g}"
            self._on_notice(f"{self.origin} is slow or overloaded: {now}")
            self._told_share = share
        elif share == 1.0 > self._told_share:
            self._on_notice(f"{self.origin} is well again: {self._rate:g} requests/s")
            self._told_share = share
