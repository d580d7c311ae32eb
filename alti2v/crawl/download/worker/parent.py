"""Downloads in a worker process, so that HTTP and the store each have a Python interpreter.

A crawl at full speed is limited by Python's lock: HTTP takes about as long as everything else together. Answers
of the API come through a socket, the bytes of files through shared memory. The worker does not access the
store, and ends when this process does, even if it is killed.
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

from alti2v.child_processes import child_environment
from alti2v.crawl.cancellation import StoppedError
from alti2v.crawl.download.interface import DownloadConfig, FileBatch, HostFailures
from alti2v.crawl.download.worker import shared_memory
from alti2v.crawl.download.worker.messages import config_document, read_answer, read_result, receive, send
from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.store.post_json import FileRequest
from alti2v.errors import Alti2vError

_PROGRAM = "import sys; from alti2v.crawl.download.worker.child import serve; serve(*map(int, sys.argv[1:]))"
_FIELDS = attrgetter(*FileRequest.__dataclass_fields__)  # in order; dataclasses.astuple takes 8 us
_BUFFERS = 3  # one is filled while another is validated and a third is written
_EXIT_S = 5.0  # time for the worker to exit by itself
# For glibc's malloc (mallopt(3)): reuse the memory of small bodies. Returning it to the system each time took
# 40 to 80 page faults per body, and up to a third of the CPU time. Large blocks are still returned.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}


class DownloadWorker:
    """Downloads of one crawl, in a worker process; an async context manager.

    Args:
        config: Settings.
        on_pause: Called with the reason and the length (s) of each pause of a host.
        on_notice: Called with other messages for users about hosts.

    Raises:
        Alti2vError: The worker process has ended too early; raised by every method that waits for it.
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
        self._answers: dict[int, asyncio.Future[tuple[Mapping[str, Any], bytes]]] = {}
        self._requests = 0
        self._broken: Alti2vError | None = None

    async def __aenter__(self) -> Self:
        self._buffers = [shared_memory.make_buffer() for _ in range(_BUFFERS)]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs.fileno(), *self._buffers)
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
                await asyncio.to_thread(self._process.wait, _EXIT_S)
        finally:  # also if the wait is cancelled
            self._process.kill()  # does nothing if it has exited
            self._process.wait()
            for buffer in self._buffers:
                os.close(buffer)

    async def get(self, url: str, *, max_bytes: int) -> Received | FailedTry:
        """Send a request to one address of the API."""
        answer, body = await self._call({"get": [url, max_bytes]})
        return read_answer(answer, body)

    async def may_crawl(self, url: str) -> bool | None:
        """Return whether the robots.txt of the host allows an address; None if it cannot be read."""
        is_allowed: bool | None = (await self._call({"may_crawl": url}))[0]
        return is_allowed

    def request(self, files: Sequence[FileRequest]) -> None:
        """Queue files."""
        send(self._writer, {"request": [_FIELDS(file) for file in files]})

    def end_requests(self) -> None:
        """Declare that no more files are requested."""
        send(self._writer, {"end_requests": True})

    def stop(self) -> None:
        """Finish what is in flight, and start nothing new."""
        send(self._writer, {"stop": True})

    async def next_batch(self) -> FileBatch | None:
        """Return downloaded files; None after the last ones."""
        batch = await self._batches.get()
        if isinstance(batch, Alti2vError):
            raise batch
        return batch

    async def host_failures(self) -> HostFailures:
        """Return the failures of hosts in this run so far."""
        failures, _ = await self._call({"host_failures": True})
        return HostFailures(**failures)

    async def _call(self, request: Mapping[str, Any]) -> tuple[Any, bytes]:
        if self._broken is not None:
            raise self._broken
        self._requests += 1
        number = self._requests
        self._answers[number] = asyncio.get_running_loop().create_future()
        send(self._writer, {"id": number, **request})
        try:
            message, body = await self._answers[number]
        finally:
            del self._answers[number]
        if "stopped" in message:
            raise StoppedError
        return message["answer"], body

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await receive(reader)) is not None:
                self._handle(*message)
        finally:
            self._broken = Alti2vError(
                "the download process has ended too early: see its message above, if there is one, "
                "and run the same command again; nothing that is stored is lost"
            )
            self._batches.put_nowait(self._broken)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(self._broken)

    def _handle(self, message: Mapping[str, Any], content: bytes) -> None:
        match message:
            case {"buffer": number, "results": results}:
                self._batches.put_nowait(self._batch(number, results))
            case {"id": number} if number in self._answers:
                if not self._answers[number].done():
                    self._answers[number].set_result((message, content))
            case {"pause": [why, seconds]}:
                self._on_pause(why, seconds)
            case {"notice": words}:
                self._on_notice(words)
            case {"end": _}:
                self._batches.put_nowait(None)

    def _batch(self, number: int, documents: Sequence[tuple[int, dict[str, Any]]]) -> FileBatch:
        sizes = [document.get("size", 0) for _, document in documents]
        view, at = shared_memory.read_bytes(self._buffers[number], sum(sizes)), 0
        results = {}
        for (seq, document), size in zip(documents, sizes, strict=True):
            results[seq] = read_result(document, view[at : at + size])
            at += size
        return FileBatch(results, lambda: send(self._writer, {"release": number}))


def _start(*inherited: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-P", "-c", _PROGRAM, *map(str, inherited)],
        stdin=subprocess.DEVNULL,
        # It imports from the same folders as this process.
        env={**child_environment(), **_MALLOC},
        pass_fds=inherited,
        # Ctrl-C goes to the whole group; this process decides what it means.
        process_group=0,
    )
