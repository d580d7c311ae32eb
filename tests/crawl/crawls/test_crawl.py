"""Whole crawls against a scripted board over real HTTP: complete, polite, resumable, honest about failures."""

from __future__ import annotations

import collections
import functools
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.boards.protocol import Dialect
from alti2v.crawl.crawler import CrawlConfig, CrawlReport, crawl_board
from alti2v.crawl.status import store_status
from alti2v.crawl.verify import verify_store
from alti2v.errors import DamagedError, DataError, RemoteError, StorageError, UsageError
from alti2v.records import Progress
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import CRAWL_LOCK_FILE, STORE_FILE
from tests.crawl.helpers.crawling import QUICK, config, cut, page, pictures, posts
from tests.crawl.helpers.scripted_board import TAGS, ScriptedBoard, tags_of

Board = Callable[..., ScriptedBoard]


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
@pytest.mark.parametrize("files", ["sample", "original"])
def test_every_listed_post_is_stored(board: Board, tmp_path: Path, dialect: str, files: str) -> None:
    """Both dialects, found out by asking; bytes are the board's; tables, tars and ledger agree."""
    site = board(dialect=dialect, page_cap=13)
    report = crawl_board(config(tmp_path / "store", site, files=files))

    expected = {number: site.content(number, sample=files == "sample") for number in site.ids}
    assert report.complete, report.missing
    assert (report.listed, report.stored, report.new) == (60, 60, 60)
    assert report.dialect == dialect
    assert pictures(report.store) == expected
    assert verify_store(report.store).findings == ()
    assert store_status(report.store).listing == "complete"


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_tags_come_with_their_categories(board: Board, tmp_path: Path, dialect: str) -> None:
    """Danbooru gives them with the posts; on Gelbooru one page of the tag API is enough."""
    site = board(dialect=dialect)
    report = crawl_board(config(tmp_path / "store", site))

    tags = pd.read_parquet(report.store / "tags.parquet").set_index("name")
    names = {0: "general", 1: "artist", 3: "copyright", 4: "character", 5: "meta"}
    counts = collections.Counter(tag for number in site.ids for tag in tags_of(number))
    assert {name: names[TAGS[name][0]] for name in counts} == tags["category"].to_dict()
    assert dict(counts) == tags["count"].to_dict()
    row = posts(report.store).loc[11]
    grouped = sorted(tag for name in names.values() for tag in row[f"tags_{name}"])
    assert grouped == tags_of(11)
    assert len(site.asked("&s=tag&")) == (1 if dialect == "gelbooru" else 0)


def test_tags_are_asked_one_by_one_where_pages_are_not_sorted(board: Board, tmp_path: Path) -> None:
    """Each name once, the most frequent first, and never again in a later run."""
    site = board(orderby_works=False)
    store = tmp_path / "store"
    site.script("/index.php?page=dapi&q=index&s=tag", page())  # even a page in between does not matter
    crawl_board(config(store, site))
    asked = site.asked("s=tag&name=")
    crawl_board(config(store, site))

    assert set(pd.read_parquet(store / "tags.parquet")["category"]) == {
        *("general", "artist", "copyright", "character", "meta")
    }
    assert len(asked) == len(set(asked))
    assert site.asked("s=tag&name=") == asked


def test_a_tag_api_that_ignores_the_name_teaches_nothing(board: Board, tmp_path: Path) -> None:
    """An answer about another tag does not give the tag that tag's category, and the run says so."""
    site = board(ids=[1], orderby_works=False)
    other = '<tags type="array"><tag type="4" count="3" name="somebody_else" id="1"/></tags>'
    site.script("/index.php?page=dapi&q=index&s=tag", *[page(other)] * 50)
    report = crawl_board(config(tmp_path / "store", site))

    assert "other tags than it is asked for" in report.missing
    assert set(pd.read_parquet(report.store / "tags.parquet")["category"]) == {"unknown"}
    assert list(posts(report.store)["tags_unknown"][1]) == tags_of(1)


