"""State that both dialects of the stand-in board share: posts, pictures, search, counters."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from aiohttp import web

from alti2v.demo.board.faults import Faults, chance
from alti2v.demo.board.picture_cache import Pictures, newest_first
from alti2v.demo.board.posts import BoardPost, BoardPosts
from alti2v.demo.board.queries import ParsedSearch
from alti2v.demo.board.request_log import Traffic
from alti2v.demo.board.searches import Catalogue, Search, md5_terms
from alti2v.demo.drawing.corpus import Corpus, categories
from alti2v.option_bounds import require_between, require_choice
from alti2v.records import Tag

DialectName = Literal["gelbooru", "danbooru"]

# The head of an MP4 file (ISO/IEC 14496-12, 4.3), which `file` recognises; no video follows.
_VIDEO_HEAD = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41\x00\x00\x00\x08free"
_MAX_PICTURES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardConfig:
    """Configuration of a stand-in board.

    Attributes:
        posts: Number of posts at the start, >= 0.
        seed: Seed of ids, names, pictures and faults.
        pictures: Number of distinct drawings; None for one a post, but at most 2000.
        dialect: "gelbooru" is safebooru.org's software, "danbooru" that of safebooru.donmai.us.
        faults: Fault switches.
        host, port: Address to listen on; port 0 takes a free one.
        drawing_processes: Number of processes that draw, ahead of demand once posts are listed. With 0, a
            thread of this process draws on demand. None means one per core for `serve_board`, else 0.
        keep_targets: True to count every address in `Traffic.targets`, which grows with each new one.
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
        require_between("--posts", self.posts, 0, 10**9)
        require_between("--pictures", self.pictures, 1)
        require_choice("--dialect", self.dialect, get_args(DialectName))
        require_between("--port", self.port, 0, 65_535)
        require_between("drawing_processes", self.drawing_processes, 0)

    @property
    def corpus(self) -> Corpus:
        """Pictures that the posts show."""
        pictures = self.pictures or max(1, min(self.posts, _MAX_PICTURES))
        return Corpus(seed=self.seed, pictures=pictures)


