"""Peak memory of a crawl of a hostile server, and the result of the crawl.

Each row is one crawl, in a separate process, of a board with one attack; the board without one (`calm`) is
the floor. Run:

    python benchmarks/hostile_server.py [--attacks endless,gzip_file]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import io
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from PIL import Image

POSTS = 8
_MB = 1_000_000
_CHUNK = bytes(1 << 16)

CRAWL = """
import json, sys
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.errors import Alti2vError

url, store = sys.argv[1:]
patience = RetryPolicy(tries=2, base_s=0.01, ceiling_s=0.01, failures=100, refusals=100)
fast = {"rate": float("inf"), "api_rate": float("inf"), "download_in_worker": False}  # one peak for all of it
config = CrawlConfig(
    store=Path(store), board=url, dialect="gelbooru", files="original", allow_private=True, retry=patience,
    tag_categories=False, **fast
)
try:
    report = crawl_board(config)
    end = {"stored": report.stored} | dict(report.failed) | dict(report.skipped)
except Alti2vError as exc:
    end = {"error": str(exc)}
# Not getrusage: its ru_maxrss starts from that of the process that began this one.
status = Path("/proc/self/status").read_text()
print(json.dumps({"end": end, "peak_rss_mb": int(status.partition("VmHWM:")[2].split()[0]) / 1024}))
"""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def picture(number: int) -> bytes:
    """Make a small picture, distinct for each number."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, 7, 7)).save(out, "PNG")
    return out.getvalue()


# Files ---------------------------------------------------------------------------------------------


async def endless(request: web.Request) -> web.StreamResponse:
    """Send a body without end."""
    return await _streamed(request, {"Content-Type": "image/jpeg"}, total=None)


async def five_gigabytes(request: web.Request) -> web.StreamResponse:
    """Announce 5 GB, and send them."""
    return await _streamed(
        request, {"Content-Type": "image/jpeg", "Content-Length": str(5 * 10**9)}, total=5 * 10**9
    )


async def gzip_file(_: web.Request) -> web.StreamResponse:
    """Send 1 GB of zeros as 1 MB of gzip, although identity was requested."""
    return web.Response(body=_bomb(), headers={"Content-Encoding": "gzip", "Content-Type": "image/jpeg"})


async def pixels(_: web.Request) -> web.StreamResponse:
    """Send 20,000 x 20,000 px in 49 kB."""
    return web.Response(body=_pixel_bomb(), content_type="image/png")


async def endless_headers(request: web.Request) -> web.StreamResponse:
    """Send 64 MB of headers."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        for number in range(64):
            request.transport.write(b"X-%d: " % number + b"x" * _MB + b"\r\n")
            await asyncio.sleep(0)
    request.transport.close()
    return web.Response()


# The API -------------------------------------------------------------------------------------------


async def json_100_mb(_: web.Request) -> web.StreamResponse:
    """Send a page of 100 MB."""
    return web.Response(body=b"[" + b" " * (100 * _MB) + b"]", content_type="text/html")


async def gzip_page(_: web.Request) -> web.StreamResponse:
    """Send 1 GB of zeros as 1 MB of gzip, which was requested."""
    return web.Response(body=_bomb(), headers={"Content-Encoding": "gzip", "Content-Type": "text/html"})


async def json_of_lists(_: web.Request) -> web.StreamResponse:
    """Send as many values as fit into a page: 4.9 million empty lists in 14.7 MB."""
    return web.Response(body=b"[" + b"[]," * 4_900_000 + b"[]]", content_type="text/html")


async def json_deep(_: web.Request) -> web.StreamResponse:
    """Send 10 million nested brackets."""
    return web.Response(body=b"[" * 10_000_000, content_type="text/html")


async def million_tags(request: web.Request) -> web.StreamResponse:
    """Send a post with a million tags."""
    post = _post(request, 1) | {"tags": " ".join(f"tag{number}" for number in range(1_000_000))}
    below = "id:<" in request.query.get("tags", "")
    return web.Response(text="" if below else json.dumps([post]), content_type="text/html")


FILES: dict[str, Answer] = {
    f.__name__: f for f in (endless, five_gigabytes, gzip_file, pixels, endless_headers)
}
PAGES: dict[str, Answer] = {
    f.__name__: f for f in (json_100_mb, gzip_page, json_of_lists, json_deep, million_tags)
}


async def measure(attack: str) -> dict[str, Any]:
    """Crawl a board with one attack, or without one ("calm"), in a separate process."""
    app = web.Application()
    app.router.add_get("/index.php", _pages(PAGES.get(attack)))
    app.router.add_get("/images/{name}", FILES.get(attack, _file))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    begun_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as store:
        crawl = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CRAWL, url, f"{store}/store", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await crawl.communicate()
    await runner.cleanup()
    result: dict[str, Any] = json.loads(out)
    return {"attack": attack, "seconds": round(time.perf_counter() - begun_s, 1), **result}


def _pages(attack: Answer | None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("json") != "1":
            return web.Response(text=f'<posts count="{1 if attack else POSTS}" offset="0"></posts>')
        if attack is not None:
            return await attack(request)
        shown = [] if "id:<" in request.query.get("tags", "") else range(POSTS, 0, -1)
        return web.Response(text=json.dumps([_post(request, n) for n in shown]) if shown else "")

    return answer


def _post(request: web.Request, number: int) -> dict[str, Any]:
    url = f"http://{request.host}/images/{number}.png"
    return {"id": number, "tags": "1girl", "file_url": url, "image": f"{number}.png", "rating": "general"}


async def _file(request: web.Request) -> web.StreamResponse:
    return web.Response(body=picture(int(request.match_info["name"].removesuffix(".png"))))


async def _streamed(request: web.Request, headers: dict[str, str], *, total: int | None) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while total is None or sent < total:
            await response.write(_CHUNK)
            sent += len(_CHUNK)
    return response


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(_MB)) for _ in range(1000)) + packer.flush()


@functools.cache
def _pixel_bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attacks", default=",".join(["calm", *FILES, *PAGES]))
    options = parser.parse_args()
    rows = []
    for attack in options.attacks.split(","):
        rows.append(row := asyncio.run(measure(attack)))
        print(f"{attack:16} {row['peak_rss_mb']:6.0f} MB {row['seconds']:6.1f} s  {row['end']}", flush=True)
    print(json.dumps({row["attack"]: round(row["peak_rss_mb"]) for row in rows}))


if __name__ == "__main__":
    main()
