"""`alti2v search`: the nearest pictures are those that brute force finds, by picture and by tags."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alti2v.cli import main
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import FIRST_DERIVED_ID, INDEX_VECTORS_FILE
from alti2v.storage.table import read_table, write_arrow_table
from alti2v.vectors import index_build
from alti2v.vectors.config import EmbedConfig, Form, SearchConfig
from alti2v.vectors.embedding import embed
from alti2v.vectors.index import nearest, open_index
from alti2v.vectors.index_build import build_index, open_or_build
from alti2v.vectors.search import centre_of_tags, search
from alti2v.vectors.vector_file import Origin, Rows, write_rows
from tests.model.helpers.tiny_dataset import Drawn, square, write_dataset, write_squares
from tests.model.helpers.tiny_wd import write_picture

pytest.importorskip("faiss", reason="faiss is not installed: pip install 'alti2v[search]'")


def write_vectors(path: Path, form: Form, *, rows: int = 400) -> np.ndarray:
    """Vectors in a few clouds; row i carries the tag of its cloud."""
    rng = np.random.default_rng(1)
    cloud = rng.integers(0, 8, rows)
    if form is Form.BINARY:
        bits = rng.random((8, 256))[cloud] > rng.random((rows, 256)) * 0.6 + 0.2
        vectors = np.packbits(bits, axis=1)
    else:
        vectors = (np.abs(rng.normal(0, 1, (8, 32)))[cloud] + rng.random((rows, 32))).astype(np.dtype(form))
    origin = Origin(model="m", model_sha256="0", form=form, width=vectors.shape[1])
    write_rows(
        path, origin, Rows([f"p{i}" for i in range(rows)], [[f"cloud_{c}", "all"] for c in cloud], vectors)
    )
    return vectors


def by_brute_force(vectors: np.ndarray, form: Form, query: np.ndarray) -> np.ndarray:
    """Similarity to every row, as the definition says."""
    if form is Form.BINARY:
        return np.asarray((np.unpackbits(vectors, axis=1) == np.unpackbits(query)).mean(axis=1))
    numbers, one = vectors.astype(np.float64), query.astype(np.float64)
    return np.asarray(numbers @ one / np.linalg.norm(numbers, axis=1) / np.linalg.norm(one))


@pytest.mark.parametrize("form", [Form.FLOAT16, Form.FLOAT32, Form.BINARY])
def test_small_files_are_searched_exactly(tmp_path: Path, form: Form) -> None:
    """The similarities are those of the definition, in falling order."""
    vectors = write_vectors(tmp_path / "v.parquet", form)
    index = build_index(tmp_path / "v.parquet", tmp_path / "index")
    rows, similarities = nearest(index, vectors[5:8], 10)
    for query, found, values in zip(vectors[5:8], rows, similarities, strict=True):
        expected = by_brute_force(vectors, form, query)
        np.testing.assert_allclose(values, np.sort(expected)[::-1][:10], atol=2e-3)
        np.testing.assert_allclose(expected[found], values, atol=2e-3)
        assert np.abs(values).max() <= 1  # vectors are stored with 16 bits, so that products can be above 1
    assert (index.cells, index.recall) == (1, 1.0)


@pytest.mark.parametrize("form", [Form.FLOAT16, Form.BINARY])
def test_large_files_reach_the_recall_that_they_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """With cells, a search finds what brute force finds, as often as the index says."""
    monkeypatch.setattr(index_build, "EXACT_ROWS", 1000)
    vectors = write_vectors(tmp_path / "v.parquet", form, rows=5000)
    index = build_index(tmp_path / "v.parquet", tmp_path / "index")
    rows, _ = nearest(index, vectors[:100], 10)
    least = [np.sort(by_brute_force(vectors, form, query))[-10] for query in vectors[:100]]
    hits = [
        (by_brute_force(vectors, form, query)[found] >= worst - 2e-3).mean()
        for query, found, worst in zip(vectors[:100], rows, least, strict=True)
    ]

    assert index.cells == 64
    assert index.looked_into <= index.cells
    assert index.recall >= index_build.TARGET_RECALL
    assert np.mean(hits) >= 0.95


def test_an_index_is_built_once_for_a_file(tmp_path: Path) -> None:
    """It is opened again as it is, and built anew when the file has changed."""
    file, folder = tmp_path / "v.parquet", tmp_path / "index"
    write_vectors(file, Form.BINARY)
    open_or_build(file, folder)
    first = (folder / INDEX_VECTORS_FILE).stat().st_ino
    open_or_build(file, folder)
    assert (folder / INDEX_VECTORS_FILE).stat().st_ino == first
    write_vectors(file, Form.BINARY, rows=500)
    assert open_or_build(file, folder).rows == 500


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    """A cut file is damage, a folder without a description is no index."""
    write_vectors(tmp_path / "v.parquet", Form.BINARY)
    build_index(tmp_path / "v.parquet", tmp_path / "index")
    os.truncate(tmp_path / "index" / INDEX_VECTORS_FILE, 100)
    with pytest.raises(DamagedError, match="remove it"):
        open_index(tmp_path / "index")
    with pytest.raises(UsageError, match="is not an index"):
        open_index(tmp_path)


def test_pictures_are_found_by_their_picture(model: Path, art: Path, tmp_path: Path) -> None:
    """A red picture's nearest are the red ones; keys and tags come with them."""
    embed(EmbedConfig(model=model, inputs=(str(art),), out=tmp_path / "v.parquet"), show=lambda _: None)
    config = SearchConfig(vectors=tmp_path / "v.parquet", picture=art / "red0.png", model=model, count=4)
    report = search(config)

    assert {Path(one.key).stem for one in report.neighbours} == {"red0", "red1", "red2", "red3"}
    assert report.neighbours[0].similarity == pytest.approx(1, abs=1e-3)
    assert "red_eyes" in report.neighbours[0].tags


