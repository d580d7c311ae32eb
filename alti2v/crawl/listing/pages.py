"""Requests for pages of posts, in JSON or, where a board refuses JSON, in XML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from alti2v.crawl.boards.protocol import Answer, Board, Page, PostQuery, Refusal, Unreadable
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.requests import ApiRequests
from alti2v.numerals import counted


class Pager:
    """Requests for pages of posts; remembers what the board refuses or ignores.

    Args:
        board: Board that lists the posts.
        requests: Requests to its API.
        say: Called once with a message for users if the board refuses JSON.
    """

    def __init__(self, board: Board, requests: ApiRequests, say: Callable[[str], None]) -> None:
        self._board = board
        self._requests = requests
        self._say = say
        self._json_is_refused = False
        self._asks_tag_types = board.may_tell_tag_types  # until the first answer shows whether it does

    async def get(self, query: PostQuery) -> Answer | FailedTry:
        """Request a page in JSON, then in XML; the other way round once the board has refused JSON."""
        query = replace(query, tag_info=self._asks_tag_types)
        forms = (query, replace(query, xml=True))
        was_refused = self._json_is_refused
        urls = tuple(dict.fromkeys(map(self._board.posts_url, forms[::-1] if was_refused else forms)))
        answers: list[Answer] = []
        is_xml = False

        def read(body: bytes, /, *, status: int) -> Answer:
            nonlocal is_xml
            is_xml = body.lstrip().startswith(b"<")
            answers.append(_usable(self._board.read_posts(body, status=status)))
            return answers[-1]

        answer = await self._requests.send(urls, read)
        if answers and not (isinstance(answers[-1], Page) and answers[-1].is_empty):
            self._asks_tag_types &= isinstance(answers[-1], Page) and answers[-1].has_tag_types
        if not isinstance(answer, Page) or answer.is_empty:
            return answer
        # JSON is refused in words, or by sending XML anyway. A guard's page or half an answer is no refusal.
        said_no = any(isinstance(one, Refusal) for one in answers)
        self._json_is_refused = is_xml and (was_refused or said_no or len(answers) == 1)
        if self._json_is_refused and not was_refused:
            self._say(f"{self._board.base} refuses JSON: using XML instead")
        return answer


def _usable(answer: Answer) -> Answer:
    """Return an answer; a page without a usable id is unreadable, because ids lead to the next page."""
    if isinstance(answer, Page) and answer.unusable and not (answer.posts or answer.deleted_ids):
        return Unreadable(f"{counted(answer.unusable, 'post')} without a usable id")
    return answer
