"""Reader of a tagger's folder: files are chosen by name, read within bounds, and described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from alti2v.errors import DamagedError, UsageError
from alti2v.model.loading.description import ModelDescription, require_inputs, require_outputs
from alti2v.model.loading.families import by_hand
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.recognition import ONNX_SUFFIX, RecognisedFolder, matching, recognise
from alti2v.model.loading.refusals import CODE_SUFFIXES, LFS_BEGINNING, refusal
from alti2v.model.loading.session import Forward, forward_of, open_model, white_pictures
from alti2v.model.onnx.contract import REPORT_FILE
from alti2v.model.saved_model import read_model_tags
from alti2v.model.vocabulary import OutputTags, make_vocabulary
from alti2v.storage.directory import require_plain_files
from alti2v.storage.documents import read_text_file
from alti2v.storage.publish import read_json

_MAX_NAMES = 10_000  # files that are looked at to name one that is not read


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedTagger:
    """A tagger that is ready to run.

    Attributes:
        folder: Folder of the tagger.
        description: Description of the model.
        forward: Function from (B, S, S, 3 or 4) uint8 RGB to probabilities (B, T) and vectors (B, F) or None,
            all float32.
        device: Device that it runs on, for display.
    """

    folder: Path
    description: ModelDescription
    forward: Forward
    device: str


def recognised(path: Path) -> tuple[Path, RecognisedFolder] | None:
    """Recognise a folder, or the path of an ONNX file in one; None if it holds no ONNX model with a table.

    Raises:
        UsageError: It holds several models, none of a usual name, or a link leads elsewhere.
        DamagedError: Its model.json is damaged.
    """
    is_model = path.is_file() and path.suffix == ONNX_SUFFIX
    folder = path.parent if is_model else path
    if not folder.is_dir():
        return None
    names = {entry.name for entry in os.scandir(folder) if entry.is_file()}
    if is_model or matching(names, f"*{ONNX_SUFFIX}"):
        require_plain_files(folder, any_name=True)
    model_file = path.name if is_model else None
    with _told_of(folder):
        if by_hand.FILE in names and matching(names, f"*{ONNX_SUFFIX}"):
            content = _content(folder / by_hand.FILE)
            if by_hand.is_of_a_run(content):
                names.remove(by_hand.FILE)
            else:
                model_file = model_file or by_hand.named_model(content, names)
        found = recognise(names, model_file=model_file)
    return None if found is None else (folder, found)


def open_tagger(path: Path) -> OpenedTagger:
    """Open the tagger of a folder.

    Raises:
        UsageError: No model can be read, or a link leads elsewhere; the message says what was found and where a
            readable form is.
        DamagedError: The model or its table is damaged, or they do not match.
    """
    found = recognised(path)
    if found is None:
        raise UsageError(refused(path))
    folder, chosen = found
    with _told_of(folder):
        files = {name: _content(folder / name) for name in chosen.files}
        table = chosen.family.table(files)
        _refuse_pointer(folder / chosen.model_file)
        loaded = open_model(folder / chosen.model_file)
        description = chosen.family.read(files, table, loaded.graph, chosen.model_file)
        require_inputs(loaded.graph, description.input)
        require_outputs(loaded.graph, description.output, len(description.vocabulary), chosen.files[0])
        description = _with_batch_of_outputs(description, loaded.graph)
    thresholds = replace(
        description.thresholds, by_tag=table.thresholds, tag_source=table.threshold_source
    )  # of any family
    if thresholds.overall is None and (threshold := _reported_threshold(folder)) is not None:
        thresholds = replace(thresholds, overall=threshold, overall_source=REPORT_FILE)
    description = replace(
        description, thresholds=thresholds, vocabulary=_located(description.vocabulary, folder)
    )
    forward = forward_of(loaded, description, folder)
    return OpenedTagger(
        folder=folder,
        description=_with_width_of_vectors(description, forward),
        forward=forward,
        device=loaded.device,
    )


def read_vocabulary(path: Path) -> OutputTags:
    """Read the tags that a tagger's folder or a run lists; loads no network.

    Raises:
        UsageError: No model can be read.
        DamagedError: The table of tags is missing or damaged.
    """
    found = recognised(path)
    if found is None:
        return make_vocabulary((tag.name, tag.category.value) for tag in read_model_tags(path))
    folder, chosen = found
    with _told_of(folder):
        table = chosen.family.table({name: _content(folder / name) for name in chosen.files})
    return _located(table.vocabulary, folder)


def _located(vocabulary: OutputTags, folder: Path) -> OutputTags:
    """Replace the name of the file of tags by its path, for messages."""
    return replace(vocabulary, file=str(folder / vocabulary.file))


def refused(path: Path) -> str:
    """Make the message for a path that is refused."""
    if not path.exists():
        return f"{path} does not exist: give the folder of a model"
    if path.is_file():
        reason = "it can run code" if path.suffix in CODE_SUFFIXES else "a model is a folder"
        return f"{path} is a file, which is not loaded ({reason}): give a RUN, or a folder with an ONNX model"
    names: list[str] = []
    for root, _, files in os.walk(path):
        names += [str(Path(root, name).relative_to(path)) for name in files]
        if len(names) > _MAX_NAMES:
            break
    return f"{path} {refusal(names)}"


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    """Add the folder's name to messages of readers, which only know file names."""
    try:
        yield
    except UsageError as exc:
        raise UsageError(f"{folder}: {exc}") from exc
    except ValueError as exc:
        raise DamagedError(f"{folder}: {exc}") from exc


def _content(file: Path) -> bytes:
    _refuse_pointer(file)
    return read_text_file(file)


def _refuse_pointer(file: Path) -> None:
    if not file.is_file():
        raise UsageError(f"there is no {file.name}")
    with file.open("rb") as content:
        if content.read(len(LFS_BEGINNING)) == LFS_BEGINNING:
            raise UsageError(
                f"{file.name} is a pointer of Git LFS instead of the file: run `git lfs pull` there, or give "
                "hf:owner/name"
            )


def _with_batch_of_outputs(description: ModelDescription, graph: Graph) -> ModelDescription:
    """Limit the batch of an open input to the rows that an output declares."""
    rows = graph.output(description.output.tags).shape[0]
    if description.input.batch is not None or rows is None:
        return description
    note = f"{description.output.tags} has {rows} {'row' if rows == 1 else 'rows'}, for any number of pictures"
    return replace(
        description, input=replace(description.input, at_once=rows), notes=(*description.notes, note)
    )


def _with_width_of_vectors(description: ModelDescription, forward: Forward) -> ModelDescription:
    """Find the length of vectors by running one picture, if the graph leaves it open."""
    output = description.output
    if output.vectors is None or output.features is not None:
        return description
    _, vectors = forward(white_pictures(description.input, 1))
    assert vectors is not None, "it has an output for vectors"
    return replace(description, output=replace(output, features=vectors.shape[1]))


def _reported_threshold(folder: Path) -> float | None:
    """Read the threshold from the report of an export; None if the file is something else."""
    value = read_json(folder / REPORT_FILE) if (folder / REPORT_FILE).is_file() else None
    found = value.get("threshold") if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None