def test_a_second_run_lists_and_fetches_only_what_is_new(board: Board, tmp_path: Path) -> None:
    """Two API requests when nothing is new; newer posts come in, older ones are not asked for again."""
    site = board(page_cap=13)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    first = len(site.requests)
    again = crawl_board(config(store, site))
    between = [path for _, path in site.requests[first:] if path != "/robots.txt"]
    site.ids += [200, 201, 202]
    third = crawl_board(config(store, site))
    fetched = [path for _, path in site.requests[first:] if path.startswith("/samples")]

    assert (again.new, again.complete, len(between)) == (0, True, 2)
    assert (third.new, third.listed, third.complete) == (3, 63, True)
    assert sorted(path.rpartition("_p")[2] for path in fetched) == ["200.jpg", "201.jpg", "202.jpg"]
    assert verify_store(store).findings == ()


def test_a_limit_takes_the_newest_and_can_be_raised(board: Board, tmp_path: Path) -> None:
    """The limit counts all posts of the store; a greater limit continues below them."""
    site = board(page_cap=13)
    store = tmp_path / "store"
    small = crawl_board(config(store, site, limit=20))
    newest = set(posts(store).index)
    large = crawl_board(config(store, site, limit=45))

    assert (small.listed, small.stored, small.complete) == (20, 20, True)
    assert newest == set(sorted(site.ids)[-20:])
    assert (large.listed, large.new) == (45, 25)
    assert crawl_board(config(store, site)).listed == 60


def test_a_search_lists_what_matches(board: Board, tmp_path: Path) -> None:
    """The search goes to the board as it is, with the cursor beside it."""
    site = board(page_cap=5)
    report = crawl_board(config(tmp_path / "store", site, tags="hatsune_miku"))

    assert set(posts(report.store).index) == {n for n in site.ids if "hatsune_miku" in tags_of(n)}


def test_spurious_empty_pages_do_not_end_the_listing(board: Board, tmp_path: Path) -> None:
    """H of the wire facts: an empty body, and an empty <posts>, where posts exist."""
    site = board(page_cap=13)
    empty = [page(""), page('<posts count="0" offset="0"></posts>')]
    site.script("/index.php?page=dapi&q=index&s=post", None, None, *empty, None, *empty)
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.listed, report.complete) == (60, True)


def test_a_count_that_disagrees_makes_it_incomplete(board: Board, tmp_path: Path) -> None:
    """The board counts more than it lists: not believed, said, and looked for again from the top."""
    site = board(count_offset=3)
    store = tmp_path / "store"
    report = crawl_board(config(store, site))
    site.count_offset = 0
    site.ids += [4, 6, 8]
    healed = crawl_board(config(store, site))

    assert not report.complete
    assert report.missing == "the board counts 3 more posts than it lists"
    assert report.stored == 60
    assert (healed.complete, healed.listed) == (True, 63)


def test_deleted_posts_are_recorded_and_never_a_cursor(board: Board, tmp_path: Path) -> None:
    """Ids of deleted posts may be far above every post: as a cursor, they would restart the listing forever."""
    deleted = {"file_url": "https://x/images//", "tags": "", "hash": None, "image": None}
    site = board(page_cap=10, deleted_ids={n: {"id": n} | deleted for n in (50, 52, 10**9, 10**9 + 1)})
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.listed, report.stored, report.skipped) == (64, 60, {"ghost": 4})
    assert report.complete, report.missing


def test_deleted_posts_far_above_every_post_do_not_count_as_missing(board: Board, tmp_path: Path) -> None:
    """The board counts deleted posts at their place, whatever id they show: the counts agree anyway."""
    deleted = {"file_url": "https://x/images//", "tags": "", "hash": None, "image": None}
    site = board(page_cap=10, deleted_ids={n: {"id": 2 * 10**9 + n} | deleted for n in (4, 50, 52)})
    report = crawl_board(config(tmp_path / "store", site))
    asked = len(site.asked("s=post"))
    site.count_offset = 1
    short = crawl_board(config(tmp_path / "short", site))

    assert (report.listed, report.skipped, report.missing) == (63, {"ghost": 3}, "")
    assert asked < 15
    assert short.missing == "the board counts 1 more posts than it lists"


