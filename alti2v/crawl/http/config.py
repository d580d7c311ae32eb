"""How to behave towards hosts: rates, deadlines, and the name that requests carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alti2v import __version__
from alti2v.crawl.http.retry import RetryPolicy

PRODUCT = "alti2v"  # the name that robots.txt may address (RFC 9309, 2.2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """How to behave towards hosts.

    Attributes:
        rate: requests/s to one host, all purposes; infinity for no pacing.
        api_rate: the API's share of it, requests/s.
        connections: open at once to one host.
        board: its address, whose site the allow-list of hosts begins with; None for any host.
        allow_private: talk to addresses that are not public.
        contact: mail address or URL for the User-Agent.
        pace_dir: where the crawls of one machine keep a common pace; None: this process by itself.
        connect_s, read_s, total_s: deadlines for a connection, for a silence, for a whole answer.
        min_bytes_per_s: a body that is slower than this on average, after `grace_s`, is given up.
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

    @property
    def user_agent(self) -> str:
        """An honest name; boards challenge browser-like and default library names."""
        contact = f"+{self.contact}" if self.contact else "illustration dataset crawler, no contact given"
        return f"{PRODUCT}/{__version__} ({contact})"
