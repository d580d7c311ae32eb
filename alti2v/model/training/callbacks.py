"""Steps of Keras' `fit`, counted one behind: while the loss of one is read, the device is at the next.

A callback of Keras' own is given numbers, and for them waits until the device has finished the step; only then
is the next one prepared and sent. On an H100 (VGG16, 224 px, batches of 256) that is a sixth of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from alti2v.model import backend


class Steps:
    """Steps whose loss the device still holds."""

    def __init__(self, count: Callable[[float], None]) -> None:
        """`count` is told the loss of every step, in their order."""
        self._count = count
        self._losses: deque[Any] = deque()

    def add(self, loss: Any) -> None:  # noqa: ANN401 - a scalar of any backend, perhaps not computed yet
        """Remember a step that has been sent to the device."""
        self._losses.append(loss)

    def count(self, *, leave: int = 0) -> None:
        """Wait for all steps but the last `leave`, and count them."""
        while len(self._losses) > leave:
            self._count(float(backend.keras.ops.convert_to_numpy(self._losses.popleft())))


def callbacks_of(model: Any, after_step: Callable[[Any], None]) -> Any:  # noqa: ANN401 - Keras objects
    """What `fit` takes as callbacks, so that `after_step` is told the loss of each step without waiting for it.

    It is the mean since `fit` began, as a scalar tensor. What `after_step` raises ends `fit`.
    """

    class Callbacks(backend.keras.callbacks.CallbackList):  # type: ignore[misc]  # Keras is imported at first use
        def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
            assert logs is not None
            after_step(logs["loss"])

    return Callbacks(add_history=True, model=model)
