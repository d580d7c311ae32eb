"""Examples of docs/CLI.md: all are parsed by the program's own parser, and the cheap ones run."""

from __future__ import annotations

import importlib.util
import itertools
import shlex
from pathlib import Path

import pytest

from alti2v.cli import cli, main
from tests.model.helpers.tiny_dataset import square, write_dataset
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

ROOT = Path(__file__).parents[2]
RUN = ("stats", "model", "tag", "embed", "search")


def examples() -> dict[str, list[list[str]]]:
    """Return command -> arguments of each of its examples, with the name of the program."""
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name: [shlex.split(line, comments=True) for line in lines.splitlines()]
        for name, lines in module.EXAMPLES.items()
    }


def test_every_command_has_an_example() -> None:
    """The examples are those of the commands, in the order of the help."""
    assert list(examples()) == list(cli.commands)


@pytest.mark.parametrize("name", cli.commands)
def test_examples_are_valid(name: str) -> None:
    """The program's own parser accepts each example."""
    assert examples()[name]
    for program, command, *arguments in examples()[name]:
        assert (program, command) == ("alti2v", name)
        # With the group's settings, because a command remembers the help option of its first context.
        cli.commands[name].make_context(name, arguments, **cli.context_settings)


def test_cheap_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run as printed, in one folder with a dataset, a model and pictures, each example ends with status 0."""
    for library, extra in (("onnx", "export"), ("onnxruntime", "onnx"), ("faiss", "search")):
        pytest.importorskip(library, reason=f"{library} is not installed: pip install 'alti2v[{extra}]'")
    splits = {"train": range(24), "validation": range(24, 32), "test": range(32, 40)}
    drawn = {split: [square(number, size=16) for number in numbers] for split, numbers in splits.items()}
    write_dataset(tmp_path / "dataset", drawn, size=16)
    write_wd_folder(tmp_path / "run", with_features=True)
    for colour in ("red", "green", "blue"):
        write_picture(tmp_path / "pictures" / f"{colour}.png", colour)
    monkeypatch.chdir(tmp_path)
    for example in itertools.chain.from_iterable(examples()[name] for name in RUN):
        with pytest.raises(SystemExit) as ending:
            main(example[1:])
        printed = capsys.readouterr()
        assert ending.value.code == 0, (example, printed.err)
        assert printed.out, example

    assert (tmp_path / "dataset.html").is_file()
    assert (tmp_path / "vectors.parquet").is_file()
