"""Tags of a Danbooru site: categories by the thousand, aliases and implications.

Sources: the site's help page "help:api" (`tags.json`, `tag_aliases.json`, `tag_implications.json`: 1000 rows
a page, `page=b<ID>` for those below a number), the program's own source for the names of the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.boards.response import JsonBody, classify
from alti2v.crawl.boards.values import clean_tag, integer, post_id
from alti2v.records import CATEGORY_OF_CODE, Category, Tag

PAGE_LIMIT = 1000
_NAMES_BYTES = 3_000  # escaped names in one address: many servers limit it to 4 or 8 kB


@dataclass(frozen=True, slots=True)
class Relation:
    """An active alias or implication; `number` is its id at the site."""

    number: int
    antecedent: str
    consequent: str


@dataclass(frozen=True, slots=True)
class RelationsPage:
    """A page of relations.

    Attributes:
        active: Active relations.
        lowest: Lowest number on the page, active or not; None if it is empty.
    """

    active: tuple[Relation, ...]
    lowest: int | None


@dataclass(frozen=True, slots=True)
class TagSite:
    """A Danbooru site; `base` is the address in front of every path."""

    base: str
    batch: ClassVar[int] = 100
    counts_are_the_boards: ClassVar[bool] = False

    def frequent_tags_url(self, page: int) -> str:
        """Return the address of a page of tags, the most frequent first."""
        return self._url("tags", {"search[order]": "count", "limit": PAGE_LIMIT, "page": page + 1})

    def tag_urls(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses of some tags; a tag with a comma needs an address of its own."""
        batches: list[list[str]] = [[]]
        for name in (name for name in names if "," not in name):
            if len(quote(",".join([*batches[-1], name]))) > _NAMES_BYTES:
                batches.append([])
            batches[-1].append(name)
        searches: list[dict[str, str | int]] = [
            {"search[name_comma]": ",".join(some)} for some in batches if some
        ]
        searches += [{"search[name]": name} for name in names if "," in name]
        return tuple(self._url("tags", search | {"limit": PAGE_LIMIT}) for search in searches)

    def read_tags(self, body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        """Read the tags in a response of the tag API; or return the refusal, or an unreadable response."""
        rows = _rows(body, status)
        return rows if not isinstance(rows, list) else tuple(_tag(row) for row in rows if row.get("name"))

    def relations_url(self, kind: str, *, below: int | None) -> str:
        """Return the address of a page of relations, newest first; `kind` is "aliases" or "implications"."""
        parameters: dict[str, str | int] = {"search[status]": "active", "limit": PAGE_LIMIT}
        if below is not None:
            parameters["page"] = f"b{below}"
        return self._url(f"tag_{kind}", parameters)

    def read_relations(self, body: bytes, *, status: int) -> RelationsPage | Refusal | Unreadable:
        """Read the active relations of an answer."""
        rows = _rows(body, status)
        if not isinstance(rows, list):
            return rows
        numbered = [(number, row) for row in rows if (number := post_id(row.get("id"))) is not None]
        active = tuple(
            Relation(number, clean_tag(str(row["antecedent_name"])), clean_tag(str(row["consequent_name"])))
            for number, row in numbered
            if row.get("status", "active") == "active"
            and row.get("antecedent_name")
            and row.get("consequent_name")
        )
        return RelationsPage(active, min((number for number, _ in numbered), default=None))

    def _url(self, what: str, parameters: Mapping[str, str | int]) -> str:
        return f"{self.base}/{what}.json?{urlencode(parameters, quote_via=quote)}"


def _rows(body: bytes, status: int) -> list[Mapping[str, Any]] | Refusal | Unreadable:
    read = classify(body)
    if isinstance(read, JsonBody) and isinstance(read.value, list):
        return [row for row in read.value if isinstance(row, Mapping)]
    if isinstance(read, Refusal | Unreadable):
        return read
    return Unreadable(f"not a list (status {status})")


def _tag(row: Mapping[str, Any]) -> Tag:
    code = integer(row.get("category"))
    category = CATEGORY_OF_CODE.get(-1 if code is None else code, Category.UNKNOWN)
    return Tag(name=clean_tag(str(row["name"])), category=category, count=integer(row.get("post_count")) or 0)
