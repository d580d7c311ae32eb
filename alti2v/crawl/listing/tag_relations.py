"""Tag aliases and implications, from a Danbooru site into the tables of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.boards.danbooru_tags import Relation, RelationsPage, TagSite
from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.writer_thread import SingleThread
from alti2v.storage.layout import ALIASES_FILE, IMPLICATIONS_FILE, TAG_ALIASES, TAG_IMPLICATIONS, Table
from alti2v.storage.table import write_table

STAMP = "written "  # + name -> SHA-256 of a table that was written; in the ledger's state
_WHERE = {"aliases": (ALIASES_FILE, TAG_ALIASES), "implications": (IMPLICATIONS_FILE, TAG_IMPLICATIONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationReader:
    """What reading relations needs; `on_progress` is told how many were read."""

    site: TagSite
    asker: Asker
    thread: SingleThread
    ledger: Ledger
    store: Path
    on_progress: Callable[[int], None]

    async def run(self) -> str:
        """Replace both tables by what the site says now; a table that cannot be read to its end stays.

        Returns:
            What is missing, in words; empty if nothing is.
        """
        done = 0
        for kind, (file, table) in _WHERE.items():
            found: dict[int, Relation] = {}
            below: int | None = None
            while True:
                url = self.site.relations_url(kind, below=below)
                answer = await self.asker.ask((url,), self._read)
                if not isinstance(answer, RelationsPage):
                    return f"tag {kind} ({in_words(answer)})"
                if answer.lowest is None or (below is not None and answer.lowest >= below):
                    break
                found |= {relation.number: relation for relation in answer.active}
                below = answer.lowest
                self.on_progress(done + len(found))
            done += len(found)
            pairs = sorted({(relation.antecedent, relation.consequent) for relation in found.values()})
            rows = [{"antecedent": one, "consequent": other} for one, other in pairs]
            await self.thread.run(self._write, file, table, rows)
        return ""

    def _write(self, file: str, table: Table, rows: list[dict[str, str]]) -> None:
        write_table(self.store / file, table, rows)
        with self.ledger.transaction():
            self.ledger.set_state(f"{STAMP}{file}", stamp_of(self.store / file))

    def _read(self, body: bytes, status: int) -> RelationsPage | Refusal | Unreadable:
        return self.site.read_relations(body, status=status)


def stamp_of(path: Path) -> str:
    """What tells a table from any other: its SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
