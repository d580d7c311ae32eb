"""Code of the worker process, which ends when its parent does."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from alti2v.crawl.cancellation import StoppedError
from alti2v.crawl.download.interface import BATCH_BYTES, DownloadConfig
from alti2v.crawl.download.pool import DownloadPool
from alti2v.crawl.download.worker import shared_memory
from alti2v.crawl.download.worker.messages import answer_document, read_config, receive, result_document, send
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile


def serve(connection: int, *buffers: int) -> None:
    """Download for the process at the other end, until it closes the connection.

    Args:
        connection: File descriptor of a connected stream socket; the first message holds the settings.
        buffers: File descriptors of shared buffers.
    """
    gc.freeze()  # imported modules stay: the collector need not scan them
    with socket.socket(fileno=connection) as sock:
        asyncio.run(_serve(sock, buffers))


async def _serve(sock: socket.socket, buffers: Sequence[int]) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    opening = await receive(reader)
    if opening is None:
        return
    server = _Server(writer, read_config(opening[0]), buffers)
    async with server.downloads, asyncio.TaskGroup() as tasks:
        work = {tasks.create_task(server.send_batches())}
        while (message := await receive(reader)) is not None:
            answering = server.handle(message[0])
            if answering is not None:
                work.add(task := tasks.create_task(answering))
                task.add_done_callback(work.discard)
        for task in work:
            task.cancel()
    writer.transport.abort()  # the parent has closed its end


class _Server:
    """Handles the messages of the parent."""

    def __init__(self, writer: asyncio.StreamWriter, config: DownloadConfig, buffers: Sequence[int]) -> None:
        self.downloads = DownloadPool(
            config,
            on_pause=lambda why, seconds: send(writer, {"pause": [why, seconds]}),
            on_notice=lambda words: send(writer, {"notice": words}),
        )
        self._writer = writer
        self._buffers = buffers
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._releases: dict[int, Callable[[], None]] = {}  # by the number of the buffer that is being written
        for number in range(len(buffers)):
            self._free.put_nowait(number)

    def handle(self, message: Mapping[str, Any]) -> Coroutine[None, None, None] | None:
        """Handle a message; return a coroutine that sends the answer, if it has one."""
        match message:
            case {"request": files}:
                self.downloads.request([FileRequest(*file) for file in files])
            case {"release": number}:
                self._releases.pop(number)()
                self._free.put_nowait(number)
            case {"end_requests": _}:
                self.downloads.end_requests()
            case {"stop": _}:
                self.downloads.stop()
            case {"id": number, **call}:
                return self._send_answer(number, call)
        return None

    async def send_batches(self) -> None:
        """Send downloaded files, batch by batch, as buffers become free."""
        while await self._send_batch():
            pass
        send(self._writer, {"end": True})

    async def _send_batch(self) -> bool:
        number = await self._free.get()
        batch = await self.downloads.next_batch()
        if batch is None:
            return False
        bodies = [each.content for each in batch.results.values() if isinstance(each, ReceivedFile)]
        await asyncio.to_thread(shared_memory.write_bodies, self._buffers[number], bodies, keep=BATCH_BYTES)
        self._releases[number] = batch.release
        results = [(seq, result_document(result)) for seq, result in batch.results.items()]
        send(self._writer, {"buffer": number, "results": results})
        return True

    async def _send_answer(self, number: int, call: Mapping[str, Any]) -> None:
        try:
            answer, body = await self._answer(call)
        except StoppedError:
            send(self._writer, {"id": number, "stopped": True})
            return
        send(self._writer, {"id": number, "answer": answer}, body)
        await self._writer.drain()

    async def _answer(self, call: Mapping[str, Any]) -> tuple[object, bytes]:
        match call:
            case {"get": [url, max_bytes]}:
                return answer_document(await self.downloads.get(url, max_bytes=max_bytes))
            case {"may_crawl": url}:
                return await self.downloads.may_crawl(url), b""
        return asdict(await self.downloads.host_failures()), b""
