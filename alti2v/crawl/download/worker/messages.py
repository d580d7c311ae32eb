"""Messages between the two processes of a crawl: JSON objects, some followed by bytes.

Never a pickle: even if a server takes over the worker process, its messages remain data.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alti2v.crawl.download.interface import DownloadConfig, FileRules
from alti2v.crawl.http.api_key import ApiKey, Secret
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.proxies import Proxies, Proxy
from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry, FailKind, RetryPolicy
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import ReceivedFile
from alti2v.records import Status

_HEAD = struct.Struct("<II")  # sizes of the JSON and of the bytes after it


def send(writer: asyncio.StreamWriter, message: Mapping[str, Any], content: bytes = b"") -> None:
    """Send one message; after the connection has closed it is lost, which the reader notices."""
    text = json.dumps(message).encode()
    writer.write(_HEAD.pack(len(text), len(content)) + text)
    if content:
        writer.write(content)


async def receive(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message; None if the other process has ended."""
    try:
        text_size, content_size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return json.loads(await reader.readexactly(text_size)), await reader.readexactly(content_size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def config_document(config: DownloadConfig) -> dict[str, Any]:
    """Return settings as a JSON object. It contains the API key, so send it only to the worker."""
    net = config.net
    document = asdict(replace(config, net=replace(net, key=None, proxies=Proxies())))
    document["net"] |= {
        "pace_dir": None if net.pace_dir is None else str(net.pace_dir),
        "key": None if net.key is None else _revealed(net.key),
        "proxies": {
            "by_scheme": {scheme: _revealed(proxy) for scheme, proxy in net.proxies.by_scheme.items()},
            "bypass": net.proxies.bypass,
        },
    }
    return document


def _revealed(value: ApiKey | Proxy) -> dict[str, str | None]:
    fields = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return {name: field.reveal() if isinstance(field, Secret) else field for name, field in fields.items()}


def read_config(document: Mapping[str, Any]) -> DownloadConfig:
    """Invert `config_document`."""
    net = dict(document["net"])
    net["retry"] = RetryPolicy(**net["retry"])
    net["pace_dir"] = None if net["pace_dir"] is None else Path(net["pace_dir"])
    key = net["key"]
    net["key"] = None if key is None else ApiKey(**{**key, "secret": Secret(key["secret"])})
    proxies = net["proxies"]
    net["proxies"] = Proxies(
        by_scheme={scheme: _read_proxy(proxy) for scheme, proxy in proxies["by_scheme"].items()},
        bypass=proxies["bypass"],
    )
    return DownloadConfig(net=NetConfig(**net), rules=FileRules(**document["rules"]), seed=document["seed"])


def _read_proxy(document: Mapping[str, Any]) -> Proxy:
    password = document["password"]
    return Proxy(**{**document, "password": None if password is None else Secret(password)})


def answer_document(answer: Received | FailedTry) -> tuple[dict[str, Any], bytes]:
    """Return an answer of the API as a JSON object, and its body."""
    document = asdict(answer)
    return document, document.pop("body", b"")


def read_answer(document: Mapping[str, Any], body: bytes) -> Received | FailedTry:
    """Invert `answer_document`."""
    if "kind" in document:
        return FailedTry(**{**document, "kind": FailKind(document["kind"])})
    return Received(**document, body=body)


def result_document(result: ReceivedFile | Outcome) -> dict[str, Any]:
    """Return the result of a download as a JSON object; of its bytes only their number, as `size`."""
    if isinstance(result, ReceivedFile):
        return {**{name: getattr(result, name) for name in _RECEIVED}, "size": len(result.content)}
    return {name: getattr(result, name) for name in _MISSING}


def read_result(document: dict[str, Any], content: memoryview) -> ReceivedFile | Outcome:
    """Invert `result_document`; `content` is the file's bytes, if there are any."""
    if "status" in document:
        return Outcome(**{**document, "status": Status(document["status"])})
    return ReceivedFile(content=content, **{name: document[name] for name in _RECEIVED})


_RECEIVED = tuple(name for name in ReceivedFile.__dataclass_fields__ if name != "content")
_MISSING = ("status", "reason", "error", "attempts", "http_status")
