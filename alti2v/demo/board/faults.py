"""Fault switches of the stand-in board: one frozen value, readable from a small JSON file.

Nothing is random at run time. Whether a fault strikes depends on a hash of the board's seed and the post or
address, or on the number of the request, so a run can be repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from alti2v.errors import UsageError
from alti2v.storage.documents import open_named

MissingForm = Literal["404", "410", "400", "403", "500", "page", "empty", "text", "cut", "redirect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyRequests:
    """Refuse every n-th request with status 429.

    Attributes:
        every: Number of requests from one refusal to the next, at least 2.
        retry_after: Form of the Retry-After header: seconds, an HTTP date, or no header.
        wait_s: Delay that the header states, whole seconds.
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
    """All fault switches, each off by default.

    "G" marks a switch of the Gelbooru dialect, "D" one of Danbooru's; rates are shares from 0 to 1.

    Attributes:
        wall_depth: G: largest `pid*limit` that is served.
        wall_form: G: refusal beyond the wall: the `<response>` element, or an empty body.
        empty_page_at: Numbers of the post requests (from 1) that find nothing.
        error_at: Numbers of the post requests (from 1) that are answered by an error.
        error_form: Form of that error.
        api_key: Answer to an API request without a key: none needed, status 401 or 403, or under status 200 an
            `<error>` element, a bare JSON string, or a JSON object.
        accepted_key: The only account and key that are accepted, as `ACCOUNT:KEY`; None for any.
        echo_key: Refusals repeat the account and the key that came with the request.
        account_terms: D: number of search terms of a request with a key.
        ghost_rate: G: posts of which only an id is left, often far too high.
        unusable_ids: Posts are listed without an id, with null for it, or with the text "unknown".
        id_list: G: `id=1,2,3` and `tags=id:1,2` are ignored or honoured.
        names_list: G: the tag API's `names=a b` is ignored or honoured.
        ignore_tag_name: G: the tag API ignores `name`; each request begins one tag after the one before.
        tag_info: G: JSON posts have the types of their tags if `fields=tag_info` is requested.
        tag_order: G: the tag API's `orderby=count` lists the most frequent tags first, the least frequent
            first, or is ignored.
        sort_id_asc: G: `sort:id:asc` is obeyed.
        ignore_id_cursor: `id:<N` (G) and `page=b<N>` (D) are ignored: the newest posts come back.
        ignore_id_bound: G: `id:>=N` and `id:A..B` are ignored: the newest posts come back.
        json_refused: G: `json=1` is answered in XML.
        old_json_shape: G: posts have 15 keys, no URL, and `directory` as a string.
        json_envelope: G: posts are a bare array, `{"post": [...]}`, or that with `"@attributes"`.
        xml_elements: G: XML lists of posts or tags that use child elements instead of attributes.
        protocol_relative_urls: G: URLs begin with `//`, as before about 2019.
        signed_urls: File URLs end in a query; without exactly that query the answer is 403.
        quoted_urls: File names contain `%27`; a request that spells it otherwise gets 403.
        no_file_type: Posts lack `image` and `directory` (G) or `file_ext` (D).
        wrong_file_type: Posts whose `image` (G) or `file_ext` (D) ends in `webm` whatever their file_url says.
        source_query: Sources end in a query with parameters that begin like HTML entities, plain or (G, JSON)
            with `&` written as `&amp;`.
        posts_arrive_every: With each n-th post request a post arrives.
        posts_vanish_every: With each n-th post request a post and its files vanish.
        files_replaced_every: With each n-th post request the file of a post is replaced under the same id.
        hidden_rate: D: posts without md5 and URLs.
        deleted_rate: Posts that are marked as deleted.
        video_rate: Posts whose original is an mp4 file.
        avif_rate: Posts whose original is an AVIF file; their samples stay JPEG.
        missing_samples, missing_images: Posts without a sample or without an original.
        missing_form: Answer to a request for such a file.
        md5_mismatch_rate: Posts whose original has another md5 than listed.
        wrong_content_type: Posts whose files are sent as `text/plain`.
        ranges: Byte ranges with an ETag, without one, or not at all.
        status_503_rate, reset_rate, truncated_rate, stall_rate, slow_rate, html_instead_rate: Addresses whose
            answer is a 503, a reset connection, cut, stalled, slow, or (files) a page.
        heals_after: Number of tries of an address that these six spoil; None for all.
        slow_s, stall_s: Duration of a slow and of a stalled answer, seconds.
        latency_s: Delay of every answer, seconds.
        status_429: Refusals by the number of the request; None for none.
        max_requests_per_s: Requests within one second, beyond which 429 is answered; None for no limit.
        blocked_user_agents: Words; a User-Agent that contains one of them gets 403.
        robots_txt: Text of `/robots.txt`; None for the dialect's own.
    """

    wall_depth: int = 200_000
    wall_form: Literal["xml", "empty"] = "xml"
    empty_page_at: tuple[int, ...] = ()
    error_at: tuple[int, ...] = ()
    error_form: Literal["response", "error", "string", "html"] = "response"
    api_key: Literal["unneeded", "401", "403", "error", "string", "json"] = "unneeded"
    accepted_key: str | None = None
    echo_key: bool = False
    account_terms: int = 2
    ghost_rate: float = 0.0
    unusable_ids: Literal["none", "absent", "null", "text"] = "none"
    id_list: Literal["ignored", "honoured"] = "ignored"
    names_list: Literal["ignored", "honoured"] = "ignored"
    ignore_tag_name: bool = False
    tag_info: bool = False
    tag_order: Literal["falling", "rising", "ignored"] = "falling"
    sort_id_asc: bool = False
    ignore_id_cursor: bool = False
    ignore_id_bound: bool = False
    json_refused: bool = False
    old_json_shape: bool = False
    json_envelope: Literal["none", "post", "attributes"] = "none"
    xml_elements: tuple[Literal["posts", "tags"], ...] = ()
    protocol_relative_urls: bool = False
    signed_urls: bool = False
    quoted_urls: bool = False
    no_file_type: bool = False
    wrong_file_type: float = 0.0
    source_query: Literal["none", "plain", "entities"] = "none"
    posts_arrive_every: int | None = None
    posts_vanish_every: int | None = None
    files_replaced_every: int | None = None
    hidden_rate: float = 0.0
    deleted_rate: float = 0.0
    video_rate: float = 0.0
    avif_rate: float = 0.0

    missing_samples: float = 0.0
    missing_images: float = 0.0
    missing_form: MissingForm = "404"
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
        for name, hint in _hints().items():
            _require_type(name, getattr(self, name), hint)


