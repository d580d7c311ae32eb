"""Reader of a folder of pictures with sidecars: text files of tags, JSON objects, or gallery-dl's metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.boards.protocol import PICTURE, VIDEO, Skip
from alti2v.crawl.importing.sources.captions import read_caption
from alti2v.crawl.importing.sources.facts import board_facts, with_tags
from alti2v.crawl.importing.sources.files import Folder, FolderFile, folders, printable, read_object, read_text
from alti2v.crawl.importing.sources.item import Fault, Item, ItemFault, Place, item_name
from alti2v.records import Post

PICTURE_SUFFIXES = PICTURE - {""}
# Files that a picture program shows, or that boards have, but that are not stored.
OTHER_SUFFIXES = VIDEO | {"swf", "bmp", "heic", "jxl", "tif", "tiff", "psd"}
TEXT_SUFFIXES = ("txt", "caption")


@dataclass(frozen=True, slots=True)
class _Sidecars:
    """The sidecars of one picture; None for those that are missing."""

    json: bytes | None
    text: bytes | None


def folder_items(root: Path, *, store: Path) -> Iterator[Item]:
    """Yield every picture of a folder, and every sidecar without a picture, in the order of the names.

    Args:
        root: Folder.
        store: Folder that is left out, because the pictures are imported into it.
    """
    source = os.fsencode(root.resolve().name)
    for folder in folders(root, without=store):
        if folder.fault is not None:
            yield _lone(item_name(os.fsdecode(source), *folder.parts), folder.fault)
        yield from _of_folder(folder, os.fsdecode(source))


def _of_folder(folder: Folder, source: str) -> Iterator[Item]:
    by_name = {file.name: file for file in folder.files}
    used: set[bytes] = set()
    for file in folder.files:
        suffix = _suffix(file.name)
        if suffix not in PICTURE_SUFFIXES and suffix not in OTHER_SUFFIXES:
            continue
        sidecars = _sidecars_of(file.name, by_name)
        used.update(filter(None, (sidecars.json, sidecars.text)))
        yield _picture(folder, file, sidecars, item_name(source, *folder.parts, file.name), by_name)
    for file in folder.files:
        if file.name not in used and _suffix(file.name) in ("json", *TEXT_SUFFIXES):
            yield _without_picture(folder, file, item_name(source, *folder.parts, file.name))


def _sidecars_of(name: bytes, by_name: Mapping[bytes, FolderFile]) -> _Sidecars:
    stem = name.rpartition(b".")[0]
    found = {
        suffix: next((one for base in (name, stem) if (one := base + b"." + suffix.encode()) in by_name), None)
        for suffix in ("json", *TEXT_SUFFIXES)
    }
    return _Sidecars(found["json"], next((found[suffix] for suffix in TEXT_SUFFIXES if found[suffix]), None))


def _picture(
    folder: Folder, file: FolderFile, sidecars: _Sidecars, name: str, by_name: Mapping[bytes, FolderFile]
) -> Item:
    """Read the sidecars of a picture."""
    suffix = _suffix(file.name)
    place = Place(path=Path(os.fsdecode(folder.path + b"/" + file.name)), size=file.size, version=file.version)
    if file.fault is not None:
        return _lone(name, file.fault)
    if sidecars == _Sidecars(None, None):
        return Item(name=name, facts=Post(0, file_ext=suffix), place=place, problem=Skip.NO_TAGS)
    for sidecar in filter(None, (sidecars.json, sidecars.text)):
        if (fault := by_name[sidecar].fault) is not None:
            return _lone(name, Fault(ItemFault.BAD_METADATA, fault.message))
    read = _facts(folder, sidecars)
    if isinstance(read, Fault):
        return _lone(name, read)
    facts, board = read
    return Item(name=name, facts=facts._replace(file_ext=suffix), board=board, place=place)


def _facts(folder: Folder, sidecars: _Sidecars) -> tuple[Post, str] | Fault:
    """Return what the sidecars of a picture say, and the site that its id is a number of."""
    facts, board = Post(0), ""
    if sidecars.json is not None:
        document = read_object(_path(folder, sidecars.json))
        if isinstance(document, Fault):
            return document
        facts, board = board_facts(document)
    if sidecars.text is not None:
        text = read_text(_path(folder, sidecars.text))
        if isinstance(text, Fault):
            return text
        facts = with_tags(facts, *read_caption(text))
    return facts, board


def _without_picture(folder: Folder, file: FolderFile, name: str) -> Item:
    """Return the item for a sidecar without a picture: a post without bytes if it names one."""
    if file.fault is not None:
        return _lone(name, file.fault)
    document = read_object(_path(folder, file.name)) if _suffix(file.name) == "json" else {}
    if isinstance(document, Fault):
        return Item(name=name, facts=Post(0), problem=Skip.NO_PICTURE)  # somebody else's JSON file
    facts, board = board_facts(document)
    return Item(name=name, facts=facts, board=board, problem=Skip.NO_PICTURE)


def _lone(name: str, fault: Fault) -> Item:
    return Item(name=name, facts=Post(0), problem=fault)


def _path(folder: Folder, name: bytes) -> Path:
    return Path(os.fsdecode(folder.path + b"/" + name))


def _suffix(name: bytes) -> str:
    stem, _, suffix = name.rpartition(b".")
    return printable(suffix).lower() if stem else ""
