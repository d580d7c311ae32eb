"""`alti2v status --windows`: the store beside the board, by ranges of ids."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from alti2v.cli import main
from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.windows import WindowConfig, count_windows
from alti2v.errors import RemoteError, UsageError
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, posts


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_what_we_have_is_shown_beside_what_the_board_counts(
    board: Board,
    tmp_path: Path,
    dialect: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Posts that the board lost and got since are seen in their window; nothing is asked without the option."""
    site, store = board(dialect=dialect, ids=list(range(1, 700, 3))), tmp_path / "store"
    crawl_board(config(store, site))
    site.ids = [number for number in site.ids if not 100 <= number < 130] + [801, 901]
    site.requests.clear()
    with pytest.raises(SystemExit):
        main(["status", str(store)])
    assert not site.requests
    capsys.readouterr()

    found = count_windows(WindowConfig(store=store, size=200, allow_private=True, api_rate=1000))
    asked = len(site.requests)
    monkeypatch.setattr("alti2v.crawl.windows.WindowConfig", partial(WindowConfig, api_rate=1000))
    with pytest.raises(SystemExit) as ended:
        main(["status", str(store), "--windows", "200", "--allow-private"])
    lines = capsys.readouterr().out.splitlines()

    assert ended.value.code == 0
    assert lines[-1].split() == ["from", "800", "on", "2", "on", "the", "board,", "0", "listed,", "0", "stored"]
    assert asked <= 7  # one for each border, one for robots.txt
    assert [(row.first, row.last) for row in found] == [
        (1, 199),
        (200, 399),
        (400, 599),
        (600, 799),
        (800, None),
    ]
    assert [row.listed for row in found] == [67, 66, 67, 33, 0]
    assert [row.board for row in found] == [57, 66, 67, 33, 2]
    assert [row.stored for row in found] == [row.listed for row in found]


def test_a_board_that_cannot_count_by_id_is_told(board: Board, tmp_path: Path) -> None:
    """No figures that compare one thing with another."""
    site, store = board(ids=list(range(1, 700, 3)), ignores_cursor=True), tmp_path / "store"
    crawl_board(config(store, site))

    with pytest.raises(RemoteError, match="ignores id:<N"):
        count_windows(WindowConfig(store=store, size=100, allow_private=True, api_rate=1000))
    with pytest.raises(UsageError, match="--windows 5"):
        WindowConfig(store=store, size=5)


def test_a_new_post_without_a_file_gets_a_second_look(board: Board, tmp_path: Path) -> None:
    """Files that appear during the run are fetched in it, later ones in the next run; old posts stay hidden."""
    site, store = (
        board(dialect="danbooru", hidden={55, 57, 59}, created_at=datetime.now(UTC).isoformat()),
        tmp_path,
    )
    site.after = lambda _, path: site.hidden.discard(59) if "limit=200&page=b" in path else None
    report = crawl_board(config(store / "a", site))
    site.hidden.discard(57)
    later = crawl_board(config(store / "a", site))
    site.requests.clear()
    old = board(dialect="danbooru", hidden={55})
    crawl_board(config(store / "b", old))

    rows = posts(store / "a")
    assert report.skipped == {"hidden": 2}
    assert later.skipped == {"hidden": 1}
    assert rows.loc[[57, 59], "status"].tolist() == ["stored", "stored"]
    assert not old.asked("id%3A55")
