"""Tag aliases and implications, read from a Danbooru site into the tables of a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alti2v.crawl.boards.danbooru_tags import Relation, RelationsPage, TagSite
from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Api
from alti2v.crawl.listing.requests import describe
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.storage.checksum import file_sha256
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS, Table
from alti2v.storage.layout import ALIASES_FILE, IMPLICATIONS_FILE
from alti2v.storage.table import write_table

_TABLES = {"aliases": (ALIASES_FILE, TAG_ALIASES), "implications": (IMPLICATIONS_FILE, TAG_IMPLICATIONS)}


async def read_tag_relations(
    api: Api, site: TagSite, store: Path, *, on_progress: Callable[[int], None]
) -> str:
    """Replace both tables of a store with the site's relations; keep one that cannot be read to its end.

    `on_progress` is called with the number of relations read.

    Returns:
        Description of what is missing; "" if nothing is.
    """
    done = 0

    def on_page(count: int) -> None:
        on_progress(done + count)

    for kind, (file, table) in _TABLES.items():
        relations = await _read(api, site, kind, on_page=on_page)
        if not isinstance(relations, dict):
            return f"tag {kind} ({describe(relations)})"
        done += len(relations)
        pairs = sorted({(relation.antecedent, relation.consequent) for relation in relations.values()})
        rows = [{"antecedent": one, "consequent": other} for one, other in pairs]
        await api.thread.run(_write, api.ledger, store / file, table, rows)
    return ""


async def _read(
    api: Api, site: TagSite, kind: str, *, on_page: Callable[[int], None]
) -> dict[int, Relation] | Refusal | Unreadable | FailedTry:
    """Read the active relations of one kind, page by page, by number."""
    relations: dict[int, Relation] = {}
    below: int | None = None
    while True:
        url = site.relations_url(kind, below=below)
        answer = await api.requests.send((url,), site.read_relations)
        if not isinstance(answer, RelationsPage):
            return answer
        if answer.lowest is None or (below is not None and answer.lowest >= below):
            return relations
        relations |= {relation.number: relation for relation in answer.active}
        below = answer.lowest
        on_page(len(relations))


def _write(ledger: Ledger, path: Path, table: Table, rows: list[dict[str, str]]) -> None:
    write_table(path, table, rows)
    ledger.state.commit(StateKey.WRITTEN, file_sha256(path), name=path.name)
