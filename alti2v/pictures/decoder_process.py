"""Decoding in a child process, so that a hostile picture cannot harm anything but itself.

The decoder takes bytes and returns what a job makes of them, one picture after the other. The kernel kills it
when a picture takes too long, and refuses memory beyond a limit; if the machine runs out of memory, the decoder
dies first. It opens no files, and ends when the pipe from its parent closes. Its answers are parsed as JSON and
bytes, never unpickled, so a decoder that a picture has taken over cannot take over its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar

from PIL import AvifImagePlugin

from alti2v.child_processes import child_environment
from alti2v.errors import Alti2vError
from alti2v.pictures.decode import Unusable
from alti2v.pictures.jobs import JOBS, DecoderJob, JobAnswer, Jobs, as_request, job_of
from alti2v.pictures.limits import DecoderLimits

_T = TypeVar("_T")
_PIPE_BYTES = 1 << 20
_FRAME = struct.Struct("<II")  # sizes of the JSON and of the bytes that follow it
_SIZE = struct.Struct("<Q")  # follows the job of a request: size of the picture
# For glibc's malloc, mallopt(3): keep freed memory, because pixels need some MB again and again. Returning
# it to the system took 140 page faults per picture, a twentieth of the time. `_confine` bounds the total.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 24), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
_PROGRAM = "from alti2v.pictures.decoder_process import serve; serve()"
_LIMITS = DecoderLimits()
_TRIES = 2  # the first death may have another cause; a second one is due to the picture


class Decoder:
    """A decoder process, replaced whenever it dies.

    Args:
        limits: Limits of the process.
        program: Python code that calls `serve`.
    """

    def __init__(self, *, limits: DecoderLimits = _LIMITS, program: str = _PROGRAM) -> None:
        self._limits, self._program = limits, program
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = self._is_stopped = False
        # Holds the picture: a pipe would copy it page by page into new memory, which takes twice as long.
        self._shared = os.memfd_create("picture")

    @property
    def is_stopped(self) -> bool:
        """True if it was stopped, and cannot be used any more."""
        return self._is_stopped

    @property
    def pid(self) -> int | None:
        """ID of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def run(
        self,
        job: DecoderJob[_T],
        content: bytes | memoryview,
        *,
        meanwhile: Callable[[], object] | None = None,
    ) -> _T | Unusable:
        """Do a job with a picture in the decoder process.

        Args:
            job: The job.
            content: The picture.
            meanwhile: Called once while the decoder works: what this process has to do with the picture.

        Returns:
            The result, or the reason why the picture is unusable: one of the job's, "too_slow", or "crashed" if
            the process died twice.

        Raises:
            Alti2vError: No decoder process can be started.
        """
        for _ in range(_TRIES):
            process = self._ready()
            if process is None:
                break
            os.pwrite(self._shared, content, 0)  # complete, below 2 GiB: the file is in memory
            is_asked = _asked(process, job, len(content))
            if meanwhile is not None:
                meanwhile()
                meanwhile = None
            answer = _answer(process) if is_asked else None
            if answer is not None:
                reason = answer.facts.get("reason")
                return job.result(answer, content) if reason is None else Unusable(reason)
            if self._ended(process) == -signal.SIGPROF:
                return Unusable("too_slow")
        return Unusable("crashed")

    def start(self) -> None:
        """Start the process unless it runs, and do not wait for it."""
        if self._process is None:
            self._process = _started(self._shared, self._limits, self._program)
            self._is_ready = False

    def _ready(self) -> subprocess.Popen[bytes] | None:
        """Return the process once it waits for requests; None if the decoder was stopped."""
        if not self._is_stopped:
            self.start()
        if (process := self._process) is not None and not self._is_ready:
            assert process.stdout is not None
            self._is_ready = _receive(process.stdout) is not None
            if not self._is_ready and not self._is_stopped:
                process.kill()
                self._ended(process)
                raise Alti2vError("the decoder process does not start: see its message above")
        return process

    def stop(self) -> None:
        """End what another thread waits for: kill the process, and start none in its place."""
        self._is_stopped = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Kill the process; the decoder cannot be used afterwards."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)
        os.close(self._shared)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        self._process = None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return process.wait()


