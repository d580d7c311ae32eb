"""A real S3 protocol server (moto) on a free port, with faults in front of it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

BUCKET = "bucket"
# Timeout of the clients under test, long enough for a busy machine. A hanging answer takes twice as long.
TIMEOUT_S = 2.0

# Amazon S3 API Reference, "Error responses".
_ERRORS = {
    "500": ("500 Internal Server Error", "InternalError", "on request"),
    "slow down": ("503 Slow Down", "SlowDown", "Please reduce your request rate."),
    "expired": ("400 Bad Request", "ExpiredToken", "The provided token has expired."),
}


class _QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Log nothing."""


class S3Server:
    """A running server, its faults, and what it was asked."""

    def __init__(self) -> None:
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer = make_server("127.0.0.1", 0, self._answer, True, 1, _QuietHandler)
        self._lock = threading.Lock()
        self._fault, self.faults_left, self._before_faults = "", 0, 0
        self._log: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        self.clear()

    def fail_puts(self, fault: str, *, times: int, after: int = 0) -> None:
        """Make PUTs of objects fail, after the first `after` of them.

        Args:
            fault: "500"; "slow down": 503; "expired": 400, as S3 answers an expired token; "hang": no answer,
                nothing stored; "late": no answer, but stored; "reset": the connection is closed; "garble":
                other bytes are stored.
            times: Number of PUTs that fail.
            after: Number of PUTs that succeed before.
        """
        with self._lock:
            self._fault, self.faults_left, self._before_faults = fault, times, after

    def content(self, key: str) -> bytes:
        """Return the bytes of an object."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def puts(self, key: str) -> int:
        """Return the number of times that an object was put."""
        return sum(entry == ("PUT", f"/{BUCKET}/{key}") for entry in self._log)

    def clear(self) -> None:
        """Start over with one empty bucket and no faults. All servers of a process share what moto stores."""
        self.fail_puts("", times=0)
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST")).close()
        self.client.create_bucket(Bucket=BUCKET)
        self._log.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = ""
        with self._lock:
            self._log.append((method, path))
            if method == "PUT" and re.fullmatch(rf"/{BUCKET}/.+", path) and self.faults_left:
                if self._before_faults:
                    self._before_faults -= 1
                else:
                    self.faults_left -= 1
                    fault = self._fault
        if fault in _ERRORS:
            status, code, message = _ERRORS[fault]
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]
        if fault == "late":
            b"".join(self._inner(environ, lambda *_: lambda _: None))
        if fault in ("hang", "late"):
            time.sleep(2 * TIMEOUT_S)
        if fault in ("hang", "late", "reset"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        answer: Iterable[bytes] = self._inner(environ, start)
        if fault == "garble":
            key = path.removeprefix(f"/{BUCKET}/")
            self._log.append(("GARBLE", key))
            threading.Thread(target=self._garble, args=[key]).run()
        return answer

    def _garble(self, key: str) -> None:
        content = self.content(key)
        self.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(len(content)))


@contextmanager
def s3_server(patch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Run a server, with environment variables that lead every client to it."""
    import fsspec

    server = S3Server()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": server.url,
    }.items():
        patch.setenv(name, value)
    timeouts = {"connect_timeout": TIMEOUT_S, "read_timeout": TIMEOUT_S, "retries": {"max_attempts": 0}}
    # s3fs retries by itself; the tests are about the retries of alti2v
    patch.setattr("s3fs.S3FileSystem.retries", 1)
    # With an address of its own each server has file systems of its own in fsspec's cache, where they stay.
    # s3fs closes the connections of one that is collected in whichever thread that happens, which may end
    # fsspec's IO thread; every later call would wait for it (s3fs 2026.9, core.py, `close_session`).
    patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.url, "config_kwargs": timeouts})
    try:
        yield server
    finally:
        server.close()
