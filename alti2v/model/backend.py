"""TensorFlow and Keras, imported at first use and without the noise of their start.

Everything under `model` says `backend.tf` and `backend.keras`, so that importing a stage's configuration stays
quick and a crawl does not carry TensorFlow's memory. Which backend Keras computes with is the user's choice
(`KERAS_BACKEND`, see keras.io, "Getting started"); TensorFlow is there in any case, for `tf.data`.
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
    """Import both libraries when the first of them is asked for."""
    if name not in {"tf", "keras"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # TensorFlow reads the level once, at its import; 2 leaves errors. Whoever wants more sets it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports: nobody here can mend them
        import keras as keras_module
        import tensorflow

        # Looking for devices is what makes the CUDA stub complain on a machine without a GPU.
        tensorflow.config.list_physical_devices()
    globals()["tf"] = tensorflow
    globals()["keras"] = keras_module
    return globals()[name]


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what C++ writes to file descriptor 2 from the terminal, unless the block fails.

    TensorFlow 2.21 writes several lines before its logging obeys any setting ("All log messages before
    absl::InitializeLog() is called are written to STDERR"), so there is no setting that would do.
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
