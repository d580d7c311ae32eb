"""`--relations`, `--implications` and `--copyright-of` of `alti2v tag`, and the same of the page's API."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alti2v.cli import main
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.model.options.choices import Implications
from alti2v.model.options.tagging import RelationOptions
from alti2v.model.tagging.relation_sources import learnt_copyrights, load_relations
from alti2v.model.tagging.relations import relate_with
from alti2v.model.tagging.tagger import load_tagger
from alti2v.serving.config import UploadLimits
from alti2v.serving.handlers import Handlers
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.table import write_table
from tests.dataset.helpers.tiny_store import CATEGORY_OF, TinyPost, drawing, encoded, tiny_posts, write_store
from tests.model.helpers.foreign_taggers import FAMILIES
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A red picture, which the tiny WD tagger calls red_eyes, ^_^ and saber_(fate)."""
    return write_picture(tmp_path / "art" / "red.png", "red")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny WD tagger."""
    return write_wd_folder(tmp_path / "model")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with relations of the tagger's tags."""
    folder = write_store(
        tmp_path / "store", tiny_posts(1), category_of={**CATEGORY_OF, "eyes": "general", "fate": "copyright"}
    )
    for table, ends in (
        (TAG_ALIASES, [("red_eyes", "crimson_eyes")]),
        (TAG_IMPLICATIONS, [("crimson_eyes", "eyes"), ("saber_(fate)", "fate"), ("^_^", "eyes")]),
    ):
        rows = [{"antecedent": first, "consequent": second} for first, second in ends]
        write_table(folder / f"{table.name}.parquet", table, rows)
    return folder


