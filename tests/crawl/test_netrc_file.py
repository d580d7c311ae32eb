"""API keys in netrc files: which entry is a board's, and which files are refused."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from alti2v.crawl.boards.known import base_url, key_names
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.netrc_file import read_api_key
from alti2v.errors import UsageError

RULE34 = base_url("rule34")


def written(folder: Path, text: str | bytes, *, mode: int = 0o600) -> Path:
    path = folder / "netrc"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize("machine", ["api.rule34.xxx", "rule34.xxx", "rule34"])
def test_an_entry_may_have_the_name_that_curl_or_gallery_dl_uses(tmp_path: Path, machine: str) -> None:
    """The API's host, the site, or the board's name; entries of other hosts and `default` are not touched."""
    path = written(
        tmp_path,
        f"machine other.example login 1 password no\nmachine {machine} login 7 password abcdef\n"
        "default login anonymous password x\n",
    )

    key = read_api_key(path, base=RULE34, machines=key_names(RULE34))

    assert (key.origin, key.account, key.secret.reveal()) == ("https://api.rule34.xxx", "7", "abcdef")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("machine x.example login 1 password p\ndefault login a password b\n", "has no key for api.rule34.xxx"),
        ("machine rule34 login 1\n", "needs a login"),
        ("machine rule34 password k3y-of-mine\n", "needs a login"),
        ("machine rule34 login a:b password k3y-of-mine\n", "characters that no account"),
        ("machine rule34 login 1 passwort k3y-of-mine\n", "line 1, is not in the form"),
        ("k3y-of-mine\n", "line 2, is not in the form"),
        (b"machine rule34 login 1 password \xff\xfe\x00k3y-of-mine\n", "not a netrc file"),
        ("", "has no key for api.rule34.xxx"),
    ],
)
def test_an_unusable_file_is_told_in_a_line_without_its_words(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    """Neither the message nor the traceback repeats what could be a key."""
    path = written(tmp_path, text)

    with pytest.raises(UsageError, match=told) as refused:
        read_api_key(path, base=RULE34, machines=key_names(RULE34))

    assert len(str(refused.value).splitlines()) == 1
    assert "k3y-of-mine" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right of group or others is refused, with the command that takes it away."""
    path = written(tmp_path, "machine rule34 login 7 password abcdef\n", mode=mode)

    with pytest.raises(UsageError, match=f"run chmod 600 {path}"):
        read_api_key(path, base=RULE34, machines=key_names(RULE34))


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """A missing file, a folder and a file of gigabytes end in a line each."""
    large = written(tmp_path, "")
    os.truncate(large, 10**10)
    for path, told in (
        (tmp_path / "absent", "No such file"),
        (tmp_path, "not a netrc file"),
        (large, "not a netrc file"),
    ):
        with pytest.raises(UsageError, match=told):
            read_api_key(path, base=RULE34, machines=key_names(RULE34))


def test_a_key_is_not_read_for_an_unencrypted_host(tmp_path: Path) -> None:
    """Plain HTTP is for this machine only."""
    path = written(
        tmp_path, "machine board.example login 7 password abcdef\nmachine 127.0.0.1 login 7 password x1\n"
    )

    with pytest.raises(UsageError, match=r"not sent to http://board\.example unencrypted"):
        read_api_key(path, base="http://board.example", machines=("board.example",))
    assert read_api_key(path, base="http://127.0.0.1:8017", machines=("127.0.0.1",)).account == "7"


def test_known_boards_have_their_api_hosts() -> None:
    """Any address of rule34.xxx leads to the host of its API, whose pace is limited."""
    assert base_url("https://rule34.xxx/index.php?page=post&s=list") == "https://api.rule34.xxx"
    assert base_url("gelbooru") == "https://gelbooru.com"
    assert base_url("danbooru") == "https://danbooru.donmai.us"


@pytest.mark.parametrize(
    "board",
    [
        "https://gelbooru.com/index.php?page=dapi&s=post&q=index&api_key=k3y-of-mine&user_id=7",
        "https://danbooru.donmai.us/posts?tags=a&login=me&api_key=k3y-of-mine",
        "https://me:k3y-of-mine@danbooru.donmai.us",
        "//me:k3y-of-mine@danbooru.donmai.us",
    ],
)
def test_a_key_in_the_boards_address_is_refused_and_not_repeated(board: str, tmp_path: Path) -> None:
    """The form in which boards show keys to their users is often pasted; the message says where it belongs."""
    with pytest.raises(UsageError, match=r"put it into ~/\.netrc and give --netrc") as refused:
        CrawlConfig(store=tmp_path, board=board)

    assert "k3y-of-mine" not in "".join(traceback.format_exception(refused.value))
