"""Proxies that the environment names with `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, as for curl.

aiohttp's own `trust_env` is not used: it would also send passwords of ~/.netrc to any host. A proxy is the
user's choice, and usually has a private address. The addresses that are requested through it are a board's
choice, so those that name a private address are refused.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the stubs lack the second
    getproxies_environment,
    proxy_bypass_environment,
)

from alti2v.crawl.http.api_key import Secret
from alti2v.crawl.http.ssrf_guard import is_public
from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        url: Address, without the account.
        account, password: Account for HTTP Basic; None if the address has none.
    """

    url: str
    account: str | None = None
    password: Secret | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Header with the account, if there is one."""
        if self.account is None:
            return {}
        account = f"{self.account}:{self.password.reveal() if self.password else ''}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Proxies by the scheme of the requested address, and the hosts that are reached without one.

    Attributes:
        by_scheme: Proxy for "http", "https" or "all".
        bypass: Value of `no_proxy`.
    """

    by_scheme: Mapping[str, Proxy] = field(default_factory=dict)
    bypass: str = ""

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy for an address; None to connect directly."""
        if not self.by_scheme:
            return None
        parts = urlsplit(url)
        proxy = self.by_scheme.get(parts.scheme) or self.by_scheme.get("all")
        if proxy is None or proxy_bypass_environment(parts.netloc, {"no": self.bypass}):
            return None
        return proxy


def proxies_of_environment() -> Proxies:
    """Read the proxies that the environment names.

    Raises:
        UsageError: A proxy is not an http:// or https:// address.
    """
    named = getproxies_environment()
    found = {
        scheme: _proxy(f"{scheme}_proxy", named[scheme])
        for scheme in ("http", "https", "all")
        if named.get(scheme)
    }
    return Proxies(by_scheme=found, bypass=named.get("no", ""))


def _proxy(name: str, value: str) -> Proxy:
    # The message must not repeat the value, which may have a password.
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{name} is not the address of an HTTP proxy: set it to http://HOST:PORT, or unset it")
    shown = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    if parts.username is None:
        return Proxy(url=url)
    return Proxy(url=url, account=unquote(parts.username), password=Secret(unquote(parts.password or "")))


def names_private_host(url: str) -> bool:
    """Return whether the host of a URL is this machine or a private network, as far as the URL alone tells.

    The proxy resolves names, so only written addresses can be checked. Legacy spellings of IPv4
    addresses (inet_aton(3): 127.1, 0x7f000001, 2130706433) count as well.
    """
    name = (urlsplit(url).hostname or "").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return not is_public(str(ipaddress.ip_address(name.partition("%")[0])))
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, UnicodeError):
        return False
