"""Estimates of the time that a training needs, from rates measured on this machine."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Float32Array, Uint8Array
from alti2v.errors import UsageError
from alti2v.model import backend
from alti2v.model.data.pipeline import training_batches
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import ReadFailure
from alti2v.model.network.build import MIN_SIZE, Network
from alti2v.model.network.cut import CutNetwork, cut
from alti2v.model.recipes import Head
from alti2v.model.training.compiled_model import build_for, prepare
from alti2v.model.training.cost.budget import PASSES_OF_STEP, BudgetPlan, Rates
from alti2v.model.training.cost.memory import (
    free_memory,
    learning_parameters,
    memory_needed,
    require_memory,
    trains_on_cpu,
)
from alti2v.model.training.features.files import is_storable
from alti2v.model.training.frozen_head import HEAD_BATCH_SIZE, compile_head, head_epochs
from alti2v.model.training.job import Job
from alti2v.model.training.soft_labels import fold_passes

_MEASURED_BATCHES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEstimate:
    """Estimate of a training.

    Attributes:
        parameters: Number of the network's parameters.
        learning: Number of parameters that learn in the last phase.
        precision: Number format that layers compute in.
        devices: Number of devices that share every batch.
        memory_bytes: Memory that each device needs at least (`memory.memory_needed`).
        memory_free_bytes: Free memory of the device; None if unknown.
        steps, epochs: Steps and epochs of the whole training.
        train_from: First layer of the backbone that learns, or `recipes.HEAD_ONLY`.
        input_samples_per_s: Speed of the input alone.
        training_samples_per_s: Speed of the network alone in the last phase, on one batch repeated.
        limited_by: Part that takes longer over the whole training, "input" or "training".
        seconds: Time of the whole training, validations included. On a CPU, where input and training share the
            cores, the sum of their times; on other devices, where they overlap, the longer of the two.
    """

    parameters: int
    learning: int
    precision: str
    devices: int
    memory_bytes: int
    memory_free_bytes: int | None
    steps: int
    epochs: int
    train_from: str
    input_samples_per_s: float
    training_samples_per_s: float
    limited_by: str
    seconds: float


def rate_of_batches(
    batches: Iterable[Any], *, clock: Callable[[], float] = time.perf_counter, count: int = _MEASURED_BATCHES
) -> float:
    """Measure how many samples per second the input produces."""
    # Repeated as often as necessary: a small dataset has fewer than ten batches in an epoch.
    repeated = itertools.chain.from_iterable(itertools.repeat(batches))
    return _rate((len(batch[1]) for batch in repeated), clock, count)


def rate_of_steps(
    step: Callable[..., Any],
    *arrays: Any,  # noqa: ANN401 - pictures may come with their changes
    clock: Callable[[], float] = time.perf_counter,
    count: int = _MEASURED_BATCHES,
) -> float:
    """Measure how many samples per second a step processes, on the same batch again and again."""

    def samples() -> Iterator[int]:
        while True:
            step(*arrays)
            yield len(arrays[-1])

    return _rate(samples(), clock, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Measurements of this machine that an estimate needs."""

    input_rate: Callable[[Iterable[Any]], float] = rate_of_batches
    step_rate: Callable[..., float] = rate_of_steps
    is_cpu: Callable[[], bool] = trains_on_cpu


MEASUREMENTS = Measurements()


# For a budget, of which measuring is a part.
QUICK_MEASUREMENTS = Measurements(
    input_rate=functools.partial(rate_of_batches, count=3), step_rate=functools.partial(rate_of_steps, count=2)
)
_ROUNDS = 3  # of such a measurement, with the one that compiles
_FEW = 4  # pictures whose forward pass says how many more can be measured
_COMPILING_S = 5.0  # of a step, on a busy processor


