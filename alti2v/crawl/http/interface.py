"""What the listing asks of HTTP. Loads no HTTP client, so that a process without one can name it."""

from __future__ import annotations

from typing import Protocol

from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry


class ApiClient(Protocol):
    """Sends single requests to a board's API."""

    async def get(self, url: str, *, max_bytes: int) -> Received | FailedTry:
        """Ask the API at one address, politely.

        Raises:
            StoppedError: after a stop, if it would have to wait.
        """
        ...

    async def may_crawl(self, url: str) -> bool | None:
        """Tell whether the robots.txt of the address' host allows it; None if robots.txt cannot be read.

        Raises:
            StoppedError: after a stop, if it would have to wait.
        """
        ...
