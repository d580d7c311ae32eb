"""A decoder that pictures make crash, hang or eat memory: what they hold behind their last byte says which."""

from __future__ import annotations

import os
import signal
import time

from alti2v.dataset.images import decoder_process
from alti2v.dataset.images.convert import PreparedPicture, Unusable, prepare_picture
from alti2v.dataset.manifest import ImageRecipe

PROGRAM = "from tests.dataset.helpers.hostile_decoder import serve; serve()"
# What the picture does, and what is said of it.
REASONS = {
    b"SEGFAULT": "crashed",
    b"RAISE": "crashed",
    b"SPIN": "too_slow",
    b"SLEEP": "crashed",
    b"EAT": "too_large",
}


def serve() -> None:
    decoder_process._CPU_S, decoder_process._WALL_S = (
        0.1,
        2.0,
    )  # far apart: on a busy machine 0.1 s of work takes a second
    decoder_process.serve(hostile)


def hostile(content: bytes, recipe: ImageRecipe) -> PreparedPicture | Unusable:
    if content.endswith(b"SEGFAULT"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if content.endswith(b"RAISE"):
        raise SystemExit(1)
    while content.endswith(b"SPIN"):
        pass
    if content.endswith(b"SLEEP"):
        time.sleep(1000)
    if content.endswith(b"EAT"):
        bytearray(1 << 33)
    return prepare_picture(content, recipe)
