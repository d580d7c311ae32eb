"""The stand-in board: an aiohttp application that answers crawlers as the two Safebooru sites do.

It follows safebooru-wire.md and shares no code with the crawler, so that each checks the other. docs/BOARD.md
documents the faults that it can produce.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from aiohttp import web

from alti2v.demo.board.danbooru.pages import rating as danbooru_rating
from alti2v.demo.board.danbooru.routes import add_danbooru_routes
from alti2v.demo.board.fault_injection import interfere
from alti2v.demo.board.gelbooru.pages import rating as gelbooru_rating
from alti2v.demo.board.gelbooru.routes import add_gelbooru_routes
from alti2v.demo.board.picture_cache import open_pictures
from alti2v.demo.board.posts import BoardPosts
from alti2v.demo.board.request_log import RequestKind, Traffic
from alti2v.demo.board.searches import Catalogue
from alti2v.demo.board.site import SITE, BoardConfig, DialectName, Site
from alti2v.errors import UsageError
from alti2v.signals import handled_signals

__all__ = [
    "BoardConfig",
    "DialectName",
    "RequestKind",
    "RunningBoard",
    "Traffic",
    "make_board",
    "serve_board",
    "start_board",
]

_PORT_PATIENCE_S = 5.0
_SHUTDOWN_S = 1.0


def make_board(config: BoardConfig) -> web.Application:
    """Build the application; `app[SITE].traffic` counts its requests."""
    corpus = config.corpus
    posts = BoardPosts(seed=config.seed, corpus=corpus, faults=config.faults, shown=config.posts)

    def rating_of(number: int) -> str:
        shown = posts.picture(number)
        if config.dialect == "danbooru":
            return danbooru_rating(shown.rating)
        return gelbooru_rating(shown, pictures=corpus.pictures)

    catalogue = Catalogue(pictures=corpus.pictures, shown=posts.picture, rating_of=rating_of, seed=config.seed)
    traffic = Traffic() if config.keep_targets else Traffic(targets=None)
    app = web.Application(middlewares=[interfere])
    app[SITE] = Site(config=config, posts=posts, catalogue=catalogue, traffic=traffic)
    app.cleanup_ctx.append(_draw_while_running)
    if config.dialect == "danbooru":
        add_danbooru_routes(app)
    else:
        add_gelbooru_routes(app)
    return app


async def _draw_while_running(app: web.Application) -> AsyncIterator[None]:
    site = app[SITE]
    async with open_pictures(site.config.corpus, processes=site.config.drawing_processes or 0) as pictures:
        site.pictures = pictures
        yield
        site.end()


@dataclass(frozen=True, slots=True)
class RunningBoard:
    """A board that is listening.

    Attributes:
        url: URL of its root, without a slash at the end.
        app: The application.
        runner: The runner that serves it.
    """

    url: str
    app: web.Application
    runner: web.AppRunner

    @property
    def traffic(self) -> Traffic:
        """Log of the requests so far."""
        return self.app[SITE].traffic

    async def stop(self) -> None:
        """Stop answering and free the port."""
        await self.runner.cleanup()


async def start_board(config: BoardConfig, *, patience_s: float = 0.0) -> RunningBoard:
    """Serve a board from this event loop.

    Args:
        config: Configuration of the board.
        patience_s: Seconds to wait for a port that is in use.

    Raises:
        UsageError: The board cannot listen on that address.
    """
    runner = web.AppRunner(
        make_board(config), access_log=None, shutdown_timeout=_SHUTDOWN_S, handler_cancellation=True
    )
    await runner.setup()
    try:
        port = await _listen(runner, config, patience_s=patience_s)
    except BaseException:
        await runner.cleanup()
        raise
    host = f"[{config.host}]" if ":" in config.host else config.host
    return RunningBoard(f"http://{host}:{port}", runner.app, runner)


async def _listen(runner: web.AppRunner, config: BoardConfig, *, patience_s: float) -> int:
    """Open the port and return its number."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    while True:
        try:
            await web.TCPSite(runner, config.host, config.port).start()
            port: int = runner.addresses[0][1]
            return port
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise UsageError(
                    f"cannot listen on {config.host}, port {config.port} ({exc.strerror}): choose another"
                ) from exc
            if loop.time() >= deadline_s:
                raise UsageError(
                    f"port {config.port} of {config.host} is in use: choose another, or 0 for a free one"
                ) from exc
        await asyncio.sleep(0.1)


def serve_board(
    config: BoardConfig,
    *,
    announce: Callable[[str], None],
    parent_pipe: int | None = None,
    patience_s: float | None = None,
) -> None:
    """Serve a board until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        config: Configuration of the board.
        announce: Called with the URL as soon as the board is listening.
        parent_pipe: File descriptor; the board also stops at its end of file, which comes even if the process
            at the other end is killed by SIGKILL.
        patience_s: Seconds to wait for a port that is in use. None means 5 s with `parent_pipe`, because the
            board of a killed parent is about to free it, else 0 s.

    Raises:
        UsageError: The board cannot listen on that address.
    """
    if patience_s is None:
        patience_s = 0.0 if parent_pipe is None else _PORT_PATIENCE_S
    processes = config.drawing_processes
    if processes is None:
        processes = len(os.sched_getaffinity(0))
    served = replace(config, drawing_processes=processes, keep_targets=False)
    asyncio.run(_serve(served, announce=announce, parent_pipe=parent_pipe, patience_s=patience_s))


async def _serve(
    config: BoardConfig, *, announce: Callable[[str], None], parent_pipe: int | None, patience_s: float
) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in handled_signals():
        loop.add_signal_handler(number, end.set)
    if parent_pipe is not None:
        threading.Thread(target=_wait_for_end_of_file, args=(parent_pipe, loop, end), daemon=True).start()
    board = await start_board(config, patience_s=patience_s)
    try:
        announce(board.url)
        await end.wait()
    finally:
        await board.stop()


def _wait_for_end_of_file(descriptor: int, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    # A thread, because the loop can watch pipes but not regular files, and this is often standard input.
    with contextlib.suppress(OSError):
        while os.read(descriptor, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has closed already
        loop.call_soon_threadsafe(end.set)
