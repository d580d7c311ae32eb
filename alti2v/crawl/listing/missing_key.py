"""Answers of a board that requires an API key, or refuses the one that was sent. Pure.

Boards say so in any form: status 401 with a page or an error object, 403, or status 200 with
`<error>Missing authentication. …</error>` or a bare JSON string (rule34.xxx, gallery-dl #8119).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.http.api_key import ApiKey
from alti2v.crawl.http.ssrf_guard import origin_of

_WORDS = re.compile(
    r"authenticat|api[ _-]?key|user[ _]?id|credentials|unauthori[sz]ed|log(ged)?[ -]?in\b", re.I
)
_MAX_QUOTE = 100  # characters of the board's own message


def wants_key(answer: Refusal | Unreadable, *, status: int) -> bool:
    """Return whether an answer instead of posts means that the board wants an account, or another account."""
    if status == 401:
        return True
    if isinstance(answer, Refusal):
        return status == 403 or _WORDS.search(answer.message) is not None
    # A page with status 403 is usually that of a guard, which turns away programs or addresses.
    return status == 403 and answer.what != "an HTML page"


def key_advice(url: str, answer: Refusal | Unreadable, *, status: int, key: ApiKey | None) -> str:
    """Describe the refusal for users, in one line with what to do."""
    origin, path = origin_of(url), urlsplit(url).path
    words = answer.message if isinstance(answer, Refusal) else f"HTTP {status}"
    said = " ".join(words.split())[:_MAX_QUOTE].rstrip(". ")
    if key is not None and key.origin == origin:
        return (
            f"{origin} refuses the API key of account {key.account} in {key.source} ({said}): correct the "
            "entry, or make a new key on the board's account page"
        )
    account = "LOGIN" if path.endswith(".json") else "USER_ID"
    host = urlsplit(url).hostname
    return (
        f"{origin} wants an API key ({said}): put `machine {host} login {account} password API_KEY` into "
        "~/.netrc and give --netrc"
    )
