"""The network as a process of its own: what runs in there. It ends when its parent does."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from alti2v.crawl.cancellation import StoppedError
from alti2v.crawl.download.interface import BATCH_BYTES, DownloadConfig
from alti2v.crawl.download.pool import DownloadPool
from alti2v.crawl.download.worker import shared_memory
from alti2v.crawl.download.worker.messages import (
    answer_document,
    losses_document,
    read_config,
    receive,
    result_document,
    send,
)
from alti2v.crawl.store.post_json import Arrived, Wanted


def serve(connection: int, *tray_files: int) -> None:
    """Be the network of the process at the other end, until that closes the connection.

    Args:
        connection: descriptor of a connected stream socket; the first message is the configuration.
        tray_files: descriptors of the trays.
    """
    gc.freeze()  # what was imported stays: no need to look through it again and again
    with socket.socket(fileno=connection) as sock:
        asyncio.run(_serve(sock, tray_files))


async def _serve(sock: socket.socket, tray_files: Sequence[int]) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    opening = await receive(reader)
    if opening is None:
        return
    server = _Server(writer, read_config(opening[0]), tray_files)
    async with server.network, asyncio.TaskGroup() as tasks:
        work = {tasks.create_task(server.send_batches())}
        while (message := await receive(reader)) is not None:
            question = server.obey(message[0])
            if question is not None:
                work.add(task := tasks.create_task(question))
                task.add_done_callback(work.discard)
        for task in work:
            task.cancel()
    writer.transport.abort()  # nobody listens any more


class _Server:
    """Does what the other end says."""

    def __init__(self, writer: asyncio.StreamWriter, config: DownloadConfig, tray_files: Sequence[int]) -> None:
        self.network = DownloadPool(
            config,
            on_pause=lambda why, seconds: send(writer, {"pause": [why, seconds]}),
            on_notice=lambda words: send(writer, {"notice": words}),
        )
        self._writer = writer
        self._tray_files = tray_files
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._settled: dict[int, Callable[[], None]] = {}  # by the tray that is being stored
        for number in range(len(tray_files)):
            self._free.put_nowait(number)

    def obey(self, message: Mapping[str, Any]) -> Coroutine[None, None, None] | None:
        """Do at once what is done at once; a question is a coroutine that answers it."""
        match message:
            case {"want": files}:
                self.network.want([Wanted(*file) for file in files])
            case {"settled": number}:
                self._settled.pop(number)()
                self._free.put_nowait(number)
            case {"want_no_more": _}:
                self.network.want_no_more()
            case {"stop": _}:
                self.network.stop()
            case {"id": number, "get": [url, max_bytes]}:
                return self._get(number, url, max_bytes)
            case {"id": number, "may_crawl": url}:
                return self._may_crawl(number, url)
            case {"id": number, "losses": _}:
                return self._losses(number)
        return None

    async def send_batches(self) -> None:
        """Hand over what was fetched, batch by batch, as trays become free."""
        while await self._send_batch():
            pass
        send(self._writer, {"end": True})

    async def _send_batch(self) -> bool:
        number = await self._free.get()
        batch = await self.network.batch()
        if batch is None:
            return False
        contents = [each.content for each in batch.results.values() if isinstance(each, Arrived)]
        await asyncio.to_thread(shared_memory.fill, self._tray_files[number], contents, keep=BATCH_BYTES)
        self._settled[number] = batch.settled
        results = [(seq, result_document(result)) for seq, result in batch.results.items()]
        send(self._writer, {"tray": number, "results": results})
        return True

    async def _get(self, number: int, url: str, max_bytes: int) -> None:
        try:
            answer = await self.network.get(url, max_bytes=max_bytes)
        except StoppedError:
            send(self._writer, {"id": number, "stopped": True})
            return
        document, body = answer_document(answer)
        send(self._writer, {"id": number, "answer": document}, body)
        await self._writer.drain()

    async def _may_crawl(self, number: int, url: str) -> None:
        try:
            send(self._writer, {"id": number, "is_allowed": await self.network.may_crawl(url)})
        except StoppedError:
            send(self._writer, {"id": number, "stopped": True})

    async def _losses(self, number: int) -> None:
        send(self._writer, {"id": number, "losses": losses_document(await self.network.losses())})
