"""Processor time of crawl, build-shards, train and tag beside that of another checkout of the program.

Each command runs in turns with the code of both checkouts, on the same pictures (JPEG with grain, 1.23
megapixels, 390 kB), with a quarter of them and with all. The difference is the time per picture, the rest is
that of starting. Processor time of all processes of a command counts, and the lowest of the rounds, so that
other programs matter little; the rounds are listed, too, to show how much. `tag` runs with two models of 448
px that compute next to nothing: a WD folder, and one in the form of our own ONNX exports. `train` runs one
epoch of the recipe `seed` with all layers and some augmentation, at 64 px, on a dataset of each checkout. Run:

    git worktree add OTHER COMMIT
    python benchmarks/other_commit.py OTHER [--pictures 400] [--rounds 3] [--only crawl build ...]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.illustrations import drawn_pictures
from benchmarks.support.loopback_board import running

_HERE = Path(__file__).resolve().parent.parent
_COMMANDS = ("crawl", "build", "train-float32", "train-bfloat16", "tag-wd", "tag-own")
_SIDE_PX = 448
_SMALL = ("--workers", 1, "--test", 8, "--validation", 8)  # options of a build
_TRAINING = ("--recipe", "seed", "--weights", "none", "--train-from", "block1_conv1", "--epochs", 1)
_AUGMENTATION = "flip,rotation=10,shift=0.05,crop=0.13,kernels"
_FILES = 8  # that a crawl fetches for each picture: an 8th of the time of a picture's build


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=_COMMANDS, default=_COMMANDS)
    options = parser.parse_args()
    checkouts = {"other": options.other.resolve(), "here": _HERE}
    counts = options.pictures // 4, options.pictures
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write_inputs(root, counts, options.only)
        result = {
            command: _compared(command, checkouts, counts, options.rounds, root)
            for command in _COMMANDS
            if command in options.only
        }
    for command, figures in result.items():
        print(f"{command:8}", *(f"{key} {value}" for key, value in figures.items()), sep="   ")
    print(json.dumps(result))


def _compared(
    command: str, checkouts: dict[str, Path], counts: tuple[int, int], rounds: int, root: Path
) -> dict[str, object]:
    spent_s: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for count in counts:
            for name, checkout in checkouts.items():
                seconds = _measured(command, checkout, root / name, count)
                spent_s.setdefault((name, count), []).append(seconds)
                print(f"{command}, {count} pictures, {name}: {seconds:.2f} s", file=sys.stderr)
    few, many = counts
    figures: dict[str, object] = {}
    for name in checkouts:
        least_few, least_many = min(spent_s[name, few]), min(spent_s[name, many])
        each_s = (least_many - least_few) / (many - few) / (_FILES if command == "crawl" else 1)
        figures |= {
            f"{name}_ms": round(1e3 * each_s, 3),
            f"{name}_start_s": round(least_few - few * (least_many - least_few) / (many - few), 2),
            f"{name}_whole_s": [round(seconds, 2) for seconds in sorted(spent_s[name, many])],
        }
    medians = [statistics.median(spent_s[name, many]) for name in ("here", "other")]
    figures["here_to_other"] = round(min(spent_s["here", many]) / min(spent_s["other", many]), 3)
    figures["medians"] = round(medians[0] / medians[1], 3)
    return figures


def _measured(command: str, checkout: Path, folder: Path, count: int) -> float:
    """Run a command with the code of a checkout; return its processor time, s."""
    root, store, dataset = folder.parent, folder / f"store-{count}", folder / f"dataset-{count}"
    # Bytecode of its own, which the first round writes.
    env = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(root / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if command == "crawl":
        return _crawl_s(env, folder / "crawled", root / f"pictures-{count}", _FILES * count)
    if command == "build" or command.startswith("train"):
        if not store.exists():
            _crawl_s(env, store, root / f"pictures-{count}", count)
        if command == "build":
            shutil.rmtree(dataset, ignore_errors=True)
            return _spent_s(env, "build-shards", store, dataset, *_SMALL)
        tiny, run = folder / f"tiny-{count}", folder / "run"
        if not tiny.exists():
            _spent_s(env, "build-shards", store, tiny, *_SMALL, "--size", 64, "--top-tags", 500)
        shutil.rmtree(run, ignore_errors=True)
        fixed = (*_TRAINING, "--augmentation", _AUGMENTATION, "--precision", command.partition("-")[2])
        return _spent_s(env, "train", tiny, run, *fixed)
    return _spent_s(env, "tag", root / command, root / f"pictures-{count}", "--format", "json")


def _crawl_s(env: dict[str, str], store: Path, pictures: Path, posts: int) -> float:
    shutil.rmtree(store, ignore_errors=True)
    with running("--pictures", str(pictures), posts=posts) as (url, _):
        fast = ("--rate", 100_000, "--api-rate", 100_000, "--connections", 8, "--allow-private")
        return _spent_s(env, "crawl", store, "--board", url, *fast)


def _spent_s(env: dict[str, str], *arguments: object) -> float:
    command = [sys.executable, "-P", "-m", "alti2v", *map(str, arguments)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        command,
        env=env,
        cwd="/",  # older versions import from the current folder
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished.returncode == 0, (command, finished.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write_inputs(root: Path, counts: Sequence[int], commands: Sequence[str]) -> None:
    contents = drawn_pictures("JPEG, grain", max(counts))
    for count in counts:
        (root / f"pictures-{count}").mkdir()
        for number, content in enumerate(contents[:count]):
            (root / f"pictures-{count}" / f"{number:05d}.jpg").write_bytes(content)
    if "tag-wd" in commands:
        from tests.model.helpers.tiny_wd import write_wd_folder

        write_wd_folder(root / "tag-wd", size=_SIDE_PX)
    if "tag-own" in commands:
        _write_own(root / "tag-own")


def _write_own(folder: Path) -> None:
    """Write a folder in the form of `export --format onnx`, whose network averages a corner of the picture."""
    from onnx import TensorProto, helper, numpy_helper, save

    constants = {"from": [0, 0], "to": [2, 2], "sides": [1, 2]}
    nodes = [
        helper.make_node("Slice", ["images", *constants], ["corner"]),
        helper.make_node("Cast", ["corner"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("Sigmoid", ["colour"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "corner",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", _SIDE_PX, _SIDE_PX, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    folder.mkdir()
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)])
    save(model, str(folder / "model.onnx"))
    rows = [f"{name},general,1" for name in ("red", "green", "blue")]
    (folder / "tags.csv").write_text("\n".join(["name,category,count", *rows, ""]))


if __name__ == "__main__":
    main()
