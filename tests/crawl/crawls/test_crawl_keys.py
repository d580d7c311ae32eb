"""Crawls of boards that want an API key: the key arrives where it belongs, and nothing else ever has it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from alti2v.cli import main
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.errors import RemoteError, UsageError
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import QUICK, config, cut
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.crawl.helpers.secrets import ACCOUNT, SECRET, command_lines, leaking_files, leaks_in, netrc

BASIC = "Basic " + base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()
Answer = Callable[[web.Request], Any]


def has_key(request: web.Request) -> bool:
    """The key is there, in the form of the address's dialect."""
    in_query = (request.query.get("user_id"), request.query.get("api_key")) == (ACCOUNT, SECRET)
    return in_query or request.headers.get("Authorization") == BASIC


def knows_secret(request: web.Request) -> bool:
    """The secret is anywhere in the request."""
    return bool(leaks_in(request.raw_path.encode()) or leaks_in(repr(request.raw_headers).encode()))


def refusal(form: str) -> Answer:
    """The ways in which boards say that a key is missing or wrong."""
    words = "Missing authentication. Go to the account page."
    return {
        "error element": lambda _: web.Response(text=f"<error>{words}</error>", content_type="text/xml"),
        "bare string": lambda _: web.Response(text=json.dumps(words), content_type="text/html"),
        "object": lambda _: web.json_response({"success": False, "message": words}),
        "401": lambda _: web.Response(status=401, text="<html>no</html>", content_type="text/html"),
        "401 object": lambda _: web.json_response({"success": False, "message": "Invalid"}, status=401),
        "403": lambda _: web.Response(status=403, text="Forbidden"),
        "403 object": lambda _: web.json_response({"success": False, "message": "Access denied"}, status=403),
    }[form]


class KeyedBoard:
    """A board that refuses API requests without the key, and looks at every process meanwhile."""

    def __init__(self, board: ScriptedBoard) -> None:
        self.url, self.board = board.url, board
        self.strangers: list[str] = []  # requests that have the secret and need none
        self.unkeyed: list[str] = []
        self.shown: list[bytes] = []
        self.looks = 0
        board.watch = self._check

    def _check(self, request: web.Request) -> web.StreamResponse | None:
        if self.looks < 25:
            self.looks += 1
            self.shown += [text for text in command_lines() if leaks_in(text)]
        is_api = request.path.endswith((".json", ".php"))
        if not is_api and knows_secret(request):
            self.strangers.append(request.path_qs)
        if is_api and not has_key(request):
            self.unkeyed.append(request.path_qs)
            return refusal("error element")(request)  # type: ignore[no-any-return]
        return None


@pytest.fixture
def other(board: Board) -> tuple[str, list[str]]:
    """Another host, and what it was asked with the secret in it."""
    heard: list[str] = []

    def note(request: web.Request) -> web.Response:
        if knows_secret(request):
            heard.append(request.path_qs)
        return web.Response(status=404)

    site = board()
    site.watch = note
    return site.url, heard


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_a_crawl_with_a_key_leaves_no_trace_of_it(board: Board, tmp_path: Path, dialect: str) -> None:
    """The command and its worker process crawl a board that wants a key; all that is left is searched."""
    site = KeyedBoard(board(dialect=dialect, ids=list(range(1, 60, 2))))
    store, file = tmp_path / "store", netrc(tmp_path)
    rates = ["--rate", "inf", "--api-rate", "inf", "--allow-private"]
    command = [sys.executable, "-X", "dev", "-m", "alti2v", "crawl", str(store), "--board", site.url, *rates]

    ended = subprocess.run([*command, "--netrc", str(file)], capture_output=True, check=False)

    assert ended.returncode == 0, ended.stderr.decode()
    assert b"30" in ended.stdout
    assert not site.unkeyed
    assert not site.strangers
    assert site.looks > 20
    assert not site.shown, "a process shows the key"
    assert not leaks_in(ended.stdout + ended.stderr)
    assert not leaking_files(store)
    assert str(file).encode() in (store / "crawl.log").read_bytes()


def moved(address: str) -> web.Response:
    """A redirect."""
    return web.Response(status=302, headers={"Location": address})


