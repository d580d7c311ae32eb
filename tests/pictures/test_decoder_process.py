"""A picture that crashes, hangs or bloats its decoder is dropped, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from alti2v.dataset.manifest import read_manifest
from alti2v.errors import Alti2vError
from alti2v.pictures import decoder_process
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import Decoder, DecoderPool
from alti2v.pictures.jobs import PrepareJob
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture
from tests.dataset.helpers.building import digests
from tests.dataset.helpers.hostile_decoder import LIMITS, PROGRAM, REASONS
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store

ROOT = Path(__file__).parents[2]  # what a fresh interpreter needs to find these tests
RECIPE = ImageRecipe(size=32)
JOB = PrepareJob(RECIPE)
SOUND = encoded(drawing(1))


def prepared(decoder: Decoder, content: bytes) -> PreparedPicture | Unusable:
    return decoder.run(JOB, content)


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    """A pool of decoders that ends with the test."""
    pool = DecoderPool()
    yield pool
    pool.close()


def test_the_process_gives_what_the_function_gives(pool: DecoderPool) -> None:
    """Pictures and reasons cross the pipe unchanged, large ones included."""
    contents = [
        SOUND,
        encoded(drawing(2, width=3000, height=2000), "PNG"),
        b"",
        SOUND[:300],
        os.urandom(3 << 20),
    ]
    with pool.borrowed() as guarded:
        answers = [prepared(guarded, content) for content in contents]

    assert answers == [prepare_picture(content, RECIPE) for content in contents]
    assert isinstance(answers[1], PreparedPicture)


def test_a_program_ends_its_decoders_when_it_ends() -> None:
    """Python warns neither about a running child nor about an open pipe."""
    program = f"""
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.jobs import PrepareJob
from alti2v.pictures.recipe import ImageRecipe
with process_decoders().borrowed() as guarded:
    guarded.run(PrepareJob(ImageRecipe(size=32)), {SOUND!r})
"""
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert ended.stderr == ""


def test_a_decoder_whose_program_was_killed_ends_without_a_word() -> None:
    """A killed build leaves no traceback of its decoders on the terminal."""
    program = f"""
import os
from alti2v.pictures import decoder_process as d
from alti2v.pictures.jobs import PrepareJob
from alti2v.pictures.recipe import ImageRecipe
shared = os.memfd_create("picture")
process = d._started(shared, d.DecoderLimits(), d._PROGRAM)
d._receive(process.stdout)
os.pwrite(shared, {SOUND!r}, 0)
d._send(process.stdin, d._request(PrepareJob(ImageRecipe(size=4096))), d._SIZE.pack({len(SOUND)}))
os._exit(0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ended.stderr == ""


def test_a_hostile_picture_costs_itself() -> None:
    """Each death is reported with its reason, and the pictures before and after are unaffected."""
    guarded = Decoder(limits=LIMITS, program=PROGRAM)
    answers = [prepared(guarded, SOUND + deed) for deed in (*REASONS, b"")]
    guarded.close()

    assert answers == [*(Unusable(reason) for reason in REASONS.values()), prepare_picture(SOUND, RECIPE)]


def test_a_killed_decoder_is_not_the_fault_of_the_picture() -> None:
    """If another program kills the process, the picture is tried again."""
    guarded = Decoder()
    guarded.run(JOB, SOUND)
    assert guarded.pid is not None
    os.kill(guarded.pid, signal.SIGKILL)
    answer = guarded.run(JOB, SOUND)
    guarded.close()

    assert answer == prepare_picture(SOUND, RECIPE)


def test_an_interrupt_between_request_and_answer_confuses_nothing(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next borrower gets the answers to its own requests."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with pool.borrowed() as guarded:
        guarded.run(JOB, SOUND)
    with monkeypatch.context() as patch:
        patch.setattr(decoder_process, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt), pool.borrowed() as guarded:
            guarded.run(JOB, SOUND)
    with pool.borrowed() as guarded:
        assert guarded.run(JOB, b"not a picture") == Unusable("not_image")


def test_a_decoder_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """A broken installation is not taken for broken pictures."""
    with pytest.raises(Alti2vError, match="does not start"):
        Decoder(program="raise SystemExit('no libjpeg')").run(JOB, SOUND)
    assert "no libjpeg" in capfd.readouterr().err


BUILD = """
    import functools, sys
    from pathlib import Path
    from alti2v.dataset import build
    from alti2v.dataset.images import appearance, prepare
    from tests.dataset.helpers.hostile_decoder import hostile_pool
    prepare.process_decoders = functools.cache(hostile_pool)  # here, and in the workers, which import this file
    appearance._CHUNK_PICTURES = 5
    if __name__ == "__main__":
        store, dataset, workers = sys.argv[1:]
        build.build_shards(build.BuildConfig(store=Path(store), dataset=Path(dataset), workers=int(workers),
                                             size=32, test=6, validation=4, shard_samples=9))
"""


def test_a_build_goes_on_without_hostile_pictures(tmp_path: Path) -> None:
    """Each is dropped with its reason, the sums are right, and the bytes do not depend on the workers."""
    hostile = [
        TinyPost(id=1000 + number, content=encoded(drawing(1000 + number)) + deed)
        for number, deed in enumerate(REASONS)
    ]
    store = write_store(tmp_path / "store", [*tiny_posts(30), *hostile])
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(BUILD))
    for workers in ("1", "2"):
        command = [sys.executable, str(program), str(store), str(tmp_path / workers), workers]
        subprocess.run(command, check=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})

    outcomes = read_manifest(tmp_path / "1").outcomes
    assert outcomes == {"stored": 30, "dropped crashed": 3, "dropped too_large": 1, "dropped too_slow": 1}
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
