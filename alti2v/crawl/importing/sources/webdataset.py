"""Reader of a WebDataset: tar files in which members of one key are a picture and what describes it.

The key of a member is its path up to the first dot of the name (https://webdataset.github.io/webdataset/). That
is also the form of img2dataset, whose tables beside the tar files list what it could not fetch.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.boards.values import post_id
from alti2v.crawl.importing.sources.facts import board_facts, unusable_tags, with_caption, with_tags
from alti2v.crawl.importing.sources.files import SIDECAR_BYTES, folders, parse_object, read_place, version_of
from alti2v.crawl.importing.sources.folder import OTHER_SUFFIXES, PICTURE_SUFFIXES, TEXT_SUFFIXES
from alti2v.crawl.importing.sources.item import Fault, Item, ItemFault, Place, inner_name, item_name, known_id
from alti2v.crawl.importing.sources.rows import table_rows
from alti2v.crawl.importing.sources.tar_members import tar_members
from alti2v.records import Category, Post
from alti2v.storage.tar import Member

_MOST_MEMBERS = 1_000  # of one key; in other people's tar files all members may have the same


def webdataset_items(root: Path, *, store: Path) -> Iterator[Item]:
    """Yield every sample of a tar file, or of the tar files in a folder, in their order."""
    source = root.resolve().name
    if not root.is_dir():
        yield from _of_tar(root, item_name(source))
        return
    for folder in folders(root, without=store):
        for name in folder.links:
            fault = folder.file(name).fault
            yield Item(name=item_name(source, *folder.parts, name), problem=fault)
        for name in folder.names:
            item = item_name(source, *folder.parts, name)
            if not name.endswith(b".tar"):
                continue
            file = folder.file(name)
            if file.fault is not None:
                yield Item(name=item, problem=file.fault)
                continue
            yield from _of_tar(file.path, item)
            table = name.removesuffix(b".tar") + b".parquet"
            if (found := folder.named(table)) is not None:
                yield from _not_fetched(folder.path_of(found), item)


def _of_tar(tar: Path, name: str) -> Iterator[Item]:
    version = version_of(tar.stat())
    for key, members in itertools.groupby(tar_members(tar), key=_key):
        some = list(itertools.islice(members, _MOST_MEMBERS))
        for member in some:
            if isinstance(member, Fault):
                yield Item(name=name, problem=member)
        yield from _sample(tar, key, [one for one in some if isinstance(one, Member)], (name, version))


def _sample(tar: Path, key: str, members: Sequence[Member], of_tar: tuple[str, str]) -> Iterator[Item]:
    """Yield the pictures of one key; an item without a picture if there is none."""
    name, version = of_tar
    by_suffix = {_suffix(member): member for member in members}
    described = _described(tar, key, by_suffix)
    fault, (facts, board) = (described, (Post(0), "")) if isinstance(described, Fault) else (None, described)
    pictures = [one for one in members if _suffix(one) in PICTURE_SUFFIXES | OTHER_SUFFIXES]
    has_text = by_suffix.keys() & {"json", "cls", *TEXT_SUFFIXES}
    for member in pictures:
        yield Item(
            name=inner_name(name, member.name),
            facts=facts._replace(file_ext=_suffix(member)),
            board=board,
            is_original=False,  # most people reduce pictures before they write them
            place=Place(path=tar, span=member.span, version=f"{version}:{member.span.offset}"),
            problem=fault or (None if has_text else Skip.NO_TAGS),
        )
    if members and not pictures:
        yield Item(name=inner_name(name, key), facts=facts, board=board, problem=Skip.NO_PICTURE)


def _described(tar: Path, key: str, by_suffix: Mapping[str, Member]) -> tuple[Post, str] | Fault:
    """Return the facts in the members of a key, and the site of the picture's id."""
    facts, board = Post(0), ""
    for suffix in ("json", "txt", "caption", "cls"):
        if suffix not in by_suffix:
            continue
        where = f"{tar}: {by_suffix[suffix].name!r:.100}"
        text = _text(Place(path=tar, span=by_suffix[suffix].span), where)
        if isinstance(text, Fault):
            return text
        if suffix == "json":
            described = _of_json(text, key, where)
            if isinstance(described, Fault):
                return described
            facts, board = described
        elif suffix == "cls":
            facts = with_tags(facts, {Category.UNKNOWN: [f"class_{text.strip()}"]}, "")
        elif not any(facts.tags.all):  # img2dataset repeats the caption of the JSON object here
            with_text = with_caption(facts, text, where)
            if isinstance(with_text, Fault):
                return with_text
            facts = with_text
    return facts, board


def _text(place: Place, where: str) -> str | Fault:
    content = read_place(place, most_bytes=SIDECAR_BYTES)
    with contextlib.suppress(UnicodeDecodeError):
        if isinstance(content, bytes):
            return content.decode("utf-8-sig")
    return Fault(ItemFault.BAD_METADATA, f"{where} is not a text of at most 1 MiB")


def _of_json(text: str, key: str, where: str) -> tuple[Post, str] | Fault:
    document = parse_object(text, where)
    if isinstance(document, Fault):
        return document
    facts, board = board_facts(document)
    number = key.rpartition("/")[2]
    is_number = number.isascii() and number.isdigit()
    if not facts.id and is_number and post_id(document.get("id")) == post_id(number):
        facts = facts._replace(id=known_id(int(number)))
    return unusable_tags(document, facts, where) or (facts, board)


def _not_fetched(table: Path, name: str) -> Iterator[Item]:
    """Yield an item for each row of a table of img2dataset without a picture in the tar file."""
    for row in table_rows(table, columns=("key", "status")):
        if isinstance(row, Fault):
            yield Item(name=name, problem=row)
        elif "status" in row and row["status"] != "success":
            yield Item(name=inner_name(name, str(row.get("key"))), problem=Skip.NO_PICTURE)


def _key(member: Member | Fault) -> str:
    if isinstance(member, Fault):
        return ""
    folder, slash, name = member.name.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _suffix(member: Member) -> str:
    return member.name.rpartition("/")[2].partition(".")[2].lower()
