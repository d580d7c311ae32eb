"""Pictures on which models differ most, from the codes of their predictions. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.model.comparison.result import DisputedPicture, DisputedTag
from alti2v.model.evaluation.bootstrap import Codes
from alti2v.model.evaluation.histograms import BINS, MIDDLES
from alti2v.model.evaluation.metrics import threshold_bin

_PICTURES_AT_ONCE = 256
_TAGS = 8  # of a picture


def most_disputed(
    codes: Sequence[Codes], thresholds: Sequence[float], ids: Int64Array, *, most: int
) -> tuple[DisputedPicture, ...]:
    """Find the pictures with the most tags that some models predict and others do not.

    Args:
        codes: Codes of each model, (N, T).
        thresholds: Threshold of each model.
        ids: (N,) post numbers; among equally disputed pictures the first counts.
        most: Number of pictures to return; those without a disputed tag are left out.
    """
    least = [int(threshold_bin(threshold)) for threshold in thresholds]
    disputed = np.zeros(len(ids), np.int64)
    for start in range(0, len(ids), _PICTURES_AT_ONCE):
        some = slice(start, start + _PICTURES_AT_ONCE)
        votes = np.zeros(codes[0][some].shape, np.int16)
        for table, bin_ in zip(codes, least, strict=True):
            votes += table[some] % BINS >= bin_
        disputed[some] = ((votes > 0) & (votes < len(codes))).sum(axis=1)
    order = np.argsort(-disputed, kind="stable")[:most]
    return tuple(
        _picture(int(ids[row]), int(disputed[row]), [table[row] for table in codes], least)
        for row in order
        if disputed[row]
    )


def _picture(post_id: int, disputed: int, codes: Sequence[Codes], least: Sequence[int]) -> DisputedPicture:
    bins = np.stack(codes).astype(np.int64) % BINS
    passes = bins >= np.array(least)[:, None]
    probabilities = MIDDLES[bins]
    is_disputed = passes.any(axis=0) & ~passes.all(axis=0)
    spread = np.where(is_disputed, np.ptp(probabilities, axis=0), -1.0)
    chosen = np.argsort(-spread, kind="stable")[: min(_TAGS, disputed)]
    return DisputedPicture(
        id=post_id,
        disputed=disputed,
        tags=tuple(
            DisputedTag(
                index=int(tag),
                is_label=bool(codes[0][tag] >= BINS),
                probabilities=tuple(probabilities[:, tag].tolist()),
                passes=tuple(passes[:, tag].tolist()),
            )
            for tag in chosen
        ),
    )
