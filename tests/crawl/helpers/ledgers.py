"""The rows of a ledger, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from alti2v.crawl.store.ledger import Ledger


def ledger_rows(ledger: Ledger) -> Sequence[sqlite3.Row]:
    """Return the rows of all posts, in the order of listing."""
    return ledger.select("SELECT * FROM posts ORDER BY seq")
