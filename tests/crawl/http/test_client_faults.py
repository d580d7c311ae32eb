"""The network room against a server that misbehaves exactly as scripted. Time is a number here."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import ssl
import struct
import threading
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from PIL import Image

from alti2v.crawl.http.client import Client
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.http.ssrf_guard import Sites, is_public, origin_of
from alti2v.pictures.header import NoPicture, PictureRefusal, read_header
from tests.crawl.helpers.http_client import CONFIG, Clock, answering, drop, got, kind


async def test_a_whole_answer_comes_with_its_headers(serve: Any) -> None:
    """The bytes are the server's, hashed on the way."""
    url = await serve(answering(body=b"x" * 5000, headers={"X-Robots-Tag": "NoAI"}))

    assert await got(f"{url}/a.jpg") == Received(
        url=f"{url}/a.jpg",
        status=200,
        body=b"x" * 5000,
        robots_tag="noai",
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((404, FailKind.HTTP_404), (410, FailKind.HTTP_404)),
        *((401, FailKind.FORBIDDEN), (403, FailKind.FORBIDDEN), (451, FailKind.FORBIDDEN)),
        *((500, FailKind.HTTP_5XX), (418, FailKind.HTTP_4XX)),
    ],
)
async def test_f06_f07_a_status_is_a_kind(serve: Any, status: int, expected: FailKind) -> None:
    """F06, F07: and the status is kept."""
    outcome = await got(await serve(answering(status=status)) + "/a.jpg")

    assert kind(outcome) is expected
    assert isinstance(outcome, FailedTry)
    assert outcome.status == status


async def test_f01_a_refused_connection_has_its_kind() -> None:
    """F01: no server listens, robots.txt cannot be read either, and the host is given up with the reason."""
    url = f"http://127.0.0.1:{unused_port()}/a.jpg"
    async with Client(CONFIG) as client:
        api = await client.get(url, purpose=Purpose.API, max_bytes=10)
        file = await client.get(url, purpose=Purpose.FILE, max_bytes=10)

    assert kind(api) is FailKind.CONNECT
    assert kind(file) is FailKind.HOST_DOWN
    assert isinstance(file, FailedTry)
    assert "robots.txt cannot be read" in file.message


async def test_f01_a_reset_has_its_kind(serve: Any) -> None:
    """F01: the server cuts the connection before an answer."""
    assert kind(await got(await serve(drop) + "/a.jpg")) is FailKind.RESET


async def test_f01_a_reset_in_the_middle_of_a_body_has_its_kind(serve: Any) -> None:
    """F01: half of the bytes, then RST: no part of it is taken for the whole."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"x" * 2500)
        assert request.transport is not None
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return response

    assert kind(await got(await serve(handler) + "/a.jpg")) in (FailKind.RESET, FailKind.TRUNCATED_BODY)


async def test_f02_a_broken_chunk_is_never_taken_for_an_end(serve: Any) -> None:
    """F02: the connection ends inside a chunk, and after one without the last, empty chunk."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        broken = {"/inside": b"ff\r\nabc", "/after": b"3\r\nabc\r\n", "/nonsense": b"zz\r\nabc\r\n"}
        request.transport.write(head + broken[request.path])
        request.transport.close()
        return web.Response()

    url = await serve(handler)
    kinds = [kind(await got(f"{url}/{path}")) for path in ("inside", "after", "nonsense")]

    assert kinds[:2] == [FailKind.TRUNCATED_BODY] * 2
    assert kinds[2] in (FailKind.TRUNCATED_BODY, FailKind.BAD_HTTP)


async def test_f02_a_short_body_is_told_in_words(serve: Any) -> None:
    """F02: without the class and the status that the HTTP client wraps around them; none was sent."""

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        request.transport.close()
        return web.Response()

    outcome = await got(await serve(handler) + "/a.jpg")

    assert isinstance(outcome, FailedTry)
    assert outcome.kind is FailKind.TRUNCATED_BODY
    assert outcome.message.startswith("truncated_body: Not enough data to satisfy content length header")
    assert not re.search("400|Error|message=", outcome.message)


async def test_f03_a_host_that_never_answers_times_out(serve: Any) -> None:
    """F03: not even headers come."""
    release = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    url = await serve(handler)
    async with Client(replace(CONFIG, read_s=0.1)) as client:
        outcome = await client.get(f"{url}/a", purpose=Purpose.API, max_bytes=10)
    release.set()

    assert kind(outcome) is FailKind.TIMEOUT


