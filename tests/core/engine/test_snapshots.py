"""Across a compaction: who reads goes on reading what there was, and finds what there is at the next call."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core import ClosedError, HashingEmbedder, Memory, StorageError
from memvid_core.engine import file_swap
from memvid_core.engine.index_updater import IndexUpdater
from memvid_core.memory import session_of
from memvid_core.video.file import ByteFile
from tests.core.embedders import embed
from tests.core.memories import compact_beside_readers

COLOURS, THINGS = ("red", "green", "blue", "grey"), ("apples", "houses", "rivers", "engines", "wings")
MANY = [f"{colour} {thing} number {i}" for colour in COLOURS for thing in THINGS for i in range(20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.mp4"


@pytest.fixture
def writer(path: Path) -> Iterator[Memory]:
    """Twenty records in one source, the first ten of them deleted."""
    with Memory.create(path, embed) as memory:
        ids = [str(i) for i in range(20)]
        memory.add([f"text {i}" for i in ids], [{"source": "s", "chunk": i} for i in range(20)], ids)
        memory.delete(ids[:10])
        yield memory


LEFT = [str(i) for i in range(10, 20)]


def test_all_records_are_told_although_the_file_is_swapped_half_way(writer: Memory) -> None:
    records = iter(writer)
    first = [next(records).id for _ in range(3)]
    writer.delete("15")
    writer.compact()
    assert first + [record.id for record in records] == LEFT
    assert [record.id for record in writer] == [record_id for record_id in LEFT if record_id != "15"]


def test_a_reader_half_way_goes_on_and_then_follows(path: Path, writer: Memory) -> None:
    with Memory.open(path, embedder=embed) as reader:
        records = iter(reader)
        first = [next(records).id for _ in range(3)]
        compact_beside_readers(writer)
        writer.add("later", ids="later")
        assert len(reader) == 11
        assert first + [record.id for record in records] == LEFT
        assert [record.id for record in reader] == [*LEFT, "later"]


def test_the_past_is_searched_and_saved_although_the_file_was_swapped(path: Path, writer: Memory) -> None:
    with Memory.open(path, embedder=embed, as_of=1) as past:
        compact_beside_readers(writer)
        (folder,) = Path(f"{path}.index").iterdir()
        assert past.search("text 3", k=1, mode="lexical")[0].id == "3"
        past.save(path.with_name("past.mp4"))
        assert list(Path(f"{path}.index").iterdir()) == [folder]
        with Memory.open(path.with_name("past.mp4"), embedder=embed) as saved:
            assert [(record.id, record.text) for record in saved] == [(str(i), f"text {i}") for i in range(20)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_past_is_saved_without_what_came_after_it(path: Path, writer: Memory, number: int) -> None:
    writer.add("later", ids="later")
    with Memory.open(path, embedder=embed, as_of=number) as past:
        past.save(path.with_name("past.mp4"))
        expected = past.ids()
    assert len(expected) == (0, 20, 10)[number]
    with Memory.open(path.with_name("past.mp4"), "a", embedder=embed) as saved:
        assert saved.ids() == expected
        saved.add("more", ids="more")
        assert saved.ids() == [*expected, "more"]
        assert saved.verify().ok


def test_the_neighbours_of_a_hit_are_found_after_a_compaction_and_not_after_close(writer: Memory) -> None:
    (hit,) = writer.search("text 15", k=1, mode="dense")
    writer.compact()
    assert [record.id for record in writer.context(hit)] == ["14", "15", "16"]
    writer.close()
    with pytest.raises(ClosedError):
        writer.context(hit)


if sys.platform != "win32":  # where a writer closes its own file for the swap, too

    def test_threads_search_while_the_file_is_swapped_again_and_again(path: Path, writer: Memory) -> None:
        wrong: list[Any] = []
        done = threading.Event()

        def look(memory: Memory) -> None:
            while not done.is_set():
                for record_id in LEFT:
                    try:
                        (hit,) = memory.search(f"text {record_id}", k=1, mode="dense")
                        seen = (hit.id, hit.text, memory.get(record_id).text, len(memory) >= 10)
                        if seen != (record_id, f"text {record_id}", f"text {record_id}", True):
                            wrong.append(seen)
                    except Exception as exc:
                        wrong.append(exc)

        with Memory.open(path, embedder=embed) as reader:
            threads = [threading.Thread(target=look, args=(memory,)) for memory in (writer, reader, reader)]
            for thread in threads:
                thread.start()
            try:
                for i in range(4):
                    writer.add(f"more {i}", ids=f"more {i}")
                    writer.delete(f"more {i - 1}")
                    writer.compact()
            finally:
                done.set()
                for thread in threads:
                    thread.join()
        assert wrong == []


def test_an_interrupt_behind_the_swap_loses_nothing_that_is_added_later(
    path: Path, writer: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(file_swap, "sync_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.compact()
    monkeypatch.undo()
    assert [record.id for record in writer] == LEFT
    writer.add("after", ids="after")
    with Memory.open(path, embedder=embed) as reader:
        assert [record.id for record in reader] == [*LEFT, "after"]
        assert reader.verify().ok


def test_a_swap_that_the_system_refuses_changes_nothing(
    path: Path, writer: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError("another program has it open")

    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(StorageError, match="close other readers"):
        writer.compact()
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.compacting"))
    assert [record.id for record in writer] == LEFT
    assert writer.compact() > 0


def test_what_a_killed_compaction_left_goes_with_the_next_writer(path: Path, writer: Memory) -> None:
    left = path.with_name(f".{path.name}.0123456789ab.compacting")
    left.write_bytes(b"half a file")
    Memory.open(path, embedder=embed).close()
    assert left.exists()  # it may be another writer's work
    writer.close()
    with Memory.open(path, "a", embedder=embed) as again:
        assert not left.exists()
        assert [record.id for record in again] == LEFT


class TestWhatTheEmbedderLearns:
    @staticmethod
    def best(memory: Memory) -> list[tuple[str, float]]:
        return [(hit.text, round(hit.score, 4)) for hit in memory.search("red wings number 3", k=3, mode="dense")]

    def test_reaches_a_reader_that_was_there_before(self, path: Path) -> None:
        with Memory.create(path) as writer, Memory.open(path) as reader:
            assert reader.search("red wings", mode="dense") == []
            writer.add(MANY)
            assert self.best(reader) == self.best(writer)
            assert self.best(reader)[0] == ("red wings number 3", 1.0)

    async def test_reaches_a_reader_that_asks_asynchronously(self, path: Path) -> None:
        with Memory.create(path) as writer, Memory.open(path) as reader:
            writer.add(MANY)
            (hit,) = await reader.asearch("red wings number 3", k=1, mode="dense")
            assert (hit.text, round(hit.score, 4)) == ("red wings number 3", 1.0)
            assert [hit.text for hit in await reader.ammr("red wings number 3", k=1)] == ["red wings number 3"]

    @pytest.mark.parametrize("known", [3, 0])
    def test_holds_for_what_another_thread_was_adding_meanwhile(self, path: Path, known: int) -> None:
        class Busy(HashingEmbedder):
            then: Callable[[], Any] | None = None

            def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
                vectors = super().embed_documents(texts)
                todo, self.then = self.then, None
                if todo is not None:
                    todo()  # what another thread does between here and the commit
                return vectors

        with Memory.create(path, Busy(), vector_dtype="float32") as memory:
            assert isinstance(memory.embedder, Busy)
            if known:
                memory.add(MANY[:known])
                memory.add(MANY[known:])
                memory.embedder.then = memory.refit
            else:
                memory.embedder.then = lambda: memory.add(MANY)
            memory.add("red wings and engines", ids="late")
            assert memory.embedder.fitted
            expected = memory.embedder.embed_query("red wings and engines")
            assert np.allclose(memory.get_vectors("late")["late"], expected, atol=1e-6)
        with Memory.open(path) as memory:
            assert memory.search("red wings and engines", k=1, mode="dense")[0].id == "late"

    @pytest.mark.parametrize("first", [3, 300])
    def test_is_forgotten_where_it_could_not_be_stored(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, first: int
    ) -> None:
        def full(*_: Any) -> None:
            raise StorageError("the disk is full")

        with Memory.create(path) as memory:
            memory.add(MANY[:first])
            memory.add(MANY[first:])
            before = self.best(memory)
            monkeypatch.setattr(ByteFile, "write", full)
            with pytest.raises(StorageError):
                memory.refit()
            monkeypatch.undo()
            assert isinstance(memory.embedder, HashingEmbedder)
            assert memory.embedder.fitted == (first == 300)
            assert self.best(memory) == before

    def test_reaches_a_reader_after_refit_and_compaction_but_not_the_past(self, path: Path) -> None:
        with Memory.create(path) as writer:
            writer.add(MANY[:50])
            writer.add(MANY[50:])
            before = self.best(writer)
            with Memory.open(path) as reader, Memory.open(path, as_of=2) as past:
                assert self.best(reader) == before
                writer.refit()
                assert self.best(reader) == self.best(writer) != before
                assert self.best(past) == before
                compact_beside_readers(writer)
                assert self.best(reader) == self.best(writer)


def test_snapshots_of_one_commit_after_the_other_stay_what_they_were(path: Path) -> None:
    """They share arrays; each must keep its own state whatever is added, replaced or deleted after it."""
    rng = np.random.default_rng(5)
    with Memory.create(path, embed) as memory:
        session, expected, seen = memory._session, dict[str, str](), []
        for number in range(120):
            ids = [f"r{i}" for i in rng.integers(0, 60, rng.integers(1, 4)).tolist()]
            if number % 7 == 6:
                memory.delete(ids)
                for record_id in ids:
                    expected.pop(record_id, None)
            else:
                memory.add([f"text {number}"] * len(ids), ids=ids)
                expected |= dict.fromkeys(ids, f"text {number}")
            seen.append((session.indexed.snapshot, dict(expected)))
        for snapshot, then in seen:
            assert snapshot.record_count == len(then)
            assert {
                record.id: record.text for record in map(snapshot.record, np.flatnonzero(snapshot.live).tolist())
            } == then
            assert snapshot.dense.tolist() == snapshot.live.tolist()


def test_the_lock_on_a_file_that_another_thread_has_replaced_does_not_allow_to_change_the_index(writer: Memory) -> None:
    current = session_of(writer).indexed._current
    updater, before = IndexUpdater(current), current.epoch  # as a thread that is about to lock this file
    writer.compact()
    with current.turn.tried(before.journal.video, 0) as owned:
        assert owned
        assert not updater.follow_path()
    with current.turn.tried(current.journal.video, 0) as owned:
        assert owned
        assert updater.follow_path()
