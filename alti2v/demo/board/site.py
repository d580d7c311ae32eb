"""What both dialects of the stand-in board share: its posts, its pictures, its search, its counters."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from alti2v.demo.board.faults import Faults, chance
from alti2v.demo.board.picture_cache import Pictures, newest_first
from alti2v.demo.board.posts import BoardPost, BoardPosts
from alti2v.demo.board.queries import ParsedSearch
from alti2v.demo.board.request_log import Traffic
from alti2v.demo.board.searches import Catalogue, Search, md5_terms
from alti2v.demo.drawing.corpus import Corpus, categories
from alti2v.errors import UsageError
from alti2v.records import Tag

DialectName = Literal["gelbooru", "danbooru"]

# The head of an MP4 file (ISO/IEC 14496-12, 4.3): enough for `file`, and no video behind it.
_VIDEO_HEAD = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41\x00\x00\x00\x08free"
_MOST_PICTURES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardConfig:
    """Which board to be.

    Attributes:
        posts: how many there are at the start, >= 0.
        seed: of ids, names, pictures and faults.
        pictures: how many of the posts are distinct drawings; None: all, but at most 2000.
        dialect: "gelbooru" is safebooru.org's software, "danbooru" safebooru.donmai.us'.
        host, port: where to listen; port 0 takes a free one.
        drawing_processes: how many processes draw, ahead of demand once somebody lists posts. 0: a thread of
            this process draws what is asked for; None: as many as there are cores for `serve_board`, else 0.
        keep_targets: whether `Traffic.targets` counts every address; it grows with each new one.
    """

    posts: int = 2000
    seed: int = 2017
    pictures: int | None = None
    dialect: DialectName = "gelbooru"
    faults: Faults = field(default_factory=Faults)
    host: str = "127.0.0.1"
    port: int = 0
    drawing_processes: int | None = None
    keep_targets: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.posts <= 10**9:
            raise UsageError(f"a board of {self.posts} posts is not possible: give 0 to 1,000,000,000")
        if self.pictures is not None and self.pictures < 1:
            raise UsageError(f"{self.pictures} pictures are too few to show: give at least 1")
        if self.dialect not in ("gelbooru", "danbooru"):
            raise UsageError(f"dialect {self.dialect!r} is unknown: choose gelbooru or danbooru")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port {self.port} is outside [0, 65535]: choose another")
        if self.drawing_processes is not None and self.drawing_processes < 0:
            raise UsageError(f"{self.drawing_processes} drawing processes are not possible: give 0 or more")

    @property
    def corpus(self) -> Corpus:
        """The pictures that the posts show."""
        pictures = self.pictures or max(1, min(self.posts, _MOST_PICTURES))
        return Corpus(seed=self.seed, pictures=pictures)


@dataclass(slots=True)
class Site:
    """A board at work.

    Attributes:
        pictures: None until the board runs.
        listings: requests for posts so far; faults go by their number.
        tries: how often each fault has struck each address.
    """

    config: BoardConfig
    posts: BoardPosts
    catalogue: Catalogue
    traffic: Traffic
    pictures: Pictures | None = None
    listings: int = 0
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    _tag_searches: dict[str, Search] = field(default_factory=dict)
    _ahead: asyncio.Task[None] | None = None

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.config.faults

    def begin_listing(self) -> int:
        """Count a request for posts, and let happen what its number brings; returns the number, from 1."""
        self.listings += 1
        self.posts.let_time_pass(self.listings)
        if self.config.drawing_processes and self._ahead is None:
            self._ahead = asyncio.get_running_loop().create_task(self._draw_ahead())
        return self.listings

    def end(self) -> None:
        """Stop drawing ahead."""
        if self._ahead is not None:
            self._ahead.cancel()

    async def resolve(self, query: ParsedSearch) -> Search:
        """Prepare a search."""
        there = list(range(self.posts.shown - 1, -1, -1)) if md5_terms(query) else []
        hashes = {md5: await self.drawn.index_of_md5(md5, there) for md5 in md5_terms(query)}
        return self.catalogue.resolve(query, hashes)

    @property
    def drawn(self) -> Pictures:
        """The pictures of a board that runs."""
        assert self.pictures is not None, "the board does not run yet"
        return self.pictures

    def count(self, search: Search) -> int:
        """How many posts match now."""
        return self.catalogue.count(search, shown=self.posts.shown, gone=self.posts.gone)

    def page(self, search: Search, *, offset: int, limit: int) -> list[int]:
        """The indices of matching posts, in the order of the search."""
        return self.catalogue.page(
            search, offset=offset, limit=limit, shown=self.posts.shown, gone=self.posts.gone
        )

    def tags(self) -> list[tuple[int, Tag]]:
        """Every tag that a post shows, with its id, and the number of posts that show it now."""
        if not self._tag_searches:
            by_tag = self.catalogue.pictures_by_tag()
            self._tag_searches = {name: Search(pictures=tuple(sorted(by_tag[name]))) for name in by_tag}
        return [
            (tag_id, Tag(name=name, category=category, count=count))
            for tag_id, (name, category) in enumerate(categories().items(), 1)
            if name in self._tag_searches and (count := self.count(self._tag_searches[name]))
        ]

    async def draw(self, indices: Iterable[int]) -> None:
        """See that the pictures of these posts are drawn, so that `md5` and `size` can answer."""
        pictures = self.posts.corpus.pictures
        await self.drawn.draw(index % pictures for index in indices)

    def md5(self, index: int) -> str:
        """Of the original as the board imported it, 32 hex digits."""
        if self.posts.is_video(index):
            return hashlib.md5(_video(index), usedforsecurity=False).hexdigest()
        return self.drawn.md5(index)

    def size(self, index: int) -> int:
        """Of the original, in bytes."""
        return len(_video(index)) if self.posts.is_video(index) else self.drawn.original_size(index)

    async def original(self, post: BoardPost) -> bytes | None:
        """The original's bytes, with the faults of good; None if it is missing."""
        index = post.ordinal
        if self._is_struck("missing_images", self.faults.missing_images, index):
            return None
        content = _video(index) if post.file_ext == "mp4" else await self.drawn.original(index)
        if self._is_struck("md5_mismatch_rate", self.faults.md5_mismatch_rate, index):
            return content + b"\nimported anew"
        return content

    async def sample(self, post: BoardPost) -> bytes | None:
        """The sample's bytes; None if there is none, or if it is missing."""
        if not post.has_sample or self._is_struck("missing_samples", self.faults.missing_samples, post.ordinal):
            return None
        return await self.drawn.sample(post.ordinal)

    def has_wrong_type(self, index: int) -> bool:
        """Whether the files of the post are sent with a wrong Content-Type."""
        return self._is_struck("wrong_content_type", self.faults.wrong_content_type, index)

    def strikes(self, fault: str, rate: float, target: str) -> bool:
        """Whether a fault that heals strikes this try of an address."""
        if not rate or chance(self.config.seed, fault, target) >= rate:
            return False
        self.tries[fault, target] += 1
        if self.faults.heals_after is not None and self.tries[fault, target] > self.faults.heals_after:
            return False
        self.traffic.struck[fault] += 1
        return True

    def _is_struck(self, fault: str, rate: float, index: int) -> bool:
        is_struck = rate > 0 and chance(self.config.seed, fault, index) < rate
        self.traffic.struck[fault] += is_struck
        return is_struck

    async def _draw_ahead(self) -> None:
        """Draw every picture in the order of a listing, as many at once as there are processes."""
        numbers = newest_first(self.posts.shown, self.posts.corpus.pictures)

        async def draw() -> None:
            for number in numbers:
                await self.drawn.draw([number])

        await asyncio.gather(*(draw() for _ in range(self.config.drawing_processes or 0)))


def _video(index: int) -> bytes:
    return _VIDEO_HEAD + b"post %d" % index


SITE: web.AppKey[Site] = web.AppKey("site", Site)
