"""The network with its optimizer and loss, compiled for one phase of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.model import backend
from alti2v.model.network.augment import augmenting_model, halving_model
from alti2v.model.network.backbones import PLAIN
from alti2v.model.network.build import (
    UNIT_VARIANCE,
    Architecture,
    Network,
    build_network,
    freeze_before,
    set_prior,
)
from alti2v.model.network.cut import cut, is_cut
from alti2v.model.network.losses import loss_of, positive_weights
from alti2v.model.recipes import NO_AUGMENTATION
from alti2v.model.saved_model import read_architecture
from alti2v.model.training.job import Job, Phase

_COSINE_FLOOR = 0.01  # final learning rate as a share of the peak (JAX-CV: cosine to 1 %)


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A network compiled for one phase.

    Attributes:
        network: The whole network.
        model: Compiled keras.Model over the network's layers; takes the changes of the pictures as a second
            input if the recipe augments.
        is_cached: True if `model` takes stored features of the frozen layers instead of pictures.
    """

    network: Network
    model: Any
    is_cached: bool = False

    @property
    def variables(self) -> Sequence[Any]:
        """All variables that a step depends on: weights, statistics, random states, the optimizer's."""
        return [*self.network.logits.variables, *self.model.optimizer.variables]

    def values(self) -> list[npt.NDArray[Any]]:
        """Return copies of the values of `variables`."""
        self._sync()
        return [np.asarray(variable) for variable in self.variables]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the moving average of the weights, if there is one, into the network during the block.

        Afterwards every bit is as before. Keras' own SwapEMAWeights swaps by sums and differences on
        TensorFlow, which round.
        """
        self._sync()
        if not self._adam.use_ema:
            yield
            return
        kept = [np.asarray(variable) for variable in self.model.trainable_variables]
        self.take_average()
        try:
            yield
        finally:
            for variable, value in zip(self.model.trainable_variables, kept, strict=True):
                variable.assign(value)

    def take_average(self) -> None:
        """Replace the weights by their moving average, if there is one."""
        if not int(self._adam.iterations):  # before the first update Keras' average is zero
            return
        # Keras' method, which our class overrides with one that does nothing.
        backend.keras.optimizers.Adam.finalize_variable_values(self._adam, self.model.trainable_variables)

    @property
    def _adam(self) -> Any:  # noqa: ANN401 - keras.optimizers.Adam
        # For float16, Keras wraps the optimizer in one that scales the loss.
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _sync(self) -> None:
        # During `fit`, the JAX trainer keeps the current values outside the variables.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()


def build_for(job: Job) -> Network:
    """Build the network of a job, with random weights."""
    recipe = job.recipe
    architecture = Architecture(
        backbone=recipe.backbone,
        size=job.manifest.image.size,
        tags=len(job.tags),
        head=recipe.head,
        features=recipe.features,
        dropout=recipe.dropout,
        pixel_scale=_pixel_scale(job),
    )
    network = build_network(architecture, seed=job.settings.seed, precision=job.settings.precision)
    if recipe.prior_bias:
        # Laplace's rule gives finite odds to tags that no sample, or every sample, carries.
        set_prior(network, [(tag.count + 1) / (job.train_samples + 2) for tag in job.tags])
    return network


def _pixel_scale(job: Job) -> float:
    if job.settings.start is not None:
        return read_architecture(Path(job.settings.start)).pixel_scale
    return UNIT_VARIANCE if job.settings.weights == "none" and job.recipe.backbone in PLAIN else 1.0


def prepare(job: Job, network: Network, phase: Phase) -> CompiledModel:
    """Freeze the layers that a phase freezes, and compile the network with a new optimizer."""
    recipe = job.recipe
    freeze_before(network, phase.train_from)
    is_cached = job.settings.cache_features and is_cut(phase.train_from)
    if is_cached:
        model = cut(network, phase.train_from).head
    else:
        model = halving_model(network) if phase.is_small else network.logits
        if recipe.augmentation != NO_AUGMENTATION:
            model = augmenting_model(model, recipe.augmentation)
    optimizer = _adam(job, phase)
    weights = None
    if recipe.positive_weight:
        counts = [tag.count for tag in job.tags]
        weights = positive_weights(counts, samples=job.train_samples, exponent=recipe.positive_weight)
    # JAX's predict function keeps the split into frozen and learning variables for which it was made, and fails
    # on several devices when that changes.
    network.tagger.make_predict_function(force=True)
    model.compile(optimizer=optimizer, loss=loss_of(recipe.loss, weights), jit_compile=jit_compile())
    model.optimizer.build(model.trainable_variables)
    return CompiledModel(network=network, model=model, is_cached=is_cached)


def _adam(job: Job, phase: Phase) -> Any:  # noqa: ANN401 - keras.optimizers.Optimizer
    recipe = job.recipe

    class Adam(backend.keras.optimizers.Adam):  # type: ignore[misc]  # Keras is imported at first use
        """Adam that keeps its moving average apart: `fit` ends after every epoch, but training continues."""

        def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
            """Do nothing, where Keras would replace the weights by their average."""

    optimizer = Adam(
        learning_rate=_schedule(job, phase),
        weight_decay=recipe.weight_decay or None,  # decoupled, as in AdamW; a decay of 0 would cost time
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.ema is not None,
        ema_momentum=0.99 if recipe.ema is None else recipe.ema,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
    # Decay pulls towards zero, but the bias of a rare tag has to stay at its log-odds, far below.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def jit_compile() -> bool | str:
    """Return Keras' own choice, except for TensorFlow without a GPU.

    There, XLA's convolutions take four times as long as oneDNN's (Keras 3.15, TensorFlow 2.21, VGG16 at 32 px
    in batches of 16 on two cores: 1,064 ms a step against 262 ms).
    """
    on_cpu = backend.keras.backend.backend() == "tensorflow" and not backend.tf.config.list_physical_devices(
        "GPU"
    )
    return False if on_cpu else "auto"


def _schedule(job: Job, phase: Phase) -> Any:  # noqa: ANN401 - a float or a Keras schedule
    recipe, peak = job.recipe, phase.learning_rate
    if not recipe.cosine:
        return peak
    steps = phase.epochs * job.steps_per_epoch
    warm_up = round(recipe.warm_up * steps)
    return backend.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 100 if warm_up else peak,
        warmup_target=peak if warm_up else None,
        warmup_steps=warm_up,
        decay_steps=max(1, steps - warm_up),
        alpha=_COSINE_FLOOR,
    )
