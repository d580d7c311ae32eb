"""A server that speaks as much of the Hugging Face hub's protocol as fetching a model takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(slots=True)
class FakeHub:
    """A hub with one repository.

    Attributes:
        repository: "owner/name".
        commits: Commit -> folder with its files.
        branches: Branch or tag -> commit.
        url: Address.
        requests: Method and path of every request.
        status: Status to answer everything with; 0 to answer properly.
    """

    repository: str
    commits: dict[str, Path]
    branches: dict[str, str]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    status: int = 0


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a hub on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, *, with_body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, body = (
                (hub.status, {}, b"") if hub.status else answer(hub, self.path.split("?")[0])
            )
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(hub: FakeHub, path: str) -> tuple[int, Mapping[str, str], bytes]:
    """Answer /api/models/REPOSITORY/revision/REVISION and /REPOSITORY/resolve/COMMIT/FILE."""
    if path.startswith("/api/models/"):
        repository, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        if repository != hub.repository:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        commit = hub.branches.get(revision or "main", revision)
        if commit not in hub.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        folder = hub.commits[commit]
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        value = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in names]}
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()
    repository, _, rest = path.strip("/").partition("/resolve/")
    revision, _, name = rest.partition("/")
    commit = hub.branches.get(revision, revision)
    if repository != hub.repository or commit not in hub.commits:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b""
    file = hub.commits[commit] / name
    if not file.is_file():
        return 404, {"X-Error-Code": "EntryNotFound"}, b""
    body = file.read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    return 200, {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Accept-Ranges": "none"}, body
