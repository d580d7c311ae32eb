"""What the stand-in board does wrong, and when: one frozen value, readable from a small JSON file.

Nothing here is random at run time. Whether a fault strikes depends on a hash of the board's seed and of what it
strikes (a post, or the address that is asked for), or on the number of the request; so a run can be repeated.

A JSON file holds one object of such switches; docs/BOARD.md says what each of them does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyRequests:
    """When 429 is answered for no other reason than the number of the request.

    Attributes:
        every: each so-many-th request, at least 2, because otherwise nothing would ever be served.
        retry_after: how the header says when to come back: in seconds, as an HTTP date, or not at all.
        wait_s: what it says, whole seconds.
    """

    every: int
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    wait_s: int = 1

    def __post_init__(self) -> None:
        _require_whole("status_429.every", self.every, at_least=2)
        _require_choice("status_429.retry_after", self.retry_after, ("seconds", "date", "none"))
        _require_whole("status_429.wait_s", self.wait_s, at_least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Every fault switch, off by default; docs/BOARD.md says what each does."""

    wall_depth: int = 200_000
    wall_form: Literal["xml", "empty"] = "xml"
    empty_page_at: tuple[int, ...] = ()
    error_at: tuple[int, ...] = ()
    error_form: Literal["response", "error", "string", "html"] = "response"
    ghost_rate: float = 0.0
    id_list: Literal["ignored", "honoured"] = "ignored"
    names_list: Literal["ignored", "honoured"] = "ignored"
    sort_id_asc: bool = False
    ignore_id_cursor: bool = False
    json_refused: bool = False
    old_json_shape: bool = False
    json_envelope: Literal["none", "post", "attributes"] = "none"
    protocol_relative_urls: bool = False
    posts_arrive_every: int | None = None
    posts_vanish_every: int | None = None
    hidden_rate: float = 0.0
    deleted_rate: float = 0.0
    video_rate: float = 0.0

    missing_samples: float = 0.0
    missing_images: float = 0.0
    md5_mismatch_rate: float = 0.0
    wrong_content_type: float = 0.0
    ranges: Literal["etag", "plain", "none"] = "etag"

    status_503_rate: float = 0.0
    reset_rate: float = 0.0
    truncated_rate: float = 0.0
    stall_rate: float = 0.0
    slow_rate: float = 0.0
    html_instead_rate: float = 0.0
    heals_after: int | None = 1
    slow_s: float = 2.0
    stall_s: float = 60.0

    latency_s: float = 0.0
    status_429: TooManyRequests | None = None
    max_requests_per_s: int | None = None
    blocked_user_agents: tuple[str, ...] = ()
    robots_txt: str | None = None

    def __post_init__(self) -> None:
        for name in _RATES:
            _require_number(name, getattr(self, name), at_most=1)
        for name in _SECONDS:
            _require_number(name, getattr(self, name), at_most=3600)
        for name, choices in _CHOICES.items():
            _require_choice(name, getattr(self, name), choices)
        for name in _SWITCHES:
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")
        for name in _REQUEST_NUMBERS:
            for number in getattr(self, name):
                _require_whole(name, number, at_least=1)
        for name in _COUNTS:
            if getattr(self, name) is not None:
                _require_whole(name, getattr(self, name), at_least=1)
        _require_whole("wall_depth", self.wall_depth, at_least=0)
        for word in self.blocked_user_agents:
            _require(str(word) == word != "", "blocked_user_agents", word, "a list of words")
        _require(isinstance(self.robots_txt, str | None), "robots_txt", self.robots_txt, "text")


_RATES = (
    *("ghost_rate", "hidden_rate", "deleted_rate", "video_rate"),
    *("missing_samples", "missing_images", "md5_mismatch_rate", "wrong_content_type"),
    *("status_503_rate", "reset_rate", "truncated_rate", "stall_rate", "slow_rate", "html_instead_rate"),
)
_SWITCHES = ("sort_id_asc", "ignore_id_cursor", "json_refused", "old_json_shape", "protocol_relative_urls")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "wall_form": ("xml", "empty"),
    "error_form": ("response", "error", "string", "html"),
    "id_list": ("ignored", "honoured"),
    "names_list": ("ignored", "honoured"),
    "json_envelope": ("none", "post", "attributes"),
    "ranges": ("etag", "plain", "none"),
}
_SECONDS = ("slow_s", "stall_s", "latency_s")
_COUNTS = ("posts_arrive_every", "posts_vanish_every", "heals_after", "max_requests_per_s")
_REQUEST_NUMBERS = ("empty_page_at", "error_at")
_LISTS = ("empty_page_at", "error_at", "blocked_user_agents")


def read_faults(path: Path) -> Faults:
    """Read the switches from a JSON file.

    Raises:
        UsageError: the file is missing, not a JSON object, or a key or a value in it is not known.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as exc:
        raise UsageError(
            f"cannot read the faults of {path}: {exc.strerror}: give a JSON file that exists"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{path} is not valid JSON ({exc}): correct it") from exc
    return faults_from_json(value)


def faults_from_json(value: object) -> Faults:
    """Build the switches from a decoded JSON object.

    Raises:
        UsageError: naming the key that is unknown, or whose value is not allowed.
    """
    given = _object("faults", value, allowed=tuple(field.name for field in fields(Faults)))
    for name in _LISTS:
        if name in given:
            _require(isinstance(given[name], list), name, given[name], "a list")
            given[name] = tuple(given[name])
    if given.get("status_429") is not None:
        limits = tuple(field.name for field in fields(TooManyRequests))
        wanted = _object("status_429", given["status_429"], allowed=limits)
        _require("every" in wanted, "status_429", wanted, "an object with the key `every`")
        given["status_429"] = TooManyRequests(**wanted)
    return Faults(**given)


def chance(seed: int, what: str, of: int | str) -> float:
    """A number in [0, 1) that depends on its arguments only: `chance(...) < rate` strikes at that rate.

    One 64-bit BLAKE2b word as a fraction.
    """
    digest = hashlib.blake2b(f"{seed}:{what}:{of}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _object(name: str, value: object, *, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name}: {value!r} is no JSON object: write {{...}}")
    for key in value:
        if key not in allowed:
            raise UsageError(f"{name}: the key {key!r} is unknown: choose among {', '.join(allowed)}")
    return dict(value)


def _require_number(name: str, value: object, *, at_most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= at_most
    _require(is_number, name, value, f"a number from 0 to {at_most}")


def _require_whole(name: str, value: object, *, at_least: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
    _require(is_whole, name, value, f"a whole number, at least {at_least}")


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _require(value in choices, name, value, " or ".join(f'"{choice}"' for choice in choices))


def _require(holds: bool, name: str, value: object, wanted: str) -> None:  # noqa: FBT001 - reads like a sentence
    if not holds:
        raise UsageError(f"faults: {name} is {value!r}: give {wanted}")
