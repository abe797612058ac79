"""``index()`` and ``aindex()`` keep a memory in a file level with its sources, in every cleanup mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from langchain_memvid import MemvidVectorStore
from tests.langchain_memvid.fakes import TableEmbeddings

Cleanup = Literal["incremental", "full", "scoped_full"] | None


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[MemvidVectorStore]:
    with MemvidVectorStore(TableEmbeddings(), path=tmp_path / "store.mp4") as store:
        yield store


@pytest.fixture
def manager() -> InMemoryRecordManager:
    made = InMemoryRecordManager("memvid")
    made.create_schema()
    return made


def page(text: str, source: str) -> Document:
    return Document(text, metadata={"source": source})


FIRST = [page("a1", "a"), page("a2", "a"), page("b1", "b")]
SECOND = [page("a1", "a"), page("a2 changed", "a"), page("c1", "c")]

# What is stored after FIRST and then SECOND, and what the second call reports.
LEFT: dict[Cleanup, tuple[set[str], dict[str, int]]] = {
    None: ({"a1", "a2", "b1", "a2 changed", "c1"}, {"num_added": 2, "num_skipped": 1, "num_deleted": 0}),
    "incremental": ({"a1", "a2 changed", "b1", "c1"}, {"num_added": 2, "num_skipped": 1, "num_deleted": 1}),
    "scoped_full": ({"a1", "a2 changed", "b1", "c1"}, {"num_added": 2, "num_skipped": 1, "num_deleted": 1}),
    "full": ({"a1", "a2 changed", "c1"}, {"num_added": 2, "num_skipped": 1, "num_deleted": 2}),
}


def texts(store: MemvidVectorStore) -> set[str]:
    return {record.text for record in store.memory}


@pytest.mark.parametrize("cleanup", LEFT)
@pytest.mark.parametrize("batch_size", [1, 100])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_each_cleanup_mode_leaves_what_it_should(
    stored: MemvidVectorStore, manager: InMemoryRecordManager, cleanup: Cleanup, batch_size: int, asynchronous: bool
) -> None:
    options: dict[str, Any] = {"cleanup": cleanup, "source_id_key": "source", "batch_size": batch_size}
    options["key_encoder"] = "sha256"

    async def run(documents: list[Document]) -> Any:
        if asynchronous:
            return await aindex(documents, manager, stored, **options)
        return index(documents, manager, stored, **options)

    left, report = LEFT[cleanup]
    assert (await run(FIRST))["num_added"] == 3
    assert await run(SECOND) == {"num_updated": 0, **report}
    assert texts(stored) == left
    again = await run(SECOND)
    assert texts(stored) == left
    if batch_size > len(SECOND):  # "incremental" takes a source that spans batches apart and puts it together again
        assert again == {"num_updated": 0, "num_added": 0, "num_skipped": 3, "num_deleted": 0}


@pytest.mark.parametrize(("encoder", "length"), [("sha256", 64), ("sha512", 128), ("blake2b", 128)])
def test_hex_ids_of_each_encoder_are_kept(
    stored: MemvidVectorStore, manager: InMemoryRecordManager, encoder: Any, length: int
) -> None:
    index(FIRST, manager, stored, cleanup="full", key_encoder=encoder)
    assert {len(record.id) for record in stored.memory} == {length}


def test_a_forced_update_replaces_and_an_empty_source_clears(
    stored: MemvidVectorStore, manager: InMemoryRecordManager
) -> None:
    index(FIRST, manager, stored, cleanup="full", key_encoder="sha256")
    report = index(FIRST, manager, stored, cleanup="full", key_encoder="sha256", force_update=True)
    assert report["num_updated"] == 3
    assert texts(stored) == {"a1", "a2", "b1"}
    index([], manager, stored, cleanup="full", key_encoder="sha256")
    assert texts(stored) == set()


def test_the_index_holds_across_a_reopening(tmp_path: Path, manager: InMemoryRecordManager) -> None:
    path = tmp_path / "reopened.mp4"
    for documents, expected in ((FIRST, {"a1", "a2", "b1"}), (SECOND, {"a1", "a2 changed", "c1"})):
        with MemvidVectorStore(TableEmbeddings(), path=path) as store:
            index(documents, manager, store, cleanup="full", key_encoder="sha256")
            assert texts(store) == expected
