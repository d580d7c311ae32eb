"""Whom we talk to at all: web addresses only, and no address that is not public."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


class PrivateAddressError(OSError):
    """The address of a host is not public; no byte was sent to it."""


def origin_of(url: str) -> str | None:
    """Scheme, name and port of a plain web address; None if it is none, or carries credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


# One text for all addresses of a host, so that a host with several keeps the class of the error.
PRIVATE = ("the host's address is not public (--allow-private would allow it)",)


def is_public(address: str) -> bool:
    """Whether an IP address is public, also inside IPv6 forms that carry an IPv4 address.

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
    """The connector's socket factory: called with each resolved address, before connecting to it."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise PrivateAddressError(*PRIVATE)
    return socket.socket(family, kind, protocol)
