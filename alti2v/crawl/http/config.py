"""Settings of HTTP requests: rates, deadlines, and the User-Agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alti2v import __version__
from alti2v.crawl.http.api_key import ApiKey
from alti2v.crawl.http.proxies import Proxies
from alti2v.crawl.http.retry import RetryPolicy

PRODUCT = "alti2v"  # product token in robots.txt (RFC 9309, 2.2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Settings of HTTP requests.

    Attributes:
        rate: Requests/s to one host for all purposes; infinity for no limit.
        api_rate: Requests/s of these for the API.
        connections: Maximum number of connections to one host.
        board: Address of the board, whose site is always on the allow-list of hosts; None to allow any host.
        allow_private: True to connect to the board's host, or to any without `board`, whatever its address.
        contact: Mail address or URL for the User-Agent.
        pace_dir: Folder through which the crawls of one machine share a rate; None to share nothing.
        connect_s, read_s, total_s: Deadlines for connecting, between two reads, and for a whole answer, s.
        min_bytes_per_s: Minimum average speed of a body after `grace_s`; a slower one is given up.
        grace_s: Time before the speed counts, s.
        retry: Retry policy.
        key: API key of an account at the board; None to ask without one.
        proxies: Proxies that requests go through.
    """

    rate: float
    api_rate: float
    connections: int
    board: str | None = None
    allow_private: bool = False
    contact: str | None = None
    pace_dir: Path | None = None
    connect_s: float = 20.0
    read_s: float = 30.0
    total_s: float = 300.0
    min_bytes_per_s: float = 1000.0
    grace_s: float = 20.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    key: ApiKey | None = None
    proxies: Proxies = field(default_factory=Proxies)

    @property
    def user_agent(self) -> str:
        """User-Agent: an honest name, because boards challenge those of browsers and HTTP libraries."""
        contact = f"+{self.contact}" if self.contact else "illustration dataset crawler, no contact given"
        return f"{PRODUCT}/{__version__} ({contact})"
