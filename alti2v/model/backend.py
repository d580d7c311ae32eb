"""TensorFlow and Keras, imported on first use and without their start-up messages.

All modules under `model` use `backend.tf` and `backend.keras`, so that importing a configuration stays fast and
a crawl does not load TensorFlow. The user chooses Keras' backend (`KERAS_BACKEND`, see keras.io, "Getting
started"); TensorFlow is always needed, for `tf.data`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

tf: Any
keras: Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: modules without type information
    """Import both libraries when either is first used."""
    if name not in {"tf", "keras"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # TensorFlow reads the level once, when it is imported; 2 shows errors only. Users can set their own.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the libraries' own imports, which we cannot change
        import keras as keras_module
        import tensorflow

        # Listing the devices makes the CUDA stub complain on a machine without a GPU.
        tensorflow.config.list_physical_devices()
        # Warnings of its Python side are for people who write models: a network that is cut at several layers
        # to measure them "triggered tf.function retracing".
        tensorflow.get_logger().setLevel("ERROR")
    globals()["tf"] = tensorflow
    globals()["keras"] = keras_module
    return globals()[name]


def first_float16() -> None:
    """Compute something in float16, silently.

    At the first time in a process, oneDNN writes as an error to stderr on which processors it supports float16
    ("oneDNN supports DT_HALF only on platforms with AVX-512", also with AVX-512), and that another
    implementation computes instead.
    """
    import tensorflow

    with _quiet_stderr():
        tensorflow.zeros(1, tensorflow.float16)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Suppress what C++ code writes to file descriptor 2, unless the block fails.

    TensorFlow 2.21 writes several lines before its logging respects any setting ("All log messages before
    absl::InitializeLog() is called are written to STDERR"), so no setting suppresses them.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            noise.seek(0)
            with os.fdopen(os.dup(2), "wb") as stderr:
                shutil.copyfileobj(noise, stderr)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
