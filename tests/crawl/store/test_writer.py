"""The writer of a store: who holds bytes that several posts share."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.post_json import Stored
from alti2v.crawl.store.tar_scan import WholePicture, scan
from alti2v.crawl.store.writer import FetchedFile, StoreWriter
from alti2v.records import Post
from tests.crawl.helpers.ledgers import ledger_rows
from tests.crawl.helpers.scripted_board import picture

# In the order of listing: 30, 20 and 10 share their bytes.
POSTS = {40: 1, 30: 2, 20: 2, 10: 2}


def stored(content: bytes) -> Stored:
    return Stored(
        url="http://board/1.jpg",
        http_status=200,
        attempts=1,
        format="JPEG",
        width=32,
        height=24,
        md5=hashlib.md5(content).hexdigest(),
    )


def fill(
    store: Path, arrivals: tuple[tuple[int, ...], ...], *, reopen: bool
) -> dict[int, tuple[str, int | None]]:
    """Let files arrive in these batches; status and holder of every post afterwards."""
    store.mkdir()
    with Ledger(store / "ledger") as ledger:
        with ledger.transaction():
            ledger.posts.add(Post(id=number, file_ext="jpg", file_url="http://board/1.jpg") for number in POSTS)
        pending = {row.post.id: row for row in ledger.posts.pending(after_seq=-1, limit=10)}
        writer = StoreWriter(store, ledger, shard_bytes=10**9)
        for batch in arrivals:
            contents = {number: picture(POSTS[number]) for number in batch}
            writer.commit(
                [
                    FetchedFile(pending=pending[number], stored=stored(content), content=content)
                    for number, content in contents.items()
                ]
            )
            if reopen:  # as after a kill
                writer.close()
                writer = StoreWriter(store, ledger, shard_bytes=10**9)
        writer.close()
        assert ledger.posts.counts().finished == len(POSTS)
        assert ledger.posts.counts().bytes == len(picture(1)) + len(picture(2))
        holds = {found.post_id: found for found in scan(store / "images/images-000000.tar")}
        for row in ledger_rows(ledger):
            if row["status"] == "stored":  # the bytes lie where the ledger says, under the post's own name
                found = holds[row["id"]]
                assert isinstance(found, WholePicture)
                assert (found.span.offset, found.stored.md5) == (row["offset"], row["stored_md5"])
        return {row["id"]: (row["status"], row["duplicate_of"]) for row in ledger_rows(ledger)}


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(POSTS)))
def test_the_post_that_was_listed_first_holds_shared_bytes(
    tmp_path: Path, order: tuple[int, ...], reopen: bool
) -> None:
    """Whatever the order of arrival, in one batch or in several, also across runs."""
    expected = {40: ("stored", None), 30: ("stored", None), 20: ("duplicate", 30), 10: ("duplicate", 30)}

    assert fill(tmp_path / "apart", tuple((number,) for number in order), reopen=reopen) == expected
    assert fill(tmp_path / "pairs", (order[:2], order[2:]), reopen=reopen) == expected
    assert fill(tmp_path / "whole", (order,), reopen=reopen) == expected


def test_a_later_listing_never_takes_bytes_over(tmp_path: Path) -> None:
    """What a dataset was built from stays where it was: new posts are the duplicates."""
    (tmp_path / "images").mkdir()
    content = picture(1)
    with Ledger(tmp_path / "ledger") as ledger:
        for number in (7, 99):  # 99 is newer, and listed by a later run
            with ledger.transaction():
                ledger.posts.add([Post(id=number, file_ext="jpg", file_url="http://board/1.jpg")])
            writer = StoreWriter(tmp_path, ledger, shard_bytes=10**9)
            (pending,) = ledger.posts.pending(after_seq=-1, limit=10)
            writer.commit([FetchedFile(pending=pending, stored=stored(content), content=content)])
            writer.close()

        assert ledger.posts.duplicate_of(99) == 7
        assert ledger.posts.duplicates_of(7) == [99]
