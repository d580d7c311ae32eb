"""The API client that the listing uses. Imports no HTTP library: the form with a worker needs none."""

from __future__ import annotations

from typing import Protocol

from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry


class ApiClient(Protocol):
    """Client for single requests to a board's API."""

    async def get(self, url: str, *, max_bytes: int) -> Received | FailedTry:
        """Send a request to one address of the API.

        Raises:
            StoppedError: The crawl is stopping, and the request would have to wait.
        """
        ...

    async def may_crawl(self, url: str) -> bool | None:
        """Return whether the robots.txt of the host allows an address; None if it cannot be read.

        Raises:
            StoppedError: The crawl is stopping, and the request would have to wait.
        """
        ...
