"""How long training waits for its batches."""

from __future__ import annotations

from typing import Any

from alti2v.model import backend


class InputWait:
    """Counts the time between asking for a batch and having it.

    The clock is inside the graph, because there, and not in Python, `fit` asks for the next batch.
    """

    def __init__(self) -> None:
        tf = backend.tf
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    @property
    def seconds(self) -> float:
        """Spent waiting so far."""
        return float(self._seconds.numpy())

    def timed(self, batches: Any) -> Any:  # noqa: ANN401 - tf.data.Dataset
        """The same batches; each is counted when it is asked for."""
        tf = backend.tf
        now = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

        def count(asked: Any, batch: Any, had: Any) -> Any:  # noqa: ANN401 - tensors
            self._seconds.assign_add(had - asked)
            return batch

        # `zip` asks its parts one after the other, in the thread of whoever asks it.
        data = tf.data.Dataset.zip(now, batches, now).map(count)
        data = data.apply(tf.data.experimental.assert_cardinality(batches.cardinality()))
        options = tf.data.Options()
        # It would ask ahead, and the wait would be that of another thread.
        options.experimental_optimization.inject_prefetch = False
        return data.with_options(options)