@pytest.mark.parametrize("form", [Form.FLOAT32, Form.BINARY])
def test_tags_mean_the_centre_of_their_pictures(tmp_path: Path, form: Form) -> None:
    """The centre is the one that numpy computes, and what is nearest to it carries the tag."""
    vectors = write_vectors(tmp_path / "v.parquet", form)
    report = search(SearchConfig(vectors=tmp_path / "v.parquet", tags="cloud 3, all"))
    carrying = np.array(["cloud_3" in one.tags for one in report.neighbours])
    centre, count = centre_of_tags(tmp_path / "v.parquet", ("all",))

    assert report.query == "cloud_3, all"
    assert carrying.all()
    assert count == len(vectors)
    if form is Form.BINARY:
        majority = np.unpackbits(vectors, axis=1).mean(axis=0) > 0.5
        np.testing.assert_array_equal(centre, np.packbits(majority))
    else:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(centre, unit.mean(axis=0), rtol=1e-5)


def test_what_cannot_be_looked_for(model: Path, art: Path, tmp_path: Path) -> None:
    """Unknown tags offer the nearest names; tags that never meet, another model, nothing to look for."""
    file = tmp_path / "v.parquet"
    write_vectors(file, Form.BINARY)
    with pytest.raises(UsageError, match="are not predicted to have the tag 'clod_3': did you mean cloud_"):
        search(SearchConfig(vectors=file, tags="clod_3"))
    of_model = tmp_path / "of-model.parquet"
    embed(EmbedConfig(model=model, inputs=(str(art / "red0.png"),), out=of_model), show=lambda _: None)
    with pytest.raises(DataError, match=r"no picture of .* is predicted to have the tag 'blue_sky'"):
        search(SearchConfig(vectors=of_model, tags="blue sky"))
    with pytest.raises(
        UsageError, match=rf"{re.escape(str(model))} knows no tag 'blue_skies': did you mean blue_sky"
    ):
        search(SearchConfig(vectors=of_model, tags="blue_skies"))
    with pytest.raises(DataError, match="fewer tags"):
        search(SearchConfig(vectors=file, tags="cloud_3, cloud_4"))
    with pytest.raises(UsageError, match="not with"):
        search(SearchConfig(vectors=file, picture=art / "red0.png", model=model))
    with pytest.raises(UsageError, match="give either"):
        SearchConfig(vectors=file)
    with pytest.raises(UsageError, match="does not exist"):
        search(SearchConfig(vectors=tmp_path / "none.parquet", tags="all"))


