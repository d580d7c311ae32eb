"""What a training will need and how long it will take, before it is begun."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.errors import DataError
from alti2v.model import backend
from alti2v.model.input import training_batches
from alti2v.model.job import Job
from alti2v.model.trainee import Trainee, build_for, prepare

_MEASURED_BATCHES = 10
_HALF_BYTES, _FULL_BYTES = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was found.

    Attributes:
        parameters: of the network; `learning` of them move in the last stage.
        precision: what layers compute in.
        memory_bytes: needed per device, at least: an estimate (`memory_needed`).
        memory_free_bytes: of the device; None where nobody says.
        steps, epochs: of the whole training.
        input_samples_per_s: of the input alone.
        training_samples_per_s: of the network alone, on a batch that is repeated.
        limited_by: the slower of the two, "input" or "training".
        seconds: of the whole training: on a processor, where both share the cores, the sum of their times; on
            other devices, where one runs beside the other, the longer of them. Validation is not in it.
    """

    parameters: int
    learning: int
    precision: str
    memory_bytes: int
    memory_free_bytes: int | None
    steps: int
    epochs: int
    input_samples_per_s: float
    training_samples_per_s: float
    limited_by: str
    seconds: float


def make_plan(job: Job, *, clock: Callable[[], float] = time.perf_counter) -> Plan:
    """Build the network, and measure ten batches of the input and ten steps of training, each alone.

    Raises:
        DataError: there is too little memory.
    """
    network = build_for(job)
    trainee = prepare(job, network, job.stages[-1])
    require_memory(job, trainee)
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
    images, labels = (part.numpy() for part in first)

    def step(_: int) -> int:
        trainee.model.train_on_batch(images, labels)
        return len(images)

    training_rate = _rate(step, itertools.count(), clock)
    samples = job.recipe.epochs * job.train_samples
    times = (samples / input_rate, samples / training_rate)
    return Plan(
        parameters=network.logits.count_params(),
        learning=sum(math.prod(weight.shape) for weight in network.logits.trainable_weights),
        precision=job.precision,
        memory_bytes=memory_needed(job, trainee),
        memory_free_bytes=_memory_free(),
        steps=job.steps,
        epochs=job.recipe.epochs,
        input_samples_per_s=round(input_rate, 1),
        training_samples_per_s=round(training_rate, 1),
        limited_by="input" if input_rate < training_rate else "training",
        seconds=round(sum(times) if _is_processor() else max(times), 1),
    )


def memory_needed(job: Job, trainee: Trainee) -> int:
    """Estimate of what a device needs at least, bytes.

    Weights, and for those that learn a gradient, Adam's two moments and what averaging and accumulation keep;
    and the outputs of all layers that backpropagation has to come through, for the device's part of a batch.
    """
    fixed, per_sample = _memory(job, trainee)
    return fixed + per_sample * (job.recipe.batch_size // job.crew.devices)


def require_memory(job: Job, trainee: Trainee) -> None:
    """See that the device has the memory.

    Raises:
        DataError: it has not; the message says which setting helps.
    """
    free = _memory_free()
    needed = memory_needed(job, trainee)
    if free is None or needed <= free:
        return
    fixed, per_sample = _memory(job, trainee)
    fitting = (free - fixed) // per_sample * job.crew.devices
    advice = "a --train-from that lies nearer to the head"
    if fitting >= 1:
        advice = f"--batch-size {fitting} --accumulate {-(-job.recipe.batch_size // fitting)}"
    raise DataError(
        f"training needs at least {needed / 1e9:.1f} GB in batches of {job.recipe.batch_size}, and "
        f"{free / 1e9:.1f} GB are free: give {advice}"
    )


def _memory(job: Job, trainee: Trainee) -> tuple[int, int]:
    """Bytes whatever the batch, and bytes per sample."""
    model = trainee.network.logits
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
        return int(values["MemAvailable"].split()[0]) * 1024
    if backend.keras.backend.backend() != "jax":
        return None
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")


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
