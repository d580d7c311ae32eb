"""The API key of an account: sent to one host only, and shown nowhere.

Gelbooru boards take `api_key` and `user_id` as query parameters (help topic "dapi"), Danbooru boards take HTTP
Basic (help:api). A key is added to a request as it is sent, so no address that is recorded or shown has it.
The host's answer is searched for it, because some boards repeat it.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit

from alti2v.crawl.http.ssrf_guard import origin_of

HIDDEN = "[key]"
_PARAMETERS = frozenset({"api_key", "user_id", "login"})
_SHORTEST = 6  # characters; answers are not searched for a shorter key, which occurs by chance


class Secret:
    """A text that appears in no representation, copy or pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")

    def reveal(self) -> str:
        """Return the text."""
        return self._text


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Key of an account.

    Attributes:
        origin: Scheme, name and port of the only host that it is sent to.
        account: User id (Gelbooru) or login (Danbooru).
        secret: The key itself.
        source: File that it was read from, for messages.
    """

    origin: str
    account: str
    secret: Secret
    source: str

    def sign(self, url: str) -> tuple[str, dict[str, str]]:
        """Return an address of the API and request headers with the key; without it for other addresses.

        The address shows the dialect: `…/index.php?page=dapi&…` is Gelbooru's, `….json` is Danbooru's.
        """
        parts = urlsplit(url)
        if origin_of(url) != self.origin:
            return url, {}
        if parts.path.endswith(".json"):
            return url, {"Authorization": f"Basic {self._basic()}"}
        if "page=dapi" not in parts.query.split("&"):
            return url, {}
        account = urlencode({"api_key": self.secret.reveal(), "user_id": self.account}, quote_via=quote)
        return f"{url}&{account}", {}

    def removed_from(self, url: str) -> str | None:
        """Return the address of a redirect without the key's parameters; None if the key remains in it."""
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        kept = [(name, value) for name, value in pairs if name not in _PARAMETERS]
        if len(kept) < len(pairs):
            url = parts._replace(query=urlencode(kept, quote_via=quote)).geturl()
        spellings = (url, unquote(url), unquote(unquote(url)))
        return None if any(form in text for form in self._forms() for text in spellings) else url

    def hidden_in(self, text: str) -> str:
        """Replace the key in a message."""
        return functools.reduce(lambda rest, form: rest.replace(form, HIDDEN), self._forms(), text)

    def hidden_in_answer(self, body: bytes) -> bytes:
        """Replace the key in the body of an answer, in the spellings of texts, addresses, HTML and JSON."""
        if len(self.secret.reveal()) < _SHORTEST:
            return body
        hidden = HIDDEN.encode()
        return functools.reduce(
            lambda rest, form: rest.replace(form.encode(), hidden) if form.encode() in rest else rest,
            self._forms(),
            body,
        )

    def _basic(self) -> str:
        return base64.b64encode(f"{self.account}:{self.secret.reveal()}".encode()).decode()

    def _forms(self) -> tuple[str, ...]:
        """Return the spellings of the key, the longest first."""
        plain = self.secret.reveal()
        encoded = base64.b64encode(plain.encode()).decode()
        in_json = json.dumps(plain)[1:-1]
        percent = quote(plain, safe="")
        forms = {
            *(plain, percent, quote_plus(plain), quote(plain)),
            re.sub("%..", lambda escape: escape[0].lower(), percent),
            *(html.escape(plain), html.escape(plain).replace("&#x27;", "&#039;")),
            *(in_json, in_json.replace("/", "\\/"), self._basic(), encoded),
        }
        return tuple(sorted(forms, key=lambda form: (-len(form), form)))
