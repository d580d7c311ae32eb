"""Addresses of pictures whose files are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.http.ssrf_guard import origin_of
from alti2v.crawl.importing.sources.item import Item, derived_id
from alti2v.errors import UsageError
from alti2v.records import Post

PLACEHOLDERS = ("{id}", "{md5}", "{ext}", "{bucket}")
_USUAL = "jpg"  # extension of a picture whose row tells none


def is_address(text: str) -> bool:
    """Return whether an option is a web address instead of a folder."""
    return text.lower().startswith(("http://", "https://"))


def origin_of_pictures(address: str) -> str:
    """Return scheme, host and port of the address of pictures.

    Raises:
        UsageError: It is no web address, contains a password, or a placeholder that is not known.
    """
    rest = address
    for name in PLACEHOLDERS:
        rest = rest.replace(name, "")
    origin = origin_of(address)
    if origin is None:
        raise UsageError(
            "--pictures is not a web address that can be fetched: give http(s)://HOST/PATH without a password"
        )
    if "{" in rest or "}" in rest:
        raise UsageError(f"--pictures {address!r:.200}: the placeholders are {', '.join(PLACEHOLDERS)}")
    return origin


def with_addresses(items: Iterable[Item], pictures: str) -> Iterator[Item]:
    """Give items without a picture the address of one, so that it is fetched.

    Args:
        items: Items of a source. Those without an id get a number from their MD5.
        pictures: Address with placeholders, which is that of every picture; or one without, for items whose
            source gives no address: there, a picture is called ID.EXT.
    """
    for item in items:
        is_known = item.facts.id or item.facts.md5
        yield _to_fetch(item, pictures) if item.problem is Skip.NO_PICTURE and is_known else item


def _to_fetch(item: Item, pictures: str) -> Item:
    facts = item.facts
    has_address = facts.file_url is not None and "{" not in pictures
    facts = facts._replace(
        id=facts.id or derived_id(facts.md5 or ""),
        file_url=facts.file_url if has_address else address_of(facts, pictures),
    )
    return replace(item, facts=facts, problem=None)


def address_of(facts: Post, pictures: str) -> str:
    """Return the address of a picture; folders called after the id modulo 1000 are those of Danbooru2021."""
    pattern = pictures if "{" in pictures else f"{pictures.rstrip('/')}/{{id}}.{{ext}}"
    values = (str(facts.id or ""), facts.md5 or "", facts.file_ext or _USUAL, f"{facts.id % 1000:04}")
    for name, value in zip(PLACEHOLDERS, values, strict=True):
        pattern = pattern.replace(name, value)
    return pattern