class DecoderPool:
    """Decoders that wait for their next user, because starting one takes half a second.

    Args:
        limits, program: See `Decoder`.
    """

    def __init__(self, *, limits: DecoderLimits = _LIMITS, program: str = _PROGRAM) -> None:
        self._limits, self._program = limits, program
        self._idle: list[Decoder] = []

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Decoder]:
        """Lend a decoder to one user for the duration of the block."""
        try:
            decoder = self._idle.pop()  # atomic, because a Dask worker may have several threads
        except IndexError:
            decoder = Decoder(limits=self._limits, program=self._program)
        try:
            yield decoder
        except BaseException:
            decoder.close()  # a pending answer would be taken for the answer to the next picture
            raise
        if decoder.is_stopped:
            decoder.close()
        else:
            self._idle.append(decoder)

    def warm(self, count: int) -> None:
        """Start decoders until this many are waiting or starting, without waiting for them."""
        for _ in range(count - len(self._idle)):
            decoder = Decoder(limits=self._limits, program=self._program)
            decoder.start()
            self._idle.append(decoder)

    def close(self) -> None:
        """End all waiting decoders."""
        while self._idle:
            self._idle.pop().close()


@cache
def process_decoders() -> DecoderPool:
    """Return the pool of this process, which ends its decoders at exit."""
    pool = DecoderPool()
    atexit.register(pool.close)
    return pool


def serve(jobs: Jobs = JOBS) -> None:
    """Run the decoder: answer requests on standard input until it closes.

    A request is a job and the size of a picture. The arguments of the program are the descriptor of the file
    that holds the picture, and the limits as JSON.
    """
    requests, answers, shared = sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1])
    limits = DecoderLimits(**json.loads(sys.argv[2]))
    warnings.simplefilter("ignore")  # nothing that Pillow says reaches the terminal
    logging.disable()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there are as many decoders as cores
    job = lru_cache(maxsize=4)(lambda request: job_of(json.loads(request), jobs))
    _confine(limits)
    _send(answers, b"{}", b"")
    while (request := _receive(requests)) is not None:
        (size,) = _SIZE.unpack(request[1])
        content = os.pread(shared, size, 0)
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)
        signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
        try:
            answer = job(request[0]).run(content)
        except MemoryError:
            answer = Unusable("too_large")
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(answer, Unusable):
            answer = JobAnswer({"reason": answer.reason})
        try:
            _send(answers, json.dumps(answer.facts).encode(), answer.body)
        except BrokenPipeError:  # the parent was killed
            os._exit(1)


@lru_cache(maxsize=16)
def _request(job: DecoderJob[Any]) -> bytes:
    return json.dumps(as_request(job)).encode()


def _confine(limits: DecoderLimits) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for limit, value in (
        (resource.RLIMIT_AS, taken + limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    for deadline in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(deadline, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _started(shared: int, limits: DecoderLimits, program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-P", "-c", program, str(shared), json.dumps(asdict(limits))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The same import path as here; one thread, because there are as many decoders as cores.
        env={**child_environment(), **_MALLOC, "OPENBLAS_NUM_THREADS": "1"},
        pipesize=_PIPE_BYTES,
        pass_fds=(shared,),
        # Ctrl-C goes to the whole process group; only the parent handles it.
        process_group=0,
    )


def _asked(process: subprocess.Popen[bytes], job: DecoderJob[Any], size: int) -> bool:
    """Send a request; False if the process has ended."""
    assert process.stdin is not None
    try:
        _send(process.stdin, _request(job), _SIZE.pack(size))
    except BrokenPipeError:
        return False
    return True


def _answer(process: subprocess.Popen[bytes]) -> JobAnswer | None:
    assert process.stdout is not None
    answer = _receive(process.stdout)
    return None if answer is None else JobAnswer(json.loads(answer[0]), answer[1])


def _send(pipe: IO[bytes], facts: bytes, pixels: bytes) -> None:
    pipe.write(_FRAME.pack(len(facts), len(pixels)) + facts)
    pipe.write(pixels)  # by itself, because joining would copy it
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Receive one message; None if the other side ended before it was complete."""
    head = pipe.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    facts_size, pixels_size = _FRAME.unpack(head)
    facts, pixels = pipe.read(facts_size), pipe.read(pixels_size)
    return (facts, pixels) if len(facts) + len(pixels) == facts_size + pixels_size else None
