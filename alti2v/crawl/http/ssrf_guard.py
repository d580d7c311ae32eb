"""Guard against server-side request forgery: only web addresses, and only public IP addresses."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from typing import Any
from urllib.parse import urlsplit

MAX_FILE_HOSTS = 8  # besides those of the board's own site
# Scheme and authority of nearly every address; the rest of the address cannot change how they are parsed.
_PLAIN_ROOT = re.compile(r"https?://[a-z0-9.-]{1,255}(?::\d{1,9})?(?=[/?#]|$)")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


class PrivateAddressError(OSError):
    """The IP address of a host is not public; no byte was sent to it."""


def origin_of(url: str) -> str | None:
    """Return scheme, name and port of a web address; None for other addresses and those with credentials."""
    root = _PLAIN_ROOT.match(url)
    return _origin(url) if root is None else _known_origin(root[0])


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


_known_origin = functools.lru_cache(256)(_origin)


class Sites:
    """The allow-list of hosts: those of the board's own site, and a few more that its API names for files.

    Real boards keep files on hosts beside their own (cdn.donmai.us), some with a different domain. More than a
    handful means that somebody uses the board's answers to direct our requests.

    Args:
        board: Any address of the board.
    """

    def __init__(self, board: str) -> None:
        self._site = _site_of(_name_of(board))
        self._named: set[str] = set()

    def may_begin_at(self, url: str) -> bool:
        """Return whether a file that the API names may be fetched; list its host, unless the list is full."""
        if self.may_lead_to(url):
            return True
        if len(self._named) >= MAX_FILE_HOSTS:
            return False
        self._named.add(_name_of(url))
        return True

    def may_lead_to(self, url: str) -> bool:
        """Return whether a redirect may be followed: its host is on the list."""
        name = _name_of(url)
        return name in self._named or name == self._site or name.endswith(f".{self._site}")


def _name_of(url: str) -> str:
    root = _PLAIN_ROOT.match(url)
    return _name(url) if root is None else _known_name(root[0])


def _name(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


_known_name = functools.lru_cache(256)(_name)


def _site_of(name: str) -> str:
    """Return the domain of a board's site: safebooru.donmai.us -> donmai.us."""
    parent = name.partition(".")[2]
    first, _, last = parent.partition(".")
    is_address = ":" in name or last.rpartition(".")[2].isdigit()
    # Not public suffixes like co.uk or com.au: a name this short is unlikely to be a board's.
    is_public = not last or (len(first) <= 3 and len(last) == 2)
    return name if is_address or is_public else parent


# The same text for all addresses of a host, so that aiohttp keeps the class of the error.
PRIVATE = ("the host's address is not public (--allow-private would allow it)",)


def is_public(address: str) -> bool:
    """Return whether an IP address is public, also if an IPv6 address embeds an IPv4 address.

    Forms: IPv4-mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """Create a socket for a resolved address, before connecting: the connector's socket factory."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise PrivateAddressError(*PRIVATE)
    return socket.socket(family, kind, protocol)
