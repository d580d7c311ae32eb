"""The posts of the stand-in board: which exist now, and the facts of each.

A post is a pure function of the board's seed and its index. The only state is how many have arrived, which have
vanished, and whose files were replaced. No HTTP, no drawing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from alti2v.demo.board.faults import Faults, chance
from alti2v.demo.board.ids import count_below, id_of, index_of
from alti2v.demo.board.picture_cache import SAMPLE_WIDTH
from alti2v.demo.drawing.corpus import Corpus, Illustration, illustration

# The board is about sixteen years old whatever its size, but posts are at most three hours apart.
_LIFETIME_S = 500_000_000
_MAX_BETWEEN_S = 10_800
_POSTS_PER_DIRECTORY = 1000
_MAX_UNCHANGED_S = 2_592_000
# Parameters whose names begin like HTML entities that need no semicolon (HTML standard, 13.5).
_SOURCE_QUERY = "?id=5&section=2&timestamp=17&region=eu&param=x"
_MAX_POSTS = 10**9
# Ids of ghosts are far above every real one, and still fit the 31 bits of clients' types.
_GHOST_IDS = 2_000_000_000


class BoardPost(NamedTuple):
    """Post of the stand-in board.

    Attributes:
        ordinal: Index of the post; posts are counted from 0, oldest first.
        id: Id that the board shows; there are holes.
        picture: Number of the picture.
        shown: Description of the picture.
        directory, stem: Where the files are; `stem` is 40 hex digits and no hash of the bytes.
        quote: What follows the stem in file names: nothing, or a percent-encoded apostrophe.
        query: What follows file URLs: nothing, or a query beginning with `?`.
        file_ext: Extension of the original, without the dot.
        stated_ext: Extension that the API states; None if it states none.
        parent_id: Id of the post that this one is a version of; None if it is not, or nobody said so.
        created_at, changed_at: Unix seconds.
    """

    ordinal: int
    id: int
    picture: int
    shown: Illustration
    directory: int
    stem: str
    quote: str
    query: str
    file_ext: str
    stated_ext: str | None
    parent_id: int | None
    created_at: int
    changed_at: int

    @property
    def has_sample(self) -> bool:
        """True if there is a sample that is not the original itself."""
        return self.shown.width > SAMPLE_WIDTH and self.file_ext != "mp4"


@dataclass(slots=True)
class BoardPosts:
    """The posts of a board.

    Attributes:
        seed: Seed of ids, names and faults.
        corpus: The pictures that posts show, in turn.
        faults: Switches that decide which posts are ghosts, videos, deleted, hidden and so on.
        shown: Number of posts that have ever arrived.
        gone: Indices of posts that have vanished.
        replaced: Number of the request for posts at which a file was last replaced, by index.
        picture: Description of a picture, by its number.
    """

    seed: int
    corpus: Corpus
    faults: Faults
    shown: int
    gone: set[int] = field(default_factory=set)
    replaced: dict[int, int] = field(default_factory=dict)
    picture: Callable[[int], Illustration] = field(init=False)
    _parents: frozenset[int] | None = None
    _between_s: int = field(init=False)
    _opened_at: int = field(init=False)

    def __post_init__(self) -> None:
        # At about 4 kB each, the bound fits the usual 2,000 pictures and keeps larger boards at 20 MB.
        self.picture = lru_cache(maxsize=4096)(self._picture)
        self._between_s = min(_MAX_BETWEEN_S, _LIFETIME_S // max(1, self.shown))
        self._opened_at = self.picture(0).created_at

    def post(self, index: int) -> BoardPost:
        """Facts of the post at `index`."""
        turn, number = divmod(index, self.corpus.pictures)
        shown = self.picture(number)
        created_at = self._opened_at + index * self._between_s
        changed_at = created_at + number * 7919 % _MAX_UNCHANGED_S
        if index in self.replaced:
            now = self._opened_at + self.shown * self._between_s + _MAX_UNCHANGED_S
            changed_at = now + self.replaced[index]
        stem, file_ext, parent_id = self._stem(index), self._file_ext(index, shown), None
        if shown.is_child and shown.near_duplicate_of is not None:
            parent_id = id_of(self.seed, turn * self.corpus.pictures + shown.near_duplicate_of)
        return BoardPost(
            index,
            id_of(self.seed, index),
            number,
            shown,
            index // _POSTS_PER_DIRECTORY + 1,
            stem,
            "%27" if self.faults.quoted_urls else "",
            f"?e={changed_at}&m={stem[:8]}" if self.faults.signed_urls else "",
            file_ext,
            self._stated_ext(index, file_ext),
            parent_id,
            created_at,
            changed_at,
        )

    def find(self, post_id: int) -> int | None:
        """Index of the post with this id, if it exists now."""
        index = index_of(self.seed, post_id)
        return index if index is not None and self.is_there(index) else None

    def find_stem(self, directory: int, stem: str) -> int | None:
        """Index of the post whose files have this name, if it exists now."""
        try:
            index = int(stem[32:], 16)
        except ValueError:
            return None
        is_it = stem == self._stem(index) and directory == index // _POSTS_PER_DIRECTORY + 1
        return index if is_it and self.is_there(index) else None

    def is_there(self, index: int) -> bool:
        """Return whether the post has arrived and not vanished."""
        return 0 <= index < self.shown and index not in self.gone

    def newest(self) -> int | None:
        """Index of the newest post; None on an empty board."""
        return next((index for index in range(self.shown - 1, -1, -1) if index not in self.gone), None)

    def id(self, index: int) -> int:
        """Id of the post at `index`."""
        return id_of(self.seed, index)

    def index_below(self, post_id: int) -> int:
        """Number of posts that have ever had an id below this one."""
        return min(self.shown, count_below(self.seed, post_id))

    def has_children(self, post: BoardPost) -> bool:
        """Return whether another post names this one as its parent."""
        if self._parents is None:
            pictures = map(self.picture, range(self.corpus.pictures))
            self._parents = frozenset(
                shown.near_duplicate_of
                for shown in pictures
                if shown.is_child and shown.near_duplicate_of is not None
            )
        return post.picture in self._parents

    def ghost_id(self, index: int) -> int | None:
        """Id of the post as a ghost, half of them far too high; None if the post is not a ghost."""
        if not self.faults.ghost_rate or chance(self.seed, "ghost", index) >= self.faults.ghost_rate:
            return None
        if chance(self.seed, "ghost id", index) < 0.5:
            return _GHOST_IDS + index
        return id_of(self.seed, index)

    def is_video(self, index: int) -> bool:
        """Return whether the original is an mp4 file."""
        return self._strikes("video", self.faults.video_rate, index)

    def is_avif(self, index: int) -> bool:
        """Return whether the original is an AVIF file."""
        return self._strikes("avif", self.faults.avif_rate, index) and not self.is_video(index)

    def is_deleted(self, index: int) -> bool:
        """Return whether the post is marked as deleted; it stays visible."""
        return self._strikes("deleted", self.faults.deleted_rate, index)

    def is_hidden(self, index: int) -> bool:
        """Return whether the post is shown without its md5 and URLs."""
        return self._strikes("hidden", self.faults.hidden_rate, index)

    def file_index(self, index: int) -> int:
        """Number of the post's current file: the index itself, until the file is replaced.

        All files of a post show the same picture: their numbers differ by multiples of the number of pictures.
        """
        return index + self.replaced.get(index, 0) * self.corpus.pictures * _MAX_POSTS

    def post_of_file(self, file_index: int) -> int:
        """Index of the post that has this file."""
        return file_index % (self.corpus.pictures * _MAX_POSTS)

    def let_time_pass(self, request: int) -> None:
        """Let posts arrive, vanish and change as the faults say; `request` counts requests for posts from 1."""
        if _is_due(self.faults.posts_arrive_every, request):
            self.shown += 1
        if _is_due(self.faults.posts_vanish_every, request) and self.shown - len(self.gone) > 1:
            self.gone.add(self._victim("vanish", request))
        if _is_due(self.faults.files_replaced_every, request) and self.shown > len(self.gone):
            self.replaced[self._victim("replace", request)] = request

    def _victim(self, fault: str, request: int) -> int:
        """Choose a post that is there."""
        index = int(chance(self.seed, fault, request) * self.shown)
        while index in self.gone:
            index = (index + 1) % self.shown
        return index

    def _picture(self, number: int) -> Illustration:
        shown = illustration(self.corpus, number)
        if self.faults.source_query == "none" or not shown.source:
            return shown
        return replace(shown, source=shown.source + _SOURCE_QUERY)

    def _file_ext(self, index: int, shown: Illustration) -> str:
        if self.is_video(index):
            return "mp4"
        return "avif" if self.is_avif(index) else shown.file_ext

    def _stated_ext(self, index: int, file_ext: str) -> str | None:
        if self.faults.no_file_type:
            return None
        return "webm" if self._strikes("file type", self.faults.wrong_file_type, index) else file_ext

    def _strikes(self, what: str, rate: float, index: int) -> bool:
        return rate > 0 and chance(self.seed, what, index) < rate

    def _stem(self, index: int) -> str:
        # 40 hex digits look like the boards' names; the last eight are the index.
        key = b"%d:stem:%d" % (self.seed, self.file_index(index))
        return f"{hashlib.blake2b(key, digest_size=16).hexdigest()}{index:08x}"


def _is_due(every: int | None, request: int) -> bool:
    return every is not None and request % every == 0
