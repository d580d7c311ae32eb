"""Codes on disk: what is written picture by picture is read tag by tag."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.model.evaluation import code_file
from alti2v.model.evaluation.code_file import CodeFile


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 11), st.integers(1, 7), st.integers(1, 12))
def test_codes_come_back_by_tag(batches: list[int], tags: int, together: int, pictures: int) -> None:
    """Codes come back for any size of batches and any number of tags at a time."""
    codes = np.random.default_rng(0).integers(0, 2**16, (sum(batches), tags)).astype(np.uint16)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr(code_file, "TAGS_AT_ONCE", together)
        patch.setattr(code_file, "_PICTURES_AT_ONCE", pictures)
        written = CodeFile(file, tags)
        for batch in np.split(codes, np.cumsum(batches)[:-1]) if batches else []:
            written.append(batch)
        found = np.concatenate(list(written.by_tag()))

    assert np.array_equal(found, codes.T)
