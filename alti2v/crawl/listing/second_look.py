"""A second look at new posts that had no file when they were listed.

Danbooru lists the newest posts while their files are still being processed; that takes minutes
(media_asset.rb in the program's source). Posts that stay hidden are requested in each run for a week.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alti2v.crawl.boards.protocol import Page, PostQuery
from alti2v.crawl.listing.api import Api, ListingQuery
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.records import Post

_NEW_S = 7 * 86_400
_NEWEST_IDS = 200_000  # far more than a week of any board
_AT_ONCE = 100
_MOST = 1_000


async def look_again(api: Api, query: ListingQuery, *, on_page: Callable[[PostCounts], None]) -> None:
    """Request the new hidden posts again; those that have a file now become pending.

    Only on boards whose searches take lists of ids. What fails is tried by the next run.
    """
    if not api.board.takes_lists_of_ids:
        return
    hidden = await api.thread.run(_hidden, api, query.now)
    for first in range(0, len(hidden), _AT_ONCE):
        ids = hidden[first : first + _AT_ONCE]
        answer = await api.pager.get(PostQuery(tags=f"id:{','.join(map(str, ids))}", limit=_AT_ONCE))
        if not isinstance(answer, Page):
            return
        shown = [post for post in answer.posts if post.id in ids and (post.file_url or post.sample_url)]
        if shown:
            on_page(await api.thread.run(_commit, api, query, shown))


def _hidden(api: Api, now: int) -> list[int]:
    above = api.ledger.ids.highest() - _NEWEST_IDS
    return api.ledger.ids.hidden(above=above, created_since=now - _NEW_S, limit=_MOST)


def _commit(api: Api, query: ListingQuery, posts: Sequence[Post]) -> PostCounts:
    with api.ledger.transaction():
        api.ledger.posts.add(posts, wanted=query.conditions.hold_for, seen_at=query.now)
    return api.ledger.posts.counts()
