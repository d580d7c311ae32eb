"""Ids of the stand-in board's posts: about three numbers in a hundred are holes, as on the real board.

Pure arithmetic, so that 1.5 M posts cost no memory: every block of 100 ids has 3 holes at hashed offsets. An
**index** counts posts from 0, oldest first; an **id** is what the board shows.

Source of the rate: 6,852,898 posts at newest id 7,090,572 (safebooru.org, 2026-08).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

_BLOCK = 100
_HOLES = 3
_POSTS = _BLOCK - _HOLES


def id_of(seed: int, index: int) -> int:
    """Id of the post at `index` >= 0; ids begin at 1 or a little above."""
    block, offset = divmod(index, _POSTS)
    for hole in _holes(seed, block):
        if hole > offset:
            break
        offset += 1
    return block * _BLOCK + offset + 1


def count_below(seed: int, post_id: int) -> int:
    """Number of posts with an id below `post_id`, which is the index of the first post not below it."""
    if post_id < 1:
        return 0
    block, offset = divmod(post_id - 1, _BLOCK)
    return block * _POSTS + offset - sum(hole < offset for hole in _holes(seed, block))


def index_of(seed: int, post_id: int) -> int | None:
    """Index of the post with this id; None if the id is a hole or below 1."""
    index = count_below(seed, post_id)
    return index if id_of(seed, index) == post_id else None


@lru_cache(maxsize=4096)
def _holes(seed: int, block: int) -> tuple[int, ...]:
    """Offsets of a block's holes, in [0, 100), ascending."""
    words = hashlib.blake2b(f"{seed}:holes:{block}".encode(), digest_size=64).digest()
    holes: list[int] = []
    for start in range(0, len(words), 2):
        offset = int.from_bytes(words[start : start + 2]) % _BLOCK
        if offset not in holes:
            holes.append(offset)
        if len(holes) == _HOLES:
            break
    return tuple(sorted(holes))