def measure_rates(
    job: Job,
    *,
    allowed_s: float,
    require_time: Callable[[Rates], None],
    measurements: Measurements = QUICK_MEASUREMENTS,
    clock: Callable[[], float] = time.monotonic,
) -> Rates:
    """Measure how fast this machine does each part of a training that has no plan yet.

    Pictures of a batch are left out if all of them would take too long. Where there is no time for a step of
    more than one picture, its rate follows from that of the forward pass.

    Args:
        job: The training.
        allowed_s: Time for it, seconds.
        require_time: Called before a whole step is measured, with the rates until then; raises if they do not
            suffice.
        measurements: How to measure.
        clock: Monotonic clock, seconds.
    """
    end_s = clock() + allowed_s
    network = build_for(job)
    (images, inputs, labels), input_rate = _measured_input(job, measurements)
    parts = cut(network)
    forward = measurements.step_rate(parts.trunk.predict_on_batch, images[:_FEW])
    count = int((end_s - clock()) / 4 * forward / _ROUNDS)
    if count > _FEW:  # a large batch is faster
        forward = measurements.step_rate(parts.trunk.predict_on_batch, images[:count])
    head_rate = None
    if job.recipe.head_start:
        head_rate = _rate_of_head(job, parts, images[:_FEW], labels[:_FEW], measurements)
    rates = Rates(
        input=input_rate,
        forward=forward,
        head=head_rate,
        training=forward / PASSES_OF_STEP,
        shares=_shares(network) if job.recipe.backbone == "vgg16" else {job.recipe.train_from: 1.0},
        stores_maps=job.recipe.head_start and is_storable(job, "block5_conv1"),
        is_cpu=measurements.is_cpu(),
        halves=(
            job.manifest.image.size >= 2 * MIN_SIZE
            and job.processes.devices == 1
            and job.recipe.head is not Head.FLATTENED
        ),
    )
    require_time(rates)
    count = min(len(images), int((end_s - clock() - _COMPILING_S) * rates.training / _ROUNDS))
    if count < 2:
        return rates
    compiled = prepare(job, network, job.phases[-1])
    some = backend.tf.nest.map_structure(lambda array: array[:count], inputs)
    return replace(rates, training=measurements.step_rate(compiled.model.train_on_batch, some, labels[:count]))


def estimate_for_budget(job: Job, rates: Rates, plan: BudgetPlan) -> TrainingEstimate:
    """Make the estimate of a training that was planned for a budget.

    Raises:
        DataError: There is too little memory.
    """
    network = build_for(job)
    require_memory(job, network)
    return TrainingEstimate(
        **_sizes(job, network),
        input_samples_per_s=round(rates.input, 1),
        training_samples_per_s=round(plan.samples_per_s, 1),
        limited_by="input" if not plan.is_stored and rates.input < plan.samples_per_s else "training",
        seconds=round(plan.seconds, 1),
    )


def _shares(network: Network) -> dict[str, float]:
    """Return the share of the backbone's multiplications from the first layer of each block on."""
    costs = {
        layer.name: math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        for layer in network.trunk.layers
        if hasattr(layer, "kernel")
    }
    names = list(costs)
    return {
        name: sum(costs[later] for later in names[number:]) / sum(costs.values())
        for number, name in enumerate(names)
        if name.endswith("_conv1")
    }


def estimate_training(job: Job, measurements: Measurements = MEASUREMENTS) -> TrainingEstimate:
    """Build the network; measure ten batches of the input, and ten steps of every phase and of the head start.

    Raises:
        DataError: There is too little memory.
        UsageError: There are several processes.
    """
    if job.processes.count > 1:
        raise UsageError("--plan measures one process: run it without KERAS_DISTRIBUTION_NUM_PROCESSES")
    network = build_for(job)
    require_memory(job, network)
    (images, changed_images, labels), input_rate = _measured_input(job, measurements)
    forward_rate = measurements.step_rate(cut(network).trunk.predict_on_batch, images)
    pictures, training_s = _head_start(job, network, images, labels, forward_rate, measurements)
    training_rate, validation_samples = 0.0, job.manifest.samples("validation")
    for phase in job.phases:
        compiled = prepare(job, network, phase)
        inputs, in_epochs = changed_images, phase.epochs * job.train_samples
        if compiled.is_cached:  # one pass over the pictures, for all epochs and validations
            trunk = cut(network, phase.train_from).trunk
            passed = job.train_samples + validation_samples
            training_s += passed / measurements.step_rate(trunk.predict_on_batch, images)
            inputs = np.asarray(trunk.predict_on_batch(images))
            pictures += passed
        else:
            validated = job.validations_of(phase) * validation_samples
            training_s += validated / forward_rate
            pictures += in_epochs + validated
        training_rate = measurements.step_rate(compiled.model.train_on_batch, inputs, labels)
        training_s += in_epochs / training_rate
    input_s = pictures / input_rate
    return TrainingEstimate(
        **_sizes(job, network),
        input_samples_per_s=round(input_rate, 1),
        training_samples_per_s=round(training_rate, 1),
        limited_by="input" if input_s > training_s else "training",
        seconds=round(input_s + training_s if measurements.is_cpu() else max(input_s, training_s), 1),
    )


