"""Cost of judging three models at once, as a multiple of the sum of their bare forward passes.

Three ONNX networks of convolutions at 448 px in the layouts of WD, cl_tagger and PixAI, with three paddings and
channel orders, see the originals of a store (JPEG, 1000 x 1230 px). The bare passes are the loaded networks on
prepared pictures in the same batches. Included in the comparison are reading, MD5, decoding, counting, the
thresholds of the validation split, 400 bootstrap draws and the page's pictures, but not loading. Processor time
includes the decoder processes. Rounds alternate, and the best of each counts. Run:

    python benchmarks/comparison.py [--pictures 64] [--layers 12] [--rounds 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.importer import import_pictures
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.model.compare import compare
from alti2v.model.options.evaluation import CompareConfig
from alti2v.model.tagging.tagger import load_tagger
from alti2v.pictures.decoder_process import process_decoders
from benchmarks.support.illustrations import drawn_pictures
from benchmarks.support.processes import children, cpu_s

_SIDE, _PATCH, _WIDTH, _TAGS = 448, 16, 384, 200


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, dataset = _write_dataset(folder, options.pictures)
        models = tuple(
            _write_model(folder / family, family, options.layers) for family in ("wd", "cl", "pixai")
        )
        config = CompareConfig(models=models, dataset=dataset, store=store, min_positives=1)
        taggers = [load_tagger(model) for model in models]
        batches = [
            np.random.default_rng(0).integers(0, 256, (config.batch_size, _SIDE, _SIDE, 3)).astype(np.uint8)
            for _ in taggers
        ]

        def bare() -> None:
            for tagger, batch in zip(taggers, batches, strict=True):
                for split in _splits(options.pictures):
                    for start in range(0, split, config.batch_size):
                        tagger.forward(batch[: split - start])

        bare()
        loading = _least(lambda: [load_tagger(model) for model in models], 1)
        rounds = [
            (_least(bare, 1), _least(lambda: compare(config, out=folder), 1)) for _ in range(options.rounds)
        ]
    best = {
        f"{name}_{kind}": min(measured[at][kind] for measured in rounds)
        for at, name in enumerate(("bare", "compare"))
        for kind in ("wall_s", "cpu_s")
    }
    result: dict[str, float] = {"pictures": sum(_splits(options.pictures)), "layers": options.layers, **best}
    for kind in ("wall_s", "cpu_s"):
        result[f"ratio_{kind[:-2]}"] = (best[f"compare_{kind}"] - loading[kind]) / best[f"bare_{kind}"]
    for name, value in result.items():
        print(f"{name:20} {value:.3f}")
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


def _splits(pictures: int) -> tuple[int, int]:
    """Numbers of pictures in the test and the validation split."""
    return pictures * 3 // 4, pictures // 4


def _least(work: Callable[[], object], rounds: int) -> dict[str, float]:
    found = []
    for _ in range(rounds):
        process_decoders().warm(len(os.sched_getaffinity(0)))
        begun_s, spent_s = time.perf_counter(), _cpu_s()
        work()
        found.append({"wall_s": time.perf_counter() - begun_s, "cpu_s": _cpu_s() - spent_s})
    return {kind: min(one[kind] for one in found) for kind in ("wall_s", "cpu_s")}


def _cpu_s() -> float:
    """Processor time of this process and its decoders, s."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime + sum(map(cpu_s, children(os.getpid())))


def _write_dataset(folder: Path, pictures: int) -> tuple[Path, Path]:
    source, rng = folder / "source", np.random.default_rng(1)
    source.mkdir()
    for number, content in enumerate(drawn_pictures("JPEG, grain", pictures + 8)):
        (source / f"{number:04}.jpg").write_bytes(content)
        chosen = np.flatnonzero(rng.random(_TAGS) < 0.1)
        (source / f"{number:04}.txt").write_text(", ".join(f"tag_{tag}" for tag in [0, *chosen]))
    store, dataset = folder / "store", folder / "dataset"
    import_pictures(ImportConfig(store=store, sources=(source,)))
    test, validation = _splits(pictures)
    build_shards(BuildConfig(store=store, dataset=dataset, size=224, test=test, validation=validation))
    return store, dataset


def _write_model(folder: Path, family: str, layers: int) -> Path:
    """Write a network of patches and convolutions, and the tables of its family."""
    from onnx import TensorProto, helper, numpy_helper, save

    folder.mkdir()
    channels_last = family == "wd"
    shape = ["N", _SIDE, _SIDE, 3] if channels_last else ["N", 3, _SIDE, _SIDE]
    rng, constants, nodes, last = np.random.default_rng(2), {}, [], "input"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [last], ["first"], perm=[0, 3, 1, 2]))
        last = "first"
    for layer in range(layers + 1):
        side, inside = (_PATCH, 3) if not layer else (3, _WIDTH)
        kernel = rng.normal(0, (2 / (inside * side * side)) ** 0.5, (_WIDTH, inside, side, side))
        constants[f"kernel_{layer}"] = kernel.astype(np.float32) / (255 if not layer and channels_last else 1)
        options = {"strides": [_PATCH] * 2} if not layer else {"pads": [1] * 4}
        nodes.append(helper.make_node("Conv", [last, f"kernel_{layer}"], [f"conv_{layer}"], **options))
        nodes.append(helper.make_node("Relu", [f"conv_{layer}"], [last := f"relu_{layer}"]))
    constants["head"] = rng.normal(0, 0.05, (_WIDTH, _TAGS)).astype(np.float32)
    nodes += [
        helper.make_node("ReduceMean", [last], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["prediction"]),
    ]
    output = "logits" if family == "cl" else "prediction"
    graph = helper.make_graph(
        nodes,
        family,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", _TAGS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)]),
        str(folder / "model.onnx"),
    )
    if family == "cl":
        mapping = {str(tag): {"tag": f"tag_{tag}", "category": "General"} for tag in range(_TAGS)}
        (folder / "tag_mapping.json").write_text(json.dumps(mapping))
        return folder
    with (folder / "selected_tags.csv").open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(("tag_id", "name", "category", "count"))
        writer.writerows((tag, f"tag_{tag}", 0, 1) for tag in range(_TAGS))
    if family == "pixai":
        stages = [
            {"type": "resize", "size": [_SIDE, _SIDE], "interpolation": "bilinear", "antialias": True},
            {"type": "to_tensor"},
            {"type": "normalize", "mean": [0.5] * 3, "std": [0.5] * 3},
        ]
        (folder / "preprocess.json").write_text(json.dumps({"stages": stages}))
    return folder


if __name__ == "__main__":
    main()