_MAX_SECONDS = 3600


@cache
def _hints() -> Mapping[str, Any]:
    return get_type_hints(Faults)


def read_faults(path: Path) -> Faults:
    """Read the switches from a JSON file.

    Raises:
        UsageError: The file is missing or not a JSON object, or a key or value in it is not allowed.
    """
    try:
        with open_named(path) as file:
            value = json.loads(file.read())
    except OSError as exc:
        raise UsageError(
            f"cannot read the faults in {path}: {exc.strerror}: give an existing JSON file"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{path} is not valid JSON ({exc}): correct it") from exc
    return faults_from_json(value)


def faults_from_json(value: object) -> Faults:
    """Build the switches from a decoded JSON object.

    Raises:
        UsageError: A key is unknown, or its value is not allowed; the message names it.
    """
    given = _object("faults", value, allowed=tuple(field.name for field in fields(Faults)))
    for name, hint in _hints().items():
        if name in given and get_origin(hint) is tuple:
            _require(isinstance(given[name], list), name, given[name], "a list")
            given[name] = tuple(given[name])
    if given.get("status_429") is not None:
        limits = tuple(field.name for field in fields(TooManyRequests))
        wanted = _object("status_429", given["status_429"], allowed=limits)
        _require("every" in wanted, "status_429", wanted, "an object with the key `every`")
        given["status_429"] = TooManyRequests(**wanted)
    return Faults(**given)


def chance(seed: int, what: str, of: int | str) -> float:
    """Return a number in [0, 1) that depends on the arguments only: `chance(...) < rate` holds at that rate.

    It is one 64-bit word of BLAKE2b as a fraction.
    """
    digest = hashlib.blake2b(f"{seed}:{what}:{of}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _object(name: str, value: object, *, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name}: {value!r} is not a JSON object: write {{...}}")
    for key in value:
        if key not in allowed:
            raise UsageError(f"{name}: the key {key!r} is unknown: choose from {', '.join(allowed)}")
    return dict(value)


def _require_type(name: str, value: object, hint: Any) -> None:  # noqa: ANN401 - a type
    """Require that a value has the type of its field, and is in the range that the name implies."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        _require_choice(name, value, arguments)
    elif get_origin(hint) is UnionType:
        if value is not None:
            _require_type(name, value, arguments[0])
    elif isinstance(value, tuple) and get_origin(hint) is tuple:
        for item in value:
            _require_type(name, item, arguments[0])
    elif hint is int:
        _require_whole(name, value, at_least=0 if name == "wall_depth" else 1)
    elif hint is float:
        _require_number(name, value, at_most=_MAX_SECONDS if name.endswith("_s") else 1)
    elif hint is str:
        _require(isinstance(value, str) and (value or name == "robots_txt"), name, value, "text")
    else:
        _require(isinstance(value, hint), name, value, "true or false" if hint is bool else "an object")


def _require_number(name: str, value: object, *, at_most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= at_most
    _require(is_number, name, value, f"a number from 0 to {at_most}")


def _require_whole(name: str, value: object, *, at_least: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
    _require(is_whole, name, value, f"a whole number, at least {at_least}")


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _require(value in choices, name, value, " or ".join(f'"{choice}"' for choice in choices))


def _require(holds: object, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise UsageError(f"faults: {name} is {value!r}: give {wanted}")