@pytest.mark.parametrize(("wall", "is_empty"), [(None, False), (30, False), (30, True)])
def test_paging_by_number_where_the_cursor_is_ignored(
    board: Board, tmp_path: Path, wall: int | None, is_empty: bool
) -> None:
    """Noticed, said and survived; with a wall of either form, the run is incomplete and says why."""
    site = board(page_cap=10, ignores_cursor=True, wall=wall, wall_is_empty=is_empty)
    told: list[Progress] = []
    report = crawl_board(config(tmp_path / "store", site), progress=told.append)
    said = [progress.milestone for progress in told if progress.milestone]

    assert report.complete == (wall is None)
    assert report.stored == (60 if wall is None else 40)
    why = "counts 20 more posts than it lists" if is_empty else "refuses to list beyond"
    assert (why in report.missing) == (wall is not None)
    assert said[0] == f"{site.url} ignores id:<N: listing by page number instead"
    assert any("refuses to list beyond" in line for line in said) == (wall is not None and not is_empty)


@pytest.mark.parametrize("wall", [None, 20])
def test_what_another_order_passes_over_is_listed_by_page_number(
    board: Board, tmp_path: Path, wall: int | None
) -> None:
    """A cursor skips posts further back than their ids; the board's count shows it, also in later runs."""
    site = board(page_cap=10, wall=wall, order=lambda number: number * 7 % 121)
    told: list[Progress] = []
    report = crawl_board(config(tmp_path / "store", site), progress=told.append)
    said = [progress.milestone for progress in told if "does not list by id" in progress.milestone]

    assert said
    assert report.complete == (wall is None)
    if wall is None:
        assert report.listed == report.stored == 60
        site.ids += [121, 123, 200]
        assert crawl_board(config(tmp_path / "store", site)).listed == 63
    else:
        assert "does not list by id (narrow the search" in report.missing


def test_json_is_given_up_for_xml_where_it_is_refused(board: Board, tmp_path: Path) -> None:
    """The same posts, and after the first page no JSON is asked for any more; said once, and logged."""
    site = board(json_refused=True, page_cap=13)
    told: list[Progress] = []
    report = crawl_board(config(tmp_path / "store", site), progress=told.append)

    assert (report.stored, report.complete) == (60, True)
    assert len(site.asked("json=1")) == 1
    assert [progress.milestone for progress in told if progress.milestone] == [
        f"{site.url} refuses JSON: using XML instead"
    ]
    assert "refuses JSON" in (report.store / "crawl.log").read_text()


@pytest.mark.parametrize("status", [200, 503])
def test_a_page_in_between_does_not_mean_that_json_is_refused(
    board: Board, tmp_path: Path, status: int
) -> None:
    """Once a web page, once half an answer: the next pages are asked for in JSON, and nothing else is said."""
    site = board(page_cap=13)
    site.script("/index.php?page=dapi&q=index&s=post&tags=&limit=1000", page(status=status), None, cut)
    told: list[Progress] = []
    report = crawl_board(config(tmp_path / "store", site, dialect="gelbooru"), progress=told.append)

    assert (report.stored, report.complete) == (60, True)
    assert len(site.asked("json=1")) >= 5
    assert [progress.milestone for progress in told if progress.milestone] == []


def test_the_old_json_shape_gives_the_same_pictures(board: Board, tmp_path: Path) -> None:
    """Its addresses follow from directory and image."""
    site = board(old_shape=True)
    report = crawl_board(config(tmp_path / "store", site))

    assert pictures(report.store) == {number: site.content(number, sample=True) for number in site.ids}


def test_f15_posts_that_come_and_go_while_paging(board: Board, tmp_path: Path) -> None:
    """F15: with the id cursor nothing is lost and nothing is there twice."""

    def change(site: ScriptedBoard, path: str) -> None:
        if "s=post" in path and "json" in path:
            site.ids.append(max(site.ids) + 2)
            site.ids.remove(min(site.ids))

    site = board(page_cap=7, after=change)
    report = crawl_board(config(tmp_path / "store", site))

    assert report.complete, report.missing
    assert set(range(1, 120, 2)) & set(site.ids) <= set(posts(report.store).index)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (page(status=500), "http_5xx"),
        (cut, "truncated_body"),
        (page(), "not_image"),
        (page("", status=200), "not_image"),
    ],
)
def test_f02_f08_passing_failures_are_survived(board: Board, tmp_path: Path, answer: Any, kind: str) -> None:
    """Twice a fault, then the file: stored, with three attempts. Three times, of both files: failed."""
    site = board(ids=[7, 9])
    site.script("/images/2/p9.jpg", answer, answer, answer)
    site.script("/samples/0/sample_p7.jpg", answer, answer)
    site.script("/samples/2/sample_p9.jpg", answer, answer, answer)
    report = crawl_board(config(tmp_path / "store", site, connections=1))
    rows = posts(report.store)

    assert (rows.loc[7, "status"], rows.loc[7, "attempts"]) == ("stored", 3)
    assert (rows.loc[9, "status"], rows.loc[9, "reason"], rows.loc[9, "attempts"]) == ("failed", kind, 6)
    assert rows.loc[9, "error"]
    assert report.failed == {kind: 1}


