"""A small store, written through the storage package as a crawl would leave it; no crawler involved."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alti2v.storage.columns import POSTS, STORE_TAGS
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import TAGS_FILE, images_tar, member_key, posts_table
from alti2v.storage.table import write_table
from alti2v.storage.tar import OpenTar

CATEGORY_OF = {
    "1girl": "general",
    "solo": "general",
    "long_hair": "general",
    "smile": "general",
    ">_<": "general",
    "hatsune_miku": "character",
    "vocaloid": "copyright",
    "somebody": "artist",
    "highres": "meta",
}


@dataclass(frozen=True, kw_only=True)
class TinyPost:
    """Facts of a post that a test specifies; the others are invented. Without content, no file was fetched."""

    id: int
    content: bytes | None
    tags: Sequence[str] = ("1girl", "solo")
    suffix: str = "jpg"
    facts: Mapping[str, Any] = field(default_factory=dict)


def drawing(seed: int, *, width: int = 90, height: int = 120) -> Image.Image:
    """Draw a picture unlike any other: smooth blobs of random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiny_posts(count: int, *, first_id: int = 1) -> list[TinyPost]:
    """Return posts with distinct JPEGs and tags of falling frequency."""
    posts = []
    for number in range(count):
        tags = ["1girl", *(tag for step, tag in enumerate(CATEGORY_OF, 1) if number % (step + 1) == 0)]
        content = encoded(drawing(first_id + number), quality=90)
        posts.append(TinyPost(id=first_id + number, content=content, tags=tags))
    return posts


def write_store(
    path: Path,
    posts: Iterable[TinyPost],
    *,
    posts_per_tar: int = 50,
    rows_per_part: int = 40,
    category_of: Mapping[str, str] = CATEGORY_OF,
) -> Path:
    """Write a store with these posts, listed by descending id as boards do."""
    rows = []
    tar, number, in_tar = None, -1, posts_per_tar
    for folder in ("images", "posts"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    for post in sorted(posts, key=lambda post: -post.id):
        stored: dict[str, Any] = {}
        if post.content is not None:
            if in_tar == posts_per_tar:
                if tar is not None:
                    tar.seal()
                number, in_tar = number + 1, 0
                tar = OpenTar(path / images_tar(number), committed=0)
            assert tar is not None
            span = tar.append(f"{member_key(post.id)}.{post.suffix}", post.content)
            tar.append(f"{member_key(post.id)}.json", b"{}")
            in_tar += 1
            stored = {
                "tar": number,
                "offset": span.offset,
                "size": span.size,
                "stored_md5": hashlib.md5(post.content).hexdigest(),
                "stored_crc32": zlib.crc32(post.content),
                "fetched_url": f"https://board.example/{post.id}.{post.suffix}",
            }
        rows.append(_row(post, stored, category_of))
    if tar is not None:
        tar.sync()
        tar.close()  # the newest tar of a store is open
    for part in range(-(-len(rows) // rows_per_part)):
        write_table(path / posts_table(part), POSTS, rows[part * rows_per_part : (part + 1) * rows_per_part])
    tags = [
        {"name": name, "category": category, "count": 1, "board_count": None}
        for name, category in category_of.items()
    ]
    write_table(path / TAGS_FILE, STORE_TAGS, tags)
    write_description(path, DirectoryKind.STORE, {"board": "https://board.example", "tags": ""})
    return path


def _row(post: TinyPost, stored: Mapping[str, Any], category_of: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: None for column in POSTS.columns}
    groups: dict[str, list[str]] = {c.name: [] for c in POSTS.columns if c.type == "list<string>"}
    for tag in sorted(set(post.tags)):
        groups[f"tags_{category_of.get(tag, 'unknown')}"].append(tag)
    row |= groups
    row |= {
        "id": post.id,
        "rating": "general",
        "source": "drawn",
        "width": 90,
        "height": 120,
        "file_ext": post.suffix,
        "board_status": "active",
        "status": "failed" if post.content is None else "stored",
        "reason": "http_404" if post.content is None else "",
        "error": "",
        "attempts": 1,
    }
    return {**row, **stored, **post.facts}
