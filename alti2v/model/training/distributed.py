"""The processes and devices that train one network together: data parallel, each with its part of every batch.

Keras does the work (`keras.distribution.DataParallel`, on the JAX backend). A process is one of several if
Keras' own variables say so: KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
KERAS_DISTRIBUTION_PROCESS_ID (keras.distribution.initialize). All of them have to see the dataset and the run;
only the first one writes.
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
    """This process among those that train together.

    Attributes:
        index: of this process, from 0.
        count: processes.
        devices: of all of them together.
    """

    index: int = 0
    count: int = 1
    devices: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def barrier(self) -> None:
        """Wait until all processes are here, so that what the first one wrote is there for the others."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("alti2v")


SINGLE_PROCESS = ProcessGroup()


@contextlib.contextmanager
def join_processes() -> Iterator[ProcessGroup]:
    """Join the other processes, if there are any, and let Keras use all devices for the length of the block.

    Raises:
        UsageError: there are several processes, and Keras computes with something else than JAX.
    """
    count = int(os.environ.get(_COUNT) or 1)
    keras = backend.keras
    if keras.backend.backend() != "jax":
        if count > 1:
            raise UsageError(f"{_COUNT} is {count}, and several processes need KERAS_BACKEND=jax")
        gpus = len(backend.tf.config.list_physical_devices("GPU"))
        if gpus > 1:
            _LOG.warning("one of %d GPUs is used: set KERAS_BACKEND=jax to use all of them", gpus)
        yield SINGLE_PROCESS
        return
    import jax

    if count > 1 and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    devices = keras.distribution.list_devices()
    if len(devices) == 1:
        yield SINGLE_PROCESS
        return
    # Each process reads its part itself (`input.training_batches`).
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    try:
        yield ProcessGroup(index=jax.process_index(), count=jax.process_count(), devices=len(devices))
    finally:
        keras.distribution.set_distribution(None)