@pytest.mark.parametrize(
    "answer", ["<error>API temporarily disabled</error>", '"Missing authentication. Go to api.php."']
)
def test_f16_a_board_that_wants_no_api_use_stops_it_clearly(board: Board, tmp_path: Path, answer: str) -> None:
    """The error has the board's own words, at the beginning and later; no listed post is lost."""
    words = "temporarily disabled" if "disabled" in answer else "Missing authentication"
    shut, closing = board(), board(page_cap=10)
    shut.script("/index.php", *[page(answer)] * 200)
    closing.script("/index.php", *[None] * 4, *[page(answer)] * 200)

    for dialect in (Dialect.GELBOORU, None):
        with pytest.raises((RemoteError, UsageError), match=words):
            crawl_board(replace(config(tmp_path / "new", shut), dialect=dialect))
    report = crawl_board(config(tmp_path / "store", closing))

    assert not report.complete
    assert words in report.missing
    assert report.listed == report.stored > 0
    assert len(closing.asked("s=post")) < 30


def test_what_may_heal_is_tried_again_by_the_next_run(board: Board, tmp_path: Path) -> None:
    """A passing failure makes the run incomplete, and the next run repairs it; a permanent one does not."""
    site = board(ids=[7, 9], samples=False)
    store = tmp_path / "store"
    site.script("/images/0/p7", *[page(status=503)] * 3)
    site.script("/images/2/p9", *[page(status=404)] * 9)
    first = crawl_board(config(store, site))
    second = crawl_board(config(store, site))

    assert (first.failed, first.complete) == ({"http_404": 1, "http_5xx": 1}, False)
    assert first.missing == "1 file failed in ways that may pass"
    assert (second.failed, second.complete, second.new) == ({"http_404": 1}, True, 1)
    assert len(site.asked("/images/2/p9")) == 1


def test_a_missing_sample_is_replaced_by_the_original(board: Board, tmp_path: Path) -> None:
    """A sample_url that points at nothing: the original is fetched, its md5 checked."""
    site = board(ids=[7])
    site.script("/samples/", page(status=404))
    report = crawl_board(config(tmp_path / "store", site))

    assert pictures(report.store) == {7: site.content(7, sample=False)}
    assert str(posts(report.store).loc[7, "fetched_url"]).endswith("/images/0/p7.jpg")


def test_an_original_that_was_cut_off_is_asked_for_again_and_its_missing_sample_is_not(
    board: Board, tmp_path: Path
) -> None:
    """Wrong bytes are found after the download; the same address is then requested again."""
    site = board(ids=[7])
    half = site.content(7, sample=False)[:-40]
    site.script("/samples/", page(status=404))
    site.script("/images/", lambda _: web.Response(body=half))
    report = crawl_board(config(tmp_path / "store", site))

    assert pictures(report.store) == {7: site.content(7, sample=False)}
    assert posts(report.store).loc[7, "attempts"] == 3
    assert (len(site.asked("/samples/")), len(site.asked("/images/"))) == (1, 2)