def tagged(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of `alti2v tag`."""
    with pytest.raises(SystemExit) as ending:
        main(["tag", *map(str, arguments)])
    printed = capsys.readouterr()
    assert isinstance(ending.value.code, int)
    return ending.value.code, printed.out, printed.err


def test_json_captions_and_api_agree(
    model: Path, picture: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mode, for JSON, caption files and the page's endpoint."""
    expected = {
        "off": {"general": {"crimson_eyes", "^_^"}, "character": {"saber_(fate)"}},
        "add": {
            "general": {"crimson_eyes", "^_^", "eyes"},
            "character": {"saber_(fate)"},
            "copyright": {"fate"},
        },
        "drop": {"general": {"crimson_eyes", "^_^"}, "character": {"saber_(fate)"}},
    }
    for mode, groups in expected.items():
        options = ("--relations", store, "--implications", mode)
        status, out, err = tagged(capsys, model, picture, "--format", "json", *options)
        assert status == 0, err
        assert {name: set(tags) for name, tags in json.loads(out)["tags"].items()} == groups
        tagged(capsys, model, picture, "--format", "sidecar", "--existing", "overwrite", *options)
        caption = picture.with_suffix(".txt").read_text().strip().split(", ")
        assert set(caption) == {tag for tags in groups.values() for tag in tags}

        tagger = load_tagger(model)
        relations = load_relations(RelationOptions(relations=store, implications=Implications(mode)), tagger)
        assert relations is not None
        page = Handlers(
            gradio=SimpleNamespace(),
            tagger=tagger,
            index=None,
            count=1,
            limits=UploadLimits(),
            relate=relate_with(relations, tagger.vocabulary),
        )
        answer = page.tag(str(picture), None)["tags"]
        assert {name: set(tags) for name, tags in answer.items()} == groups


def test_options_take_the_names_that_are_printed(
    model: Path, picture: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """New names and implied tags can be excluded, given a threshold, and put first; old names still can."""
    every = {"crimson_eyes", "eyes", "^_^", "saber_(fate)", "fate"}
    relations = ("--relations", store, "--implications", "add")

    def found(*options: str) -> list[str]:
        arguments = ("--format", "sidecar", "--existing", "overwrite", *relations, *options)
        status, _, err = tagged(capsys, model, picture, *arguments)
        assert status == 0, err
        return picture.with_suffix(".txt").read_text().strip().split(", ")

    assert set(found()) == every
    assert set(found("--exclude", "fate, eyes")) == every - {"fate", "eyes"}
    for name in ("crimson eyes", "red_eyes"):  # without them, ^_^ still implies eyes
        assert set(found("--exclude", name)) == every - {"crimson_eyes"}
        assert set(found("--threshold", f"{name}=1")) == every - {"crimson_eyes"}
        assert found("--always-first", name)[0] == "crimson_eyes"
        assert "rubies" in found("--replace", name, "rubies")
    assert set(found("--threshold", "fate=1")) == every - {"fate"}
    assert found("--always-first", "fate")[0] == "fate"
    status, _, err = tagged(capsys, model, picture, *relations, "--exclude", "fat")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean fate" in err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tag_implications.csv", "antecedent,consequent\nred_eyes,eyes\n^_^,smile\n"),
        (
            "both.csv",
            "antecedent,consequent,kind\n^_^,smile,implication\nred_eyes,eyes,implication\na,b,alias\n",
        ),
        (
            "tag_implications.json",
            '[{"antecedent_name": "red_eyes", "consequent_name": "eyes", "status": "active"},'
            ' {"antecedent_name": "^_^", "consequent_name": "smile", "status": "active"},'
            ' {"antecedent_name": "^_^", "consequent_name": "frown", "status": "deleted"}]',
        ),
        (
            "implications.jsonl",
            '{"antecedent": "red_eyes", "consequent": "eyes"}\n{"antecedent": "^_^", "consequent": "smile"}\n',
        ),
    ],
)
def test_files_of_relations(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    """CSV with or without kinds, and JSON as Danbooru has it."""
    (tmp_path / name).write_text(content)
    options = ("--relations", tmp_path / name, "--implications", "add")
    status, out, err = tagged(capsys, model, picture, "--format", "json", "--category", "general", *options)

    assert status == 0, err
    assert set(json.loads(out)["tags"]["general"]) == {"red_eyes", "eyes", "^_^", "smile"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--implications", "add"), 2, "needs --relations"),
        (("--relations", "{}/nothing"), 2, "neither a store nor a file"),
        (("--relations", "{}/model"), 2, "neither a store nor a file"),
        (("--relations", "{}/bad.csv"), 4, "does not hold relations"),
        (("--relations", "{}/bad.json"), 4, "does not hold relations"),
        (("--relations", "{}/empty.csv"), 2, "holds no active relation"),
        (("--relations", "{}/header.csv"), 2, "holds no active relation"),
        (("--relations", "{}/deleted.json"), 2, "holds no active relation"),
        (("--relations", "{}/untold.csv"), 2, "does not say if its rows are aliases or implications"),
        (("--relations", "{}/foreign.csv"), 4, "a row has the kind 'cousin'"),
        (("--copyright-of", "model"), 2, "does not say which copyright"),
        (("--copyright-of", "{}/nothing"), 2, "nothing"),
    ],
)
def test_wrong_sources_are_a_line(
    model: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: Any,
    status: int,
    message: str,
) -> None:
    """Each mistake: one line, the documented status."""
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "untold.csv").write_text("antecedent,consequent\na,b\n")
    (tmp_path / "foreign.csv").write_text("antecedent,consequent,kind\na,b,cousin\n")
    (tmp_path / "header.csv").write_text("antecedent,consequent\n")
    (tmp_path / "deleted.json").write_text('[{"antecedent": "a", "consequent": "b", "status": "deleted"}]')
    (tmp_path / "bad.json").write_text('[{"antecedent_name": 5}]')
    ended, out, err = tagged(capsys, model, picture, *(argument.format(tmp_path) for argument in arguments))

    assert (ended, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1


def test_copyrights_come_from_the_model(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PixAI's table names the copyright of each character, which it has no output for."""
    FAMILIES["pixai"].write(tmp_path / "pixai")
    options = ("--format", "json", "--threshold", "0", "--copyright-of", "model")
    status, out, err = tagged(capsys, tmp_path / "pixai", picture, *options)

    assert status == 0, err
    tags = json.loads(out)["tags"]
    assert tags["copyright"] == {
        "vocaloid": tags["character"]["hatsune_miku"],
        "fate_(series)": tags["character"]["saber_(fate)"],
    }


def test_copyrights_are_learnt_from_a_dataset(tmp_path: Path) -> None:
    """At least 3 pictures, and 3 of 4 of them with the copyright; a guest appearance does not count."""
    tags = [["miku", "vocaloid"]] * 3 + [["miku", "vocaloid", "fate"]] + [["saber", "fate"]] * 2
    posts = [TinyPost(id=n, content=encoded(drawing(n)), tags=of) for n, of in enumerate(tags, 1)]
    categories = {
        **dict.fromkeys(("miku", "saber"), "character"),
        **dict.fromkeys(("vocaloid", "fate"), "copyright"),
    }
    store = write_store(tmp_path / "store", posts, category_of=categories)
    build_shards(
        BuildConfig(store=store, dataset=tmp_path / "d", size=32, test=1, validation=1, workers=1, min_count=1)
    )

    assert learnt_copyrights(tmp_path / "d") == {"miku": ("vocaloid",)}
