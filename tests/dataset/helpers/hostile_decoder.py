"""A decoder that crashes, hangs or eats memory, depending on the bytes after the end of a picture."""

from __future__ import annotations

import os
import signal
import time

from alti2v.dataset.images import decoder_process
from alti2v.dataset.images.convert import PreparedPicture, Unusable, prepare_picture
from alti2v.dataset.images.decoder_process import DecoderLimits, DecoderPool
from alti2v.dataset.manifest import ImageRecipe

# Far apart: on a busy machine, 0.1 s of processor time take a second.
LIMITS = DecoderLimits(cpu_s=0.1, wall_s=2.0)
PROGRAM = "from tests.dataset.helpers.hostile_decoder import serve; serve()"
# Bytes after the end of a picture -> the reason why it is dropped.
REASONS = {
    b"SEGFAULT": "crashed",
    b"RAISE": "crashed",
    b"SPIN": "too_slow",
    b"SLEEP": "crashed",
    b"EAT": "too_large",
}


def hostile_pool() -> DecoderPool:
    """Return a pool of such decoders."""
    return DecoderPool(limits=LIMITS, program=PROGRAM)


def serve() -> None:
    """Run the decoder."""
    decoder_process.serve(hostile)


def hostile(content: bytes, recipe: ImageRecipe) -> PreparedPicture | Unusable:
    """Do what the bytes after the picture say, then prepare it."""
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