def test_the_command_prints_and_draws(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON of the report, a sheet with the pictures of a dataset in it, and the meaning of the similarity."""
    dataset = write_squares(tmp_path / "dataset")
    embed(EmbedConfig(model=model, inputs=(str(dataset),), out=tmp_path / "v.parquet"), show=lambda _: None)
    sheet = tmp_path / "sheet.html"
    arguments = [str(tmp_path / "v.parquet"), "--tags", "red_eyes", "--count", "3", "--html", str(sheet)]
    with pytest.raises(SystemExit) as ending:
        main(["search", *arguments, "--json"])
    printed = capsys.readouterr()
    report = json.loads(printed.out)

    assert ending.value.code == 0
    assert len(report["neighbours"]) == 3
    assert printed.err.splitlines()[-1] == "similarity (cosine, -1 to 1; 1 for equal vectors), picture, tags:"
    assert "cosine, -1 to 1" in sheet.read_text()
    assert sheet.read_text().count('<img src="data:image/jpeg;base64,') == 3


def test_imported_pictures_are_found_by_their_file_names(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal and sheet show the name of an imported picture; a board's number stays."""
    made = FIRST_DERIVED_ID + 7
    jpegs = [square(number, size=32).jpeg for number in (0, 1)]
    drawn = [Drawn(id=one, jpeg=jpeg, tags=()) for one, jpeg in zip((5, made), jpegs, strict=True)]
    dataset = write_dataset(tmp_path / "dataset", {"train": drawn}, size=32)
    (table,) = (dataset / "metadata").iterdir()
    rows = read_table(table, METADATA)
    urls = pa.array(["https://board.example/5.jpg", "mine/my%20caf%C3%A9.png"])
    write_arrow_table(table, METADATA, rows.set_column(rows.column_names.index("url"), "url", urls))
    out, sheet = tmp_path / "v.parquet", tmp_path / "sheet.html"
    embed(EmbedConfig(model=model, inputs=(str(dataset),), out=out), show=lambda _: None)
    write_picture(tmp_path / "red.png", "red")
    with pytest.raises(SystemExit):
        main(
            [
                "search",
                str(out),
                "--picture",
                str(tmp_path / "red.png"),
                "--model",
                str(model),
                "--html",
                str(sheet),
            ]
        )
    printed = capsys.readouterr().out

    assert f"my café.png ({made})" in printed
    assert "000000000005" in printed
    assert f'<div title="{made}">my café.png</div>' in sheet.read_text()


def test_pictures_of_relative_paths_are_found_from_elsewhere(
    model: Path, art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a search is started decides nothing: the sheet has its pictures, and nothing is embedded twice."""
    (tmp_path / "elsewhere").mkdir()
    out, sheet = tmp_path / "v.parquet", tmp_path / "sheet.html"
    monkeypatch.chdir(tmp_path)
    embed(EmbedConfig(model=model, inputs=("art",), out=out), show=lambda _: None)
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = embed(EmbedConfig(model=model, inputs=("../art",), out=out), show=lambda _: None)
    with pytest.raises(SystemExit) as ending:
        main(["search", str(out), "--tags", "red_eyes", "--count", "3", "--html", str(sheet)])

    assert ending.value.code == 0
    assert again.embedded == 0
    assert sheet.read_text().count('<img src="data:image/jpeg;base64,') == 3


def test_searching_needs_no_tensorflow(model: Path, art: Path, tmp_path: Path) -> None:
    """With an exported folder nothing of a search imports TensorFlow."""
    out = tmp_path / "v.parquet"
    embed(EmbedConfig(model=model, inputs=(str(art),), out=out), show=lambda _: None)
    arguments = ["search", str(out), "--picture", str(art / "red0.png"), "--model", str(model)]
    code = (
        "import sys\nfrom alti2v.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as ending: print(ending.code, 'tensorflow' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.splitlines()[-1] == "0 False"
