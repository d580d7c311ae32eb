"""Guard against server-side request forgery: only web addresses, and only public IP addresses."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

MAX_FILE_HOSTS = 8  # besides those of the board's own site
# Scheme and authority of nearly every address; the rest of the address cannot change how they are parsed.
_PLAIN_ROOT = re.compile(r"https?://[a-z0-9.-]{1,255}(?::\d{1,9})?(?=[/?#]|$)")
# The only IPv6 addresses that IANA gives out for the internet ("IPv6 Global Unicast Address Assignments"), and
# a part of them that is for documentation (RFC 9637).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


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
        self._site = _site_of(host_name(board))
        self._named: set[str] = set()

    def may_begin_at(self, url: str) -> bool:
        """Return whether a file that the API names may be fetched; list its host, unless the list is full."""
        if self.may_lead_to(url):
            return True
        if len(self._named) >= MAX_FILE_HOSTS:
            return False
        self._named.add(host_name(url))
        return True

    def may_lead_to(self, url: str) -> bool:
        """Return whether a redirect may be followed: its host is on the list."""
        name = host_name(url)
        return name in self._named or name == self._site or name.endswith(f".{self._site}")


def host_name(url: str) -> str:
    """Return the name of the host of a web address, without a trailing dot."""
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
PRIVATE = ("the host's address is not public (--allow-private would allow it for the board's own host)",)
NOT_THE_BOARDS = ("the host's address is not public, and --allow-private allows only the board's own host",)


def is_public(address: str) -> bool:
    """Return whether an IP address is public, also if an IPv6 address embeds an IPv4 address.

    Of the forms that embed one, the mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), Teredo (RFC 4380) and NAT64
    form (RFC 6052) are public if it is. Everything else outside of global unicast is not: the compatible form
    (::/96), the translated form (::ffff:0:0:0/96), local NAT64 (RFC 8215), site-local addresses (fec0::/10) ...
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _GLOBAL_UNICAST or ip in _DOCUMENTATION:
            return False
    return ip.is_global and not ip.is_multicast


class AddressGuard:
    """Guard of the addresses that sockets are connected to: public ones, and those of one host.

    Args:
        own_host: URL of a host that the user has chosen, whatever its addresses; None for no host.
    """

    def __init__(self, own_host: str | None = None) -> None:
        self._own_name = None if own_host is None else host_name(own_host)
        self._own_addresses: set[str] = set()
        if self._own_name is not None:
            with contextlib.suppress(ValueError):
                self._own_addresses.add(_normal(self._own_name))

    def note(self, name: str, addresses: Iterable[str]) -> None:
        """Allow the addresses that a name was resolved to, if it is the name of `own_host`."""
        if self._own_name is not None and name.rstrip(".").lower() == self._own_name:
            self._own_addresses.update(map(_normal, addresses))

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Create a socket for a resolved address, before connecting: the connector's socket factory."""
        family, kind, protocol, _, address = info
        if not is_public(address[0]) and _normal(address[0]) not in self._own_addresses:
            raise PrivateAddressError(*(PRIVATE if self._own_name is None else NOT_THE_BOARDS))
        return socket.socket(family, kind, protocol)


def address_group(address: str) -> str:
    """Return what a machine's addresses have in common: an IPv4 address, or a /64 network (RFC 4291, 2.5.4).

    Raises:
        ValueError: It is not an IP address.
    """
    normal = _normal(address)
    return str(ipaddress.ip_network((normal, 64), strict=False)) if ":" in normal else normal


def _normal(address: str) -> str:
    """Return the usual spelling of an IP address, without a zone; of an IPv4-mapped one, the IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)
