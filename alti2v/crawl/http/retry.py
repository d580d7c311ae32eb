"""What to do after a failed try: pure decisions; the caller sleeps, pauses the host, or records.

A failure of one file never raises: it is a `Failure` with a kind, and the kind decides.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alti2v.errors import UsageError

if TYPE_CHECKING:
    from random import Random


class FailKind(StrEnum):
    """Why something that was wanted was not got: the values of the column `reason` of failed posts."""

    HTTP_404 = "http_404"  # the board lists a file that is not there (404, 410)
    HTTP_4XX = "http_4xx"  # any other refusal of this one file
    FORBIDDEN = "forbidden"  # 401, 403, 451
    HTTP_5XX = "http_5xx"
    THROTTLED = "throttled"  # 429, or 503 with Retry-After: the host's wish, not the file's fault
    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    BAD_HTTP = "bad_http"  # what came back is not HTTP
    TRUNCATED_BODY = "truncated_body"
    NOT_IMAGE = "not_image"  # a web page, a message or nothing in place of a picture
    UNSUPPORTED_FORMAT = "unsupported_format"  # a file, but none of JPEG, PNG, GIF, WebP
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    MD5_MISMATCH = "md5_mismatch"
    PRIVATE_ADDRESS = "private_address"  # refused before a byte was sent
    FOREIGN_HOST = "foreign_host"  # no host of the board's site, nor one of the few that its API names
    BAD_URL = "bad_url"
    BAD_ANSWER = "bad_answer"  # of the API: not what its dialect says
    REDIRECTS = "redirects"
    ROBOTS = "robots"
    HOST_DOWN = "host_down"  # this run has given the host up; its posts stay pending


# How often each kind may be tried in one run; a kind that is missing here is not tried again.
_TRIES: Mapping[FailKind, int | None] = {
    FailKind.HTTP_5XX: None,  # None: the policy's own number
    FailKind.TIMEOUT: None,
    FailKind.CONNECT: None,
    FailKind.DNS: None,
    FailKind.RESET: None,
    FailKind.BAD_HTTP: None,
    FailKind.TRUNCATED_BODY: None,
    FailKind.NOT_IMAGE: None,  # a proxy's or a guard's page comes and goes
    FailKind.BAD_ANSWER: None,
    FailKind.MD5_MISMATCH: 2,
}

# These say something about a moment, not about the file: a later run tries them again by itself.
HEALABLE = frozenset(
    {
        FailKind.HTTP_5XX,
        FailKind.THROTTLED,
        FailKind.TIMEOUT,
        FailKind.CONNECT,
        FailKind.DNS,
        FailKind.TLS,
        FailKind.RESET,
        FailKind.BAD_HTTP,
        FailKind.TRUNCATED_BODY,
    }
)

# In a row, without a success in between, these say that the host is down.
OF_THE_HOST = HEALABLE - {FailKind.THROTTLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTry:
    """A try that failed.

    Attributes:
        message: one line for a person.
        status: HTTP status, None if none came.
    """

    kind: FailKind
    message: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient a crawl is.

    Attributes:
        tries: requests for one thing in one run, at least 1.
        base_s, ceiling_s: back-off before try n+1 is uniform in [0, min(ceiling, base * 2^(n-1))], "full
            jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        throttle_s: silence towards a host that throttles without saying how long, doubled each time.
        longest_pause_s: the cap on any silence that a host asks for.
        pauses: silences in a row, without an answer in between, after which the host is given up.
        failures: failures in a row of a host's own making, after which it rests.
        rest_s: its first rest, doubled each time; after each, one request probes it.
        probes: so many probes in a row may fail before the host is given up.
        refusals: addresses refused in a row (401, 403, 451, a web page in place of a file), after which the
            host is taken to have shut us out.
    """

    tries: int = 5
    base_s: float = 1.0
    ceiling_s: float = 60.0
    throttle_s: float = 5.0
    longest_pause_s: float = 3600.0
    pauses: int = 8
    failures: int = 10
    rest_s: float = 30.0
    probes: int = 5
    refusals: int = 12

    def __post_init__(self) -> None:
        for name in ("tries", "pauses", "failures", "probes", "refusals"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        for name in ("base_s", "ceiling_s", "throttle_s", "longest_pause_s", "rest_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}: a number of seconds >= 0 is needed")


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Record the failure."""


def decide(failure: FailedTry, *, tries: int, policy: RetryPolicy, rng: Random) -> Retry | GiveUp:
    """Say what to do after `tries` tries, the last of which failed."""
    if failure.kind not in _TRIES:
        return GiveUp()
    allowed = min(policy.tries, _TRIES[failure.kind] or policy.tries)
    if tries >= allowed:
        return GiveUp()
    return Retry(rng.uniform(0, min(policy.ceiling_s, policy.base_s * 2 ** (tries - 1))))


def pause_s(retry_after: str | None, *, now: float, pauses: int, policy: RetryPolicy) -> float:
    """How long to leave a host alone that throttled `pauses` times in a row, this one included, in s.

    Args:
        retry_after: the header's value: seconds or an HTTP date (RFC 9110, 10.2.3); None if absent.
        now: unix seconds.
        pauses: at least 1.
        policy: its longest pause bounds whatever the header asks for.
    """
    asked = _retry_after_s(retry_after, now)
    if asked is None:
        asked = policy.throttle_s * 2 ** min(pauses - 1, 30)
    return min(max(asked, 0.0), policy.longest_pause_s)


def _retry_after_s(value: str | None, now: float) -> float | None:
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now if text else None
    except (ValueError, OverflowError):
        return None


def kind_of_status(status: int) -> FailKind:
    """The kind of an HTTP status other than 200, and than a redirect that says whereto."""
    if status < 400:
        return FailKind.REDIRECTS if status >= 300 else FailKind.NOT_IMAGE  # such as 204, "no content"
    if status in (404, 410):
        return FailKind.HTTP_404
    if status in (401, 403, 451):
        return FailKind.FORBIDDEN
    return FailKind.HTTP_5XX if status >= 500 or status == 408 else FailKind.HTTP_4XX
