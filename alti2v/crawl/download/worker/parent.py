"""The network in a process of its own, so that it and the store each have an interpreter.

A crawl at full speed is bounded by Python's lock: HTTP takes about as long as everything else together. Answers
come through a socket, the bytes of files through shared memory. The other process ends when this one does,
whatever ends it; it knows nothing of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from alti2v.crawl.cancellation import StoppedError
from alti2v.crawl.download.interface import DownloadConfig, FileBatch, HostFailures
from alti2v.crawl.download.worker import shared_memory
from alti2v.crawl.download.worker.messages import (
    config_document,
    read_answer,
    read_losses,
    read_result,
    receive,
    send,
)
from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.store.post_json import Wanted
from alti2v.errors import Alti2vError

_PROGRAM = "import sys; from alti2v.crawl.download.worker.child import serve; serve(*map(int, sys.argv[1:]))"
_WANTED = attrgetter(*Wanted.__dataclass_fields__)  # the fields in their order; astuple takes 8 us for them
_TRAYS = 3  # one is filled while another is examined and a third is stored
_END_S = 5.0
# For glibc's malloc (mallopt(3)): memory of small bodies is used again. Giving it back and asking for it took
# 40 to 80 page faults for each, and up to a third of the processor's time. Large ones still go back.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}


class DownloadWorker:
    """The network of one crawl, in another process; an async context manager.

    Args:
        config: how to behave.
        on_pause: told why and for how long (s) a host is left alone.
        on_notice: told in words what else a host makes us do.

    Raises:
        Alti2vError: the process has ended before its work; from whatever waits for it.
    """

    def __init__(
        self,
        config: DownloadConfig,
        *,
        on_pause: Callable[[str, float], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self._config = config
        self._on_pause = on_pause
        self._on_notice = on_notice
        self._batches: asyncio.Queue[FileBatch | Alti2vError | None] = asyncio.Queue()
        self._questions: dict[int, asyncio.Future[tuple[Mapping[str, Any], bytes]]] = {}
        self._asked = 0
        self._broken: Alti2vError | None = None

    async def __aenter__(self) -> Self:
        self._trays = [shared_memory.make_tray() for _ in range(_TRAYS)]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _started(theirs.fileno(), *self._trays)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        send(self._writer, config_document(self._config))
        self._listening = asyncio.create_task(self._listen(reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.cancel()
        self._writer.transport.abort()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _END_S)
        finally:  # who is cancelled does not wait
            self._process.kill()  # nothing, if it has ended
            self._process.wait()
            for tray in self._trays:
                os.close(tray)

    async def get(self, url: str, *, max_bytes: int) -> Received | FailedTry:
        """Ask the API at one address, politely."""
        message, body = await self._ask({"get": [url, max_bytes]})
        return read_answer(message["answer"], body)

    async def may_crawl(self, url: str) -> bool | None:
        """Whether robots.txt allows an address; None if it cannot be read."""
        message, _ = await self._ask({"may_crawl": url})
        is_allowed: bool | None = message["is_allowed"]
        return is_allowed

    def want(self, files: Sequence[Wanted]) -> None:
        """Fetch these, after those before them."""
        send(self._writer, {"want": [_WANTED(file) for file in files]})

    def want_no_more(self) -> None:
        """`batch` ends with what is wanted so far."""
        send(self._writer, {"want_no_more": True})

    def stop(self) -> None:
        """Finish what is in flight, and begin nothing new."""
        send(self._writer, {"stop": True})

    async def batch(self) -> FileBatch | None:
        """What has arrived; None if nothing more comes."""
        batch = await self._batches.get()
        if isinstance(batch, Alti2vError):
            raise batch
        return batch

    async def losses(self) -> HostFailures:
        """What hosts kept from this run up to now."""
        message, _ = await self._ask({"losses": True})
        return read_losses(message["losses"])

    async def _ask(self, question: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        if self._broken is not None:
            raise self._broken
        self._asked += 1
        number = self._asked
        self._questions[number] = asyncio.get_running_loop().create_future()
        send(self._writer, {"id": number, **question})
        try:
            message, body = await self._questions[number]
        finally:
            del self._questions[number]
        if "stopped" in message:
            raise StoppedError
        return message, body

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await receive(reader)) is not None:
                self._take(*message)
        finally:
            self._broken = Alti2vError(
                "the process that fetches has ended before its work: see its message above, if it left one, "
                "and run the same command again; nothing that is stored is lost"
            )
            self._batches.put_nowait(self._broken)
            for answer in self._questions.values():
                if not answer.done():
                    answer.set_exception(self._broken)

    def _take(self, message: Mapping[str, Any], content: bytes) -> None:
        match message:
            case {"tray": number, "results": results}:
                self._batches.put_nowait(self._batch(number, results))
            case {"id": number} if number in self._questions:
                if not self._questions[number].done():
                    self._questions[number].set_result((message, content))
            case {"pause": [why, seconds]}:
                self._on_pause(why, seconds)
            case {"notice": words}:
                self._on_notice(words)
            case {"end": _}:
                self._batches.put_nowait(None)

    def _batch(self, number: int, documents: Sequence[tuple[int, dict[str, Any]]]) -> FileBatch:
        sizes = [document.get("size", 0) for _, document in documents]
        view, at = shared_memory.look(self._trays[number], sum(sizes)), 0
        results = {}
        for (seq, document), size in zip(documents, sizes, strict=True):
            results[seq] = read_result(document, view[at : at + size])
            at += size
        return FileBatch(results, lambda: send(self._writer, {"settled": number}))


def _started(*inherited: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", _PROGRAM, *map(str, inherited)],
        stdin=subprocess.DEVNULL,
        # It imports from where this process does.
        env={**os.environ, **_MALLOC, "PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=inherited,
        # Ctrl-C goes to the whole group; this process decides what it means.
        process_group=0,
    )
