"""Categories of tags from the board, from donmai, or from both; aliases and implications."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from alti2v.crawl.boards.danbooru_tags import TagSite
from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.verify import verify_store
from alti2v.storage.layout import ALIASES_FILE, IMPLICATIONS_FILE, LEDGER_FILE
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page
from tests.crawl.helpers.scripted_board import TAGS

NAMES = {0: "general", 1: "artist", 3: "copyright", 4: "character", 5: "meta"}


def categories(store: Path) -> dict[str, str]:
    return dict(pd.read_parquet(store / "tags.parquet").set_index("name")["category"])


def board_counts(store: Path) -> dict[str, float]:
    return dict(pd.read_parquet(store / "tags.parquet").set_index("name")["board_count"].dropna())


def test_donmai_tells_the_categories_of_another_board(board: Board, tmp_path: Path) -> None:
    """One question for all; the board's tag API is not asked, and its counts stay unknown."""
    site, donmai = board(), board(dialect="danbooru")
    options = {"tag_categories_from": "donmai", "donmai_url": donmai.url}
    report = crawl_board(config(tmp_path / "store", site, **options))

    assert report.complete, report.missing
    assert categories(report.store) == {name: NAMES[TAGS[name][0]] for name in TAGS}
    assert board_counts(report.store) == {}
    assert site.asked("&s=tag&") == []
    assert len(donmai.asked("/tags.json")) == 1


@pytest.mark.parametrize("source", ["donmai", "both"])
def test_what_donmai_does_not_know(board: Board, tmp_path: Path, source: str) -> None:
    """Such a tag stays unknown unless the board is asked, too; no name is ever requested twice."""
    site = board()
    donmai = board(dialect="danbooru")
    del donmai.tag_table["some_artist"], donmai.tag_table["solo"]
    options: dict[str, Any] = {"tag_categories_from": source, "donmai_url": donmai.url}
    crawl_board(config(tmp_path / "store", site, **options))
    found = categories(tmp_path / "store")
    asked = len(site.asked("&s=tag&")), len(donmai.asked("/tags.json"))
    site.ids.append(121)
    crawl_board(config(tmp_path / "store", site, **options))

    assert found["vocaloid"] == "copyright"
    assert (found["some_artist"], found["solo"]) == (
        ("unknown", "unknown") if source == "donmai" else ("artist", "general")
    )
    assert (len(site.asked("&s=tag&")), len(donmai.asked("/tags.json"))) == asked
    assert asked[0] == (0 if source == "donmai" else 1)

    # Changed one's mind later: what donmai did not know is asked of the board, and the tables say so.
    crawl_board(config(tmp_path / "store", site, tag_categories_from="board"))
    assert categories(tmp_path / "store") == {name: NAMES[TAGS[name][0]] for name in TAGS}


def test_rare_tags_are_asked_for_in_batches(board: Board, tmp_path: Path) -> None:
    """Names that the pages of frequent tags do not show come many to a question, none of them too long."""
    site, donmai = board(ids=[1]), board(dialect="danbooru")
    names = [f"tag_number_{number:03d}_with_a_name" for number in range(250)]
    site.retagged[1] = (0, names)
    donmai.tag_table = {f"more_frequent_{number}": (0, 10**6) for number in range(1500)}
    donmai.tag_table |= dict.fromkeys(names, (4, 1))
    options = {"tag_categories_from": "donmai", "donmai_url": donmai.url}
    report = crawl_board(config(tmp_path / "store", site, **options))
    asked = donmai.asked("name_comma")

    assert report.complete
    assert set(categories(report.store).values()) == {"character"}
    assert len(asked) == 3
    assert max(map(len, asked)) < 4000


def test_urls_of_names() -> None:
    """A comma separates names, so a name with a comma is requested alone; long names are spread."""
    urls = TagSite("http://x").tag_urls(["a", "b,c", "名" * 400, "d"])
    asked = [parse_qs(urlsplit(url).query) for url in urls]

    assert [query.get("search[name_comma]") for query in asked] == [["a"], ["名" * 400], ["d"], None]
    assert asked[-1]["search[name]"] == ["b,c"]