@dataclass(slots=True)
class Site:
    """A running board.

    Attributes:
        pictures: Cache of drawn pictures; None until the board runs.
        listings: Number of requests for posts so far.
        tries: Number of tries that each fault has seen, by fault and address.
        tag_requests: Number of requests to the tag API that named a tag.
    """

    config: BoardConfig
    posts: BoardPosts
    catalogue: Catalogue
    traffic: Traffic
    pictures: Pictures | None = None
    listings: int = 0
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    tag_requests: int = 0
    _avif: dict[int, bytes] = field(default_factory=dict)
    _tag_searches: dict[str, Search] = field(default_factory=dict)
    _ahead: asyncio.Task[None] | None = None

    @property
    def faults(self) -> Faults:
        """Fault switches of the board."""
        return self.config.faults

    def begin_listing(self) -> int:
        """Count a request for posts and apply the changes due at it; return its number, from 1."""
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
        return self.catalogue.resolve(query, {md5: await self.index_of_md5(md5) for md5 in md5_terms(query)})

    async def index_of_md5(self, md5: str) -> int | None:
        """Return the index of the newest post whose original has this md5; draws every picture."""
        newest_first = range(self.posts.shown - 1, -1, -1)
        files = [self.posts.file_index(index) for index in newest_first]
        file_index = await self.drawn.index_of_md5(md5, files)
        return None if file_index is None else self.posts.post_of_file(file_index)

    @property
    def drawn(self) -> Pictures:
        """Cache of drawn pictures; the board must be running."""
        assert self.pictures is not None, "the board is not running yet"
        return self.pictures

    def count(self, search: Search) -> int:
        """Number of posts that match now."""
        return self.catalogue.count(search, shown=self.posts.shown, gone=self.posts.gone)

    def page(self, search: Search, *, offset: int, limit: int) -> list[int]:
        """Indices of matching posts, in the order of the search."""
        return self.catalogue.page(
            search, offset=offset, limit=limit, shown=self.posts.shown, gone=self.posts.gone
        )

    def tags(self) -> list[tuple[int, Tag]]:
        """All tags in use, each with its id and its present number of posts."""
        if not self._tag_searches:
            by_tag = self.catalogue.pictures_by_tag()
            self._tag_searches = {name: Search(pictures=tuple(sorted(by_tag[name]))) for name in by_tag}
        return [
            (tag_id, Tag(name=name, category=category, count=count))
            for tag_id, (name, category) in enumerate(categories().items(), 1)
            if name in self._tag_searches and (count := self.count(self._tag_searches[name]))
        ]

    async def draw(self, indices: Iterable[int]) -> None:
        """Draw the pictures of these posts unless they are drawn; `md5` and `size` need them."""
        indices = list(indices)
        pictures = self.posts.corpus.pictures
        await self.drawn.draw(index % pictures for index in indices)
        for index in indices:
            number = index % pictures
            if self.posts.is_avif(index) and number not in self._avif:
                shown = self.posts.picture(number)
                size = shown.width, shown.height
                self._avif[number] = await self.drawn.reduced(number, size, image_format="AVIF")

    def md5(self, index: int) -> str:
        """MD5 of the original as listed, 32 hex digits."""
        content = self._undrawn_original(index)
        if content is not None:
            return hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self.drawn.md5(self.posts.file_index(index))

    def size(self, index: int) -> int:
        """Size of the original, bytes."""
        content = self._undrawn_original(index)
        return self.drawn.original_size(self.posts.file_index(index)) if content is None else len(content)

    async def original(self, post: BoardPost) -> bytes | None:
        """Bytes of the original with its lasting faults; None if it is missing."""
        index = post.ordinal
        content = self._undrawn_original(index)
        if content is None:
            content = await self.drawn.original(self.posts.file_index(index))
        if self._is_struck("missing_images", self.faults.missing_images, index):
            return self._instead_of(content)
        if self._is_struck("md5_mismatch_rate", self.faults.md5_mismatch_rate, index):
            return content + b"\nimported anew"
        return content

    async def sample(self, post: BoardPost) -> bytes | None:
        """Bytes of the sample; None if it is missing, or the post has none."""
        content = await self.drawn.sample(self.posts.file_index(post.ordinal)) if post.has_sample else None
        if content and self._is_struck("missing_samples", self.faults.missing_samples, post.ordinal):
            return self._instead_of(content)
        return content

    def _instead_of(self, content: bytes) -> bytes | None:
        """Half of a missing file if the faults want it cut, else None."""
        return content[: len(content) // 2] if self.faults.missing_form == "cut" else None

    def _undrawn_original(self, index: int) -> bytes | None:
        """Bytes of an original that is a video or an AVIF file; None for every other."""
        if self.posts.is_video(index):
            return _VIDEO_HEAD + b"post %d" % self.posts.file_index(index)
        if self.posts.is_avif(index):
            label = b"post %d" % self.posts.file_index(index)
            free_box = (len(label) + 8).to_bytes(4, "big") + b"free" + label  # ISO/IEC 14496-12, 8.1.2
            return self._avif[index % self.posts.corpus.pictures] + free_box
        return None

    def has_wrong_type(self, index: int) -> bool:
        """Return whether the files of the post are sent with a wrong Content-Type."""
        return self._is_struck("wrong_content_type", self.faults.wrong_content_type, index)

    def strikes(self, fault: str, rate: float, target: str) -> bool:
        """Return whether a temporary fault affects this try of an address."""
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
        """Draw every picture in the order of a listing, one per drawing process at a time."""
        numbers = newest_first(self.posts.shown, self.posts.corpus.pictures)

        async def draw() -> None:
            for number in numbers:
                await self.drawn.draw([number])

        await asyncio.gather(*(draw() for _ in range(self.config.drawing_processes or 0)))


SITE: web.AppKey[Site] = web.AppKey("site", Site)
