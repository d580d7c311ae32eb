"""Accounts of the stand-in board: which requests come with a key, and whether the board accepts it."""

from __future__ import annotations

import base64
import binascii

from aiohttp import web

from alti2v.demo.board.site import SITE


def account_of(request: web.Request) -> str | None:
    """Return `ACCOUNT:KEY` of a request in the board's dialect; None if it has no whole key.

    Gelbooru takes the query parameters `user_id` and `api_key`, Danbooru `login` and `api_key` or HTTP Basic.
    """
    query = request.query
    if request.app[SITE].config.dialect == "gelbooru":
        account = query.get("user_id", "")
        return f"{account}:{query['api_key']}" if query.get("api_key") and account.isdecimal() else None
    if query.get("login") and query.get("api_key"):
        return f"{query['login']}:{query['api_key']}"
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        account = base64.b64decode(encoded, validate=True).decode() if kind == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return None
    return account if ":" in account else None


def may_use_api(request: web.Request) -> bool:
    """Return whether a request has a key that the board accepts."""
    account, accepted = account_of(request), request.app[SITE].faults.accepted_key
    return account is not None and accepted in (None, account)
