"""Pixels for several networks from one picture: those of each alone, with few decodings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alti2v.pictures import decode as decoding
from alti2v.pictures.decode import DecodedPicture, Unusable, decode
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.framing import Framing, FramingStep, letterbox
from alti2v.pictures.header import ImageHeader
from alti2v.pictures.jobs import (
    DecoderJob,
    FramedJob,
    JobAnswer,
    PixelsJob,
    SeveralPixelsJob,
    as_request,
    job_of,
)
from alti2v.pictures.recipe import ImageRecipe
from tests.dataset.helpers.tiny_store import drawing, encoded

JOBS = (
    FramedJob(Framing(steps=(letterbox(448),))),
    FramedJob(Framing(steps=(letterbox(448, colour=(114, 114, 114)),), with_mask=True)),
    FramedJob(Framing(steps=(FramingStep(kind="stretch", width=96, height=96, resampling="bilinear"),))),
    PixelsJob(ImageRecipe(size=64)),
)


@pytest.mark.parametrize(("form", "most"), [("JPEG", 3), ("PNG", 1), ("WEBP", 1)])
def test_pixels_are_those_of_each_alone(form: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit; a PNG is decoded once for all, a JPEG once for each fraction of its size."""
    content = encoded(drawing(7, width=1900, height=1300), form)
    alone = [job.result(_answered(job, content), content) for job in JOBS]
    decoded = []

    def counted(content: bytes, header: ImageHeader, **options: Any) -> DecodedPicture | Unusable:
        decoded.append(header)
        return decode(content, header, **options)

    monkeypatch.setattr(decoding, "decode", counted)
    together = SeveralPixelsJob(JOBS)
    found = together.result(_answered(together, content), content)

    assert len(decoded) == most
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, other)


def _answered(job: DecoderJob[Any], content: bytes) -> JobAnswer:
    answer = job.run(content)
    assert not isinstance(answer, Unusable)
    return answer


def test_a_decoder_process_takes_the_job() -> None:
    """The job survives JSON, and an unusable picture has one reason for all."""
    job = SeveralPixelsJob(JOBS)

    assert job_of(as_request(job)) == job
    with process_decoders().borrowed() as decoder:
        found = decoder.run(job, encoded(drawing(3), "PNG"))
        assert not isinstance(found, Unusable)
        assert [pixels.shape for pixels in found] == [(448, 448, 3), (448, 448, 4), (96, 96, 3), (64, 64, 3)]
        assert decoder.run(job, b"no picture") == Unusable("not_image")
