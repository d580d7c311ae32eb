"""What a training will need and how long it will take, before it is begun."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.errors import DataError, UsageError
from alti2v.model import backend
from alti2v.model.data.pipeline import training_batches
from alti2v.model.network.build import Network, freeze_before
from alti2v.model.training.compiled_model import build_for, prepare
from alti2v.model.training.feature_cache import cut
from alti2v.model.training.job import Job

_MEASURED_BATCHES = 10
_CGROUP = Path("/sys/fs/cgroup")  # as a container sees its own
_HALF_BYTES, _FULL_BYTES = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEstimate:
    """What was found.

    Attributes:
        parameters: of the network; `learning` of them move in the last stage.
        precision: what layers compute in.
        devices: that share every batch.
        memory_bytes: needed per device, at least: an estimate (`memory_needed`).
        memory_free_bytes: of the device; None where nobody says.
        steps, epochs: of the whole training.
        input_samples_per_s: of the input alone.
        training_samples_per_s: of the network alone in the last stage, on a batch that is repeated.
        limited_by: what takes longer over the whole training, "input" or "training".
        seconds: of the whole training: on a processor, where both share the cores, the sum of their times; on
            other devices, where one runs beside the other, the longer of them. Validation is not in it.
    """

    parameters: int
    learning: int
    precision: str
    devices: int
    memory_bytes: int
    memory_free_bytes: int | None
    steps: int
    epochs: int
    input_samples_per_s: float
    training_samples_per_s: float
    limited_by: str
    seconds: float


def make_plan(job: Job, *, clock: Callable[[], float] = time.perf_counter) -> TrainingEstimate:
    """Build the network, and measure ten batches of the input and ten steps of every stage, each alone.

    Raises:
        DataError: there is too little memory.
        UsageError: there are several processes.
    """
    if job.processes.count > 1:
        raise UsageError("--plan measures one process: give it without KERAS_DISTRIBUTION_NUM_PROCESSES")
    network = build_for(job)
    require_memory(job, network)
    batches = training_batches(
        job.dataset,
        batch_size=job.recipe.batch_size,
        seed=job.seed,
        augmentation=job.recipe.augmentation,
    )
    first = next(iter(batches))
    # As often as it takes: a small dataset has fewer than ten batches in an epoch.
    input_rate = _rate(
        lambda batch: len(batch[0]), itertools.chain.from_iterable(itertools.repeat(batches)), clock
    )
    passes, training_rate, training_s = 0, 0.0, 0.0
    for stage in job.stages:
        compiled = prepare(job, network, stage)
        epochs = stage.end_epoch - stage.first_epoch
        images, labels = (part.numpy() for part in first)
        if compiled.is_cached:
            trunk = cut(network).trunk
            training_s += job.train_samples / _rate(
                _work(trunk.predict_on_batch, images), itertools.count(), clock
            )
            images = np.asarray(trunk.predict_on_batch(images))
        training_rate = _rate(_work(compiled.model.train_on_batch, images, labels), itertools.count(), clock)
        training_s += epochs * job.train_samples / training_rate
        passes += 1 if compiled.is_cached else epochs  # over the pictures
    input_s = passes * job.train_samples / input_rate
    return TrainingEstimate(
        parameters=network.logits.count_params(),
        learning=sum(math.prod(weight.shape) for weight in network.logits.trainable_weights),
        precision=job.precision,
        devices=job.processes.devices,
        memory_bytes=memory_needed(job, network),
        memory_free_bytes=_memory_free(),
        steps=job.steps,
        epochs=job.recipe.epochs,
        input_samples_per_s=round(input_rate, 1),
        training_samples_per_s=round(training_rate, 1),
        limited_by="input" if input_s > training_s else "training",
        seconds=round(input_s + training_s if _is_processor() else max(input_s, training_s), 1),
    )


def _work(step: Callable[..., Any], *arrays: Any) -> Callable[[int], int]:  # noqa: ANN401 - arrays
    """What takes a step on the same batch again and again, and says how many samples it had."""

    def work(_: int) -> int:
        step(*arrays)
        return len(arrays[0])

    return work


def memory_needed(job: Job, network: Network) -> int:
    """Estimate of what a device needs at least in the last stage, where most of the network learns; bytes.

    Weights, and for those that learn a gradient, Adam's two moments and what averaging and accumulation keep;
    and the outputs of all layers that backpropagation has to come through, for the device's part of a batch.
    """
    fixed, per_sample = _memory(job, network)
    return fixed + per_sample * (job.recipe.batch_size // job.processes.devices)


def require_memory(job: Job, network: Network) -> None:
    """See that the device has the memory.

    Raises:
        DataError: it has not; the message says which setting helps.
    """
    free = _memory_free()
    needed = memory_needed(job, network)
    if free is None or needed <= free:
        return
    fixed, per_sample = _memory(job, network)
    fitting = (free - fixed) // per_sample * job.processes.devices
    advice = "a --train-from that lies nearer to the head"
    if fitting >= 1:
        advice = f"--batch-size {fitting} --accumulate {-(-job.recipe.batch_size // fitting)}"
    raise DataError(
        f"training needs at least {needed / 1e9:.1f} GB in batches of {job.recipe.batch_size}, and "
        f"{free / 1e9:.1f} GB are free: give {advice}"
    )


def _memory(job: Job, network: Network) -> tuple[int, int]:
    """Bytes whatever the batch, and bytes per sample; leaves the network frozen as its last stage wants it."""
    freeze_before(network, job.stages[-1].train_from)
    model = network.logits
    learning = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    copies = 3 + (job.recipe.ema is not None) + (job.recipe.accumulate > 1)
    layers = model.layers
    first = next(number for number, layer in enumerate(layers) if layer.trainable_weights)
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in layers[first:])
    each = _FULL_BYTES if job.precision == "float32" else _HALF_BYTES
    return _FULL_BYTES * (model.count_params() + copies * learning), each * outputs


def _memory_free() -> int | None:
    """Of the device that trains, bytes; None where nobody says."""
    if _is_processor():
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        values = {name: value for name, _, value in (line.partition(":") for line in lines)}
        machine = int(values["MemAvailable"].split()[0]) * 1024
        container = _container_free()
        return machine if container is None else min(machine, container)
    if backend.keras.backend.backend() != "jax":
        return None
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")


def _container_free() -> int | None:
    """What the container's bound leaves, bytes: cgroup v2 (Linux, Documentation/admin-guide/cgroup-v2.rst).

    Files that were read and can be dropped from memory count as used there; kubelet leaves them out, too.
    """
    try:
        bound, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such file, or "max": no bound
        return None
    droppable = int(dict(line.split() for line in lines).get("inactive_file", 0))
    return max(0, bound - used + droppable)


def _is_processor() -> bool:
    if backend.keras.backend.backend() == "jax":
        import jax

        return str(jax.local_devices()[0].platform) == "cpu"
    return not backend.tf.config.list_physical_devices("GPU")


def _rate(take: Callable[[Any], int], items: Iterable[Any], clock: Callable[[], float]) -> float:
    """Samples per second over ten items; the first one, which compiles and opens, is not counted."""
    iterator = iter(items)
    take(next(iterator))
    begun = clock()
    samples = sum(take(item) for item in itertools.islice(iterator, _MEASURED_BATCHES))
    return samples / max(clock() - begun, 1e-9)
