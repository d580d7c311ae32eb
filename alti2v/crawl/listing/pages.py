"""Asking a board for pages of posts, in JSON or, where that is refused, in XML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from alti2v.crawl.boards.protocol import Answer, Board, Page, PostQuery, Refusal
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Asker


class Pager:
    """Asks for pages; what a board has refused once is asked for last from then on.

    Args:
        board: whose posts.
        asker: asks again where that may help.
        say: told once if the board refuses JSON.
    """

    def __init__(self, board: Board, asker: Asker, say: Callable[[str], None]) -> None:
        self._board = board
        self._asker = asker
        self._say = say
        self._json_is_refused = False

    async def ask(self, query: PostQuery) -> Answer | FailedTry:
        """Ask for a page, in XML where JSON brings none."""
        forms = (query, replace(query, xml=True))
        was_refused = self._json_is_refused
        urls = tuple(dict.fromkeys(map(self._board.posts_url, forms[::-1] if was_refused else forms)))
        answers: list[Answer] = []
        is_xml = False

        def read(body: bytes, status: int) -> Answer:
            nonlocal is_xml
            is_xml = body.lstrip().startswith(b"<")
            answers.append(self._board.read_posts(body, status=status))
            return answers[-1]

        answer = await self._asker.ask(urls, read)
        if not isinstance(answer, Page) or answer.is_empty:
            return answer
        # It says no, or sends XML all the same. A guard's page or half an answer says nothing about JSON.
        said_no = any(isinstance(one, Refusal) for one in answers)
        self._json_is_refused = is_xml and (was_refused or said_no or len(answers) == 1)
        if self._json_is_refused and not was_refused:
            self._say(f"{self._board.base} refuses JSON: it is asked for XML")
        return answer