def test_an_unreachable_donmai_is_incomplete(board: Board, tmp_path: Path) -> None:
    """Everything else is done; the next run asks again."""
    site, donmai = board(), board(dialect="danbooru")
    donmai.script("/tags.json", *[page(status=500)] * 30)
    options = {"tag_categories_from": "donmai", "donmai_url": donmai.url}
    report = crawl_board(config(tmp_path / "store", site, **options))
    donmai.scripts.clear()
    healed = crawl_board(config(tmp_path / "store", site, **options))

    assert report.stored == 60
    assert report.missing.startswith("the categories of 8 tags")
    assert healed.complete
    assert categories(healed.store) == {name: NAMES[TAGS[name][0]] for name in TAGS}


def relation(number: int, antecedent: str, consequent: str, status: str = "active") -> dict[str, Any]:
    return {"id": number, "antecedent_name": antecedent, "consequent_name": consequent, "status": status}


def test_aliases_and_implications(board: Board, tmp_path: Path) -> None:
    """Pages downwards by number, only active ones, whatever the site does with the condition; on any board."""
    site = board(dialect="danbooru", ids=[1, 3])
    aliases = [relation(2 * number, f"old_{number}", "solo") for number in range(1, 2501)]
    site.relations = {
        "/tag_aliases.json": [*aliases, relation(9_000, "wrong", "solo", "deleted")],
        "/tag_implications.json": [relation(1, "hatsune_miku", "vocaloid"), relation(2, "a&quot;b", "x")],
    }
    options = {"tag_relations": "donmai", "donmai_url": site.url}
    report = crawl_board(config(tmp_path / "store", site, **options))
    found = [
        {tuple(row) for row in pd.read_parquet(report.store / file).itertuples(index=False, name=None)}
        for file in (ALIASES_FILE, IMPLICATIONS_FILE)
    ]

    assert report.complete, report.missing
    assert found[0] == {(f"old_{number}", "solo") for number in range(1, 2501)}
    assert found[1] == {("hatsune_miku", "vocaloid"), ('a"b', "x")}
    assert len(site.asked("/tag_aliases.json")) == 4
    assert verify_store(report.store).findings == ()


def test_relations_that_cannot_be_read_keep_the_former_table(board: Board, tmp_path: Path) -> None:
    """Half a table would be worse than last month's."""
    site = board(dialect="danbooru", ids=[1])
    site.relations = {"/tag_aliases.json": [relation(1, "a", "b")], "/tag_implications.json": []}
    options = {"tag_relations": "donmai", "donmai_url": site.url}
    crawl_board(config(tmp_path / "store", site, **options))
    before = (tmp_path / "store" / ALIASES_FILE).read_bytes()
    site.script("/tag_aliases.json", *[page(status=500)] * 3)
    report = crawl_board(config(tmp_path / "store", site, **options))

    assert "tag aliases" in report.missing
    assert (tmp_path / "store" / ALIASES_FILE).read_bytes() == before


def test_categories_of_donmai_survive_a_lost_ledger(board: Board, tmp_path: Path) -> None:
    """They are read back from the table, and not asked for again."""
    site, donmai = board(), board(dialect="danbooru")
    options = {"tag_categories_from": "donmai", "donmai_url": donmai.url}
    store = tmp_path / "store"
    crawl_board(config(store, site, **options))
    (store / LEDGER_FILE).unlink()
    verify_store(store, repair=True)
    donmai.requests.clear()
    crawl_board(config(store, site, **options))

    assert donmai.requests == []
    assert categories(store) == {name: NAMES[TAGS[name][0]] for name in TAGS}
    assert verify_store(store).findings == ()


@pytest.mark.parametrize("how", ["lost", "edited"])
def test_f38_relations_that_changed_on_disk_are_found(board: Board, tmp_path: Path, how: str) -> None:
    """F38: no ledger holds them, so they go; the next crawl with --tag-relations brings them again."""
    site = board(dialect="danbooru", ids=[1])
    site.relations = {"/tag_aliases.json": [relation(1, "a", "b")], "/tag_implications.json": []}
    options = {"tag_relations": "donmai", "donmai_url": site.url}
    store = crawl_board(config(tmp_path / "store", site, **options)).store
    whole = (store / ALIASES_FILE).read_bytes()
    if how == "lost":
        (store / ALIASES_FILE).unlink()
    else:
        (store / ALIASES_FILE).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = verify_store(store).findings
    verify_store(store, repair=True)

    assert [finding.where for finding in found] == [ALIASES_FILE]
    assert "crawl --tag-relations donmai` reads it again" in found[0].what
    assert verify_store(store).findings == ()
    crawl_board(config(store, site, **options))
    assert (store / ALIASES_FILE).read_bytes() == whole
