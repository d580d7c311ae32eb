"""The plan of a training for a given time: pure, from rates measured on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from alti2v.errors import UsageError
from alti2v.model.recipes import HEAD_ONLY
from alti2v.numerals import counted

# Fewer passes than this with more layers are worth less than more passes with fewer layers (docs/RECIPES.md).
_LEAST_EPOCHS = 2
# A head learns in two passes over the features what is most frequent (test mAP .77); more passes gain .05.
_LEAST_PASSES = 2
# With fewer passes of the whole network from random weights than this, part of the time is better spent on
# pictures of half the side first (docs/RECIPES.md); this share of it remains for whole pictures.
_FEW_EPOCHS, _WHOLE_SHARE = 4, 0.4
# Of a step on pictures of half the side, a quarter of the arithmetic (measured at 96 px on two cores).
_SMALL_SPEEDUP = 2.7
# Stored maps are always the same, without augmentation: more passes than this memorise them.
_MOST_STORED = 8
# Start of the program, checkpoints and the final model, seconds; and the share of the time for the unforeseen.
_START_S, _RESERVE = 16.0, 0.05
# Measuring: a share of the time, but at least the seconds that compiling the network and a few steps take.
_MEASURED_SHARE, _MEASURED_S = 0.1, 20.0
# A step passes the layers forward, and twice backward: for the gradients of the inputs, and of the weights.
PASSES_OF_STEP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Samples per second of each part of a training, each measured alone.

    Attributes:
        input: Reading, decoding and augmenting pictures.
        forward: The frozen backbone on pictures.
        head: A step of the head on stored features; None without a head start.
        training: A step of the whole network.
        shares: First layer that learns -> share of the backbone's arithmetic in the layers from there on, from
            the whole backbone (1) to its last block.
        stores_maps: True if the maps in front of the last block can be stored, and its epochs need no pictures.
        halves: True if a network can learn from pictures of half the side.
        is_cpu: True if input and network share the processor, so that their times add up.
    """

    input: float
    forward: float
    head: float | None
    training: float
    shares: Mapping[str, float]
    stores_maps: bool
    is_cpu: bool
    halves: bool = False

    def seconds(self, samples: float, *, learning: float | None) -> float:
        """Time for samples with the given share of the backbone learning; None for a forward pass alone."""
        each_s = 1 / self.forward if learning is None else _step_s(self, learning)
        return samples * (each_s + 1 / self.input if self.is_cpu else max(each_s, 1 / self.input))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Number of samples that each part of a training sees.

    Attributes:
        train: Samples in an epoch.
        validation: Samples in a validation, one of which follows each epoch.
        all: Samples in all splits, whose features a head start stores.
        head_passes: Number of passes of the head over the stored features in its head start.
        fold_passes: The same for the heads that estimate soft labels, all together; 0 without soft labels.
    """

    train: int
    validation: int
    all: int
    head_passes: int
    fold_passes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan:
    """Plan of a training for a given time.

    Attributes:
        train_from: First layer of the backbone that learns, or `HEAD_ONLY`.
        epochs: Number of passes over the samples after the head start; for `HEAD_ONLY`, which has none,
            over their features.
        small_epochs: Number of them on pictures of half the side, which come first.
        is_stored: True if they are passes over stored maps instead of pictures.
        head_s: Time of the head start or, for `HEAD_ONLY`, of the head, seconds.
        epochs_s: Time of the epochs with their validations, seconds.
        samples_per_s: Training samples per second in the epochs, or in the head start if it is all.
    """

    train_from: str
    epochs: int
    is_stored: bool
    head_s: float
    epochs_s: float
    samples_per_s: float
    small_epochs: int = 0

    @property
    def seconds(self) -> float:
        """Time of the whole training."""
        return _START_S + self.head_s + self.epochs_s

    def __str__(self) -> str:
        """Return the plan in words."""
        if self.train_from == HEAD_ONLY:
            parts = [
                f"{counted(self.epochs, 'epoch')} of the head on stored features, {self.head_s / 60:.1f} min",
                "nothing else, because an epoch of the backbone's last block does not fit",
            ]
        else:
            parts = [f"head on stored features, {self.head_s / 60:.1f} min"] if self.head_s else []
            stored = ", from stored feature maps" if self.is_stored else ""
            if self.small_epochs:
                stored = f", the first {self.small_epochs} on pictures of half the side"
            parts.append(
                f"{counted(self.epochs, 'epoch')} of the layers from {self.train_from} on{stored}, "
                f"{self.epochs_s / 60:.1f} min"
            )
        return f"plan for the budget: {'; '.join(parts)}"


def measuring_s(seconds: float) -> float:
    """Return how long the machine may be measured for a training of `seconds`.

    Raises:
        UsageError: There is not even time for that.
    """
    allowed_s = max(_MEASURED_S, _MEASURED_SHARE * seconds)
    if seconds <= allowed_s + _START_S:
        raise UsageError(
            f"--budget {seconds / 60:g} is too short: the start and measuring this machine take up to "
            f"{allowed_s + _START_S:.0f} s: give at least 1"
        )
    return allowed_s


def require_time(rates: Rates, samples: Samples, *, seconds: float, measured_s: float) -> None:
    """Check that the head fits into a budget or, without a head start, an epoch of the whole network.

    Raises:
        UsageError: It does not fit; the message names the shortest budget that fits.
    """
    if rates.head is not None:
        needed_s, what = _head_only_s(rates, samples, _LEAST_PASSES), "the head on the frozen backbone alone"
    else:
        needed_s, what = _epoch_s(rates, samples, 1.0), "one epoch"
    if needed_s <= _usable_s(seconds, measured_s):
        return
    training_s = (needed_s + _START_S) / (1 - _RESERVE)
    # A longer budget is measured longer.
    least_s = max(training_s + max(measured_s, _MEASURED_S), training_s / (1 - _MEASURED_SHARE))
    raise UsageError(
        f"--budget {seconds / 60:g} is too short: measuring this machine took {measured_s / 60:.1f} minutes, "
        f"and {what} takes about {training_s / 60:.1f} with the start: give at least {math.ceil(least_s / 60)}"
    )


def plan_for_budget(
    rates: Rates, samples: Samples, *, seconds: float, measured_s: float = 0.0, most_epochs: int
) -> BudgetPlan:
    """Plan a training that takes about `seconds`, of which measuring has taken `measured_s`.

    The head start comes first, where there is one. In the time that is left, as much of the network learns as
    gets two passes over the pictures. With less time the last block learns from stored maps, if it gets one
    pass, and otherwise only the head learns, in as many passes as fit.

    Raises:
        UsageError: The time is too short for the head, or, without a head start, for one epoch.
    """
    require_time(rates, samples, seconds=seconds, measured_s=measured_s)
    usable_s, head_s = _usable_s(seconds, measured_s), _head_start_s(rates, samples)
    left_s = usable_s - head_s
    by_depth = sorted(rates.shares.items(), key=lambda item: -item[1])
    for number, (first, share) in enumerate(by_depth):
        is_last = number + 1 == len(by_depth)
        is_stored = is_last and rates.stores_maps and rates.head is not None
        epoch_s = _stored_epoch_s(rates, samples, share) if is_stored else _epoch_s(rates, samples, share)
        epochs = min(_MOST_STORED if is_stored else most_epochs, most_epochs, int(left_s / epoch_s))
        if rates.head is None and rates.halves and 1 <= left_s / epoch_s < _FEW_EPOCHS:
            return _with_small_epochs(rates, samples, first, left_s, most_epochs=most_epochs)
        # Random weights all have to learn.
        if epochs >= (1 if is_last or rates.head is None else _LEAST_EPOCHS):
            return BudgetPlan(
                train_from=first,
                epochs=epochs,
                is_stored=is_stored,
                head_s=head_s,
                epochs_s=epochs * epoch_s,
                samples_per_s=1 / (_stored_step_s(rates, share) if is_stored else _step_s(rates, share)),
            )
    assert rates.head is not None
    passes = int((usable_s - _head_only_s(rates, samples, 0)) * rates.head / samples.train)
    passes = max(_LEAST_PASSES, min(samples.head_passes, passes))
    return BudgetPlan(
        train_from=HEAD_ONLY,
        epochs=passes,
        is_stored=True,
        head_s=_head_only_s(rates, samples, passes),
        epochs_s=0.0,
        samples_per_s=rates.head,
    )


def _with_small_epochs(
    rates: Rates, samples: Samples, first: str, left_s: float, *, most_epochs: int
) -> BudgetPlan:
    """Plan epochs on pictures of half the side before those on whole ones."""
    share = rates.shares[first]
    epoch_s, small_s = _epoch_s(rates, samples, share), _small_epoch_s(rates, samples, share)
    whole = min(most_epochs, max(1, int(_WHOLE_SHARE * left_s / epoch_s)))
    small = min(max(0, most_epochs - whole), int((left_s - whole * epoch_s) / small_s))
    return BudgetPlan(
        train_from=first,
        epochs=small + whole,
        small_epochs=small,
        is_stored=False,
        head_s=0.0,
        epochs_s=whole * epoch_s + small * small_s,
        samples_per_s=1 / _step_s(rates, share),
    )


def _small_epoch_s(rates: Rates, samples: Samples, share: float) -> float:
    """Estimate an epoch on pictures of half the side, and a validation on whole ones."""
    faster = replace(rates, forward=_SMALL_SPEEDUP * rates.forward, training=_SMALL_SPEEDUP * rates.training)
    return faster.seconds(samples.train, learning=share) + rates.seconds(samples.validation, learning=None)


def _usable_s(seconds: float, measured_s: float) -> float:
    return (seconds - measured_s) * (1 - _RESERVE) - _START_S


def _head_start_s(rates: Rates, samples: Samples) -> float:
    """Estimate the head start: one pass over all pictures, and its epochs on the features; 0 without one."""
    if rates.head is None:
        return 0.0
    passes = samples.head_passes + samples.fold_passes
    return rates.seconds(samples.all, learning=None) + passes * samples.train / rates.head


def _head_only_s(rates: Rates, samples: Samples, passes: int) -> float:
    """Estimate a training of the head alone. The test split, which it is not compared on, needs no features."""
    assert rates.head is not None
    passes += samples.fold_passes
    return (
        rates.seconds(samples.train + samples.validation, learning=None) + passes * samples.train / rates.head
    )


def _step_s(rates: Rates, share: float) -> float:
    """Estimate a sample's part of a step: layers before the first one that learns are only passed forward."""
    return 1 / rates.forward + max(0.0, 1 / rates.training - 1 / rates.forward) * share


def _stored_step_s(rates: Rates, share: float) -> float:
    """Estimate the same for the last block on stored maps: its share of a step, and a step of the head."""
    assert rates.head is not None
    return share / rates.training + 1 / rates.head


def _stored_epoch_s(rates: Rates, samples: Samples, share: float) -> float:
    return samples.train * _stored_step_s(rates, share) + samples.validation * share / rates.forward


def _epoch_s(rates: Rates, samples: Samples, share: float) -> float:
    return rates.seconds(samples.train, learning=share) + rates.seconds(samples.validation, learning=None)
