"""Models by name: pinned to a printed commit, fetched once, and used without the network afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alti2v.cli import main
from alti2v.errors import RemoteError, UsageError
from alti2v.model.loading.hub import fetch_model, parse_name
from tests.model.helpers.foreign_taggers import FAMILIES
from tests.model.helpers.hub_server import FakeHub, serving
from tests.model.helpers.tiny_wd import write_picture

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
constants: Any = pytest.importorskip("huggingface_hub.constants", reason="pip install 'alti2v[hub]'")

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A repository with a WD tagger, and a later commit with a cl_tagger in a folder; an empty cache."""
    old, new = tmp_path / "old", tmp_path / "new"
    FAMILIES["wd_v3"].write(old)
    (old / "model.safetensors").write_bytes(bytes(1000))
    (old / "model.onnx_data").write_bytes(b"numbers")
    FAMILIES["cl"].write(new / "cl_1_02")
    (new / "README.md").write_text("A tagger.")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serving(FakeHub("somebody/tagger", {OLD: old, NEW: new}, {"v1": OLD, "main": NEW})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ending:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert isinstance(ending.value.code, int)
    return ending.value.code, printed.out, printed.err


def test_a_name_is_fetched_once_and_used_offline(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only necessary files are fetched, the commit is printed, and without the hub the tags are the same."""
    picture = write_picture(tmp_path / "red.png", "red")
    arguments = ("tag", "hf:somebody/tagger@v1", picture, "--format", "json")
    status, first, err = command(capsys, *arguments)
    assert status == 0, err
    assert f"hf:somebody/tagger@v1 is commit {OLD} in " in err
    fetched = {request.rpartition("/")[2] for request in hub.requests if request.startswith("GET /somebody")}
    assert fetched == {"model.onnx", "model.onnx_data", "selected_tags.csv"}

    asked = len(hub.requests)
    assert command(capsys, *arguments)[:2] == (0, first)
    assert [request for request in hub.requests[asked:] if request.startswith("GET /somebody")] == []
    hub.status = 503
    status, again, err = command(capsys, *arguments)
    assert (status, again) == (0, first)
    assert "from the cache, because the hub could not be asked" in err
    asked = len(hub.requests)
    pinned = command(capsys, "model", f"hf:somebody/tagger@{OLD}", "--json")
    assert (pinned[0], json.loads(pinned[1])["family"]) == (0, "WD tagger")
    assert len(hub.requests) == asked


def test_a_branch_that_moves_is_followed(hub: FakeHub) -> None:
    """A name without a commit means the newest one."""
    hub.branches["main"] = OLD
    assert fetch_model("hf:somebody/tagger").commit == OLD
    hub.branches["main"] = NEW
    found = fetch_model("hf:somebody/tagger/cl_1_02")

    assert (found.commit, found.path.name, found.is_current) == (NEW, "cl_1_02", True)
    assert sorted(file.name for file in found.path.iterdir()) == ["model_optimized.onnx", "tag_mapping.json"]


def test_a_folder_of_a_repository_is_a_model(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files are links into the cache, which are followed."""
    del hub
    picture = write_picture(tmp_path / "red.png", "red")
    status, out, err = command(capsys, "tag", "hf:somebody/tagger/cl_1_02", picture, "--threshold", "0")

    assert status == 0, err
    assert "hatsune_miku" in out


def test_a_model_json_chooses_the_file(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several models in a repository the described one is fetched; a fault of the description is a line."""
    folder = tmp_path / "described"
    FAMILIES["by_hand"].write(folder / "v1")
    (folder / "v1" / "other.onnx").write_bytes(b"large")
    document = json.loads((folder / "v1" / "model.json").read_text())
    (folder / "v1" / "model.json").write_text(json.dumps({**document, "model_file": "net.onnx"}))
    hub.commits["c" * 40], hub.branches["described"] = folder, "c" * 40
    status, out, err = command(capsys, "model", "hf:somebody/tagger/v1@described", "--json")
    assert status == 0, err
    assert json.loads(out)["model_file"] == "net.onnx"
    assert not any(request.endswith("other.onnx") for request in hub.requests)

    shutil.copytree(folder, tmp_path / "wrong")
    (tmp_path / "wrong" / "v1" / "model.json").write_text(json.dumps({**document, "model_file": "no.onnx"}))
    hub.commits["d" * 40], hub.branches["wrong"] = tmp_path / "wrong", "d" * 40
    status, _, err = command(capsys, "model", "hf:somebody/tagger/v1@wrong")
    assert (status, err.count("\n")) == (4, 1)
    assert "model.json, model_file: there is no 'no.onnx'" in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:somebody/tagger@nowhere", "no such revision"),
        ("hf:somebody/else", "no such repository"),
        ("hf:somebody/tagger", "give the folder cl_1_02"),
        ("hf:somebody/tagger/v9", "holds no model"),
        ("hf:somebody", "is not the name of a model"),
        ("hf:somebody/tagger/../x", "is not the name of a model"),
        ("hf:somebody/tagger@../../x", "is not the name of a model"),
    ],
)
def test_what_is_not_there_is_a_line(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    """Exit status 2, and one line that begins with the name."""
    del hub
    status, out, err = command(capsys, "model", name)

    assert (status, out) == (2, "")
    assert err.startswith(f"alti2v: {name}")
    assert message in err
    assert err.count("\n") == 1


NO_NAMES = (
    *("hf:", "hf:/", "hf:../b", "hf:a/..", "hf:./b", "hf:.a/b", "hf:a/b-", "hf:-a/b", "hf:a--b/c", "hf:a/b..c"),
    *("hf:a/b.git", "hf:a b/c", "hf:\u00e4/b", "hf:a/b@", "hf:a/b@x@y", f"hf:a/{'b' * 97}", "hf:a\n/b"),
)


def test_what_is_no_name_is_refused_before_any_request(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Owner and name as the hub allows them; everything else is exit status 2 and one line."""
    others = {"model": (), "eval": ("--dataset", "nowhere"), "tag": ("nothing.png",)}
    for name, given in [*((name, "model") for name in NO_NAMES), ("hf:../b", "eval"), ("hf:../b", "tag")]:
        status, out, err = command(capsys, given, name, *others[given])

        assert (status, out, err.count("\n")) == (2, "", 1), (name, err)
        assert "is not the name of a model" in err
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_a_line(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused connections and failures of the server: exit status 3, one line."""
    hub.status = 500
    status, _, err = command(capsys, "model", "hf:somebody/tagger@v1")
    assert (status, err.count("\n")) == (3, 1)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    status, _, err = command(capsys, "model", "hf:somebody/tagger@v1")

    assert (status, err.count("\n")) == (3, 1)
    assert "the hub does not answer" in err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, _, err = command(capsys, "model", "hf:somebody/tagger@v1")
    assert status == 3
    assert "not asked because of HF_HUB_OFFLINE, and the model is not in the cache: unset it\n" in err


def test_a_hub_that_refuses_is_told_apart_from_a_silent_one(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """A status that waiting does not change is named."""
    hub.status = 410
    status, _, err = command(capsys, "model", "hf:somebody/tagger@v1")

    assert (status, err.count("\n")) == (3, 1)
    assert "the hub answers with the status 410, and the model is not in the cache: check the name" in err


def test_a_download_that_fails_leaves_no_model(hub: FakeHub, tmp_path: Path) -> None:
    """A file that is listed and missing is no model in the cache afterwards."""
    (hub.commits[OLD] / "model.onnx").unlink()
    with pytest.raises(UsageError):
        fetch_model("hf:somebody/tagger@v1")
    hub.status = 503

    with pytest.raises(RemoteError):
        fetch_model("hf:somebody/tagger@v1")
    assert not (tmp_path / "cache" / "models--somebody--tagger" / "refs" / "v1").exists()


def test_names_are_taken_apart() -> None:
    """Folder and revision are optional; a revision may have slashes."""
    plain, full = parse_name("hf:a/b"), parse_name("hf:a/b/c/d@refs/pr/1")

    assert (plain.repository, plain.inside, plain.revision) == ("a/b", "", "main")
    assert (full.repository, full.inside, full.revision) == ("a/b", "c/d", "refs/pr/1")


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    """Without huggingface_hub: exit status 2, and how to install it."""
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from alti2v.cli import main\nmain(['model', 'hf:somebody/tagger'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert finished.returncode == 2
    assert "pip install 'alti2v[hub]'" in finished.stderr