async def test_f02_a_short_body_is_never_taken_for_a_whole_one(serve: Any) -> None:
    """F02: fewer bytes than announced."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        assert request.transport is not None
        request.transport.close()
        return response

    assert kind(await got(await serve(handler) + "/a.jpg")) is FailKind.TRUNCATED_BODY


async def test_f03_a_hanging_body_times_out(serve: Any) -> None:
    """F03: headers come, then nothing."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"x")
        await release.wait()
        return response

    outcome = await got(await serve(handler) + "/a.jpg", config=replace(CONFIG, read_s=0.1))
    release.set()

    assert kind(outcome) is FailKind.TIMEOUT


async def test_f03_a_slow_body_has_a_deadline_in_all(serve: Any) -> None:
    """F03, slow-loris: bytes that trickle in endlessly do not hold a slot endlessly."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x")
            await asyncio.sleep(0.01)
        return response

    outcome = await got(await serve(handler) + "/a.jpg", config=replace(CONFIG, read_s=5, total_s=0.2))

    assert kind(outcome) is FailKind.TIMEOUT


async def test_f03_a_body_below_the_least_rate_is_given_up(serve: Any) -> None:
    """Long before the deadline in all: after a grace, by its average; a quick body of the same size passes."""
    clock = Clock()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"x" * 100)
            clock.now += 1.0 if request.path == "/slow" else 0.05
            await asyncio.sleep(0)
        return response

    url = await serve(handler)
    config = replace(CONFIG, min_bytes_per_s=1000.0, grace_s=20.0)
    slow, quick = [await got(f"{url}/{path}", config=config, clock=clock) for path in ("slow", "quick")]

    assert kind(slow) is FailKind.TIMEOUT
    assert isinstance(slow, FailedTry)
    assert "slower than 1,000 bytes/s" in slow.message
    assert isinstance(quick, Received)


@pytest.mark.parametrize("announced", [True, False])
async def test_f10_a_body_over_the_cap_is_refused(serve: Any, announced: bool) -> None:
    """F10: by its announced length before a byte is read, or while streaming."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000000000"} if announced else {})
        await response.prepare(request)
        with_end = 100
        for _ in range(with_end):
            await response.write(b"x" * 1000)
        return response

    assert kind(await got(await serve(handler) + "/a.jpg", max_bytes=20_000)) is FailKind.TOO_LARGE


async def test_f10_a_packed_bomb_counts_unpacked(serve: Any) -> None:
    """F10: the cap is on what comes out of Content-Encoding."""
    import gzip

    packed = gzip.compress(bytes(5_000_000))
    url = await serve(answering(body=packed, headers={"Content-Encoding": "gzip"}))

    assert len(packed) < 20_000
    assert kind(await got(f"{url}/a.jpg", max_bytes=20_000)) is FailKind.TOO_LARGE


async def test_f09_redirects_are_followed_five_times(serve: Any) -> None:
    """F09: the sixth is one too many; the address of the answer is the last one."""

    async def handler(request: web.Request) -> web.Response:
        left = int(request.path[1:])
        return (
            web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(body=b"x")
        )

    url = await serve(handler)
    near, far = await got(f"{url}/5"), await got(f"{url}/6")

    assert isinstance(near, Received)
    assert near.url == f"{url}/0"
    assert kind(far) is FailKind.REDIRECTS


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/"])
async def test_f09_f14_a_redirect_to_another_scheme_is_refused(serve: Any, target: str) -> None:
    """F09, F14: only plain http and https, without credentials."""
    assert (
        kind(await got(await serve(answering(status=302, headers={"Location": target})) + "/a.jpg"))
        is FailKind.BAD_URL
    )


@pytest.mark.parametrize(
    ("board", "own", "foreign"),
    [
        ("https://safebooru.org/x", ["safebooru.org", "img.safebooru.org"], ["evilsafebooru.org", "org"]),
        ("https://safebooru.donmai.us", ["donmai.us", "cdn.donmai.us"], ["donmai.us.evil.example", "x.us"]),
        ("https://board.co.uk", ["board.co.uk", "img.board.co.uk"], ["other.co.uk", "co.uk"]),
        ("http://127.0.0.1:80", ["127.0.0.1"], ["127.0.0.2", "1.127.0.0.1.example"]),
        ("http://localhost", ["localhost", "a.localhost"], ["example.org"]),
    ],
)
def test_f14_hosts_of_files_are_the_boards_own(board: str, own: list[str], foreign: list[str]) -> None:
    """A redirect may lead to the board's own site only."""
    sites = Sites(board)

    assert [name for name in own if not sites.may_lead_to(f"https://{name}/a.jpg")] == []
    assert [name for name in foreign if sites.may_lead_to(f"https://{name}/a.jpg")] == []


