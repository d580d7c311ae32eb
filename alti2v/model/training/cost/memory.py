"""Memory: how much a training needs, and how much is free."""

from __future__ import annotations

import math
from pathlib import Path

from alti2v.errors import DataError
from alti2v.model import backend
from alti2v.model.network.build import Network, freeze_before
from alti2v.model.training.job import Job

_CGROUP = Path("/sys/fs/cgroup")  # as a container sees its own
_HALF_BYTES, _FULL_BYTES = 2, 4


def memory_needed(job: Job, network: Network) -> int:
    """Estimate how many bytes a device needs at least in the last phase, in which most of the network learns.

    Weights; for those that learn a gradient, Adam's two moments, and copies for averaging and accumulation; and
    the outputs of all layers that backpropagation passes, for the device's part of a batch.
    """
    fixed, per_sample = _memory(job, network)
    return fixed + per_sample * (job.recipe.batch_size // job.processes.devices)


def require_memory(job: Job, network: Network) -> None:
    """Check that the device has enough memory.

    Raises:
        DataError: It does not have enough; the message names the option that helps.
    """
    free = free_memory()
    needed = memory_needed(job, network)
    if free is None or needed <= free:
        return
    fixed, per_sample = _memory(job, network)
    fitting = (free - fixed) // per_sample * job.processes.devices
    advice = "a --train-from that is nearer to the head"
    if fitting >= 1:
        advice = f"--batch-size {fitting} --accumulate {-(-job.recipe.batch_size // fitting)}"
    raise DataError(
        f"training needs at least {needed / 1e9:.1f} GB in batches of {job.recipe.batch_size}, and "
        f"{free / 1e9:.1f} GB are free: give {advice}"
    )


def _memory(job: Job, network: Network) -> tuple[int, int]:
    """Bytes that any batch needs, and bytes per sample; leaves the network frozen as in the last phase."""
    freeze_before(network, job.phases[-1].train_from)
    copies = 3 + (job.recipe.ema is not None) + (job.recipe.accumulate > 1)
    layers = network.logits.layers
    first = next(number for number, layer in enumerate(layers) if layer.trainable_weights)
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in layers[first:])
    each = _FULL_BYTES if job.settings.precision == "float32" else _HALF_BYTES
    return _FULL_BYTES * (network.logits.count_params() + copies * learning_parameters(network)), each * outputs


def learning_parameters(network: Network) -> int:
    """Count the parameters that are not frozen."""
    return sum(math.prod(weight.shape) for weight in network.logits.trainable_weights)


def free_memory() -> int | None:
    """Return the free memory of the device that trains, in bytes; None if unknown."""
    if trains_on_cpu():
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        values = {name: value for name, _, value in (line.partition(":") for line in lines)}
        machine = int(values["MemAvailable"].split()[0]) * 1024
        container = container_memory()
        return machine if container is None else min(machine, container)
    if backend.keras.backend.backend() != "jax":
        return None
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")


def container_memory(cgroup: Path = _CGROUP) -> int | None:
    """Return the memory that the container's limit leaves, in bytes; None if there is no limit.

    cgroup v2 (Linux, Documentation/admin-guide/cgroup-v2.rst). It counts cached files as used although they can
    be dropped from memory; they are subtracted here, as kubelet does.
    """
    try:
        limit, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None
    droppable = int(dict(line.split() for line in lines).get("inactive_file", 0))
    return max(0, limit - used + droppable)


def trains_on_cpu() -> bool:
    """Return whether Keras computes on the CPU."""
    if backend.keras.backend.backend() == "jax":
        import jax

        return str(jax.local_devices()[0].platform) == "cpu"
    return not backend.tf.config.list_physical_devices("GPU")
