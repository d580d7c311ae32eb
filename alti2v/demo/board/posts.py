"""The posts of the stand-in board: which there are now, and what the board knows of each.

A post is a pure function of the board's seed and its index; the only state is how many have arrived and which
have gone. Knows no HTTP and draws nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from alti2v.demo.board.faults import Faults, chance
from alti2v.demo.board.ids import count_below, id_of, index_of
from alti2v.demo.board.picture_cache import SAMPLE_WIDTH
from alti2v.demo.drawing.corpus import Corpus, Illustration, illustration

# The board is about sixteen years old, whatever its size, unless it is too small for one post in three hours.
_LIFETIME_S = 500_000_000
_MOST_BETWEEN_S = 10_800
_POSTS_PER_DIRECTORY = 1000
# A ghost's id lies far above every real one, and still in 31 bits, as clients' types have it.
_GHOST_IDS = 2_000_000_000


class BoardPost(NamedTuple):
    """One post.

    Attributes:
        ordinal: its index: counts posts from 0, oldest first.
        id: what the board shows; there are holes.
        picture: the number of the picture that it shows.
        shown: what the board knows of the picture.
        directory, stem: where its files lie; `stem` is 40 hex digits, and no hash of the bytes.
        file_ext: of the original, without the dot.
        parent_id: the post that it is a version of, None if it is none or nobody said so.
        created_at, changed_at: unix seconds.
    """

    ordinal: int
    id: int
    picture: int
    shown: Illustration
    directory: int
    stem: str
    file_ext: str
    parent_id: int | None
    created_at: int
    changed_at: int

    @property
    def has_sample(self) -> bool:
        """Whether there is a sample that is not the original itself."""
        return self.shown.width > SAMPLE_WIDTH and self.file_ext != "mp4"


@dataclass(slots=True)
class BoardPosts:
    """The posts of a board.

    Attributes:
        seed: decides ids, names and faults.
        corpus: the pictures that posts show, in turn.
        faults: which posts are ghosts, videos, deleted or hidden.
        shown: how many posts have ever been there; grows as posts arrive.
        gone: the indices of those that have vanished.
        picture: what the board knows of a picture, by its number.
    """

    seed: int
    corpus: Corpus
    faults: Faults
    shown: int
    gone: set[int] = field(default_factory=set)
    picture: Callable[[int], Illustration] = field(init=False)
    _parents: frozenset[int] | None = None
    _between_s: int = field(init=False)
    _opened_at: int = field(init=False)

    def __post_init__(self) -> None:
        # About 4 kB each: a bound that holds the usual 2,000 pictures, and 20 MB of any number.
        self.picture = lru_cache(maxsize=4096)(lambda number: illustration(self.corpus, number))
        self._between_s = min(_MOST_BETWEEN_S, _LIFETIME_S // max(1, self.shown))
        self._opened_at = self.picture(0).created_at

    def post(self, index: int) -> BoardPost:
        """What the board knows of the post at `index`."""
        turn, number = divmod(index, self.corpus.pictures)
        shown = self.picture(number)
        created_at = self._opened_at + index * self._between_s
        parent_id = None
        if shown.is_child and shown.near_duplicate_of is not None:
            parent_id = id_of(self.seed, turn * self.corpus.pictures + shown.near_duplicate_of)
        return BoardPost(
            index,
            id_of(self.seed, index),
            number,
            shown,
            index // _POSTS_PER_DIRECTORY + 1,
            self._stem(index),
            "mp4" if self.is_video(index) else shown.file_ext,
            parent_id,
            created_at,
            created_at + number * 7919 % 2_592_000,
        )

    def find(self, post_id: int) -> int | None:
        """The index of the post with this id, if it is there now."""
        index = index_of(self.seed, post_id)
        return index if index is not None and self.is_there(index) else None

    def find_stem(self, directory: int, stem: str) -> int | None:
        """The index of the post whose files have this name, if it is there now."""
        try:
            index = int(stem[32:], 16)
        except ValueError:
            return None
        is_it = stem == self._stem(index) and directory == index // _POSTS_PER_DIRECTORY + 1
        return index if is_it and self.is_there(index) else None

    def is_there(self, index: int) -> bool:
        """Whether the post has arrived and not vanished."""
        return 0 <= index < self.shown and index not in self.gone

    def newest(self) -> int | None:
        """The index of the newest post, None if there is none."""
        return next((index for index in range(self.shown - 1, -1, -1) if index not in self.gone), None)

    def id(self, index: int) -> int:
        """The id of the post at `index`."""
        return id_of(self.seed, index)

    def index_below(self, post_id: int) -> int:
        """How many posts have ever had an id below this one."""
        return min(self.shown, count_below(self.seed, post_id))

    def has_children(self, post: BoardPost) -> bool:
        """Whether another post names this one as its parent."""
        if self._parents is None:
            pictures = map(self.picture, range(self.corpus.pictures))
            self._parents = frozenset(
                shown.near_duplicate_of
                for shown in pictures
                if shown.is_child and shown.near_duplicate_of is not None
            )
        return post.picture in self._parents

    def ghost_id(self, index: int) -> int | None:
        """The id under which the post shows up as a ghost, None if it is none; every other is far too high."""
        if not self.faults.ghost_rate or chance(self.seed, "ghost", index) >= self.faults.ghost_rate:
            return None
        if chance(self.seed, "ghost id", index) < 0.5:
            return _GHOST_IDS + index
        return id_of(self.seed, index)

    def is_video(self, index: int) -> bool:
        """Whether the original is an mp4 file."""
        return self._strikes("video", self.faults.video_rate, index)

    def is_deleted(self, index: int) -> bool:
        """Whether the board calls the post deleted; it is visible all the same."""
        return self._strikes("deleted", self.faults.deleted_rate, index)

    def is_hidden(self, index: int) -> bool:
        """Whether the board keeps the md5 and the URLs of the post to itself."""
        return self._strikes("hidden", self.faults.hidden_rate, index)

    def let_time_pass(self, requests: int) -> None:
        """Let posts arrive and vanish as the faults have it, at the so-many-th request for posts (from 1)."""
        every = self.faults.posts_arrive_every
        if every is not None and requests % every == 0:
            self.shown += 1
        every = self.faults.posts_vanish_every
        if every is not None and requests % every == 0 and self.shown - len(self.gone) > 1:
            victim = int(chance(self.seed, "vanish", requests) * self.shown)
            while victim in self.gone:
                victim = (victim + 1) % self.shown
            self.gone.add(victim)

    def _strikes(self, what: str, rate: float, index: int) -> bool:
        return rate > 0 and chance(self.seed, what, index) < rate

    def _stem(self, index: int) -> str:
        # 40 hex digits look like the boards' names, and the last eight lead back to the post.
        digest = hashlib.blake2b(b"%d:stem:%d" % (self.seed, index), digest_size=16).hexdigest()
        return f"{digest}{index:08x}"
