"""A decoder that crashes, hangs or eats memory, depending on the bytes after the end of a picture."""

from __future__ import annotations

import os
import signal
import time

from alti2v.pictures import decoder_process
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import DecoderPool
from alti2v.pictures.jobs import JOBS, JobAnswer, PrepareJob
from alti2v.pictures.limits import DecoderLimits

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
    """Run the decoder, and obey what pictures say after their last byte."""
    decoder_process.serve({**JOBS, "PrepareJob": HostilePrepareJob})


class HostilePrepareJob(PrepareJob):
    """A job that pictures make crash, hang or eat memory."""

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """Do what the bytes after the picture say, then prepare it."""
        _obey(content)
        return super().run(content)


def _obey(content: bytes) -> None:
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