def _sizes(job: Job, network: Network) -> dict[str, Any]:
    """Return the fields of an estimate that are known without measuring."""
    return {
        # Before the number that learns: this freezes the network as in the last phase.
        "memory_bytes": memory_needed(job, network),
        "memory_free_bytes": free_memory(),
        "parameters": network.logits.count_params(),
        "learning": learning_parameters(network),
        "precision": job.settings.precision,
        "devices": job.processes.devices,
        "steps": job.steps,
        "epochs": job.recipe.epochs,
        "train_from": job.recipe.train_from,
    }


def _head_start(
    job: Job,
    network: Network,
    images: Uint8Array,
    labels: Float32Array,
    forward_rate: float,
    measurements: Measurements,
) -> tuple[int, float]:
    """Number of pictures that a head start and soft labels read, and the seconds that they compute."""
    passes = head_epochs(job.train_samples) if job.recipe.head_start else 0
    passes += fold_passes(job.train_samples) if job.recipe.soft_labels else 0
    if not passes:
        return 0, 0.0
    parts = cut(network)
    # Without a head start, the features of soft labels are those of the training pictures alone.
    pictures = job.manifest.total if job.recipe.head_start else job.train_samples
    head_rate = _rate_of_head(job, parts, images, labels, measurements)
    return pictures, pictures / forward_rate + passes * job.train_samples / head_rate


def _rate_of_head(
    job: Job, parts: CutNetwork, images: Uint8Array, labels: Float32Array, measurements: Measurements
) -> float:
    """Measure how many samples per second the head of a head start learns from."""
    compile_head(parts.head, job, steps=1)
    features = np.asarray(parts.trunk.predict_on_batch(images))
    return measurements.step_rate(parts.head.train_on_batch, *_head_batch(features, labels))


def _head_batch(features: npt.NDArray[Any], labels: Float32Array) -> tuple[npt.NDArray[Any], Float32Array]:
    """Repeat rows up to a batch of the head start: the cost of a step grows more slowly than its rows."""
    rows = np.resize(np.arange(len(labels)), HEAD_BATCH_SIZE)
    return features[rows], labels[rows]


def _measured_input(job: Job, measurements: Measurements) -> tuple[tuple[Uint8Array, Any, Float32Array], float]:
    """Return the first batch of the training split, and how many samples per second can be read."""
    failure = ReadFailure()
    batches = training_batches(
        job.dataset,
        batch_size=job.recipe.batch_size,
        seed=job.settings.seed,
        augmentation=job.recipe.augmentation,
        failure=failure,
    )
    with reading_errors(job.dataset, split="train", failure=failure):
        return _first_batch(batches), measurements.input_rate(batches)


def _first_batch(batches: Any) -> tuple[Uint8Array, Any, Float32Array]:  # noqa: ANN401 - tf.data.Dataset
    """Return the first batch: its images, the inputs of a training step (with changes, if any), its labels."""
    inputs, labels = backend.tf.nest.map_structure(lambda tensor: tensor.numpy(), next(iter(batches)))
    return inputs[0] if isinstance(inputs, tuple) else inputs, inputs, labels


def _rate(samples: Iterable[int], clock: Callable[[], float], batches_counted: int) -> float:
    """Samples per second over some batches; the first one, which compiles and opens files, is not counted."""
    batches = iter(samples)
    next(batches)
    begun_s = clock()
    count = sum(itertools.islice(batches, batches_counted))
    return count / max(clock() - begun_s, 1e-9)
