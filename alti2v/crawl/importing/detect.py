"""Recognition of the form of a source, by looking at the names in it and at one of its documents."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from alti2v.crawl.importing.files import folders, read_object
from alti2v.crawl.importing.folder import PICTURE_SUFFIXES, TEXT_SUFFIXES
from alti2v.crawl.importing.item import Fault
from alti2v.errors import UsageError

_FOLDERS = 200  # looked into
_DOCUMENTS = 5  # read, because a folder may hold other JSON files
TABLE_SUFFIXES = ("parquet", "csv", "jsonl", "ndjson")


class SourceForm(StrEnum):
    """Form of a source."""

    FOLDER = "folder"
    GALLERY_DL = "gallery-dl"
    DANBOORU = "danbooru"
    TABLE = "table"
    TARS = "tars"
    WEBDATASET = "webdataset"


MEANING: Mapping[SourceForm, str] = {
    SourceForm.FOLDER: "pictures with text or JSON files beside them",
    SourceForm.GALLERY_DL: "pictures with the metadata of gallery-dl beside them",
    SourceForm.DANBOORU: "metadata of Danbooru, with pictures named after their ids",
    SourceForm.TABLE: "a table of posts",
    SourceForm.TARS: "tar files with an index, and a table of posts",
    SourceForm.WEBDATASET: "a WebDataset",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a source looks like.

    Attributes:
        suffixes: Suffixes of the files that were looked at, lower case.
        documents: JSON objects with the name of a picture or a tar file, by that file's suffix.
        columns: Columns of the table, if it is or holds one.
    """

    suffixes: frozenset[str]
    documents: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    columns: frozenset[str] = field(default_factory=frozenset)


def form_of(look: Look) -> SourceForm | None:
    """Return the form of a source; None if it is not one of them."""
    documents = [document for _, document in look.documents]
    is_table = bool(look.columns)
    if "tar" in look.suffixes:
        is_indexed = any(suffix == "tar" and "files" in document for suffix, document in look.documents)
        return SourceForm.TARS if is_indexed else SourceForm.WEBDATASET
    if any("category" in document and "subcategory" in document for document in documents):
        return SourceForm.GALLERY_DL
    if documents or (look.suffixes & set(TEXT_SUFFIXES) and look.suffixes & PICTURE_SUFFIXES):
        return SourceForm.FOLDER
    if is_table:
        return SourceForm.DANBOORU if "tag_string_general" in look.columns else SourceForm.TABLE
    return None


def recognise(path: Path, *, store: Path) -> SourceForm:
    """Look at a source, and return its form.

    Raises:
        UsageError: It is not one that alti2v reads.
    """
    form = form_of(look_at(path, store=store))
    if form is None:
        raise UsageError(
            f"{path} is not recognised: it holds no pictures with tags beside them, no table of posts and no "
            "tar file; give another path, or its --form"
        )
    return form


def look_at(path: Path, *, store: Path) -> Look:
    """Look at a file, or at the names in the first folders of a folder."""
    if not path.is_dir():
        return Look(suffixes=frozenset({path.suffix[1:].lower()}))
    suffixes: set[str] = set()
    documents: list[tuple[str, Mapping[str, Any]]] = []
    for folder in itertools.islice(folders(path, without=store), _FOLDERS):
        stems: dict[bytes, str] = {}
        for file in folder.files:
            stem, _, suffix = file.name.rpartition(b".")
            word = suffix.decode("ascii", "replace").lower()
            suffixes.add(word)
            if word in PICTURE_SUFFIXES or word == "tar":
                stems |= {stem: word, file.name: word}
        for file in folder.files:
            stem, _, suffix = file.name.rpartition(b".")
            if suffix.lower() == b"json" and stem in stems and len(documents) < _DOCUMENTS:
                document = read_object(Path(os.fsdecode(folder.path + b"/" + file.name)))
                if not isinstance(document, Fault):
                    documents.append((stems[stem], document))
    return Look(suffixes=frozenset(suffixes), documents=tuple(documents))
