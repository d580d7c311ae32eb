"""The network with its optimizer and loss, as a stage of a training wants them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.model import backend
from alti2v.model.network.backbones import PLAIN
from alti2v.model.network.build import (
    UNIT_VARIANCE,
    Architecture,
    Network,
    build_network,
    freeze_before,
    set_prior,
)
from alti2v.model.network.losses import loss_of, positive_weights
from alti2v.model.recipes import HEAD_ONLY
from alti2v.model.saved_model import read_architecture
from alti2v.model.training.feature_cache import cut
from alti2v.model.training.job import Job, Phase

_COSINE_FLOOR = 0.01  # of the peak, where the cosine ends (JAX-CV: cosine to 1 %)


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """What takes the steps of a stage.

    Attributes:
        network: the whole of it.
        model: compiled keras.Model over the network's layers.
        is_cached: whether it takes the features of the frozen backbone instead of pictures.
    """

    network: Network
    model: Any
    is_cached: bool = False

    @property
    def variables(self) -> Sequence[Any]:
        """Every number that a step depends on: weights, statistics, random states, the optimizer's."""
        return [*self.network.logits.variables, *self.model.optimizer.variables]

    def values(self) -> list[npt.NDArray[Any]]:
        """Copies of `variables`."""
        self._settle()
        return [np.asarray(variable) for variable in self.variables]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the moving average of the weights in the network for the length of the block, if any.

        Afterwards every bit is as it was: Keras' own SwapEMAWeights swaps by sums and differences on
        TensorFlow, which round.
        """
        self._settle()
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
        """Put the moving average of the weights into the network for good, if there is any."""
        if not int(self._adam.iterations):  # before the first update Keras' average is zero
            return
        # Keras' method, not that of our class, which does nothing.
        backend.keras.optimizers.Adam.finalize_variable_values(self._adam, self.model.trainable_variables)

    @property
    def _adam(self) -> Any:  # noqa: ANN401 - keras.optimizers.Adam
        # Where the loss is scaled (float16), an optimizer that does this lies around ours.
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _settle(self) -> None:
        # In the middle of `fit`, JAX's trainer keeps the numbers to itself until they are asked for.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()


def build_for(job: Job) -> Network:
    """The network as it is before the first step, weights of others aside."""
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
    network = build_network(architecture, seed=job.seed, precision=job.precision)
    if recipe.prior_bias:
        # Laplace's rule keeps tags that no or every training sample carries at finite odds.
        set_prior(network, [(tag.count + 1) / (job.train_samples + 2) for tag in job.tags])
    return network


def _pixel_scale(job: Job) -> float:
    if job.start is not None:
        return read_architecture(job.start).pixel_scale
    return UNIT_VARIANCE if job.weights == "none" and job.recipe.backbone in PLAIN else 1.0


def prepare(job: Job, network: Network, stage: Phase) -> CompiledModel:
    """Freeze what the stage freezes, and give the rest a new optimizer."""
    recipe = job.recipe
    freeze_before(network, stage.train_from)
    is_cached = job.cache_features and stage.train_from == HEAD_ONLY
    model = cut(network).head if is_cached else network.logits
    optimizer = _adam(job, stage)
    weights = None
    if recipe.positive_weight:
        counts = [tag.count for tag in job.tags]
        weights = positive_weights(counts, samples=job.train_samples, exponent=recipe.positive_weight)
    model.compile(optimizer=optimizer, loss=loss_of(recipe.loss, weights), jit_compile=_jit_compile())
    model.optimizer.build(model.trainable_variables)
    return CompiledModel(network=network, model=model, is_cached=is_cached)


def _adam(job: Job, stage: Phase) -> Any:  # noqa: ANN401 - keras.optimizers.Optimizer
    recipe = job.recipe

    class Adam(backend.keras.optimizers.Adam):  # type: ignore[misc]  # Keras is imported at first use
        """Adam whose moving average is only looked at: `fit` ends with every epoch, the training does not."""

        def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
            """Leave the weights alone, where Keras would put their average into their place."""

    optimizer = Adam(
        learning_rate=_schedule(job, stage),
        weight_decay=recipe.weight_decay or None,  # decoupled, as in AdamW; a decay of 0 would cost as much
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.ema is not None,
        ema_momentum=0.99 if recipe.ema is None else recipe.ema,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
    # Decay pulls kernels towards zero; a bias at the log-odds of a rare tag has to stay far from it.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _jit_compile() -> bool | str:
    """Keras' own choice, but for TensorFlow without a GPU.

    There XLA's convolutions take four times as long as oneDNN's (Keras 3.15, TensorFlow 2.21, VGG16 at 32 px in
    batches of 16 on two cores: 1,064 ms a step against 262 ms).
    """
    on_cpu = backend.keras.backend.backend() == "tensorflow" and not backend.tf.config.list_physical_devices(
        "GPU"
    )
    return False if on_cpu else "auto"


def _schedule(job: Job, stage: Phase) -> Any:  # noqa: ANN401 - a float or a Keras schedule
    recipe, peak = job.recipe, stage.learning_rate
    if not recipe.cosine:
        return peak
    steps = (stage.end_epoch - stage.first_epoch) * job.steps_per_epoch
    warm_up = round(recipe.warm_up * steps)
    return backend.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 100 if warm_up else peak,
        warmup_target=peak if warm_up else None,
        warmup_steps=warm_up,
        decay_steps=max(1, steps - warm_up),
        alpha=_COSINE_FLOOR,
    )
