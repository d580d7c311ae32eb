"""The plan of a training for a given time: pure, from rates measured on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from alti2v.errors import UsageError
from alti2v.model.recipes import HEAD_ONLY

# Fewer passes than this with more layers are worth less than more passes with fewer layers (docs/RECIPES.md).
_LEAST_EPOCHS = 2
# Stored maps are always the same, without augmentation: more passes than this memorise them.
_MOST_STORED = 8
# Start of the program, checkpoints and the final model, seconds; and the share of the time for the unforeseen.
_START_S, _RESERVE = 10.0, 0.05


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
        is_cpu: True if input and network share the processor, so that their times add up.
    """

    input: float
    forward: float
    head: float | None
    training: float
    shares: Mapping[str, float]
    stores_maps: bool
    is_cpu: bool

    def seconds(self, samples: float, *, learning: float | None) -> float:
        """Time for samples with the given share of the backbone learning; None for a forward pass alone."""
        each_s = 1 / self.forward
        if learning is not None:
            # Layers before the first one that learns are only passed forward.
            each_s += max(0.0, 1 / self.training - 1 / self.forward) * learning
        return samples * (each_s + 1 / self.input if self.is_cpu else max(each_s, 1 / self.input))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Number of samples that each part of a training sees.

    Attributes:
        train: Samples in an epoch.
        validation: Samples in a validation, one of which follows each epoch.
        all: Samples in all splits, whose features a head start stores.
        head: Samples that the head sees in its head start.
    """

    train: int
    validation: int
    all: int
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan:
    """Plan of a training for a given time.

    Attributes:
        train_from: First layer of the backbone that learns, or `HEAD_ONLY`.
        epochs: Number of passes over the samples after the head start; 0 for `HEAD_ONLY`.
        is_stored: True if they are passes over stored maps instead of pictures.
        head_s: Time of the head start, seconds.
        epochs_s: Time of the epochs with their validations, seconds.
    """

    train_from: str
    epochs: int
    is_stored: bool
    head_s: float
    epochs_s: float


def plan_for_budget(
    rates: Rates, samples: Samples, *, seconds: float, measured_s: float = 0.0, most_epochs: int
) -> BudgetPlan:
    """Plan a training that takes about `seconds`, of which measuring has taken `measured_s`.

    The head start comes first, where there is one. In the time that is left, as much of the network learns as
    gets two passes over the pictures. With less time the last block learns from stored maps, if it gets one
    pass, and otherwise only the head learns.

    Raises:
        UsageError: The time is too short for the head, or, without a head start, for one epoch.
    """
    usable_s = (seconds - measured_s) * (1 - _RESERVE) - _START_S
    head_s = 0.0
    if rates.head is not None:
        head_s = rates.seconds(samples.all, learning=None) + samples.head / rates.head
    elif _epoch_s(rates, samples, 1.0) > usable_s:
        raise _too_short(seconds, measured_s, _epoch_s(rates, samples, 1.0), "one epoch")
    if head_s > usable_s:
        raise _too_short(seconds, measured_s, head_s, "the head on the frozen backbone alone")
    left_s = usable_s - head_s
    by_depth = sorted(rates.shares.items(), key=lambda item: -item[1])
    for number, (first, share) in enumerate(by_depth):
        is_last = number + 1 == len(by_depth)
        is_stored = is_last and rates.stores_maps and rates.head is not None
        epoch_s = _stored_epoch_s(rates, samples, share) if is_stored else _epoch_s(rates, samples, share)
        epochs = min(_MOST_STORED if is_stored else most_epochs, most_epochs, int(left_s / epoch_s))
        # Random weights all have to learn.
        if epochs >= (1 if is_last or rates.head is None else _LEAST_EPOCHS):
            return BudgetPlan(
                train_from=first, epochs=epochs, is_stored=is_stored, head_s=head_s, epochs_s=epochs * epoch_s
            )
    return BudgetPlan(train_from=HEAD_ONLY, epochs=0, is_stored=True, head_s=head_s, epochs_s=0.0)


def _stored_epoch_s(rates: Rates, samples: Samples, share: float) -> float:
    """Estimate an epoch of the last block on stored maps: its share of a whole step, and a step of the head."""
    assert rates.head is not None
    each_s = share / rates.training + 1 / rates.head
    return samples.train * each_s + rates.seconds(samples.validation, learning=None)


def _epoch_s(rates: Rates, samples: Samples, share: float) -> float:
    return rates.seconds(samples.train, learning=share) + rates.seconds(samples.validation, learning=None)


def _too_short(seconds: float, measured_s: float, needed_s: float, what: str) -> UsageError:
    training_s = (needed_s + _START_S) / (1 - _RESERVE)
    return UsageError(
        f"--budget {seconds / 60:g} is too short: measuring this machine took {measured_s / 60:.1f} minutes, "
        f"and {what} takes about {training_s / 60:.1f} with the start: "
        f"give at least {math.ceil((measured_s + training_s) / 60)}"
    )
