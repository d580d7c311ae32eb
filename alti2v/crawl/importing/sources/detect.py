"""Recognition of the form of a source from the names in it and from one of its documents."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from alti2v.crawl.importing.sources.facts import gallery_dl_site
from alti2v.crawl.importing.sources.files import folders, read_object
from alti2v.crawl.importing.sources.folder import PICTURE_SUFFIXES, TEXT_SUFFIXES
from alti2v.crawl.importing.sources.item import Fault
from alti2v.crawl.importing.sources.rows import table_columns
from alti2v.crawl.importing.sources.table import TABLE_SUFFIXES, check_table, is_of_posts, tables_in
from alti2v.crawl.importing.sources.tar_members import tar_members
from alti2v.errors import UsageError

_FOLDERS = 200  # looked into
_LOOKED_AT = 10_000  # names of each
_DOCUMENTS = 5  # read, because a folder may hold other JSON files
_MEMBERS = 50  # of a tar file


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
    """Features of a source by which its form is recognised.

    Attributes:
        suffixes: Suffixes of the files that were looked at, lower case.
        documents: JSON objects that name a picture.
        columns: Columns of the table of posts, if the source is or holds one.
        members: Suffixes of the first members of a tar file.
    """

    suffixes: frozenset[str]
    documents: tuple[Mapping[str, Any], ...] = ()
    columns: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()


def form_of(look: Look) -> SourceForm | None:
    """Return the form of a source; None if it has no known form."""
    if "tar" in look.suffixes:
        is_described = look.members & {"json", "cls", *TEXT_SUFFIXES}
        return SourceForm.WEBDATASET if is_described or not look.columns else SourceForm.TARS
    if any(map(gallery_dl_site, look.documents)):
        return SourceForm.GALLERY_DL
    if look.documents or (look.suffixes & set(TEXT_SUFFIXES) and look.suffixes & PICTURE_SUFFIXES):
        return SourceForm.FOLDER
    if look.columns:
        return SourceForm.DANBOORU if "tag_string_general" in look.columns else SourceForm.TABLE
    return None


def recognise(path: Path, *, store: Path) -> SourceForm:
    """Recognise the form of a source.

    Raises:
        UsageError: It is not one that alti2v reads.
        DataError: It is a table without tags, or one that cannot be read.
    """
    form = form_of(look_at(path, store=store))
    if form is None:
        raise UsageError(
            f"{path} is not recognised: it holds no pictures with tags beside them, no table of posts and no "
            "tar file with both: give another path, or its --form"
        )
    return form


def look_at(path: Path, *, store: Path) -> Look:
    """Collect the features of a file, or of the first folders of a folder."""
    if not path.is_dir():
        suffix = path.suffix[1:].lower()
        if suffix == "tar":
            return Look(suffixes=frozenset({suffix}), members=_members(path))
        if suffix in (*TABLE_SUFFIXES, "json"):
            check_table(path)
        return Look(suffixes=frozenset({suffix}), columns=table_columns(path))
    suffixes: set[str] = set()
    documents: list[Mapping[str, Any]] = []
    tars: list[Path] = []
    for folder in itertools.islice(folders(path, without=store), _FOLDERS):
        paths = [folder.path_of(name) for name in folder.names[:_LOOKED_AT]]
        pictures = {one.name for one in paths if _suffix(one) in PICTURE_SUFFIXES}
        pictures |= {Path(name).stem for name in pictures}
        suffixes.update(map(_suffix, paths))
        tars += [one for one in paths if _suffix(one) == "tar"][:1]
        sidecars = (one for one in paths if _suffix(one) == "json" and one.stem in pictures)
        read = map(read_object, itertools.islice(sidecars, _DOCUMENTS - len(documents)))
        documents += [document for document in read if not isinstance(document, Fault)]
    return Look(
        suffixes=frozenset(suffixes),
        documents=tuple(documents),
        columns=_columns(path, store),
        members=_members(tars[0]) if tars else frozenset(),
    )


def _suffix(path: Path) -> str:
    return path.suffix[1:].lower()


def _columns(folder: Path, store: Path) -> frozenset[str]:
    """Return the columns of the first table of posts among some files."""
    columns = map(table_columns, itertools.islice(tables_in(folder, store=store), _DOCUMENTS))
    return next(filter(is_of_posts, columns), frozenset())


def _members(tar: Path) -> frozenset[str]:
    first = itertools.islice(tar_members(tar), _MEMBERS)
    return frozenset(one.name.rpartition(".")[2].lower() for one in first if not isinstance(one, Fault))
