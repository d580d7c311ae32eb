"""One sample by its number: the right bytes with few requests, and a message if there is none."""

from __future__ import annotations

import io
import shutil
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from alti2v.dataset.manifest import read_manifest
from alti2v.dataset.reading import read_sample, read_samples
from alti2v.errors import Alti2vError, DamagedError, RemoteError, UsageError
from tests.readers.conftest import NOT_FETCHED, Served


def in_tars(dataset: Path) -> dict[int, bytes]:
    """Return every picture by number, read with tarfile."""
    found = {}
    for path in (dataset / "data").iterdir():
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found[int(member.name[:12])] = file.read()
    return found


def test_every_sample_is_found_by_its_number(dataset: Path) -> None:
    """Each picture has the bytes that tarfile finds in the shards."""
    expected = in_tars(dataset)

    assert len(expected) == 40
    assert {sample.id: sample.picture for sample in read_samples(dataset, expected)} == expected


def test_a_sample_brings_its_facts(dataset: Path) -> None:
    """URL, tags and shard of a picture come with it."""
    sample = read_sample(dataset, 7)

    assert sample.facts["url"] == "https://board.example/7.jpg"
    assert sample.facts["tags_general"] == ["1girl", ">_<", "solo"]
    assert Image.open(io.BytesIO(sample.picture)).size == (32, 32)
    with tarfile.open(dataset / "data" / f"{sample.shard}.tar") as tar:
        assert "000000000007.jpg" in tar.getnames()


def test_over_http_only_the_picture_is_sent_of_its_shard(dataset: Path, served: Served) -> None:
    """The server sends one picture, not the shard."""
    sample = read_sample(served.url, 7)

    assert sample == read_sample(dataset, 7)
    shard = f"data/{sample.shard}.tar"
    assert {path for path in served.sent if path.startswith("data/")} == {shard}
    assert served.sent[shard] == len(sample.picture) < (dataset / shard).stat().st_size / 8


@pytest.mark.parametrize(
    ("post_id", "message"),
    [(12345, "does not contain post 12345"), (NOT_FETCHED, "no picture of post 900: failed http_404")],
)
def test_a_post_without_a_picture_is_said(dataset: Path, post_id: int, message: str) -> None:
    """A post that is unknown, or whose picture was not fetched, is an error that says so."""
    with pytest.raises(UsageError, match=message):
        list(read_samples(dataset, [7, post_id]))


def test_no_dataset_there(tmp_path: Path, served: Served) -> None:
    """A folder or address without a dataset, and a server that is down, are told apart."""
    for place in (str(tmp_path), f"{served.url}/elsewhere"):
        with pytest.raises(UsageError, match=r"has no outcomes\.parquet"):
            read_sample(place, 7)
    with pytest.raises(RemoteError, match=r"outcomes\.parquet cannot be read"):
        read_sample("http://127.0.0.1:9", 7)


def test_a_server_without_ranges_will_do(dataset: Path) -> None:
    """`python -m http.server` sends the whole shard, and the picture is found in it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=dataset)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        picture = read_sample(f"http://127.0.0.1:{server.server_port}", 7).picture
        server.shutdown()

    assert picture == in_tars(dataset)[7]


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_changed_bytes_are_refused(dataset: Path, tmp_path: Path) -> None:
    """Changed pictures and damaged tables are refused."""
    copy = shutil.copytree(dataset, tmp_path / "copy")
    for shard in read_manifest(copy).shards:
        path = copy / shard.name.data
        path.write_bytes(path.read_bytes()[::-1])

    with pytest.raises(DamagedError, match="has changed at post 7"):
        read_sample(copy, 7)
    (copy / "outcomes.parquet").write_bytes(b"PAR1 is not enough PAR1")
    with pytest.raises(Alti2vError, match="cannot be read as Parquet"):
        read_sample(copy, 7)