def test_the_last_files_wait_for_no_company(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is not full goes on its way as soon as nothing else is under way."""
    monkeypatch.setattr("alti2v.crawl.download.pool._BATCH_S", 30.0)
    site = board(ids=[7, 9], md5_lies={7})
    report = crawl_board(config(tmp_path / "store", site, files="original"))

    assert (report.stored, report.failed) == (1, {"md5_mismatch": 1})
    assert report.seconds < 15


def test_f21_a_wrong_md5_is_a_kind_of_its_own(board: Board, tmp_path: Path) -> None:
    """F21: tried once more, then recorded; stored only where that is asked for."""
    site = board(ids=[7, 9], md5_lies={7})
    strict = crawl_board(config(tmp_path / "strict", site, files="original"))
    lenient = crawl_board(config(tmp_path / "lenient", site, files="original", keep_mismatched=True))

    assert (strict.stored, strict.failed, strict.complete) == (1, {"md5_mismatch": 1}, True)
    assert posts(strict.store).loc[7, "attempts"] == 2
    assert lenient.stored == 2


@pytest.mark.parametrize("apart", [False, True])
def test_f21_a_wrong_md5_behind_another_failure_is_fetched_once_more(
    board: Board, tmp_path: Path, *, apart: bool
) -> None:
    """F21: a try that failed in another way is not the one that the mismatch has to spare."""
    site = board(ids=[7, 9])
    other = web.Response(body=site.content(9, sample=False))
    site.script("/images/0/p7", page("busy", status=500), lambda _: other)
    report = crawl_board(config(tmp_path / "store", site, files="original", download_in_worker=apart))

    assert (report.stored, report.failed) == (2, {})
    assert posts(report.store).loc[7, "attempts"] == 3


def test_equal_bytes_are_stored_once(board: Board, tmp_path: Path) -> None:
    """The second post is a duplicate and says of which."""
    site = board(ids=[7, 9, 11], same_bytes={9: 7})
    report = crawl_board(config(tmp_path / "store", site))
    rows = posts(report.store)
    (duplicate,) = rows.index[rows["status"] == "duplicate"]

    assert (report.stored, report.duplicate) == (2, 1)
    assert {int(duplicate), int(rows.loc[duplicate, "duplicate_of"])} == {7, 9}


def test_f24_only_pictures_are_fetched_and_stored_by_content(board: Board, tmp_path: Path) -> None:
    """Videos, Flash and ugoira are never requested; a PNG named .jpg is stored as a PNG."""
    site = board(
        ids=[1, 3, 5, 7, 9, 11, 13],
        samples=False,
        extension={1: "mp4", 3: "swf", 5: "zip", 7: "png", 9: "gif", 11: "webp"},
    )
    site.script("/images/6/p13", lambda _: web.Response(body=site.content(7, sample=False)[:-1] + b"\x01"))
    report = crawl_board(config(tmp_path / "store", site, keep_mismatched=True))
    stored = posts(report.store)["stored_format"].dropna().to_dict()

    assert report.skipped == {"flash": 1, "ugoira": 1, "video": 1}
    assert stored == {7: "PNG", 9: "GIF", 11: "WEBP", 13: "PNG"}
    assert not [path for number in (1, 3, 5) for path in site.asked(f"/p{number}.")]


def answered(answer: web.Response, _: web.Request) -> web.Response:
    return answer


def test_f62_an_opt_out_header_is_honoured(board: Board, tmp_path: Path) -> None:
    """F62: X-Robots-Tag noai, to everybody or to us: skipped, with its reason; not if to another robot."""
    tags = {7: "noindex, noai", 8: "noindex, alti2v: noai", 9: "*: NoImageAI", 10: "otherbot: noai"}
    site = board(ids=list(tags))
    for number, tag in tags.items():
        answer = web.Response(body=site.content(number, sample=True), headers={"X-Robots-Tag": tag})
        site.script(f"/samples/{number % 7}/sample_p{number}.", functools.partial(answered, answer))
    report = crawl_board(config(tmp_path / "store", site))

    assert report.skipped == {"opt_out": 3}
    assert set(pictures(report.store)) == {10}


def test_f61_robots_txt_of_the_files_is_obeyed(board: Board, tmp_path: Path) -> None:
    """F61: forbidden files are skipped; nothing is requested."""
    site = board(ids=[7, 9], robots="User-agent: *\nDisallow: /samples/\n")
    report = crawl_board(config(tmp_path / "store", site))

    assert report.skipped == {"robots": 2}
    assert site.asked("/samples/") == []


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("dialect", "rule", "api"), [("danbooru", "/*.json", "posts.json"), ("gelbooru", "/index.php", "index.php")]
)
def test_an_api_that_robots_txt_disallows_is_asked_under_its_own_terms(
    board: Board, tmp_path: Path, *, dialect: str, rule: str, api: str, apart: bool
) -> None:
    """As on donmai, whose help documents what its robots.txt disallows: read once, said once."""
    site = board(dialect=dialect, robots=f"User-agent: *\nDisallow: {rule}\n")
    told: list[Progress] = []
    report = crawl_board(config(tmp_path / "store", site, download_in_worker=apart), progress=told.append)
    said = [progress.milestone for progress in told if "robots.txt" in progress.milestone]

    assert (report.stored, report.complete) == (60, True)
    assert len(said) == 1
    assert f"disallows {api}" in said[0]
    assert site.asked("/robots.txt") == ["/robots.txt"]


def test_a_listing_without_files_needs_no_robots_txt(board: Board, tmp_path: Path) -> None:
    """It is for files: where it cannot be read, a listing of a documented API is complete all the same."""
    site = board(dialect="danbooru")
    site.script("/robots.txt", *[page(status=500)] * 50)

    assert crawl_board(config(tmp_path / "store", site, files="none")).complete


def test_f04_a_throttling_board_is_not_a_failure(board: Board, tmp_path: Path) -> None:
    """F04: 429 with and without Retry-After, on the API and on files: everything arrives."""
    site = board(page_cap=13)
    wait = lambda _: web.Response(status=429, headers={"Retry-After": "0"})  # noqa: E731
    site.script("/index.php", None, wait, wait, None, wait)
    site.script("/samples/", wait, None, page(status=429), wait)
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.stored, report.failed, report.complete) == (60, {}, True)
    assert set(posts(report.store)["attempts"]) == {1}


def test_f05_a_host_that_is_down_leaves_posts_pending(board: Board, tmp_path: Path) -> None:
    """F05: several failures in a row end the fetching; nothing is marked lost, and a later run goes on."""
    site = board()
    store = tmp_path / "store"
    site.script("/samples/", *[page(status=502)] * 1000)
    report = crawl_board(config(store, site, retry=replace(QUICK, failures=10, probes=3)))
    asked = len(site.asked("/samples/"))
    site.scripts.clear()
    healed = crawl_board(config(store, site))

    assert not report.complete
    assert "failed 13 times in a row" in report.missing
    assert report.pending >= 50
    assert asked <= 13 + 4
    assert (healed.stored, healed.complete) == (60, True)


def test_the_reason_why_the_board_is_down_is_told_once(board: Board, tmp_path: Path) -> None:
    """A resumed crawl of a board that is down names the fault once, with the place of the listing."""
    site = board()
    store = tmp_path / "store"
    crawl_board(config(store, site, limit=10))
    site.script("/index.php", *[page(status=502)] * 1000)
    report = crawl_board(config(store, site, retry=replace(QUICK, failures=1, probes=1)))

    assert not report.complete
    assert report.missing.count("failed 2 times in a row") == 1


def test_f07_a_ban_leaves_posts_pending(board: Board, tmp_path: Path) -> None:
    """403 for everything after a good beginning: said, nothing is recorded as refused, and it goes on."""
    site = board()
    store = tmp_path / "store"
    site.script("/samples/", *[None] * 20, *[page(status=403)] * 1000)
    site.script("/images/", *[page(status=403)] * 1000)
    banned = crawl_board(config(store, site))
    asked = len(site.asked("/samples/")) + len(site.asked("/images/"))
    site.scripts.clear()
    healed = crawl_board(config(store, site))

    assert (banned.stored, banned.pending, banned.failed, banned.complete) == (20, 40, {}, False)
    assert "it may have banned this address" in banned.missing
    assert (
        asked <= 20 + 2 * (12 + 4) + 16
    )  # a refused sample says nothing until the original is refused as well
    assert (healed.stored, healed.complete) == (60, True)


def test_f07_what_is_refused_in_three_runs_is_refused(board: Board, tmp_path: Path) -> None:
    """Only refused files are left: the ban is not believed for good, and the crawl ends complete."""
    site = board(ids=list(range(1, 31)))
    site.script("/samples/", *[page(status=403)] * 1000)
    site.script("/images/", *[page(status=403)] * 1000)
    ends = [crawl_board(config(tmp_path / "store", site)) for _ in range(9)]

    assert [(end.pending, end.complete) for end in (ends[0], ends[-1])] == [(30, False), (0, True)]
    assert ends[-1].failed == {"forbidden": 30}


def test_tars_are_sealed_at_their_size(board: Board, tmp_path: Path) -> None:
    """Sealed ones load anywhere; the last one grows on in the next run."""
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    site = board()
    store = tmp_path / "store"
    for limit in (20, 40, None):
        crawl_board(config(store, site, shard_bytes=30_000, limit=limit))
    tars = sorted((store / "images").iterdir())
    keys = []
    for tar in tars:
        with tar.open("rb") as file:
            members = ({**member, "__url__": tar.name} for member in tar_file_iterator(file))
            samples = list(group_by_keys(members))
        keys += [sample["__key__"] for sample in samples if {"jpg", "json"} <= sample.keys()]

    assert len(tars) >= 2
    assert tars[0].read_bytes().endswith(bytes(1024))
    assert sorted(keys) == [f"{number:012d}" for number in sorted(site.ids)]
    assert verify_store(store).findings == ()


# What a person sees, and bad input -----------------------------------------------------------------


def test_progress_goes_forward_and_adds_up(board: Board, tmp_path: Path) -> None:
    """`done` never decreases within a stage, and ends at the total."""
    seen: list[Progress] = []
    crawl_board(config(tmp_path / "store", board(page_cap=13)), progress=seen.append)
    crawling = [progress for progress in seen if progress.stage == "crawling"]

    assert [progress.done for progress in crawling] == sorted(progress.done for progress in crawling)
    assert (crawling[-1].done, crawling[-1].total) == (60, 60)


def test_a_report_adds_up() -> None:
    """Sums that disagree are a mistake in the program, and stop it."""
    with pytest.raises(AssertionError, match="add up"):
        CrawlReport(
            store=Path("x"),
            board="",
            dialect="",
            listed=3,
            stored=1,
            duplicate=0,
            pending=0,
            skipped={"ghost": 1},
            failed={},
            new=0,
            bytes=0,
            seconds=0,
            complete=True,
            missing="",
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"api_rate": -1},
        {"rate": math.nan},
        {"rate": 1e-320},
        {"connections": 0},
        {"connections": 65},
        {"limit": 0},
        {"files": "large"},
        {"dialect": "moebooru"},
        {"board": "safeboru"},
        {"board": "ftp://x"},
        {"board": "http://u:p@x/"},
        {"board": "http://[::1"},
        {"shard_bytes": 1},
        {"contact": "a\r\nX-Evil: 1"},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """One line with the value; nothing is made on the disk."""
    options: dict[str, Any] = {"store": tmp_path / "store", "board": "safebooru"}
    with pytest.raises(UsageError) as caught:
        CrawlConfig(**(options | wrong))

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_an_unreachable_board_is_a_remote_error(board: Board, tmp_path: Path) -> None:
    """Exit status 3, with the address; a later run starts afresh in the same folder."""
    site = board()
    wrong = replace(config(tmp_path / "store", site), board="http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="does not answer"):
        crawl_board(wrong)

    assert crawl_board(config(tmp_path / "store", site)).complete


@pytest.mark.parametrize("dialect", [None, "gelbooru"])
def test_a_board_that_is_not_public_is_a_usage_error(board: Board, tmp_path: Path, dialect: str | None) -> None:
    """Waiting would not help: another command line does, and the message says which."""
    site = board()

    with pytest.raises(UsageError, match=f"{site.url} is not public: give --allow-private"):
        crawl_board(config(tmp_path / "store", site, allow_private=False, dialect=dialect))
    assert site.requests == []


def test_a_web_site_is_no_board(board: Board, tmp_path: Path) -> None:
    """HTML on every address: exit status 2, saying what it looks like."""
    site = board(dialect="neither")

    with pytest.raises(UsageError, match="not a board of a known dialect: it answers with an HTML page"):
        crawl_board(config(tmp_path / "store", site))


@pytest.mark.parametrize(("given", "spoken"), [("gelbooru", "danbooru"), ("danbooru", "gelbooru")])
def test_a_wrong_dialect_is_named(board: Board, tmp_path: Path, given: str, spoken: str) -> None:
    """The message says which one it is."""
    site = board(dialect=spoken)

    with pytest.raises(UsageError, match=f"looks like {spoken}"):
        crawl_board(config(tmp_path / "store", site, dialect=given))


def test_a_search_that_the_board_refuses(board: Board, tmp_path: Path) -> None:
    """422: the board's own words, exit status 2."""
    with pytest.raises(UsageError, match="cannot search for more than 2 tags"):
        crawl_board(config(tmp_path / "store", board(dialect="danbooru"), tags="a b c"))


def test_a_search_without_a_match_is_a_data_error(board: Board, tmp_path: Path) -> None:
    """And the folder can be used for another search."""
    site = board()
    with pytest.raises(DataError, match="no post matches 'no_such_tag'"):
        crawl_board(config(tmp_path / "store", site, tags="no_such_tag"))

    assert not (tmp_path / "store" / STORE_FILE).exists()
    assert crawl_board(config(tmp_path / "store", site)).stored == 60


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tags": "solo"}, "without --tags, not with --tags solo"),
        ({"files": "original"}, "with --files sample, not with --files original"),
        ({"board": "donmai"}, "from http.* not from https://"),
    ],
)
def test_f42_a_store_of_another_plan_is_refused(
    board: Board, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    """One store, one search of one board in one kind of files."""
    site = board(ids=[7])
    crawl_board(config(tmp_path / "store", site))

    with pytest.raises(UsageError, match=f"was crawled {named}"):
        crawl_board(replace(config(tmp_path / "store", site), **change))


@pytest.mark.parametrize("files", ["sample", "original"])
def test_listing_alone_fetches_nothing_until_files_are_wanted(board: Board, tmp_path: Path, files: str) -> None:
    """The tables are whole; the same store goes on to fetch, and equals one that fetched at once."""
    site, store = board(), tmp_path / "store"
    listed = crawl_board(config(store, site, files="none"))
    table, asked = posts(store), site.asked("/samples") + site.asked("/images")
    again = crawl_board(config(store, site, files="none"))
    fetched = crawl_board(config(store, site, files=files))
    at_once = crawl_board(config(tmp_path / "at once", site, files=files))

    assert (listed.listed, listed.pending, listed.stored, listed.complete) == (60, 60, 0, True)
    assert (again.pending, again.complete) == (60, True)
    assert asked == []
    assert set(table["status"]) == {"pending"}
    assert all("1girl" in {*row} for row in table["tags_general"])
    assert (fetched.stored, fetched.complete) == (60, True) == (at_once.stored, at_once.complete)
    assert pictures(store) == pictures(tmp_path / "at once")
    with pytest.raises(UsageError, match="was crawled with --files"):
        crawl_board(config(store, site, files="none"))


def test_a_folder_that_is_something_else_is_refused(board: Board, tmp_path: Path) -> None:
    """Nothing in it is touched."""
    (tmp_path / "holiday.jpg").write_bytes(b"mine")

    with pytest.raises(UsageError, match="not empty and not a store"):
        crawl_board(config(tmp_path, board()))

    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    ("lost", "named"),
    [("crawl.sqlite", "crawl.sqlite is missing: .*verify .*--repair`"), (STORE_FILE, "holds pictures")],
)
def test_f38_what_a_store_has_lost_is_not_begun_anew(
    board: Board, tmp_path: Path, lost: str, named: str
) -> None:
    """F38: its pictures may be gone from the board; a crawl that writes over them would lose them for good."""
    site, store = board(), tmp_path / "store"
    crawl_board(config(store, site))
    tar = (store / "images/images-000000.tar").read_bytes()
    for file in store.glob(f"{lost}*"):
        file.unlink()

    with pytest.raises(DamagedError, match=named):
        crawl_board(config(store, site))
    assert (store / "images/images-000000.tar").read_bytes() == tar


def test_f37_a_second_crawl_into_the_same_store_is_refused(board: Board, tmp_path: Path) -> None:
    """F37: while the first one runs."""
    site = board(ids=[7])
    crawl_board(config(tmp_path / "store", site))

    with (
        exclusive(tmp_path / "store", CRAWL_LOCK_FILE),
        pytest.raises(UsageError, match=f"in use by process {os.getpid()}"),
    ):
        crawl_board(config(tmp_path / "store", site))


def test_f36_a_folder_that_cannot_be_made_is_a_storage_error(board: Board, tmp_path: Path) -> None:
    """F36: the parent is a file."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot write"):
        crawl_board(config(tmp_path / "file" / "store", board()))
