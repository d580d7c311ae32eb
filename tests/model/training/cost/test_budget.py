"""Plans for a given time: what fits is chosen, and what does not is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.errors import UsageError
from alti2v.model.train import TrainConfig
from alti2v.model.training.cost.budget import Rates, Samples, measuring_s, plan_for_budget

# Two cores with bfloat16 at 96 px (docs/BENCHMARKS.md).
RATES = Rates(
    input=2_000.0,
    forward=80.0,
    head=2_000.0,
    training=24.0,
    shares={
        "block1_conv1": 1.0,
        "block2_conv1": 0.87,
        "block3_conv1": 0.69,
        "block4_conv1": 0.39,
        "block5_conv1": 0.09,
    },
    stores_maps=True,
    is_cpu=True,
)
SAMPLES = Samples(train=5_294, validation=500, all=6_694, head_passes=20)
DEPTHS = ("head", "block5_conv1", "block4_conv1", "block3_conv1", "block2_conv1", "block1_conv1")


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (1.9, ("head", 6, True)),
        (2.7, ("head", 20, True)),
        (3.2, ("block5_conv1", 1, True)),
        (6.0, ("block5_conv1", 8, True)),
        (9.0, ("block4_conv1", 2, False)),
        (60.0, ("block1_conv1", 14, False)),
    ],
)
def test_more_learns_the_more_time_there_is(minutes: float, expected: tuple[str, int, bool]) -> None:
    """A short time is for the head, a longer one for the last blocks, an hour for everything."""
    found = plan_for_budget(RATES, SAMPLES, seconds=60 * minutes, most_epochs=30)
    assert (found.train_from, found.epochs, found.is_stored) == expected


@given(
    minutes=st.floats(4, 10_000),
    factor=st.floats(1, 10),
    forward=st.floats(60, 10_000),
    slowdown=st.floats(1, 6),
    stores_maps=st.booleans(),
    is_cpu=st.booleans(),
)
def test_a_plan_fits_and_more_time_never_gives_less(
    minutes: float, factor: float, forward: float, slowdown: float, stores_maps: bool, is_cpu: bool
) -> None:
    """Every plan takes less than the budget, and with more time no fewer layers learn."""
    rates = replace(RATES, forward=forward, training=forward / slowdown, stores_maps=stores_maps, is_cpu=is_cpu)
    plans = [
        plan_for_budget(rates, SAMPLES, seconds=60 * time, most_epochs=30)
        for time in (minutes, factor * minutes)
    ]
    assert plans[0].seconds < 60 * minutes
    assert plans[0].epochs <= 30
    assert DEPTHS.index(plans[1].train_from) >= DEPTHS.index(plans[0].train_from)


def test_too_short_is_one_line() -> None:
    """A time that is too short is refused with one that is long enough, measuring included."""
    with pytest.raises(
        UsageError,
        match=r"--budget 1 is too short: measuring .* took 0.6 minutes, and the head .* at least 3$",
    ):
        plan_for_budget(RATES, SAMPLES, seconds=60, measured_s=36, most_epochs=30)
    assert plan_for_budget(RATES, SAMPLES, seconds=180, measured_s=36, most_epochs=30).epochs >= 2


@given(forward=st.floats(5, 50))
def test_the_named_budget_fits(forward: float) -> None:
    """The shortest time that a refusal names is enough, also when measuring then takes all that it may."""
    rates = replace(RATES, forward=forward, training=forward / 3)
    with pytest.raises(UsageError) as refusal:
        plan_for_budget(rates, SAMPLES, seconds=60, measured_s=5, most_epochs=30)
    named_s = 60.0 * int(str(refusal.value).rpartition(" ")[2])
    plan_for_budget(rates, SAMPLES, seconds=named_s, measured_s=measuring_s(named_s), most_epochs=30)


def test_measuring_takes_a_tenth_of_the_time_or_20_seconds() -> None:
    """A time in which nothing but measuring fits is refused before it."""
    assert [measuring_s(seconds) for seconds in (60, 600, 3_600)] == [20, 60, 360]
    with pytest.raises(UsageError, match=r"--budget 0\.5 is too short: .* measuring .* give at least 1$"):
        measuring_s(30)


def test_random_weights_learn_as_a_whole_or_not_at_all() -> None:
    """Without a head start the whole network learns, and less than an epoch is refused."""
    rates = replace(RATES, head=None)
    found = plan_for_budget(rates, SAMPLES, seconds=600, most_epochs=30)
    assert (found.train_from, found.epochs, found.head_s) == ("block1_conv1", 2, 0)
    with pytest.raises(UsageError, match="one epoch takes about"):
        plan_for_budget(rates, SAMPLES, seconds=120, most_epochs=30)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epochs": 3}, "--budget chooses --epochs itself"),
        ({"train_from": "head"}, "--budget chooses --train-from itself"),
        ({"cache_features": True}, "--budget chooses --cache-features itself"),
        ({"budget": 0.0}, "--budget 0 is not a number of minutes above 0"),
        ({"budget": math.inf}, "--budget inf is not a number of minutes above 0"),
    ],
)
def test_what_the_budget_chooses_cannot_be_given(fields: dict[str, Any], words: str) -> None:
    """Options that contradict a budget are refused before anything is read."""
    with pytest.raises(UsageError, match=words):
        TrainConfig(**{"dataset": Path("d"), "run": Path("r"), "budget": 5.0, **fields})
