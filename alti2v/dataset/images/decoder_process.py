"""Decoding in a process that may die: whatever a picture does to its decoder costs that picture and no other.

The decoder is a child process that takes bytes and gives back a picture of the dataset, one after the other.
The kernel kills it when a picture takes too long, memory is refused beyond a bound, and if the machine runs
short, it is the decoder that goes. It opens no files, and it ends when the pipe from its parent closes. What
it answers is parsed as JSON and bytes, never unpickled: a decoder that a picture has taken over stays apart.
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
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from alti2v.dataset.images.convert import PreparedPicture, Unusable, prepare_picture
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.plan.near_duplicates import LOOK_BYTES
from alti2v.errors import Alti2vError

# A picture of 50 megapixels, the largest that is decoded, takes up to 4 s. Seconds of the processor, so that
# the same pictures are dropped on a busy machine; the clock on the wall is for decoders that wait for ever.
_CPU_S = 20.0
_WALL_S = 120.0
# Beyond what the process takes when it starts. 50 megapixels take up to 0.6 GB (PNG with transparency); an
# animated WebP keeps two more copies.
_MEMORY_BYTES = 3 << 29
# A death that repeats is the picture's doing; the first may have been anybody's.
_TRIES = 2
_PIPE_BYTES = 1 << 20
_FRAME = struct.Struct("<II")  # bytes of JSON, bytes behind it
_SIZE = struct.Struct("<Q")  # behind the recipe of a request: bytes of the picture
# For glibc's malloc (mallopt(3)): pixels take up to some MB, and their memory is used again. Giving it back and
# asking for it took 140 page faults for a picture, a twentieth of its time. A bound is kept by `_confine`.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 24), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
_PROGRAM = "from alti2v.dataset.images.decoder_process import serve; serve()"

_idle: list[Decoder] = []  # started decoders that wait for their next chunk; starting one takes half a second


class Decoder:
    """A decoder process, replaced whenever it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        # The picture waits here: a pipe would copy it page by page into new memory, which takes twice as long.
        self._shared = os.memfd_create("picture")

    def prepare(self, content: bytes | memoryview, recipe: ImageRecipe) -> PreparedPicture | Unusable:
        """`images.prepare_picture` in the decoder process.

        Returns:
            The picture, or why it cannot be used: what `prepare_picture` says; "too_slow";
            or "crashed" if the process died of it, twice.

        Raises:
            Alti2vError: no decoder process can be started.
        """
        for _ in range(_TRIES):
            process = self._process = self._process or _started(self._shared)
            os.pwrite(self._shared, content, 0)  # whole, below 2 GiB: the file lies in memory
            answer = _answer(process, recipe, len(content))
            if answer is not None:
                facts, pixels = answer
                return Unusable(**facts) if "reason" in facts else _picture(facts, pixels, content)
            if self._ended(process) == -signal.SIGPROF:
                return Unusable("too_slow")
        return Unusable("crashed")

    def close(self) -> None:
        """End the process, whatever it does; the decoder is of no use afterwards."""
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


@contextlib.contextmanager
def borrowed_decoder() -> Iterator[Decoder]:
    """A decoder of this process that nobody else uses meanwhile; it stays for the next borrower."""
    try:
        decoder = _idle.pop()  # at once, because a cluster's worker may have several threads
    except IndexError:
        decoder = Decoder()
        atexit.register(_close_idle)
    try:
        yield decoder
    except BaseException:
        decoder.close()  # its answer may be on the way, and would be taken for the next picture's
        raise
    _idle.append(decoder)


def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


def serve(prepare: Callable[[bytes, ImageRecipe], PreparedPicture | Unusable] = prepare_picture) -> None:
    """Be the decoder: answer requests on standard input until it ends.

    A request is the recipe and the size of the picture, which lies in the file whose descriptor is the first
    argument of the program.
    """
    requests, answers, shared = sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1])
    _confine()
    _send(answers, b"{}", b"")
    while (request := _receive(requests)) is not None:
        recipe, (size,) = _recipe(request[0]), _SIZE.unpack(request[1])
        content = os.pread(shared, size, 0)
        signal.setitimer(signal.ITIMER_PROF, _CPU_S)
        signal.setitimer(signal.ITIMER_REAL, _WALL_S)
        try:
            picture = prepare(content, recipe)
        except MemoryError:
            picture = Unusable("too_large")
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            _send(answers, *_message(picture, content))
        except BrokenPipeError:  # who asked was killed, and nobody is left to tell
            os._exit(1)


@lru_cache(maxsize=4)
def _request(recipe: ImageRecipe) -> bytes:
    return json.dumps(asdict(recipe)).encode()


@lru_cache(maxsize=4)
def _recipe(request: bytes) -> ImageRecipe:
    return ImageRecipe(**json.loads(request))


def _message(picture: PreparedPicture | Unusable, content: bytes) -> tuple[bytes, bytes]:
    """Facts and pixels of an answer, which `_picture` reads."""
    if isinstance(picture, Unusable):
        return json.dumps({"reason": picture.reason}).encode(), b""
    facts = {name: getattr(picture, name) for name in ("source_width", "source_height")}
    prepared = b"" if picture.content is content else picture.content  # what came need not go back
    return json.dumps(facts).encode(), picture.look + prepared


def _picture(facts: Mapping[str, Any], pixels: bytes, content: bytes | memoryview) -> PreparedPicture:
    return PreparedPicture(content=pixels[LOOK_BYTES:] or bytes(content), look=pixels[:LOOK_BYTES], **facts)


def _confine() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for limit, value in (
        (resource.RLIMIT_AS, taken + _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    for deadline in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(deadline, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _started(shared: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", _PROGRAM, str(shared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It imports from where this process does; one thread, since there are as many decoders as cores.
        env={**os.environ, **_MALLOC, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        pipesize=_PIPE_BYTES,
        pass_fds=(shared,),
        # Ctrl-C goes to the whole group; the parent decides what it means.
        process_group=0,
    )
    assert process.stdout is not None
    if _receive(process.stdout) is None:
        process.kill()
        process.communicate()
        raise Alti2vError("the process that decodes pictures does not start: see its message above")
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
    """One message; None if the other side ended before it was whole."""
    head = pipe.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    facts_size, pixels_size = _FRAME.unpack(head)
    facts, pixels = pipe.read(facts_size), pipe.read(pixels_size)
    return (facts, pixels) if len(facts) + len(pixels) == facts_size + pixels_size else None
