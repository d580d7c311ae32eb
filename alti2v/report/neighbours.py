"""Contact sheet of a search: one HTML file that contains the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alti2v.model.tagging.preprocess import read_picture_file
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.jobs import PreviewJob
from alti2v.report.rendering import render
from alti2v.storage.publish import publish_bytes
from alti2v.vectors.index import Neighbour
from alti2v.vectors.search import SearchReport
from alti2v.vectors.sources import dataset_pictures, path_of_key

_SIDE_PX = 320
_SHOWN_TAGS = 8


@dataclass(frozen=True, slots=True)
class Card:
    """A similar picture, with its file name or key; `jpeg` is None if it can no longer be read."""

    neighbour: Neighbour
    name: str
    jpeg: bytes | None


def write_contact_sheet(report: SearchReport, out: Path) -> None:
    """Publish the sheet.

    Raises:
        StorageError: The file system refuses.
    """
    publish_bytes(out, render_contact_sheet(report).encode())


def render_contact_sheet(report: SearchReport) -> str:
    """Render the sheet; pictures are read from their locations at the time of embedding."""
    query = read_picture_file(path_of_key(report.query)) if report.carriers is None else None
    return render(
        "neighbours.html",
        report=report,
        cards=cards_of(report.neighbours, report.dataset, report.file_names),
        query=thumbnail(query) if isinstance(query, bytes) else None,
        shown_tags=_SHOWN_TAGS,
    )


def cards_of(neighbours: Sequence[Neighbour], dataset: str, names: Mapping[str, str]) -> list[Card]:
    """Read the pictures of neighbours from a dataset, or from files if `dataset` is "".

    Args:
        neighbours: Pictures to show.
        dataset: Absolute path of the dataset (`sources.path_key`).
        names: File names by key, of those whose key does not end in one.
    """
    keys = [neighbour.key for neighbour in neighbours]
    if dataset:
        folder = path_of_key(dataset)
        stored = dataset_pictures(folder, keys) if folder.is_dir() else {}
    else:
        contents = ((key, read_picture_file(path_of_key(key))) for key in keys)
        stored = {key: content for key, content in contents if isinstance(content, bytes)}
    return [
        Card(
            neighbour=one,
            name=names.get(one.key) or one.key.rpartition("/")[2],
            jpeg=thumbnail(stored[one.key]) if one.key in stored else None,
        )
        for one in neighbours
    ]


def thumbnail(content: bytes, *, side: int = _SIDE_PX) -> bytes | None:
    """Make a small JPEG of a picture as it is to be shown, on white; None if it cannot be decoded."""
    with process_decoders().borrowed() as decoder:
        jpeg = decoder.run(PreviewJob(side), content)
    return None if isinstance(jpeg, Unusable) else jpeg
