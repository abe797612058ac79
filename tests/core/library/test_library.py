"""A library: versions, ids, filters, what it says of itself, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memvid_core import (
    ClosedError,
    CommitConflictError,
    DimensionError,
    EmbedderMismatchError,
    EmbedderWarning,
    EmbeddingError,
    FilterError,
    InvalidInputError,
    Library,
    Memory,
    MemoryExistsError,
    MemoryNotFoundError,
    NotAMemoryError,
    QueryError,
    ReadOnlyError,
    Record,
    RecordNotFoundError,
    UnsupportedFormatError,
)
from memvid_core.library.objects import digest
from tests.core.embedders import embed
from tests.core.library.libraries import pair, plain, records

SOME = records(40)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=16)
        yield library


def test_records_are_found_by_id_and_filter_as_in_one_memory(tmp_path: Path) -> None:
    with pair(tmp_path, SOME, 3, embedder=embed) as (memory, library):
        for question in (memory, library):
            assert question.get("r7") == SOME[7]
            assert question.get(["r39", "nobody", "r0"]) == [SOME[39], SOME[0]]
            assert ("r3" in question, "nobody" in question, 3 in question) == (True, False, False)
            assert list(question) == SOME
            assert len(question) == 40
            with pytest.raises(RecordNotFoundError, match="nobody"):
                question.get("nobody")
        for where in (None, {"topic": "wing"}, {"year": {"$lt": 2000}}, {"topic": "nothing"}):
            for order in (None, "year", "topic", "nowhere", "$id"):
                for descending in (False, True):
                    found = library.select(where, order_by=order, descending=descending)
                    assert found == memory.select(where, order_by=order, descending=descending)
                    assert library.ids(where, order_by=order, descending=descending) == [r.id for r in found]
                    part = library.select(where, order_by=order, descending=descending, offset=2, limit=5)
                    assert part == found[2:7]


def test_a_reader_stays_on_its_version_until_it_asks_for_the_newest(library: Library) -> None:
    with Library.open(library.path, embedder=embed) as reader:
        before = plain(reader.search("wing", k=60))
        assert library.add(["wing wing wing"], ids=["new"]) == ["new"]
        assert (library.version, reader.version) == (2, 1)
        assert plain(reader.search("wing", k=60)) == before
        assert reader.refresh() == 2
        assert reader.search("wing wing wing", k=1)[0].id == "new"


def test_every_version_can_be_opened_and_only_the_newest_changed(library: Library) -> None:
    library.add(["another"], ids=["r0"])
    library.delete(["r1", "nobody"])
    assert library.delete(["nobody"]) == 0
    told = library.history()
    assert [(one.number, one.change, one.added, one.deleted, one.records, one.shards) for one in told] == [
        (1, "build", 40, 0, 40, 3),
        (2, "add", 1, 1, 40, 4),
        (3, "delete", 0, 1, 39, 4),
    ]
    for asked, size in ((0, 0), (1, 40), (2, 40), (3, 39), (told[1].time, 40), (told[0].time, 40)):
        with Library.open(library.path, embedder=embed, as_of=asked) as past:
            assert len(list(past)) == len(past) == size
            assert past.refresh() == past.version
            with pytest.raises(ReadOnlyError, match="as_of"):
                past.add("more")
    with Library.open(library.path, embedder=embed, as_of=1) as past:
        assert past.get("r0") == SOME[0]
    assert library.get("r0").text == "another"
    assert "r1" not in library
    for wrong in (4, -1, "yesterday", True, datetime.now(UTC) - timedelta(days=9)):
        with pytest.raises(InvalidInputError):
            Library.open(library.path, as_of=wrong)  # type: ignore[arg-type]


def test_of_equal_ids_the_last_counts_within_a_build_and_after_it(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        same = [Record(f"id{n % 4}", f"text {n}") for n in range(10)]
        report = library.build(same, rows_per_shard=3)
        assert (report.added, report.deleted, len(library)) == (10, 6, 4)
        assert sorted(record.text for record in library) == ["text 6", "text 7", "text 8", "text 9"]
        assert library.build(same[:2]).deleted == 2
        assert sorted(record.text for record in library) == ["text 0", "text 1", "text 6", "text 7"]


def test_each_shard_is_a_memory_that_plays_and_opens_by_itself(library: Library) -> None:
    found = []
    for path in sorted(Path(library.path, "shards").glob("*.mp4")):
        with Memory.open(path, embedder=embed) as memory:
            assert memory.verify().ok
            found += list(memory)
    assert sorted(record.id for record in found) == sorted(record.id for record in SOME)


def test_it_says_what_it_is(library: Library) -> None:
    info = library.info()
    assert (info.records, info.shards, info.version, info.dimension, info.deleted) == (40, 3, 1, 16, 0)
    assert info.bytes == sum(path.stat().st_size for path in Path(library.path, "shards").glob("*.mp4"))
    assert info.created <= info.modified
    report = library.verify()
    assert (report.ok, report.versions, report.shards, report.records) == (True, 1, 3, 40)
    assert (report.damage, report.orphans, report.bytes) == ((), (), info.bytes)
    assert library.default_mode == "hybrid"


def test_a_copy_without_indexes_and_one_that_cannot_be_written_answer_the_same(
    library: Library, tmp_path: Path
) -> None:
    wanted = plain(library.search("wing heat", k=9))
    copy = tmp_path / "copy"
    shutil.copytree(library.path, copy, ignore=shutil.ignore_patterns("*.index"))
    with Library.open(copy, embedder=embed, cache_dir=tmp_path / "cache") as other:
        assert plain(other.search("wing heat", k=9, timeout=None)) == wanted
        assert not list(Path(other.path, "shards").glob("*.index"))
    with Library.open(copy, embedder=embed) as other:
        assert plain(other.search("wing heat", k=9, timeout=None)) == wanted


def test_without_its_embedder_only_records_with_vectors_are_added(library: Library) -> None:
    library.build(SOME[:5], rows_per_shard=2)
    with pytest.warns(EmbedderWarning):
        opened = Library.open(library.path)
    with opened:
        for add in (lambda: opened.add(["one"]), lambda: opened.build(SOME[5:9])):
            with pytest.raises(EmbeddingError, match="callable:embed"):
                add()
        vectors = opened.get_vectors([SOME[0].id])
        opened.add(["one"], ids=["one"], vectors=[vectors[SOME[0].id]])
        assert opened.compact().written == 1
        assert list(opened.get_vectors(["one"])) == ["one"]
        assert opened.verify().orphans == ()


def test_vectors_are_made_or_given(tmp_path: Path) -> None:
    with Library.create(tmp_path / "made", embed) as library:
        library.build([SOME[0], (SOME[1], np.ones(16)), (SOME[2], None)])
        found = {hit.id: hit.vector for hit in library.search(np.ones(16), k=3, with_vectors=True)}
        assert found["r1"].tolist() == [1.0] * 16
        assert "r2" not in found
        assert library.add(["a", "b"], vectors=[[2] * 16, None])
        with pytest.raises(DimensionError):
            library.add("c", vectors=[[1, 2, 3]])
        with pytest.raises(InvalidInputError, match="as many"):
            library.add("c", vectors=[[1] * 16, [1] * 16])
        assert len(library) == 5
        assert library.verify().orphans == ()


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ("nothing://bucket/library", InvalidInputError, "fsspec knows no"),
        ("", InvalidInputError, "path"),
        ("a\0b", InvalidInputError, "null"),
        ("nowhere/library", MemoryNotFoundError, "does not exist"),
    ],
)
def test_paths_that_are_none(tmp_path: Path, wrong: str, error: type[Exception], match: str) -> None:
    path = wrong if "://" in wrong or not wrong or "\0" in wrong else tmp_path / wrong
    with pytest.raises(error, match=match):
        Library.create(path)
    with pytest.raises((error, NotAMemoryError)):
        Library.open(path)


def test_what_cannot_be_done_says_so_and_changes_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(MemoryExistsError):
        Library.create(library.path)
    with pytest.raises(NotAMemoryError, match=r"library\.json"):
        Library.open(tmp_path)
    with pytest.raises(EmbedderMismatchError):
        Library.open(library.path, embedder=lambda texts: np.ones((len(texts), 3)))
    for wrong in ({"vectors": "none"}, {"metric": "hamming"}, {"partition_by": ["$id"]}, {"partition_by": [3]}):
        with pytest.raises(InvalidInputError):
            Library.create(tmp_path / "other", **wrong)
    with pytest.raises(InvalidInputError, match=r"use Library\.create"):
        Library("path", None, pinned=False)  # type: ignore[arg-type]
    for given in ([SOME[0], "text"], [Record("a", "text", {"x": {1}})], [Record("a", 3)]):  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            library.build(given, rows_per_shard=1)  # type: ignore[arg-type]
    for name in ("rows_per_shard", "sample", "threads"):
        with pytest.raises(InvalidInputError, match=name):
            library.build(SOME, **{name: 0})
    for call in (lambda: library.search(" "), lambda: library.search("wing", partial="some")):  # type: ignore[arg-type]
        with pytest.raises(QueryError):
            call()
    with pytest.raises(FilterError):
        library.search("wing", where={"year": {"$about": 3}})
    with pytest.raises(InvalidInputError, match="nothing to delete"):
        library.delete()
    with pytest.raises(DimensionError):
        library.search([1.0, 2.0])
    assert (library.version, len(library), library.verify().orphans) == (1, 40, ())
    library.close()
    library.close()
    for use in (lambda: library.search("wing"), lambda: library.add("x"), lambda: library.get("r0"), library.verify):
        with pytest.raises(ClosedError):
            use()


def test_a_library_of_a_newer_format_is_refused(library: Library) -> None:
    path = Path(library.path, "library.json")
    content = path.read_bytes().partition(b'"content":')[2][:-1].replace(b'"format":1', b'"format":2')
    path.write_bytes(b'{"checksum":"%s","content":%s}' % (digest(content).encode(), content))
    with pytest.raises(UnsupportedFormatError, match="format 2"):
        Library.open(library.path)


def test_shards_of_another_fit_are_not_committed(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library") as one, Library.open(tmp_path / "library") as other:
        texts = records(300)

        def slowly() -> Iterator[Record]:
            yield from texts[:290]
            other.build(texts[:280])
            yield from texts[290:]

        with pytest.raises(CommitConflictError, match="fitted"):
            one.build(slowly(), sample=280)
        assert [version.records for version in Library.open(one.path).history()] == [280]
        assert one.verify().orphans == ()
        assert one.refresh() == 1
        assert one.build(texts).deleted == 280
