"""`alti2v embed`: the vectors of the calls, in a file that other programs read, whatever was killed before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from alti2v.cli import main
from alti2v.errors import UsageError
from alti2v.model.tagging.tagger import load_tagger
from alti2v.vectors import embedding
from alti2v.vectors.config import EmbedConfig, Form
from alti2v.vectors.embedding import EmbedReport, embed
from alti2v.vectors.vector_file import as_vectors, read_origin, read_rows, write_rows
from tests.model.helpers.foreign_taggers import FAMILIES
from tests.model.helpers.tiny_dataset import write_squares
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder


def embedded(model: Path, out: Path, *inputs: Path, **options: Any) -> EmbedReport:
    config = EmbedConfig(model=model, inputs=tuple(map(str, inputs)), out=out, **options)
    return embed(config, show=lambda _: None)


def read(path: Path) -> dict[str, np.ndarray]:
    return {
        key: vector
        for rows in read_rows(path, rows=3)
        for key, vector in zip(rows.keys, rows.vectors, strict=True)
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float32", 0)])
def test_vectors_are_those_of_the_call(
    model: Path, art: Path, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    """The file holds what `extract_feature` returns, a row a picture, in the type that was asked for."""
    paths = sorted(art.iterdir())
    embedded(model, tmp_path / "v.parquet", art, dtype=dtype)
    found = read(tmp_path / "v.parquet")
    called = load_tagger(model).extract_feature(paths)

    assert list(found) == [str(path) for path in paths]
    assert {vector.dtype for vector in found.values()} == {np.dtype(dtype)}
    np.testing.assert_allclose(np.stack(list(found.values())), called, rtol=tolerance)


def test_codes_are_those_of_the_call(model: Path, art: Path, tmp_path: Path) -> None:
    """--binary holds what `extract_binary_feature` returns, also read with plain pyarrow."""
    embedded(model, tmp_path / "v.parquet", art, binary=True)
    called = load_tagger(model).extract_binary_feature(sorted(art.iterdir()))

    assert [row["vector"] for row in pq.read_table(tmp_path / "v.parquet").to_pylist()] == [
        bytes(code) for code in called
    ]
    np.testing.assert_array_equal(np.stack(list(read(tmp_path / "v.parquet").values())), called)


def test_tags_stand_beside_the_vector(model: Path, art: Path, tmp_path: Path) -> None:
    """Each row says what the model sees, as `alti2v tag` does; ratings are left out."""
    embedded(model, tmp_path / "v.parquet", art)
    tags = {Path(row["key"]).stem: row["tags"] for row in pq.read_table(tmp_path / "v.parquet").to_pylist()}

    assert tags["blue1"][0] == "blue_sky"
    assert "general" not in {tag for row in tags.values() for tag in row}


def test_a_killed_run_goes_on(model: Path, art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts published before a kill are not repeated; the result equals that of an unbroken run."""
    monkeypatch.setattr(embedding, "PART_PICTURES", 3)
    published: list[Path] = []

    def killed(path: Path, origin: Any, rows: Any, *, write: Any = write_rows) -> None:
        if len(published) == 2:
            raise KeyboardInterrupt
        published.append(path)
        write(path, origin, rows)

    with monkeypatch.context() as patch:
        patch.setattr(embedding, "write_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            embedded(model, tmp_path / "v.parquet", art, batch_size=2)
    assert not (tmp_path / "v.parquet").exists()
    report = embedded(model, tmp_path / "v.parquet", art)
    embedded(model, tmp_path / "whole.parquet", art)

    assert (report.skipped, report.embedded, report.rows) == (6, 10, 16)
    assert pq.read_table(tmp_path / "v.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not (tmp_path / "v.parquet.parts").exists()


def test_new_pictures_are_added(model: Path, art: Path, tmp_path: Path) -> None:
    """The same command for more pictures does those, and again it does nothing."""
    embedded(model, tmp_path / "v.parquet", art)
    write_picture(art / "new.png", "red")
    report = embedded(model, tmp_path / "v.parquet", art)
    again = embedded(model, tmp_path / "v.parquet", art)

    assert (report.skipped, report.embedded, report.rows) == (16, 1, 17)
    assert (again.skipped, again.embedded, again.rows) == (17, 0, 17)


def test_a_picture_that_is_given_twice_has_one_row(model: Path, art: Path, tmp_path: Path) -> None:
    """A picture given by name, folder and pattern has one row."""
    inputs = (art / "red1.png", art, Path(f"{art}/*.png"))
    report = embedded(model, tmp_path / "v.parquet", *inputs)

    assert (report.embedded, report.skipped, report.rows) == (16, 17, 16)


def test_a_dataset_is_embedded_as_it_was_seen_in_training(model: Path, tmp_path: Path) -> None:
    """All sides of a dataset, by key; its pictures are not encoded a second time."""
    dataset = write_squares(tmp_path / "dataset", train=20, validation=3, test=4)
    embedded(model, tmp_path / "v.parquet", dataset, dtype="float32")
    found = read(tmp_path / "v.parquet")
    first = pq.read_table(dataset / "metadata").sort_by("id").to_pylist()[0]
    tar = (dataset / "data" / "train-00000-of-00002.tar").read_bytes()
    from io import BytesIO

    from PIL import Image

    jpeg = Image.open(BytesIO(tar[first["offset"] : first["offset"] + first["size"]]))
    _, features = load_tagger(model).forward(np.asarray(jpeg)[None])

    assert len(found) == 27
    assert read_origin(tmp_path / "v.parquet").dataset == str(dataset.resolve())
    assert features is not None
    np.testing.assert_allclose(found[first["key"]], features[0], rtol=1e-6)


def test_what_does_not_fit_together_is_refused(model: Path, art: Path, tmp_path: Path) -> None:
    """Another form, another model, a model without vectors, a dataset among files: one line each."""
    out = tmp_path / "v.parquet"
    embedded(model, out, art)
    with pytest.raises(UsageError, match="not binary of this model"):
        embedded(model, out, art, binary=True)
    plain = write_wd_folder(tmp_path / "plain")
    with pytest.raises(UsageError, match="gives no vectors"):
        embedded(plain, tmp_path / "w.parquet", art)
    dataset = write_squares(tmp_path / "dataset")
    with pytest.raises(UsageError, match="give it alone"):
        embedded(model, tmp_path / "w.parquet", dataset, art)
    with pytest.raises(UsageError, match=r"ends in \.parquet"):
        embedded(model, tmp_path / "w.csv", art)


def test_numbers_too_large_for_float16_stay_finite() -> None:
    """A feature of 1e6 becomes the largest float16, not infinity."""
    assert np.isfinite(as_vectors(np.array([[1e6, 1.0]], np.float32), Form.FLOAT16)).all()


def test_the_command_names_what_is_damaged(
    model: Path, art: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged pictures are named and counted, the others are done, the exit status is 1."""
    (art / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(SystemExit) as ending:
        main(["embed", str(model), str(art), "--out", str(tmp_path / "v.parquet"), "--json"])
    printed = capsys.readouterr()
    report = json.loads(printed.out)

    assert ending.value.code == 1
    assert report["embedded"] == 16
    assert sum(report["failed"].values()) == 1
    assert f"{art}/bad.png: " in printed.err


def test_a_vector_that_is_no_number_costs_one_picture(
    art: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that divides by a length of 0 gives NaN for one picture: it is named, the others are written."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
    FAMILIES["wd_embedding"].write(tmp_path / "model")
    network = onnx.load(str(tmp_path / "model" / "model.onnx"))
    producer = next(node for node in network.graph.node if node.output[0] == "embedding")
    producer.output[0] = "unscaled"
    network.graph.initializer.append(onnx.numpy_helper.from_array(np.array([255], np.float32), "white"))
    network.graph.node.append(onnx.helper.make_node("Sub", ["unscaled", "white"], ["darkness"]))
    network.graph.node.append(onnx.helper.make_node("ReduceL2", ["darkness"], ["length"], axes=[1]))
    network.graph.node.append(onnx.helper.make_node("Div", ["darkness", "length"], ["embedding"]))
    onnx.save(network, str(tmp_path / "model" / "model.onnx"))
    for file in art.glob("white[123].png"):
        file.unlink()
    out = tmp_path / "v.parquet"
    with pytest.raises(SystemExit) as ending:
        main(["embed", str(tmp_path / "model"), str(art), "--out", str(out), "--json"])
    printed = capsys.readouterr()

    assert ending.value.code == 1, printed.err
    assert json.loads(printed.out)["failed"] == {"no_vector": 1}
    assert f"{art}/white0.png: the model gives NaN or infinity for its vector" in printed.err
    assert len(read(out)) == 12


def test_an_exported_folder_needs_no_tensorflow(model: Path, art: Path, tmp_path: Path) -> None:
    """Embedding with onnxruntime imports no TensorFlow."""
    code = (
        "import sys\nfrom alti2v.cli import main\n"
        f"try: main(['embed', {str(model)!r}, {str(art)!r}, '--out', {str(tmp_path / 'v.parquet')!r}])\n"
        "except SystemExit as ending: print(ending.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.splitlines()[-1] == "0 False False"