FAILURES: dict[str, Callable[[str], Answer]] = {
    "the refusal repeats the address": lambda _: (
        lambda request: web.Response(
            text=f"<error>Missing authentication: {request.url}</error>", content_type="text/xml"
        )
    ),
    "the refusal repeats the key in JSON": lambda _: (
        lambda request: web.json_response(
            {"success": False, "message": f"bad key {request.query.get('api_key')}"}, status=401
        )
    ),
    "another port of the host": lambda other: lambda request: moved(other + request.path_qs),
    "another site": lambda other: (
        lambda request: moved(other.replace("127.0.0.1", "localhost") + request.path_qs)
    ),
    "the key elsewhere in the address": lambda other: (
        lambda request: moved(f"{other}/{request.query['api_key']}/x")
    ),
    "a page with it": lambda _: (
        lambda request: web.Response(text=f"<html>{request.url}</html>", content_type="text/html", status=500)
    ),
    "no HTTP": lambda _: cut,
    "an endless redirect": lambda _: lambda request: moved(request.path_qs),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_never_shows_the_key(
    failure: str,
    board: Board,
    other: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever goes wrong, and whoever repeats the key: messages, log, ledger and other hosts lack it."""
    site, store = board(), tmp_path / "store"
    site.script("/index.php", *[FAILURES[failure](other[0])] * 50)
    rates = ["--rate", "99", "--api-rate", "99", "--allow-private", "--dialect", "gelbooru"]

    arguments = ["crawl", str(store), "--board", site.url, *rates, "--netrc", str(netrc(tmp_path))]
    monkeypatch.setattr("alti2v.crawl.crawler.CrawlConfig", partial(CrawlConfig, retry=QUICK))

    with pytest.raises(SystemExit) as ended:
        main(arguments)

    told = capfd.readouterr()
    assert ended.value.code in (2, 3)
    assert "\nalti2v: " in f"\n{told.err}"
    assert "Traceback" not in told.err
    assert not leaks_in((told.out + told.err).encode())
    assert not leaking_files(store)
    assert not other[1]


def test_posts_that_repeat_the_key_are_stored_without_it(board: Board, tmp_path: Path) -> None:
    """A board that writes the address of a request into its posts does not write the key into the store."""
    site, store = board(ids=[1, 3, 5]), tmp_path / "store"

    def echoing(request: web.Request) -> web.Response:
        entries = [
            site.json_post(number) | {"source": str(request.url), "owner": SECRET} for number in (5, 3, 1)
        ]
        entries[0]["tags"] += f" {request.query['api_key']}"
        return web.Response(text=json.dumps(entries), content_type="text/html")

    site.script("/index.php?page=dapi&q=index&s=post&tags=&limit=1000", echoing)
    crawl_board(config(store, site, netrc=netrc(tmp_path), dialect="gelbooru"))

    assert not leaking_files(store)
    assert b"[key]" in (store / "crawl.sqlite").read_bytes()


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize(
    "form", ["error element", "bare string", "object", "401", "401 object", "403", "403 object"]
)
def test_a_missing_key_is_told_once_with_what_to_do(
    form: str, with_key: bool, board: Board, tmp_path: Path
) -> None:
    """Each form of refusal ends the crawl after one request for posts, with a line that names the remedy."""
    site = board()
    site.script("/index.php", *[refusal(form)] * 9)
    wishes = {"netrc": netrc(tmp_path)} if with_key else {}

    with pytest.raises(UsageError) as refused:
        crawl_board(config(tmp_path / "store", site, dialect="gelbooru", **wishes))

    message = str(refused.value)
    assert len(message.splitlines()) == 1
    if with_key:
        assert f"refuses the API key of account {ACCOUNT} in {tmp_path / 'netrc'}" in message
    else:
        assert "wants an API key" in message
        assert "`machine 127.0.0.1 login USER_ID password API_KEY` into ~/.netrc and give --netrc" in message
    assert len(site.asked("index.php")) == 2, "one for the count, one for the posts"


def test_a_guards_page_is_not_taken_for_a_missing_key(board: Board, tmp_path: Path) -> None:
    """A 403 with a web page, or with Cloudflare's mark, turns away programs: a key would not help."""
    site = board()
    mark = {"cf-mitigated": "challenge"}
    site.script("/index.php", *[lambda _: web.Response(status=403, text="nothing", headers=mark)] * 9)

    with pytest.raises(RemoteError, match="challenge for browsers"):
        crawl_board(config(tmp_path / "store", site, dialect="gelbooru"))


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_the_dialect_is_detected_with_a_key(board: Board, tmp_path: Path, dialect: str) -> None:
    """A board at an unknown address is recognised although it answers nothing without a key."""
    site = KeyedBoard(board(dialect=dialect, ids=[1, 3]))

    report = crawl_board(config(tmp_path / "store", site.board, netrc=netrc(tmp_path)))

    assert (report.dialect, report.stored) == (dialect, 2)


def test_a_key_that_is_withdrawn_ends_a_crawl_that_can_go_on(board: Board, tmp_path: Path) -> None:
    """Listed posts are stored, the run says why it is incomplete, and the next run with a key continues."""
    site, file = board(ids=list(range(1, 60, 2)), page_cap=10), netrc(tmp_path)
    gone = refusal("error element")
    site.script("/index.php", None, None, None, *[gone] * 9)

    report = crawl_board(config(tmp_path / "store", site, netrc=file, dialect="gelbooru"))
    site.scripts.clear()
    later = crawl_board(config(tmp_path / "store", site, netrc=file, dialect="gelbooru"))

    assert not report.complete
    assert "refuses the API key" in report.missing
    assert report.stored == 20
    assert (later.complete, later.stored) == (True, 30)


@pytest.mark.parametrize(
    ("said", "sent"), [({"tag_query_limit": 6}, 4), ({"level": 30}, 4), ({"level": 20}, 2)]
)
def test_an_account_uses_the_search_terms_that_it_may(
    board: Board, tmp_path: Path, said: dict[str, int], sent: int
) -> None:
    """With Gold, four tags go to the board; without, two do, and the others are applied here."""
    site = board(dialect="danbooru", ids=list(range(1, 60, 2)))
    site.script("/profile.json", lambda _: web.json_response(said))

    try:
        crawl_board(
            config(
                tmp_path / "store",
                site,
                tags="1girl solo",
                exclude=("smile", "vocaloid"),
                netrc=netrc(tmp_path),
                dialect="danbooru",
            )
        )
    except UsageError:  # this board takes two terms from anybody
        assert sent == 4

    terms = parse_qs(urlsplit(site.asked("/posts.json")[0]).query)["tags"][0].split()
    assert len(terms) == sent
