"""Data-parallel training: several processes and devices train one network, each on its part of every batch.

Keras does the work (`keras.distribution.DataParallel`, on the JAX backend). Keras' own variables tell a process
that it is one of several: KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
KERAS_DISTRIBUTION_PROCESS_ID (keras.distribution.initialize). All processes need access to the dataset and the
run; only the first one writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from alti2v.errors import UsageError
from alti2v.model import backend

_COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes that train together, and the number of this one.

    Attributes:
        index: Index of this process, from 0.
        count: Number of processes.
        devices: Number of devices of all processes.
    """

    index: int = 0
    count: int = 1
    devices: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes."""
        return self.index == 0

    def barrier(self) -> None:
        """Wait for all processes, so that the others see what the first one wrote."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("alti2v")


SINGLE_PROCESS = ProcessGroup()


@contextlib.contextmanager
def join_processes() -> Iterator[ProcessGroup]:
    """Join the other processes, if there are any, and let Keras use all devices during the block.

    Raises:
        UsageError: There are several processes, but Keras does not use the JAX backend.
    """
    count = int(os.environ.get(_COUNT) or 1)
    keras = backend.keras
    if keras.backend.backend() != "jax":
        if count > 1:
            raise UsageError(f"{_COUNT} is {count}, and several processes need KERAS_BACKEND=jax")
        gpus = len(backend.tf.config.list_physical_devices("GPU"))
        if gpus > 1:
            _LOG.warning("using one of %d GPUs: set KERAS_BACKEND=jax to use all of them", gpus)
        yield SINGLE_PROCESS
        return
    import jax

    if count > 1 and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    devices = keras.distribution.list_devices()
    if len(devices) == 1:
        yield SINGLE_PROCESS
        return
    # Each process reads its own part (`data.pipeline.training_batches`).
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    try:
        yield ProcessGroup(index=jax.process_index(), count=jax.process_count(), devices=len(devices))
    finally:
        keras.distribution.set_distribution(None)
