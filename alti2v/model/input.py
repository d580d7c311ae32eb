"""Documented import path of the input pipeline; the code is in `alti2v.model.data.pipeline`."""

from alti2v.model.data.pipeline import training_batches

__all__ = ["training_batches"]
