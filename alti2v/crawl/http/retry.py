"""Decisions after a failed try. Pure: the caller sleeps, pauses the host, or records the failure.

A failure of one file never raises: it is a `FailedTry` with a kind, and the kind decides.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alti2v.option_bounds import require_between

if TYPE_CHECKING:
    from random import Random


class FailKind(StrEnum):
    """Kind of a failure: the values of the column `reason` of failed posts."""

    HTTP_404 = "http_404"  # the board lists a file that is not there (404, 410)
    HTTP_4XX = "http_4xx"  # any other refusal of this one file
    FORBIDDEN = "forbidden"  # 401, 403, 451
    UNAUTHORIZED = "unauthorized"  # the API wants a key, or refuses the one that it got
    HTTP_5XX = "http_5xx"
    THROTTLED = "throttled"  # 429, or 503 with Retry-After: a request of the host, not a fault of the file
    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    BAD_HTTP = "bad_http"  # the answer is not HTTP
    TRUNCATED_BODY = "truncated_body"
    NOT_IMAGE = "not_image"  # a web page, a message or nothing in place of a picture
    UNSUPPORTED_FORMAT = "unsupported_format"  # a file other than JPEG, PNG, GIF, WebP
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    MD5_MISMATCH = "md5_mismatch"
    PRIVATE_ADDRESS = "private_address"  # refused before a byte was sent
    FOREIGN_HOST = "foreign_host"  # neither a host of the board's site nor one of the few that its API names
    BAD_URL = "bad_url"
    BAD_ANSWER = "bad_answer"  # an answer of the API that is not in its dialect
    REDIRECTS = "redirects"
    ROBOTS = "robots"
    HOST_DOWN = "host_down"  # this run has given up the host; its posts stay pending


# Maximum number of tries of each kind in one run; a kind that is missing here is not tried again.
_TRIES: Mapping[FailKind, int | None] = {
    FailKind.HTTP_5XX: None,  # None: the number of the policy
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

# Temporary failures, which say nothing about the file: a later run tries them again.
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

# The answers that a board gives for a file that is not there, besides a plain 404.
_OF_THE_FILE = frozenset(
    {
        *(FailKind.HTTP_404, FailKind.HTTP_4XX, FailKind.FORBIDDEN),
        *(FailKind.NOT_IMAGE, FailKind.TRUNCATED_BODY),
    }
)
_TRIES_BEFORE_ANOTHER = 3  # of an address with such an answer, while another address of the same file is left

# Several of these in a row mean that the host is down.
OF_THE_HOST = HEALABLE - {FailKind.THROTTLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTry:
    """A try that failed.

    Attributes:
        kind: Kind of the failure.
        message: One line for users.
        status: HTTP status; None if there was no answer.
    """

    kind: FailKind
    message: str
    status: int | None = None


def may_be_of_the_file(failure: FailedTry) -> bool:
    """Return whether a failure may mean that the file is missing, rather than that the host has a problem."""
    return failure.kind in _OF_THE_FILE or failure.status == 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits of retries and pauses.

    Attributes:
        tries: Requests for one address in one run, at least 1.
        base_s, ceiling_s: The back-off before try n+1 is uniform in [0, min(ceiling, base * 2^(n-1))], "full
            jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        throttle_s: Pause for a host that throttles without giving a time, doubled each time.
        longest_pause_s: Maximum of any pause that a host asks for.
        pauses: Pauses in a row, without an answer in between, after which the host is given up.
        failures: Failures of a host in a row after which it rests.
        rest_s: First rest, doubled each time; one request probes the host after each.
        probes: Failed probes in a row after which the host is given up.
        refusals: Addresses refused in a row (401, 403, 451, a web page in place of a file) after which the
            host is assumed to have banned us.
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
            require_between(name, getattr(self, name), 1)
        for name in ("base_s", "ceiling_s", "throttle_s", "longest_pause_s", "rest_s"):
            require_between(f"{name} (seconds)", getattr(self, name), 0, 10**9)

    def longest_delay_s(self, tries: int) -> float:
        """Return the maximum of the back-off after a number of tries."""
        return min(self.ceiling_s, self.base_s * 2.0 ** (tries - 1))


def retry_delay_s(
    failure: FailedTry, *, tries: int, policy: RetryPolicy, rng: Random, is_last: bool = True
) -> float | None:
    """Return how long to wait after `tries` tries, the last of which failed; None to record the failure.

    Args:
        failure: Failure of the last try.
        tries: Tries of this address so far.
        policy: Limits of retries.
        rng: Randomness of the back-off.
        is_last: False if another address of the same file is left to try.
    """
    if failure.kind not in _TRIES:
        return None
    allowed = min(policy.tries, _TRIES[failure.kind] or policy.tries)
    if not is_last and may_be_of_the_file(failure):
        allowed = min(allowed, _TRIES_BEFORE_ANOTHER)
    return None if tries >= allowed else rng.uniform(0, policy.longest_delay_s(tries))


def pause_s(retry_after: str | None, *, now: float, pauses: int, policy: RetryPolicy) -> float:
    """Return the pause for a host that throttles, in s.

    Args:
        retry_after: Value of the header: seconds or an HTTP date (RFC 9110, 10.2.3); None if absent.
        now: Time, unix seconds.
        pauses: Number of pauses in a row, including this one.
        policy: Limits of the pause.
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
    """Return the kind of an HTTP status other than 200 and redirects with an address."""
    if status < 400:
        return FailKind.REDIRECTS if status >= 300 else FailKind.NOT_IMAGE  # for example 204, "no content"
    if status in (404, 410):
        return FailKind.HTTP_404
    if status in (401, 403, 451):
        return FailKind.FORBIDDEN
    return FailKind.HTTP_5XX if status >= 500 or status == 408 else FailKind.HTTP_4XX