def test_f14_an_api_may_name_a_few_more_hosts() -> None:
    """Such hosts are allowed from then on; a board that names ever more is refused."""
    sites = Sites("https://safebooru.org")
    named = [sites.may_begin_at(f"https://cdn{n}.example/a.jpg") for n in range(12)]

    assert named == [True] * 8 + [False] * 4
    assert sites.may_lead_to("https://cdn7.example/b.jpg")
    assert not sites.may_lead_to("https://cdn8.example/b.jpg")
    assert sites.may_begin_at("https://img.safebooru.org/a.jpg")


async def test_f09_a_redirect_to_a_foreign_host_is_not_followed(serve: Any) -> None:
    """A redirect of files or of the API to another host gets no byte, not even for its robots.txt."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.host)
        return web.Response(status=302, headers={"Location": f"http://localhost:{request.url.port}/b"})

    url = await serve(handler)
    async with Client(replace(CONFIG, board=url)) as client:
        outcomes = [
            await client.get(f"{url}/a", purpose=purpose, max_bytes=10)
            for purpose in (Purpose.FILE, Purpose.API)
        ]

    assert [kind(outcome) for outcome in outcomes] == [FailKind.FOREIGN_HOST] * 2
    assert ["redirects to http://localhost" in str(outcome) for outcome in outcomes] == [False, True]
    assert {host.partition(":")[0] for host in heard} == {"127.0.0.1"}


def resolving(names: Mapping[str, list[str]]) -> Callable[..., Any]:
    """Replacement of `socket.getaddrinfo`: some names have these addresses, all others are looked up."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *others: Any, **named: Any) -> Any:
        if host not in names:
            return real(host, port, *others, **named)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in names[host]
        ]

    return look_up


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *(
            "224.0.0.1",
            "::1",
            "fe80::1%eth0",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ),
        *("64:ff9b:1::a00:1", "::", "fec0::1", "feff::1", "::127.0.0.1", "::1.1.1.1", "::ffff:0:1.1.1.1"),
        *("::ffff:0:127.0.0.1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "fd00:ec2::254", "4000::1"),
    ],
)
def test_f14_addresses_that_are_not_public(address: str) -> None:
    """F14: private, loopback, link-local, shared, multicast, and IPv6 forms that carry such a one."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_addresses_that_are_public(address: str) -> None:
    """The guard lets the internet through."""
    assert is_public(address)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_f14_private_addresses_are_refused_before_a_byte_is_sent(serve: Any, name: str) -> None:
    """F14: whatever the name looks like, the server never hears of it."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response()

    port = (await serve(handler)).rpartition(":")[2]
    async with Client(replace(CONFIG, allow_private=False)) as client:
        outcome = await client.get(f"http://{name}:{port}/secret", purpose=Purpose.API, max_bytes=10)

    # Odd spellings of an address are refused as such, before they are resolved.
    assert kind(outcome) in (FailKind.PRIVATE_ADDRESS, FailKind.BAD_URL)
    assert heard == []


