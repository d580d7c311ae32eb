"""Reader of a folder of pictures with sidecars: text files of tags, JSON objects, or gallery-dl's metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.boards.protocol import PICTURE, VIDEO, Skip
from alti2v.crawl.importing.sources.facts import board_facts, is_of_original, unusable_tags, with_caption
from alti2v.crawl.importing.sources.files import Folder, folders, in_nfc, printable, read_object, read_text
from alti2v.crawl.importing.sources.item import Fault, Item, Place, item_name
from alti2v.records import Post

PICTURE_SUFFIXES = PICTURE - {""}
# Files that a picture program shows, or that boards have, but that are not stored.
UNSUPPORTED_SUFFIXES = frozenset({"bmp", "heic", "jxl", "tif", "tiff", "psd"})
OTHER_SUFFIXES = VIDEO | UNSUPPORTED_SUFFIXES | {"swf"}
TEXT_SUFFIXES = ("txt", "caption")
_PICTURES = frozenset(suffix.encode() for suffix in PICTURE_SUFFIXES | OTHER_SUFFIXES)
_SIDECARS = frozenset({b"json", *(suffix.encode() for suffix in TEXT_SUFFIXES)})


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
            yield Item(name=item_name(os.fsdecode(source), *folder.parts), problem=folder.fault)
        yield from _of_folder(folder, os.fsdecode(source))


def _of_folder(folder: Folder, source: str) -> Iterator[Item]:
    for name in folder.links:
        if (fault := folder.file(name).fault) is not None:
            yield Item(name=item_name(source, *folder.parts, name), problem=fault)
    for name in folder.names:
        if _is_picture(name):
            yield _picture(folder, name, item_name(source, *folder.parts, name))
    for name in folder.names:
        if _kind(name) in _SIDECARS and not _has_picture(folder, name):
            yield _without_picture(folder, name, item_name(source, *folder.parts, name))


def _has_picture(folder: Folder, sidecar: bytes) -> bool:
    """Return whether a sidecar belongs to a picture: NAME.txt to NAME.jpg, and NAME.jpg.txt, too."""
    stem = sidecar.rpartition(b".")[0]
    others = folder.beginning_with(stem + b".")
    return folder.named(stem) is not None or any(
        _is_picture(one) and in_nfc(one.rpartition(b".")[0]) == in_nfc(stem) for one in others
    )


def _is_picture(name: bytes) -> bool:
    return _kind(name) in _PICTURES


def _sidecars_of(folder: Folder, name: bytes) -> _Sidecars:
    stem = name.rpartition(b".")[0]

    def first(*suffixes: str) -> bytes | None:
        names = (base + b"." + suffix.encode() for suffix in suffixes for base in (name, stem))
        return next(filter(None, map(folder.named, names)), None)

    return _Sidecars(first("json"), first(*TEXT_SUFFIXES))


def _picture(folder: Folder, name: bytes, item: str) -> Item:
    """Read the sidecars of a picture."""
    file, sidecars = folder.file(name), _sidecars_of(folder, name)
    place = Place(path=file.path, size=file.size, version=file.version)
    if file.fault is not None:
        return Item(name=item, problem=file.fault)
    if sidecars == _Sidecars(None, None):
        facts = Post(0, file_ext=_suffix(name))
        return Item(name=item, facts=facts, place=place, problem=Skip.NO_TAGS)
    read = _facts(folder, sidecars)
    if isinstance(read, Fault):
        return Item(name=item, problem=read)
    facts, board, is_original = read
    return Item(
        name=item,
        facts=facts._replace(file_ext=_suffix(name)),
        board=board,
        is_original=is_original,
        place=place,
    )


def _facts(folder: Folder, sidecars: _Sidecars) -> tuple[Post, str, bool] | Fault:
    """Return the facts in the sidecars of a picture, the site of its id, and whether the MD5 is its own."""
    facts, board, is_original = Post(0), "", True
    if sidecars.json is not None:
        document = read_object(folder.bytes_path_of(sidecars.json))
        if isinstance(document, Fault):
            return document
        facts, board = board_facts(document)
        is_original = is_of_original(document)
        fault = unusable_tags(document, facts, printable(folder.bytes_path_of(sidecars.json)))
        if fault is not None:
            return fault
    if sidecars.text is not None:
        text = read_text(folder.bytes_path_of(sidecars.text))
        if isinstance(text, Fault):
            return text
        with_text = with_caption(facts, text, printable(folder.bytes_path_of(sidecars.text)))
        if isinstance(with_text, Fault):
            return with_text
        facts = with_text
    return facts, board, is_original


def _without_picture(folder: Folder, sidecar: bytes, item: str) -> Item:
    """Return the item for a sidecar without a picture: a post without bytes if it names one."""
    file = folder.file(sidecar)
    if file.fault is not None:
        return Item(name=item, problem=file.fault)
    document = read_object(file.path) if _suffix(sidecar) == "json" else {}
    if isinstance(document, Fault):
        return Item(name=item, problem=Skip.NO_PICTURE)  # somebody else's JSON file
    facts, board = board_facts(document)
    return Item(name=item, facts=facts, board=board, problem=Skip.NO_PICTURE)


def _kind(name: bytes) -> bytes:
    stem, _, suffix = name.rpartition(b".")
    return suffix.lower() if stem else b""


def _suffix(name: bytes) -> str:
    return printable(_kind(name)).lower()
