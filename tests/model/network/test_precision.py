"""Number formats: which one "auto" is, and that a trained network answers the same in each."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.model.network import precision
from alti2v.model.network.precision import choose_precision, gain_over_float32
from alti2v.model.saved_model import load_model, save_model
from tests.model.helpers.tiny_run import random_model


@pytest.mark.parametrize(
    ("gain", "expected"), [(4.0, "bfloat16"), (1.3, "bfloat16"), (1.1, "float32"), (0.1, "float32")]
)
def test_a_processor_is_measured(monkeypatch: Any, gain: float, expected: str) -> None:
    """Without a GPU, "auto" is bfloat16 only if a convolution is clearly faster in it."""
    monkeypatch.setattr(precision, "_capabilities", list)
    monkeypatch.setattr(precision, "gain_over_float32", lambda _: gain)
    assert choose_precision("auto") == expected
    assert choose_precision("auto", devices=2) == "float32"


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32")]
)
def test_a_gpu_is_asked(monkeypatch: Any, capability: tuple[int, int], expected: str) -> None:
    """On GPUs, "auto" is bfloat16 if all of them support it."""
    monkeypatch.setattr(precision, "_capabilities", lambda: [(9, 0), capability])
    assert choose_precision("auto") == expected


def test_a_slower_format_is_named_and_used(monkeypatch: Any, caplog: Any) -> None:
    """Half precision on a processor that is slow in it is used as requested, with one line of warning."""
    monkeypatch.setattr(precision, "_capabilities", list)
    monkeypatch.setattr(precision, "gain_over_float32", lambda _: 0.25)
    with caplog.at_level(logging.WARNING):
        assert choose_precision("bfloat16") == "bfloat16"
    assert caplog.messages == ["--precision bfloat16 takes 4.0 times as long as float32 on this processor"]


@pytest.mark.tf
def test_the_same_format_is_no_gain() -> None:
    """Float32 measured beside itself is about as fast: the rounds alternate."""
    assert 0.4 < gain_over_float32("float32") < 2.5


@pytest.mark.tf
def test_a_network_answers_the_same_in_bfloat16(tmp_path: Path) -> None:
    """Probabilities differ by less than two hundredths, vectors point the same way."""
    save_model(tmp_path, random_model())
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    full, half = (load_model(tmp_path, precision=name).network for name in ("float32", "bfloat16"))
    expected, found = full.predict_on_batch(pictures), half.predict_on_batch(pictures)
    assert half.get_layer("block3_conv1").compute_dtype == "bfloat16"
    probabilities = np.asarray(found["probabilities"])
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - expected["probabilities"]).max() < 0.02
    features = np.asarray(found["features"], np.float32)
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(expected["features"], axis=1)
    assert ((features * expected["features"]).sum(axis=1) / lengths).min() > 0.999
    for ours, theirs in zip(half.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_waiting_does_not_count(monkeypatch: Any) -> None:
    """Other programs make a step wait, which its processor time does not contain."""

    def step(dtype: str) -> Any:
        def run() -> None:
            now_s[0] += 0.002 if dtype == "float32" else 0.001

        return run

    now_s = [0.0]
    monkeypatch.setattr(precision, "_convolution", step)
    monkeypatch.setattr(time, "process_time", lambda: now_s[0])
    assert gain_over_float32("bfloat16") == pytest.approx(2)
