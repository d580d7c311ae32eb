"""Measurement of the time that training waits for its batches."""

from __future__ import annotations

from typing import Any

from alti2v.model import backend


class InputWait:
    """Measures the time between requesting a batch and receiving it.

    The clock is inside the graph, because `fit` requests the next batch there and not in Python.
    """

    def __init__(self) -> None:
        tf = backend.tf
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    @property
    def seconds(self) -> float:
        """Seconds spent waiting so far."""
        return float(self._seconds.numpy())

    def timed(self, batches: Any) -> Any:  # noqa: ANN401 - tf.data.Dataset
        """Return the same batches, timed when they are requested."""
        tf = backend.tf
        now = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

        def count(requested: Any, batch: Any, received: Any) -> Any:  # noqa: ANN401 - tensors
            self._seconds.assign_add(received - requested)
            return batch

        # `zip` requests its parts one after the other, in the thread of its consumer.
        data = tf.data.Dataset.zip(now, batches, now).map(count)
        data = data.apply(tf.data.experimental.assert_cardinality(batches.cardinality()))
        options = tf.data.Options()
        # A prefetch would request batches early, and the wait would be that of another thread.
        options.experimental_optimization.inject_prefetch = False
        return data.with_options(options)
