"""Reading batches from shards, beside the ceiling: decoding the same bytes from memory.

All rows decode with `tf.io.decode_jpeg` (torch's with Pillow, as is usual there) and use the same batch size;
all but the ceiling also read files, shuffle, and make multi-hot labels of 5,000 tags. An epoch is timed from
its first batch. Rounds alternate, so that a busy machine slows all rows equally; a ratio is the median over
rounds of the ratio within a round. `--what memory` reads 40 shards once, and 4 of the same size ten times, each
in a separate process, and compares their peaks. Run:

    python benchmarks/input_pipeline.py --what readers [--samples 4000] [--size 224] [--rounds 5]
    python benchmarks/input_pipeline.py --what memory
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.manifest import read_manifest
from alti2v.model import backend
from alti2v.model.data.pipeline import AT_ONCE, ready, training_batches
from alti2v.model.data.shards import SHARDS_IN_MEMORY
from benchmarks.support.drawn_shards import TAGS_PER_PICTURE, draw_samples, write_samples
from tests.model.helpers.tiny_dataset import Drawn

_TAGS = 5_000
_SHARDS = 8
_SHUFFLED = 1_000  # samples in the buffers of the other readers
_CEILING, _OURS = "decoding from memory", "alti2v"
_FEW, _MANY, _SHARD_SAMPLES = 4, 40, 250


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=["readers", "memory"], default="readers")
    parser.add_argument("--samples", type=int, default=4_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(_peak_of(options.child, options.batch_size, options.epochs))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "memory":
            _memory(Path(folder), options)
            return
        samples = draw_samples(options.samples, size=options.size, tags=_TAGS)
        dataset = write_samples(
            Path(folder) / "dataset", samples, size=options.size, tags=_TAGS, shards=_SHARDS
        )
        rows = _readers(dataset, samples, options.batch_size)
        _compare(rows, options, statistics.mean(len(sample.jpeg) for sample in samples))


# The rows: functions from the number of the round to the batches of an epoch --------------------


def _readers(dataset: Path, samples: Sequence[Drawn], batch_size: int) -> Mapping[str, Callable[[int], Any]]:
    tf = backend.tf
    tars = [str(dataset / shard.name.data) for shard in read_manifest(dataset).split("train")]
    indices = {sample.id: [int(tag.removeprefix("tag_")) for tag in sample.tags] for sample in samples}
    records = _write_records(dataset.parent, samples, indices)

    def from_generator(_: int) -> Any:
        signature = (tf.TensorSpec((), tf.string), tf.TensorSpec((_TAGS,), tf.float32))
        data = tf.data.Dataset.from_generator(lambda: _webdataset(tars, indices), output_signature=signature)
        return _batched(data.map(_decoded, num_parallel_calls=tf.data.AUTOTUNE), batch_size)

    def from_records(number: int) -> Any:
        form = {
            "jpeg": tf.io.FixedLenFeature((), tf.string),
            "labels": tf.io.FixedLenFeature((TAGS_PER_PICTURE,), tf.int64),
        }

        def parse(record: Any) -> Any:
            found = tf.io.parse_single_example(record, form)
            return _decoded(found["jpeg"], tf.reduce_max(tf.one_hot(found["labels"], _TAGS), axis=0))

        data = tf.data.TFRecordDataset(records, num_parallel_reads=2).shuffle(_SHUFFLED, seed=number)
        return _batched(data.map(parse, num_parallel_calls=tf.data.AUTOTUNE), batch_size)

    rows: dict[str, Callable[[int], Any]] = {
        _CEILING: lambda _: _from_memory(samples, batch_size),
        _OURS: lambda number: training_batches(dataset, batch_size=batch_size, seed=0, epoch=number),
        "from_generator + webdataset": from_generator,
        "TFRecord": from_records,
    }
    if importlib.util.find_spec("torch"):
        rows["webdataset + torch DataLoader"] = lambda _: _from_torch(tars, indices, batch_size)
    return rows


def _from_memory(samples: Sequence[Drawn], batch_size: int) -> Any:
    tf = backend.tf
    data = tf.data.Dataset.from_tensor_slices([sample.jpeg for sample in samples])
    return ready(data.map(lambda jpeg: _decoded(jpeg)[0], num_parallel_calls=AT_ONCE).batch(batch_size))


def _decoded(jpeg: Any, labels: Any = None) -> tuple[Any, Any]:
    return backend.tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE"), labels


def _batched(data: Any, batch_size: int) -> Any:
    return data.batch(batch_size).prefetch(backend.tf.data.AUTOTUNE)


def _webdataset(
    tars: Sequence[str], indices: Mapping[int, Sequence[int]]
) -> Iterator[tuple[bytes, np.ndarray[Any, Any]]]:
    from webdataset import WebDataset

    for sample in WebDataset(list(tars), shardshuffle=len(tars), empty_check=False).shuffle(_SHUFFLED):
        labels = np.zeros(_TAGS, np.float32)
        labels[indices[json.loads(sample["json"])["id"]]] = 1
        yield sample["jpg"], labels


def _from_torch(tars: Sequence[str], indices: Mapping[int, Sequence[int]], batch_size: int) -> Any:
    import torch
    from webdataset import WebDataset

    def prepared(sample: Mapping[str, Any]) -> tuple[Any, Any]:
        labels = np.zeros(_TAGS, np.float32)
        labels[indices[json.loads(sample["json"])["id"]]] = 1
        return np.asarray(Image.open(io.BytesIO(sample["jpg"]))), labels

    data = WebDataset(list(tars), shardshuffle=len(tars), empty_check=False).shuffle(_SHUFFLED).map(prepared)
    return torch.utils.data.DataLoader(
        data.batched(batch_size), batch_size=None, num_workers=os.cpu_count() or 1
    )


def _write_records(folder: Path, samples: Sequence[Drawn], indices: Mapping[int, Sequence[int]]) -> list[str]:
    tf = backend.tf
    files = [str(folder / f"{number}.tfrecord") for number in range(_SHARDS)]
    for number, file in enumerate(files):
        with tf.io.TFRecordWriter(file) as writer:
            for sample in samples[number::_SHARDS]:
                features = {
                    "jpeg": tf.train.Feature(bytes_list=tf.train.BytesList(value=[sample.jpeg])),
                    "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=indices[sample.id])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    return files


# Measuring ---------------------------------------------------------------------------------------


def _compare(rows: Mapping[str, Callable[[int], Any]], options: argparse.Namespace, mean_bytes: float) -> None:
    rounds = []
    for number in range(options.rounds + 1):
        measured = {
            name: _rate(batches(number), options.samples, options.batch_size) for name, batches in rows.items()
        }
        if number:  # the first round warms up the page cache and the libraries
            rounds.append(measured)
    cores = len(os.sched_getaffinity(0))
    rates = {name: statistics.median(round_[name] for round_ in rounds) for name in rows}
    ratios = {name: statistics.median(round_[name] / round_[_CEILING] for round_ in rounds) for name in rows}
    print(f"{options.samples} pictures of {options.size} px and {mean_bytes / 1e3:.1f} kB, {cores} cores")
    print("| | images/s | images/s per core | of the ceiling | µs per picture above alti2v |")
    print("|---|---:|---:|---:|---:|")
    for name, rate in rates.items():
        price = 1e6 * cores * statistics.median(1 / round_[name] - 1 / round_[_OURS] for round_ in rounds)
        print(f"| {name} | {rate:,.0f} | {rate / cores:,.0f} | {ratios[name]:.3f} | {price:,.0f} |")
    print(
        json.dumps(
            {
                **{
                    name: getattr(options, name) for name in ("what", "samples", "size", "batch_size", "rounds")
                },
                "images_per_s": {name: round(rate, 1) for name, rate in rates.items()},
                "ratio": {name: round(ratio, 4) for name, ratio in ratios.items()},
            }
        )
    )


def _rate(batches: Any, samples: int, batch_size: int) -> float:
    """Images per second from the first batch on, because the start hardly matters in an epoch of millions."""
    ahead = iter(batches)
    next(ahead)
    begun = time.perf_counter()
    for _ in ahead:
        pass
    return (samples - batch_size) / (time.perf_counter() - begun)


def _memory(folder: Path, options: argparse.Namespace) -> None:
    """Compare the peak memory of reading few and many shards of the same size."""
    peaks, shard_bytes = {}, 0
    for count in (_FEW, _MANY):
        samples = draw_samples(count * _SHARD_SAMPLES, size=options.size, tags=_TAGS)
        dataset = write_samples(folder / str(count), samples, size=options.size, tags=_TAGS, shards=count)
        shard_bytes = max(shard.bytes for shard in read_manifest(dataset).shards)
        command = [sys.executable, __file__, "--child", str(dataset), "--batch-size", str(options.batch_size)]
        # The same number of pictures, because malloc keeps more the longer it works.
        command += ["--epochs", str(_MANY // count)]
        peaks[count] = int(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        )
    ratio = peaks[_MANY] / peaks[_FEW]
    print(f"shards of {shard_bytes / 1e6:.1f} MB, at most {SHARDS_IN_MEMORY} in memory")
    for count, peak in peaks.items():
        print(f"{count:3} shards: peak RSS {peak / 1e6:,.0f} MB")
    print(f"ratio {ratio:.3f}")
    found = {"shard_bytes": shard_bytes, "shards_in_memory": SHARDS_IN_MEMORY, "peak_bytes": peaks}
    print(json.dumps({**found, "ratio": round(ratio, 4)}))


def _peak_of(dataset: Path, batch_size: int, epochs: int) -> int:
    for epoch in range(epochs):
        for _ in training_batches(dataset, batch_size=batch_size, seed=0, epoch=epoch):
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
