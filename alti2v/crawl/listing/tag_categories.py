"""The categories of a store's tags, requested from a tag API and kept.

Pages of the most frequent tags come first, a thousand answers for one request, as long as they answer more
than requests by name would. The remaining tags are then requested by name, most frequent first.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.gelbooru_tags import read_tag_list
from alti2v.crawl.boards.protocol import Refusal, TagBoard, Unreadable
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.listing.api import Api
from alti2v.crawl.listing.requests import describe
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.tag_counts import total_counts
from alti2v.numerals import counted
from alti2v.records import Category, Tag

_WORTH = 2  # requests by name that a page has to save
_STRANGERS = 5  # answers in a row with other tags only, after which requests by name are given up


async def read_tag_categories(
    api: Api, source: TagBoard, *, min_count: int, on_progress: Callable[[int, int], None]
) -> str:
    """Request the category of every tag that is not known yet; continues where an earlier run stopped.

    Args:
        api: Access to requests and the ledger.
        source: Site with the tag API.
        min_count: Tags with fewer posts in the store are not requested by name.
        on_progress: Called with the number of known tags and the number of all tags.

    Returns:
        Description of what is missing; "" if nothing is.
    """
    counts = await api.thread.run(_counts, api.ledger)
    known = set(await api.thread.run(api.ledger.tags.categories))
    if source.counts_are_the_boards:
        known -= await api.thread.run(api.ledger.tags.unknown_elsewhere)  # the board itself may know them
    total = len(counts)

    def on_remaining(left: int) -> None:
        on_progress(total - left, total)

    remaining = await _read_frequent(api, source, counts.keys() - known, on_remaining=on_remaining)
    names = [name for name, count in counts.most_common() if name in remaining and count >= min_count]
    done, unanswered, strangers = total - len(remaining), 0, 0
    for batch in _batches(names, source.batch):
        answer = await _read_by_name(api, source, batch)
        if not isinstance(answer, list):
            # The reason that a host was given up is reported with the host.
            is_down = isinstance(answer, FailedTry) and answer.kind is FailKind.HOST_DOWN
            reason = "" if is_down else f" ({describe(answer)})"
            return f"the categories of {counted(total - done, 'tag')}{reason}"
        await _record(api, source, answer)
        done += len(answer)
        unanswered += len(batch) - len(answer)
        strangers = 0 if answer else strangers + 1
        on_progress(done, total)
        if strangers == _STRANGERS:
            break
    if not unanswered:
        return ""
    tags = counted(total - done, "tag")
    return f"the categories of {tags} (the tag API answers with other tags than it is asked for)"


def _batches(names: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


async def _read_frequent(
    api: Api, source: TagBoard, wanted: set[str], *, on_remaining: Callable[[int], None]
) -> set[str]:
    """Read pages of frequent tags while they are worth it; return the tags that are still unknown.

    First from the tag API, a thousand a request. If it does not list the most frequent tags first, then from
    the board's web page of all tags, fifty a request, if robots.txt allows it.
    """
    left, is_by_count = await _read_pages(
        api,
        source,
        wanted,
        lambda page: api.requests.send((source.frequent_tags_url(page),), source.read_tags),
        on_remaining=on_remaining,
    )
    if is_by_count or not left or not isinstance(source, Gelbooru):
        return left
    if await api.requests.client.may_crawl(source.tag_list_url(0)) is not True:
        return left
    # A page that fails is no reason to wait: the API knows each name.
    left, _ = await _read_pages(
        api,
        source,
        left,
        lambda page: api.requests.send_once(source.tag_list_url(page), read_tag_list),
        on_remaining=on_remaining,
    )
    return left


async def _read_pages(
    api: Api,
    source: TagBoard,
    wanted: set[str],
    read: Callable[[int], Awaitable[tuple[Tag, ...] | Refusal | Unreadable | FailedTry]],
    *,
    on_remaining: Callable[[int], None],
) -> tuple[set[str], bool]:
    """Read pages of tags while they are worth it.

    Returns:
        The tags that are still unknown, and whether the most frequent tags came first.
    """
    seen: set[str] = set()
    is_by_count = False
    for page in itertools.count():
        if not wanted:
            break
        answer = await read(page)
        if not isinstance(answer, tuple):
            break  # an undocumented request: other requests may still work
        names = {tag.name for tag in answer}
        useful = [tag for tag in answer if tag.name in wanted]
        await _record(api, source, useful)
        wanted = wanted - names
        is_by_count = _is_by_count(answer) and not names <= seen
        if not is_by_count:
            break
        seen |= names
        on_remaining(len(wanted))
        if len(useful) < _WORTH * source.batch:
            break
    return wanted, is_by_count


async def _read_by_name(
    api: Api, source: TagBoard, names: Sequence[str]
) -> list[Tag] | Refusal | Unreadable | FailedTry:
    """Request tags by name; a name that the API does not know is of an unknown category.

    Names are left out if the API answers with other tags in their place.
    """
    answers: dict[str, Tag] = {}
    spellings = set(map(_spelling, names))
    are_strangers = False
    for url in source.tag_urls(names):
        if len(answers) == len(names):
            break
        answer = await api.requests.send((url,), source.read_tags)
        if not isinstance(answer, tuple):
            return answer
        answers |= {tag.name: tag for tag in answer if tag.name in names}
        are_strangers |= any(_spelling(tag.name) not in spellings for tag in answer)
    if are_strangers:  # the API ignores the names, which says nothing about tags that it did not answer with
        return [answers[name] for name in names if name in answers]
    return [answers.get(name) or Tag(name=name, category=Category.UNKNOWN, count=0) for name in names]


def _spelling(name: str) -> str:
    """Reduce a name to what databases compare: without case and accents (MySQL, "Unicode Character Sets")."""
    parts = unicodedata.normalize("NFKD", name.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


async def _record(api: Api, source: TagBoard, tags: Iterable[Tag]) -> None:
    def commit() -> None:
        with api.ledger.transaction():
            api.ledger.tags.add(tags, counted=source.counts_are_the_boards)

    await api.thread.run(commit)


def _counts(ledger: Ledger) -> Counter[str]:
    """Count the posts of each tag whose category is not in any post."""
    groups = total_counts(ledger)
    told = set().union(*(names for category, names in groups.items() if category != Category.UNKNOWN.value))
    unknown = groups.get(Category.UNKNOWN.value, Counter())
    return Counter({name: count for name, count in unknown.items() if name not in told})


def _is_by_count(tags: tuple[Tag, ...]) -> bool:
    """Return whether the most frequent tags come first, so that the next page has less frequent ones."""
    return bool(tags) and all(one.count >= other.count for one, other in itertools.pairwise(tags))
