"""Requests to the served page: which are answered, and how much room uploads take. Without Gradio."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from alti2v.serving.admission import AdmissionRules, error_in_one_line, guarded, make_room, refusal, rules_for

RULES = rules_for("127.0.0.1", ("tags.example.org",), max_file_bytes=1000)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7860", "localhost", "LOCALHOST.:7860", "[::1]:7860", "192.168.1.5:80", "tags.example.org"],
)
def test_the_server_answers_to_its_own_names(host: str) -> None:
    """Addresses cannot be rebound, and names are its own or allowed."""
    assert refusal("GET", {"host": host}, RULES) is None
    assert refusal("GET", {"host": f"{socket.gethostname()}:7860"}, RULES) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "a@127.0.0.1",
        "][",
    ],
)
def test_a_name_of_somebody_else_is_refused(host: str) -> None:
    """DNS rebinding: a page of that name would be of the same origin as this server."""
    for method in ("GET", "POST"):
        refused = refusal(method, {"host": host}, RULES)

        assert refused is not None
        assert refused.status == 403
    assert host in ("", "a@127.0.0.1", "][") or not refusal(
        "GET", {"host": host}, AdmissionRules(hosts=frozenset("*"), max_body_bytes=1)
    )


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:7860"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "https://tags.example.org"}, True),
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "http://localhost:7860"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_pages_of_other_sites_cannot_send_pictures(headers: dict[str, str], is_let_in: bool) -> None:
    """Neither a form nor a script of another site or another port; programs send no such header."""
    refused = refusal("POST", {"host": "127.0.0.1:7860", **headers}, RULES)

    assert (refused is None) == is_let_in
    assert refusal("GET", {"host": "127.0.0.1:7860", **headers}, RULES) is None


@pytest.mark.parametrize("length", ["99999999", "9" * 5000, "-1", "x", "²"])
def test_a_body_that_is_too_large_is_refused_at_once(length: str) -> None:
    """A large body is refused by its announced size, before it is read."""
    refused = refusal("POST", {"host": "127.0.0.1", "content-length": length}, RULES)

    assert refused is not None
    assert refused.status == 413


def asked(
    uploads: Path, headers: dict[str, str], *, method: str = "POST", chunks: tuple[bytes, ...] = ()
) -> tuple[list[MutableMapping[str, Any]], list[MutableMapping[str, Any]]]:
    """Send one request through the guard: what the application received, and what the client got."""
    received, sent = [], []
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def app(_: Any, receive: Any, send: Any) -> None:
        received.extend([await receive() for _ in chunks])
        await send({"type": "http.response.body", "body": b'event: error\ndata: {"error": null}\n\n'})

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": raw}

    async def answered() -> None:
        await guarded(app, RULES, uploads)(scope, receive, send)

    asyncio.run(answered())
    return received, sent


def test_a_refusal_is_a_line_and_reaches_no_application(tmp_path: Path) -> None:
    """The client gets a status and a text."""
    received, sent = asked(tmp_path, {"host": "evil.example"}, chunks=(b"x",))

    assert received == []
    assert sent[0]["status"] == 403
    assert sent[1]["body"].count(b"\n") == 1


def test_a_body_without_a_size_is_cut_off(tmp_path: Path) -> None:
    """A client that announces nothing gets no more room than one that does."""
    received, _ = asked(tmp_path, {"host": "localhost"}, chunks=(b"x" * 60_000,) * 3)

    assert [message["type"] for message in received] == ["http.request", "http.disconnect", "http.disconnect"]


def test_old_uploads_make_room_for_new_ones(tmp_path: Path) -> None:
    """However many are sent, only the newest are kept."""
    for number in range(100):
        (tmp_path / f"{number}").mkdir()
        file = tmp_path / f"{number}" / "picture.png"
        file.write_bytes(b"x")
        os.utime(file, (number, number))
    make_room(tmp_path, keep=5)

    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["96", "97", "98", "99"]
    asked(tmp_path, {"host": "localhost"})
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('{"error": null}', "the request cannot be answered: see docs/SERVE.md"),
        ('{"error": "1 error:\\n  Value error"}', "1 error: Value error"),
        ('"404: Not Found"', "404: Not Found"),
        ("null", "the request cannot be answered: see docs/SERVE.md"),
    ],
)
def test_every_error_is_one_line(data: str, line: str) -> None:
    """Never null, whatever the framework says."""
    event = error_in_one_line(f"event: error\ndata: {data}\n\n".encode())

    assert json.loads(event.partition(b"data: ")[2])["error"] == line
    assert event.endswith(b"\n\n")
    assert error_in_one_line(b'event: complete\ndata: [{"error": null}]\n\n').count(b"null") == 1
