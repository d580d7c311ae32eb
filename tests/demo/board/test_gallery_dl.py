"""gallery-dl, an independent client, downloads every post that the stand-in board lists.

Its configuration and its requests are those of safebooru-wire.md, section 4.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.demo.helpers.board_client import Start

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gallery_dl") is None,
    reason="gallery-dl is not installed: `pip install alti2v[test]` brings it",
)


async def gallery_dl(folder: Path, address: str, **options: Any) -> dict[int, bytes]:
    """Run gallery-dl on an address; return the saved files by post id."""
    quick = {"request-interval": 0, "sleep-retries": 0, "retries": 2}
    boards = {"gelbooru_v02": {"local": _root(address) | quick}, "Danbooru": {"local": _root(address) | quick}}
    config = folder / "gallery-dl.json"
    config.write_text(json.dumps({"extractor": {**quick, **boards, **options}}))
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "gallery_dl",
            "--config-ignore",
            "-c",
            str(config),
            "-D",
            str(folder / "saved"),
        ),
        *("-f", "{id}.{extension}", address),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, messages = await asyncio.wait_for(process.communicate(), timeout=60)

    assert process.returncode == 0, messages.decode()
    return {int(file.stem): file.read_bytes() for file in (folder / "saved").iterdir()}


def _root(address: str) -> dict[str, str]:
    root = re.search(r"http://([\d.]+:\d+)", address)
    assert root
    return {"root": root[0], "pattern": re.escape(root[1])}


async def test_gelbooru_mode(start: Start, tmp_path: Path) -> None:
    """The client reads XML pages of 100 posts until the count is reached, and gets every original."""
    board = await start(pictures=8)
    saved = await gallery_dl(tmp_path, f"gelbooru_v02:{board.url}/index.php?page=post&s=list&tags=all")
    listed = {post["id"]: post["file_url"] for post in await board.posts(limit=1000)}

    assert len(saved) == 120
    assert saved == {post_id: (await board.get(url)).body for post_id, url in listed.items()}
    assert sum("pid=" in target for target in board.requests) == 2


async def test_gelbooru_mode_with_a_search(start: Start, tmp_path: Path) -> None:
    """A search downloads only matching posts."""
    board = await start(pictures=8)
    saved = await gallery_dl(tmp_path, f"gelbooru_v02:{board.url}/index.php?page=post&s=list&tags=1girl+-smile")
    wanted = await board.posts(limit=1000, tags="1girl+-smile")

    assert 0 < len(saved) < 120
    assert set(saved) == {post["id"] for post in wanted}


async def test_gelbooru_mode_past_a_wall(start: Start, tmp_path: Path) -> None:
    """At a wall that answers with an empty body, the client continues by `id:<last` and gets all posts."""
    board = await start(pictures=2, posts=250, wall_depth=100, wall_form="empty")
    saved = await gallery_dl(tmp_path, f"gelbooru_v02:{board.url}/index.php?page=post&s=list&tags=")

    assert len(saved) == 250
    assert any("id%3A%3C" in target for target in board.requests)


async def test_gelbooru_mode_reads_categories_from_the_html(start: Start, tmp_path: Path) -> None:
    """With `tags` on, the client reads each tag's category from the view page."""
    board = await start(pictures=3, posts=3)
    names = ("id", "tags_artist", "tags_general", "tags_metadata")
    beside = {"name": "metadata", "directory": "../said", "filename": "{id}.json", "include": names}
    address = f"gelbooru_v02:{board.url}/index.php?page=post&s=list&tags=all"
    await gallery_dl(tmp_path, address, tags=True, postprocessors=[beside])
    described = [json.loads(file.read_text()) for file in (tmp_path / "said").iterdir()]

    assert len(described) == 3
    for said in described:
        shown = board.site.posts.post(board.index(int(said["id"]))).shown.tags
        assert tuple(said["tags_artist"].split()) == shown.artist
        assert tuple(sorted(said["tags_general"].split())) == shown.general
        assert tuple(sorted(said.get("tags_metadata", "").split())) == shown.meta


async def test_danbooru_mode(start: Start, tmp_path: Path) -> None:
    """The client reads pages of 200 posts, then by `page=b<last id>`, and gets every original."""
    board = await start(dialect="danbooru", pictures=3, posts=420)
    saved = await gallery_dl(tmp_path, f"Danbooru:{board.url}/posts?tags=")
    posts = [
        post for page in (1, 2, 3) for post in (await board.get(f"/posts.json?limit=200&page={page}")).json
    ]

    assert len(saved) == len(posts) > 200
    assert saved == {post["id"]: (await board.get(post["file_url"])).body for post in posts}
    assert any("page=b" in target for target in board.requests)
