"""The categories of a store's tags, asked from a tag API; what it said is kept for ever.

Pages of the most frequent tags come first, a thousand answers for one request, for as long as they
tell more than questions by name would; then the tags that are left are asked for by name, most frequent first.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alti2v.crawl.boards.protocol import Refusal, TagBoard, Unreadable
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.crawl.store.arrow import count_tags
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.writer_thread import SingleThread
from alti2v.records import Category, Tag

_WORTH = 2  # questions by name that a page has to save


@dataclass(frozen=True, slots=True, kw_only=True)
class Categoriser:
    """What asking for categories needs.

    Attributes:
        min_count: tags that fewer posts of the store carry are not asked for one by one.
        on_progress: told how many of how many tags are settled.
    """

    board: TagBoard
    asker: Asker
    thread: SingleThread
    ledger: Ledger
    min_count: int
    on_progress: Callable[[int, int], None]

    async def run(self) -> str:
        """Ask for every tag that is not known yet; resumes where it stopped.

        Returns:
            What is missing, in words; empty if nothing is.
        """
        counts = await self.thread.run(_counts, self.ledger)
        known = set(await self.thread.run(self.ledger.known_tags))
        if self.board.counts_are_the_boards:
            # What another site did not know, the board may know.
            known -= await self.thread.run(self.ledger.tags_unknown_elsewhere)
        wanted = counts.keys() - known
        total = len(counts)
        page = 0
        seen: set[str] = set()
        while wanted:
            answer = await self.asker.ask((self.board.frequent_tags_url(page),), self._read)
            if not isinstance(answer, tuple):
                break  # an undocumented question: single ones may still work
            names = {tag.name for tag in answer}
            found = [tag for tag in answer if tag.name in wanted]
            if names <= seen or not _is_by_count(answer):
                await self._keep(found)
                wanted -= names
                break
            seen |= names
            await self._keep(found)
            wanted -= names
            self.on_progress(total - len(wanted), total)
            if len(found) < _WORTH * self.board.batch:
                break
            page += 1
        singles = [name for name, count in counts.most_common() if name in wanted and count >= self.min_count]
        return await self._ask_each(singles, done=total - len(wanted), total=total)

    async def _ask_each(self, names: Sequence[str], *, done: int, total: int) -> str:
        size = self.board.batch
        for start in range(0, len(names), size):
            answer = await self._ask_by_name(names[start : start + size])
            if not isinstance(answer, list):
                is_down = isinstance(answer, FailedTry) and answer.kind is FailKind.HOST_DOWN  # said elsewhere
                reason = "" if is_down else f" ({in_words(answer)})"
                return f"the categories of {total - done - start:,} tags{reason}"
            await self._keep(answer)
            self.on_progress(done + start + len(answer), total)
        return ""

    async def _ask_by_name(self, names: Sequence[str]) -> list[Tag] | Refusal | Unreadable | FailedTry:
        found: dict[str, Tag] = {}
        for url in self.board.tag_urls(names):
            if len(found) == len(names):
                break
            answer = await self.asker.ask((url,), self._read)
            if not isinstance(answer, tuple):
                return answer
            # A board that ignores the name answers with some other tag.
            found |= {tag.name: tag for tag in answer if tag.name in names}
        return [found.get(name) or Tag(name=name, category=Category.UNKNOWN, count=0) for name in names]

    async def _keep(self, tags: Iterable[Tag]) -> None:
        def keep() -> None:
            with self.ledger.transaction():
                self.ledger.add_tags(tags, counted=self.board.counts_are_the_boards)

        await self.thread.run(keep)

    def _read(self, body: bytes, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        return self.board.read_tags(body, status=status)


def _counts(ledger: Ledger) -> Counter[str]:
    counts: Counter[str] = Counter()
    for of_group in count_tags(ledger).values():
        counts.update(of_group)
    return counts


def _is_by_count(tags: tuple[Tag, ...]) -> bool:
    """Whether the most frequent come first, so that the next page is less frequent still."""
    return bool(tags) and all(one.count >= other.count for one, other in itertools.pairwise(tags))
