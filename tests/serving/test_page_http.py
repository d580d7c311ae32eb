"""The server of `alti2v serve` over HTTP, without a browser: run by `make serve-test`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

pytest.importorskip("gradio", reason="Gradio is not installed here: run `make serve-test`")


class Server:
    """A server in a separate process."""

    def __init__(self, folder: Path) -> None:
        model = write_wd_folder(folder / "model")
        (folder / "tmp").mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.temporary = folder / "tmp"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "alti2v",
                "serve",
                str(model),
                "--port",
                str(self.port),
                "--max-megabytes",
                "1",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == f"http://127.0.0.1:{self.port}"

    def asked(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Send one request: (status, answer)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError):  # refused before the end of the body
                connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            with connection.getresponse() as answer:
                return answer.status, answer.read().decode()

    def upload(self, content: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Send a file as a form does."""
        frame = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%b\r\n--x--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.asked("/gradio_api/upload", frame % content, {**kind, **(headers or {})})

    def tagged(self, *data: object) -> tuple[str, object]:
        """Call /tag: the event's name and its data."""
        body = json.dumps({"data": data}).encode()
        _, answer = self.asked("/gradio_api/call/tag", body, {"Content-Type": "application/json"})
        _, event = self.asked(f"/gradio_api/call/tag/{json.loads(answer)['event_id']}")
        name, _, rest = event.partition("\ndata: ")
        return name.removeprefix("event: "), json.loads(rest)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("serve"))
    yield running
    running.process.kill()
    running.process.communicate()


def test_foreign_hosts_and_origins_are_refused(server: Server, tmp_path: Path) -> None:
    """DNS rebinding and forms of other sites get 403; the same requests without them are answered."""
    picture = write_picture(tmp_path / "a.png", "red").read_bytes()

    assert server.asked("/")[0] == 200
    assert server.asked("/", headers={"Host": "evil.example"})[0] == 403
    assert server.upload(picture)[0] == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        status, line = server.upload(picture, headers)
        assert (status, line.count("\n")) == (403, 1)


def test_uploads_are_bounded_in_size_and_number(server: Server) -> None:
    """A file over the limit is refused, and a hundred small ones leave at most 64."""
    assert server.upload(bytes(2_000_000))[0] == 413
    for number in range(100):
        assert server.upload(b"%d" % number)[0] == 200
    kept = list(server.temporary.rglob("*.png"))

    assert 0 < len(kept) <= 64


def test_every_error_is_a_line(server: Server, tmp_path: Path) -> None:
    """Whatever is sent in place of a picture and thresholds."""
    _, answer = server.upload(write_picture(tmp_path / "a.png", "red").read_bytes())
    file = {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}
    passwd, address = ({**file, "path": path} for path in ("/etc/passwd", "http://127.0.0.1:1/a.png"))

    assert server.tagged(file, {"character": 0.85})[0] == "complete"
    wrong: list[Sequence[object]] = [
        [],
        [1, 2, 3, 4],
        ["x", "y"],
        [None, {}],
        [passwd, {}],
        [address, {}],
        [file, [1]],
        [file, "x"],
        [file, {"nonsuch": 0.5}],
        [file, {"character": 7}],
        [file, {"character": None}],
        [{}, {}],
    ]
    for data in wrong:
        name, found = server.tagged(*data)
        assert name == "error", data
        assert isinstance(found, dict)
        assert found["error"], data
        assert "\n" not in found["error"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_server_and_removes_its_files(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """Within two seconds, with the documented status, and with nothing left in the temporary folder."""
    running = Server(tmp_path)
    running.upload(b"x")
    assert any(running.temporary.rglob("*.png"))
    begun_s = time.monotonic()
    running.process.send_signal(number)
    assert running.process.stderr is not None
    said = []
    for line in running.process.stderr:
        said.append(line)
        if "interrupted" in line:
            break
    passed_s = time.monotonic() - begun_s
    _, errors = running.process.communicate(timeout=60)

    assert passed_s < 2
    assert running.process.returncode == status
    assert "Traceback" not in "".join(said) + errors
    assert list(running.temporary.glob("alti2v*")) == []
    assert list(running.temporary.rglob("*.png")) == []
