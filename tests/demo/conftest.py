"""Stand-in boards on free ports of 127.0.0.1, with clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import aiohttp
import pytest

from alti2v.demo.board.app import BoardConfig, start_board
from alti2v.demo.board.faults import Faults
from tests.demo.helpers.board_client import BoardClient, Start


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a board; keywords are fields of BoardConfig or of Faults."""
    clients: list[BoardClient] = []
    board_options = {field.name for field in fields(BoardConfig)}

    async def start_one(**options: Any) -> BoardClient:
        of_board = {name: options.pop(name) for name in board_options & set(options)}
        config = BoardConfig(**{"posts": 120, "pictures": 6, **of_board}, faults=Faults(**options))
        clients.append(BoardClient(await start_board(config), aiohttp.ClientSession()))
        return clients[-1]

    yield start_one
    for client in clients:
        await client.session.close()
        await client.board.stop()
