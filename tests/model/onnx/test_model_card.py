"""Advice of the model card for the programs that load the folder."""

from __future__ import annotations

import re

import pytest

from alti2v.model.network.build import Architecture
from alti2v.model.onnx.labels import native_labels, rating_constants
from alti2v.model.onnx.model_card import Facts, model_card
from alti2v.model.options.choices import Format
from alti2v.model.recipes import Head
from tests.model.helpers.tiny_run import TAGS


@pytest.mark.parametrize("format_", list(Format))
def test_no_recommended_call_of_kohyas_script_crashes(format_: Format) -> None:
    """Without --character_threshold 1.1 it ends with an UnboundLocalError at a character, except with cl."""
    card = model_card(
        Facts(
            name="tagger",
            format=format_,
            architecture=Architecture(size=64, tags=len(TAGS), head=Head.POOLED, features=8, dropout=0.0),
            labels=native_labels(TAGS),
            ratings=rating_constants({}),
            rated=False,
            recipe="modern",
            training={},
            train_samples=1,
            plan_hash="0" * 64,
            weights="0" * 64,
            threshold=None,
            metrics=None,
            version="0.1.0",
            license="other",
        )
    )
    calls = re.findall(r"`(tag_images_by_wd14_tagger\.py[^`]*)`", card)

    assert all("--character_threshold 1.1" in call for call in calls) or format_ is Format.CL
    assert bool(calls) == (format_ in (Format.WD, Format.CL))
    is_told = "UnboundLocalError" in card
    assert is_told == (format_ in (Format.WD, Format.WD_EMBEDDING))