@pytest.mark.parametrize("target", ["127.0.0.2", "localhost", "[::1]", "[::ffff:127.0.0.2]"])
async def test_f14_a_redirect_to_a_private_address_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """F14: the guard looks at every hop, also where the first one was public."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(status=302, headers={"Location": f"http://{target}:{request.url.port}/secret"})

    url = await serve(handler)
    # The test's own server plays the public host; `localhost` resolves to what the guard must refuse.
    monkeypatch.setattr("alti2v.crawl.http.ssrf_guard.is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolving({"localhost": ["127.0.0.2"]}))
    async with Client(replace(CONFIG, allow_private=False)) as client:
        outcome = await client.get(f"{url}/a", purpose=Purpose.API, max_bytes=10)

    assert kind(outcome) in (FailKind.PRIVATE_ADDRESS, FailKind.BAD_URL)
    assert heard == ["/a"]


async def test_f14_a_name_that_changes_its_address_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14, DNS rebinding: the address of the connection counts, not one that was resolved before."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(body=b"x", headers={"Connection": "close"})

    port = (await serve(handler)).rpartition(":")[2]
    names = {"board.example": ["127.0.0.1"]}
    monkeypatch.setattr("alti2v.crawl.http.ssrf_guard.is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolving(names))
    async with Client(replace(CONFIG, allow_private=False)) as client:
        first = await client.get(f"http://board.example:{port}/a", purpose=Purpose.API, max_bytes=10)
        names["board.example"] = ["127.0.0.2"]
        assert client._session is not None
        connector = client._session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        connector.clear_dns_cache()  # its time is over
        second = await client.get(f"http://board.example:{port}/b", purpose=Purpose.API, max_bytes=10)

    assert isinstance(first, Received)
    assert kind(second) is FailKind.PRIVATE_ADDRESS
    assert heard == ["/a"]


@pytest.mark.parametrize("url", ["http://", "javascript:x", "http://[::1", "http://a:b/", "//x", "http://:0/"])
async def test_addresses_that_are_none_are_refused(url: str) -> None:
    """One kind for all, and no exception."""
    assert kind(await got(url)) is FailKind.BAD_URL


async def test_f11_names_that_do_not_resolve_have_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many such names at once take no thread each."""
    threads: set[int] = set()

    def resolve(*_: object, **__: object) -> None:
        threads.add(threading.get_ident())
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with Client(CONFIG) as client:
        outcomes = await asyncio.gather(
            *(client.get(f"http://host{n}.invalid/", purpose=Purpose.API, max_bytes=10) for n in range(200))
        )

    assert {kind(outcome) for outcome in outcomes} == {FailKind.DNS}
    assert 1 <= len(threads) <= 36  # the loop's own pool: min(32, cores + 4)


async def test_f11_of_several_addresses_one_that_answers_is_enough(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: a dead address in front, as with a broken IPv6, costs an attempt and not the file."""
    port = (await serve(answering(body=b"x"))).rpartition(":")[2]
    names = {"board.example": ["127.0.0.2", "127.0.0.3", "127.0.0.1"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolving(names))
    async with Client(CONFIG) as client:
        outcome = await client.get(f"http://board.example:{port}/a", purpose=Purpose.API, max_bytes=10)

    assert isinstance(outcome, Received)


async def test_f12_a_certificate_that_nobody_vouches_for_fails_closed(tmp_path: Path) -> None:
    """Self-signed: not a byte of the request is sent."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-days", "1", "-nodes", "-newkey", "rsa:2048"]
    openssl = ["openssl", "req", "-x509", *subject, "-keyout", str(key), "-out", str(certificate)]
    await (await asyncio.create_subprocess_exec(*openssl, stderr=asyncio.subprocess.DEVNULL)).wait()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(body=b"x")

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    server = TestServer(app, host="127.0.0.1", scheme="https")
    await server.start_server(ssl=context)
    async with Client(CONFIG) as client:
        outcome = await client.get(str(server.make_url("/a")), purpose=Purpose.API, max_bytes=10)
    await server.close()

    assert kind(outcome) is FailKind.TLS
    assert heard == []


async def test_f13_an_idle_connection_that_the_server_closed_is_replaced(serve: Any) -> None:
    """The request is repeated over a new connection, and does not count as failed."""
    connections: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.transport in connections:  # kept alive, but the server has changed its mind
            return await drop(request)
        connections.append(request.transport)
        return web.Response(body=b"x")

    url = await serve(handler)
    async with Client(CONFIG) as client:
        outcomes = [await client.get(f"{url}/a", purpose=Purpose.API, max_bytes=10) for _ in range(3)]

    assert all(isinstance(outcome, Received) for outcome in outcomes)
    assert len(connections) == 3


def test_f22_a_pixel_bomb_is_refused_from_its_header() -> None:
    """20,000 x 20,000 px in 49 kB: no memory is taken for what it would unpack to."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    tracemalloc.start()
    outcome = read_header(out.getvalue())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(outcome, PictureRefusal)
    assert outcome.kind is NoPicture.TOO_MANY_PIXELS
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/x", "https://a.example"),
        ("http://a.example:8080?q=1", "http://a.example:8080"),
        ("http://a.example:080/x", "http://a.example:80"),
        ("http://a.example:99999/x", None),
        ("https://A.Example/x", "https://a.example"),
        ("https://user@a.example/x", None),
        ("https://a.example\\@b.example/x", None),
        ("ftp://a.example/x", None),
        ("https:///x", None),
    ],
)
def test_the_origin_of_an_address(url: str, origin: str | None) -> None:
    """Origins are read alike from plain and from unusual spellings of an address."""
    assert origin_of(url) == origin
