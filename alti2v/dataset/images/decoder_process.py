"""Decoding in a child process, so that a hostile picture cannot harm anything but itself.

The decoder takes bytes and returns a picture of the dataset, one after the other. The kernel kills it when a
picture takes too long, and refuses memory beyond a limit; if the machine runs out of memory, the decoder dies
first. It opens no files, and ends when the pipe from its parent closes. Its answers are parsed as JSON and
bytes, never unpickled, so a decoder that a picture has taken over cannot take over its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any

from alti2v.child_processes import child_environment
from alti2v.dataset.images.convert import PreparedPicture, Unusable, prepare_picture
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.plan.near_duplicates import LUMINANCE_BYTES
from alti2v.errors import Alti2vError

_PIPE_BYTES = 1 << 20
_FRAME = struct.Struct("<II")  # sizes of the JSON and of the bytes that follow it
_SIZE = struct.Struct("<Q")  # follows the recipe of a request: size of the picture
# For glibc's malloc, mallopt(3): keep freed memory, because pixels need some MB again and again. Returning
# it to the system took 140 page faults per picture, a twentieth of the time. `_confine` bounds the total.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 24), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
_PROGRAM = "from alti2v.dataset.images.decoder_process import serve; serve()"
_TRIES = 2  # the first death may have another cause; a second one is due to the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """Limits of a decoder process.

    Attributes:
        cpu_s: Processor time per picture, s. A picture of 50 megapixels, the largest that is decoded, takes up
            to 4 s. Processor time, so that a busy machine drops the same pictures.
        wall_s: Time per picture, s, for a decoder that waits instead of working.
        memory_bytes: Memory beyond what the process needs at its start. 50 megapixels take up to 0.6 GB (PNG
            with transparency); an animated WebP keeps two more copies.
    """

    cpu_s: float = 20.0
    wall_s: float = 120.0
    memory_bytes: int = 3 << 29


class Decoder:
    """A decoder process, replaced whenever it dies.

    Args:
        limits: Limits of the process.
        program: Python code that calls `serve`.
    """

    def __init__(self, *, limits: DecoderLimits = DecoderLimits(), program: str = _PROGRAM) -> None:
        self._limits, self._program = limits, program
        self._process: subprocess.Popen[bytes] | None = None
        # Holds the picture: a pipe would copy it page by page into new memory, which takes twice as long.
        self._shared = os.memfd_create("picture")

    @property
    def pid(self) -> int | None:
        """ID of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def prepare(self, content: bytes | memoryview, recipe: ImageRecipe) -> PreparedPicture | Unusable:
        """Call `convert.prepare_picture` in the decoder process.

        Returns:
            The picture, or the reason why it is unusable: one of `prepare_picture`, "too_slow", or "crashed"
            if the process died twice.

        Raises:
            Alti2vError: No decoder process can be started.
        """
        for _ in range(_TRIES):
            process = self._process = self._process or _started(self._shared, self._limits, self._program)
            os.pwrite(self._shared, content, 0)  # complete, below 2 GiB: the file is in memory
            answer = _answer(process, recipe, len(content))
            if answer is not None:
                facts, pixels = answer
                return Unusable(**facts) if "reason" in facts else _picture(facts, pixels, content)
            if self._ended(process) == -signal.SIGPROF:
                return Unusable("too_slow")
        return Unusable("crashed")

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

    def __init__(self, *, limits: DecoderLimits = DecoderLimits(), program: str = _PROGRAM) -> None:
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


def serve(prepare: Callable[[bytes, ImageRecipe], PreparedPicture | Unusable] = prepare_picture) -> None:
    """Run the decoder: answer requests on standard input until it closes.

    A request is a recipe and the size of a picture. The arguments of the program are the descriptor of the file
    that holds the picture, and the limits as JSON.
    """
    requests, answers, shared = sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1])
    limits = DecoderLimits(**json.loads(sys.argv[2]))
    _confine(limits)
    _send(answers, b"{}", b"")
    while (request := _receive(requests)) is not None:
        recipe, (size,) = _recipe(request[0]), _SIZE.unpack(request[1])
        content = os.pread(shared, size, 0)
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)
        signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
        try:
            picture = prepare(content, recipe)
        except MemoryError:
            picture = Unusable("too_large")
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            _send(answers, *_message(picture, content))
        except BrokenPipeError:  # the parent was killed
            os._exit(1)


@lru_cache(maxsize=4)
def _request(recipe: ImageRecipe) -> bytes:
    return json.dumps(asdict(recipe)).encode()


@lru_cache(maxsize=4)
def _recipe(request: bytes) -> ImageRecipe:
    return ImageRecipe(**json.loads(request))


def _message(picture: PreparedPicture | Unusable, content: bytes) -> tuple[bytes, bytes]:
    """Encode an answer for `_picture`: facts as JSON, and pixels."""
    if isinstance(picture, Unusable):
        return json.dumps({"reason": picture.reason}).encode(), b""
    facts = {name: getattr(picture, name) for name in ("source_width", "source_height")}
    prepared = b"" if picture.content is content else picture.content  # the parent has it
    return json.dumps(facts).encode(), picture.luminance + prepared


def _picture(facts: Mapping[str, Any], pixels: bytes, content: bytes | memoryview) -> PreparedPicture:
    return PreparedPicture(
        content=pixels[LUMINANCE_BYTES:] or bytes(content), luminance=pixels[:LUMINANCE_BYTES], **facts
    )


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
    process = subprocess.Popen(  # noqa: S603 - this very program
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
    assert process.stdout is not None
    if _receive(process.stdout) is None:
        process.kill()
        process.communicate()
        raise Alti2vError("the decoder process does not start: see its message above")
    return process


def _answer(
    process: subprocess.Popen[bytes], recipe: ImageRecipe, size: int
) -> tuple[Mapping[str, Any], bytes] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, _request(recipe), _SIZE.pack(size))
    except BrokenPipeError:
        return None
    answer = _receive(process.stdout)
    return None if answer is None else (json.loads(answer[0]), answer[1])


def _send(pipe: IO[bytes], facts: bytes, pixels: bytes) -> None:
    pipe.write(b"".join((_FRAME.pack(len(facts), len(pixels)), facts, pixels)))
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Receive one message; None if the other side ended before it was complete."""
    head = pipe.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    facts_size, pixels_size = _FRAME.unpack(head)
    facts, pixels = pipe.read(facts_size), pipe.read(pixels_size)
    return (facts, pixels) if len(facts) + len(pixels) == facts_size + pixels_size else None
