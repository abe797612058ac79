"""The shards of a library as memories, and its earlier versions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memvid_core import (
    InvalidInputError,
    Ivf,
    Library,
    LibraryShard,
    MemoryFileError,
    MemoryNotFoundError,
    ReadOnlyError,
    Record,
    StorageError,
)
from memvid_core.vectors.inverted_file import InvertedFile
from tests.core.embedders import embed
from tests.core.library.libraries import records
from tests.core.vectors.tuned import tune

SOME = records(30)


def test_shards_are_listed_with_what_counts_in_them(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        assert library.shards() == []
        library.build(SOME, rows_per_shard=10)
        library.delete(["r3", "r25"])
        library.add(["new"], ids=["r4"])
        shards = library.shards()
        sizes = [(tmp_path / "library" / each.file).stat().st_size for each in shards]
        assert [(each.records, each.deleted, each.bytes) for each in shards] == [
            (8, 2, sizes[0]),
            (10, 0, sizes[1]),
            (9, 1, sizes[2]),
            (1, 0, sizes[3]),
        ]
        assert [each.file for each in shards] == list(library.explain_shards())
        assert isinstance(shards[0], LibraryShard)


def test_the_shard_of_a_record_opens_as_a_memory(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=10)
        library.delete(["r3"])
        library.add(["new"], ids=["r4"])
        files = [each.file for each in library.shards()]
        found = library.shards_of(["r4", "r3", "r0", "r29", "nobody"])
        assert found == {"r4": files[3], "r0": files[0], "r29": files[2]}
        assert library.shards_of("r0") == {"r0": files[0]}
        with library.open_shard(files[0]) as shard:
            assert shard.ids() == [f"r{n}" for n in range(10)]  # also those that were deleted later
            assert shard.get("r3").text == SOME[3].text
            with pytest.raises(ReadOnlyError):
                shard.add("more")
        for name in ("shards/gone.mp4", "", files[0].removesuffix(".mp4"), "../library.json"):
            with pytest.raises(InvalidInputError, match="has no shard"):
                library.open_shard(name)

        async def twins() -> None:
            assert await library.ashards_of(["r0"]) == {"r0": files[0]}
            async with await library.aopen_shard(files[1]) as other:
                assert len(other) == 10
            async with await library.apast(1) as past:
                assert len(past) == 30

        asyncio.run(twins())


def test_records_of_other_shards_are_read_if_one_is_missing(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=10)
        files = [each.file for each in library.shards()]
    (tmp_path / "library" / files[1]).unlink()
    with Library.open(tmp_path / "library", embedder=embed) as library:
        assert library.shards_of(["r0", "r20"]) == {"r0": files[0], "r20": files[2]}
        assert library.get("r0") == SOME[0]
        assert [record.id for record in library.get(["r20", "r0"])] == ["r20", "r0"]
        assert "r0" in library
        for ids in (["r0", "r10"], ["nobody"]):  # the missing shard may have them
            with pytest.raises(MemoryFileError, match=files[1]):
                library.shards_of(ids)
            with pytest.raises(MemoryFileError, match=files[1]):
                library.get(ids)
        with pytest.raises(MemoryNotFoundError, match=files[1]):
            library.open_shard(files[1])
        (tmp_path / "library" / files[1]).write_bytes((tmp_path / "library" / files[0]).read_bytes())
        with pytest.raises((MemoryFileError, StorageError)):
            library.open_shard(files[1])


def test_an_earlier_version_shares_the_executor(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=10)
        library.delete(["r3"])
        with library.past(1) as past:
            assert (past.version, past.mode, len(past)) == (1, "r", 30)
            assert past.get("r3") == SOME[3]
        assert library.past(datetime.max.replace(tzinfo=UTC)).version == 2
        for early in (
            datetime.fromisoformat("0001-01-01"),
            datetime(2001, 1, 1, tzinfo=UTC),
        ):  # the first is no local time
            with pytest.raises(InvalidInputError):
                library.past(early)
        assert len(library) == 29
        assert library.get("r4") == SOME[4]  # its shards stay open
        past = library.past(1)
        library.compact()
        library.vacuum(timedelta(0))
        with pytest.raises(InvalidInputError, match="no version 1"):
            library.past(1)
        past.close()


def test_a_build_makes_the_lists_of_the_index_and_so_does_prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, auto_floats=64, entries=1, scanned=1, listed_in_search=0)
    texts = [f"text {number}" for number in range(300)]
    some = [Record(text, text) for text in texts]

    def lists() -> list[str]:
        return sorted(path.name for path in tmp_path.rglob("*.lists"))

    with Library.create(tmp_path / "listed", embed, index=Ivf(recall=0.9)) as library:
        library.build(some, rows_per_shard=150)
        assert len(lists()) == 2
        assert library.search("text 7", k=1, mode="dense")[0].id == "text 7"
        library.compact(400)
        assert len(lists()) == 3
    with Library.create(tmp_path / "plain", embed) as library:
        library.build(some, rows_per_shard=150)
    with Library.open(tmp_path / "plain", embedder=embed, index="ivf") as library:
        assert library.search("text 7", k=1, mode="dense")[0].id == "text 7"
        assert len(lists()) == 3
        library.prepare()
        assert len(lists()) == 5
        monkeypatch.setattr(InvertedFile, "fit", None)
        assert library.search("text 7", k=1, mode="dense")[0].id == "text 7"
        assert library.verify().ok
    for index, metric in (("hnsw", "cosine"), (Ivf(0.0), "cosine"), ("ivf", "euclidean")):
        with pytest.raises(InvalidInputError):
            Library.create(tmp_path / "wrong", embed, index=index, metric=metric)  # type: ignore[arg-type]
    assert not (tmp_path / "wrong").exists()
    with pytest.raises(InvalidInputError):
        Library.open(tmp_path / "plain", embedder=embed, index="tree")  # type: ignore[arg-type]


def test_prepare_names_a_shard_that_does_not_answer(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=10)
        asyncio.run(library.aprepare())
        gone = library.shards()[1].file
        (tmp_path / "library" / gone).unlink()
    with Library.open(tmp_path / "library", embedder=embed) as library, pytest.raises(MemoryFileError, match=gone):
        library.prepare()
