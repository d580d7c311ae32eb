"""The categories of a store's tags, asked from the board's tag API; what it said is kept for ever.

Pages of the most frequent tags come first, a thousand answers for one request, for as long as they
tell more than single questions would; then one question per tag that is left, most frequent first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from alti2v.crawl.asking import Asker, in_words
from alti2v.crawl.boards.board import Refusal, TagBoard, Unreadable
from alti2v.crawl.ledger import Ledger
from alti2v.crawl.policy import FailKind, Failure
from alti2v.crawl.single_thread import SingleThread
from alti2v.records import Category, Tag

_WORTH = 2  # wanted tags in a page below which single questions are no dearer


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
        counts = await self.thread.run(self.ledger.tag_counts)
        known = await self.thread.run(self.ledger.known_tags)
        wanted = {name for name in counts if name not in known}
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
            if len(found) < _WORTH:
                break
            page += 1
        singles = [name for name, count in counts.most_common() if name in wanted and count >= self.min_count]
        return await self._ask_each(singles, done=total - len(wanted), total=total)

    async def _ask_each(self, names: Iterable[str], *, done: int, total: int) -> str:
        for asked, name in enumerate(names):
            answer = await self._ask_one(name)
            if not isinstance(answer, Tag):
                is_down = isinstance(answer, Failure) and answer.kind is FailKind.HOST_DOWN  # said elsewhere
                reason = "" if is_down else f" ({in_words(answer)})"
                return f"the categories of {total - done - asked:,} tags{reason}"
            await self._keep([answer])
            self.on_progress(done + asked + 1, total)
        return ""

    async def _ask_one(self, name: str) -> Tag | Refusal | Unreadable | Failure:
        for url in self.board.tag_urls(name):
            answer = await self.asker.ask((url,), self._read)
            if not isinstance(answer, tuple):
                return answer
            # A board that ignores the name answers with some other tag.
            found = next((tag for tag in answer if tag.name == name), None)
            if found is not None:
                return found
        return Tag(name=name, category=Category.UNKNOWN, count=0)

    async def _keep(self, tags: Iterable[Tag]) -> None:
        def keep() -> None:
            with self.ledger.transaction():
                self.ledger.add_tags(tags)

        await self.thread.run(keep)

    def _read(self, body: bytes, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        return self.board.read_tags(body, status=status)


def _is_by_count(tags: tuple[Tag, ...]) -> bool:
    """Whether the most frequent come first, so that the next page is less frequent still."""
    return bool(tags) and all(one.count >= other.count for one, other in itertools.pairwise(tags))
