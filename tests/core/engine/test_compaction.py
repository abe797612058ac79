"""Compaction while others write, compact, read or are killed; and memories that compact themselves."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from memvid_core import (
    HashingEmbedder,
    Index,
    InvalidInputError,
    Ivf,
    LockedError,
    Memory,
    MemoryFileError,
    MemvidError,
)
from memvid_core.engine import compaction, compaction_policy, settings
from memvid_core.engine.compaction_process import CompactionProcess, CompactionTask
from memvid_core.engine.settings import EngineSettings
from memvid_core.journal.copying import JournalCopy
from memvid_core.system.file_lock import system_lock
from memvid_core.words.lexical_index import LexicalIndex
from tests.core.embedders import embed
from tests.processes import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows swaps no file that another handle reads")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.mp4"


def left_over(path: Path) -> list[str]:
    """What lies beside a memory and in its index folder, but the file and the index in use."""
    beside = [name for name in os.listdir(path.parent) if name not in (path.name, f"{path.name}.index", "anew")]
    folders = sorted(os.listdir(f"{path}.index"))
    return beside + folders[1:] + [name for name in folders if "." in name]


def contents(memory: Memory) -> dict[str, tuple[str, dict[str, Any]]]:
    return {record.id: (record.text, record.metadata) for record in memory}


def assert_whole(path: Path, expected: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """The memory holds what is expected, each record is found by its vector, and so it is with an index made anew."""
    for index_dir in (None, path.parent / "anew"):
        with Memory.open(path, embedder=embed, index_dir=index_dir) as memory:
            assert contents(memory) == expected
            assert memory.verify().ok
            for record_id, (text, _) in list(expected.items())[::7]:
                assert record_id in [hit.id for hit in memory.search(text, k=3, mode="dense")]


OFTEN = EngineSettings(compact_every=16, compact_least_bytes=0)


class Changes:
    """Random commits, and the model of what they leave."""

    def __init__(self, memory: Memory, seed: int) -> None:
        self.memory, self.rng = memory, random.Random(seed)
        self.model: dict[str, tuple[str, dict[str, Any]]] = {}
        self.count = 0

    def change(self) -> None:
        self.count += 1
        known = sorted(self.model)
        if known and self.rng.random() < 0.3:
            gone = self.rng.sample(known, min(len(known), self.rng.randrange(1, 4)))
            self.memory.delete(gone)
            for record_id in gone:
                del self.model[record_id]
            return
        if known and self.rng.random() < 0.2:
            record_id = self.rng.choice(known)
            self.memory.update(record_id, metadata={"changed": self.count})
            self.model[record_id] = (self.model[record_id][0], {"changed": self.count})
            return
        ids = [f"r{self.rng.randrange(40)}" for _ in range(self.rng.randrange(1, 5))]
        texts = [f"text {record_id} of {self.count}" for record_id in ids]
        self.memory.add(texts, [{"commit": self.count}] * len(ids), ids)
        self.model.update({i: (text, {"commit": self.count}) for i, text in zip(ids, texts, strict=True)})


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Do something once, when a compaction has just come through a step of its own."""

    def install(step: str, action: Callable[[], None]) -> None:
        original = getattr(compaction._Compaction, step)
        todo = [action]

        def stepped(self: Any, *arguments: Any, **options: Any) -> Any:
            result = original(self, *arguments, **options)
            if todo:
                todo.pop()()
            return result

        monkeypatch.setattr(compaction._Compaction, step, stepped)

    return install


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keep_history", [False, True])
@pytest.mark.parametrize("step", ["rewrite", "catch_up"])
def test_what_was_committed_meanwhile_is_taken_over(
    path: Path, between: Callable[..., None], seed: int, keep_history: bool, step: str
) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed) as other:
        changes = Changes(memory, seed)
        for _ in range(12):
            changes.change()
        before = len(memory.history())
        changes.memory = other

        def meanwhile() -> None:
            for _ in range(40 if step == "rewrite" else 5):
                changes.change()

        between(step, meanwhile)
        memory.compact(keep_history=keep_history)
        assert contents(memory) == changes.model == contents(other)
        after = [commit.number for commit in memory.history()]
        assert after[-1] == changes.count
        assert after[-5:] == list(range(changes.count - 4, changes.count + 1))
        assert (len(after) == before + (40 if step == "rewrite" else 5)) == keep_history
        changes.change()
        assert contents(memory) == changes.model == contents(other)
    assert_whole(path, changes.model)
    assert left_over(path) == []


def test_the_past_since_the_fold_began_is_exact(path: Path, between: Callable[..., None]) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed) as other:
        changes, states = Changes(memory, 1), {}
        for _ in range(10):
            changes.change()
        states[10] = dict(changes.model)
        changes.memory = other

        def meanwhile() -> None:
            for number in range(11, 60):
                changes.change()
                states[number] = dict(changes.model)

        between("rewrite", meanwhile)
        memory.compact()
    for number, expected in states.items():
        with Memory.open(path, embedder=embed, as_of=number) as past:
            assert contents(past) == expected
    with pytest.raises(InvalidInputError, match="from commit 10 on"):
        Memory.open(path, embedder=embed, as_of=9)


def test_another_writer_commits_while_the_file_is_rewritten_and_waits_for_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed, timeout=0) as other:
        memory.add([f"text {i}" for i in range(50)], ids=[str(i) for i in range(50)])
        original, seen = JournalCopy.copy_live, []

        def watched(self: JournalCopy, *arguments: Any, **options: Any) -> Iterator[int]:
            for number in original(self, *arguments, **options):
                seen.append(other.add(f"beside {number}", ids=f"beside {number}"))
                yield number

        monkeypatch.setattr(JournalCopy, "copy_live", watched)
        memory.compact()
        assert seen
        assert len(memory) == 50 + len(seen)


@pytest.mark.parametrize("step", ["rewrite", "catch_up"])
def test_of_two_compactions_the_later_begins_again(path: Path, between: Callable[..., None], step: str) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed) as other:
        changes = Changes(memory, 2)
        for _ in range(30):
            changes.change()

        def meanwhile() -> None:
            changes.change()
            other.compact()
            changes.change()

        between(step, meanwhile)
        memory.compact()
        assert contents(memory) == changes.model == contents(other)
        assert memory._indexed.journal.header.epoch == 2
    assert_whole(path, changes.model)
    assert left_over(path) == []


def test_after_a_few_tries_the_lock_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed, timeout=0) as other:
        memory.add(["one", "two"], ids=["1", "2"])
        original, tries = compaction._Compaction.rewrite, []

        def raced(self: Any, merged_bytes: int) -> None:
            original(self, merged_bytes)
            if self._indexed is memory._indexed:
                tries.append(1)
                try:
                    other.compact()
                except LockedError:
                    tries.append(2)

        monkeypatch.setattr(compaction._Compaction, "rewrite", raced)
        memory.compact()
        assert tries == [1, 1, 1, 1, 2]
        assert sorted(memory.ids()) == sorted(other.ids()) == ["1", "2"]
    assert left_over(path) == []


def test_a_compaction_inside_exclusive_passes_one_that_is_under_way(path: Path, between: Callable[..., None]) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed) as other:
        memory.add(["one", "two"], ids=["1", "2"])

        def meanwhile() -> None:
            with other.exclusive():
                other.delete("1")
                other.compact()

        between("rewrite", meanwhile)
        memory.compact()
        assert memory.ids() == other.ids() == ["2"]
    assert left_over(path) == []


def test_what_the_embedder_learned_meanwhile_is_taken_over(path: Path, between: Callable[..., None]) -> None:
    texts = [f"{colour} {thing} {i}" for colour in ("red", "blue") for thing in ("wings", "rivers") for i in range(20)]
    with Memory.create(path, HashingEmbedder()) as memory, Memory.open(path, "a") as other:
        memory.add(texts[:5], ids=[str(i) for i in range(5)])
        between("rewrite", lambda: other.add(texts, ids=[str(i) for i in range(len(texts))]) and other.refit() and None)
        memory.compact()
        expected = [(hit.id, round(hit.score, 4)) for hit in other.search("red wings 3", k=3, mode="dense")]
        assert [(hit.id, round(hit.score, 4)) for hit in memory.search("red wings 3", k=3, mode="dense")] == expected
    with Memory.open(path, index_dir=path.parent / "anew") as memory:
        assert [(hit.id, round(hit.score, 4)) for hit in memory.search("red wings 3", k=3, mode="dense")] == expected


def test_a_memory_in_ram_is_folded_beside_a_thread_that_writes(between: Callable[..., None]) -> None:
    with Memory.create(":memory:", embed) as memory:
        changes = Changes(memory, 3)
        for _ in range(20):
            changes.change()

        def meanwhile() -> None:
            for _ in range(20):
                changes.change()

        between("rewrite", meanwhile)
        memory.compact()
        assert contents(memory) == changes.model


@pytest.mark.parametrize("drop", [False, True])
def test_damage_in_what_was_committed_meanwhile_is_not_made_final(
    path: Path, between: Callable[..., None], drop: bool
) -> None:
    with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed) as other:
        memory.add("first", ids="first")

        def meanwhile() -> None:
            start = path.stat().st_size
            other.add(" ".join(str(random.Random(i).random()) for i in range(60)), ids="lost")
            other.add("last", ids="last")
            with path.open("r+b") as file:
                file.seek(start + 300)
                file.write(bytes(range(256)) * 4)

        between("rewrite", meanwhile)
        if drop:
            memory.compact(drop_damaged=True)
            assert {"first", "last"} <= set(memory.ids())
        else:
            with pytest.raises(MemoryFileError, match="damaged"):
                memory.compact()
            assert memory._indexed.journal.header.epoch == 0
    assert left_over(path) == []


KILLED = """
import os, sys
from memvid_core import Memory
from memvid_core.engine import compaction
from tests.core.embedders import embed
step = sys.argv[2]
original = getattr(compaction._Compaction, step)
def stepped(self, *arguments, **options):
    original(self, *arguments, **options)
    os._exit(9)
setattr(compaction._Compaction, step, stepped)
with Memory.open(sys.argv[1], "a", embedder=embed) as memory:
    memory.compact()
"""


@pytest.mark.parametrize("step", ["__init__", "rewrite", "catch_up", "finish"])
def test_a_killed_compaction_leaves_nothing_for_long(path: Path, step: str) -> None:
    with Memory.create(path, embed) as memory:
        changes = Changes(memory, 4)
        for _ in range(10):
            changes.change()
    assert run(KILLED, path, step).returncode == 9
    with Memory.open(path, embedder=embed) as reader:
        assert contents(reader) == changes.model
    Memory.open(path, "a", embedder=embed).close()
    assert left_over(path) == []
    assert_whole(path, changes.model)


def test_a_writer_that_opens_deletes_nothing_of_a_compaction_under_way(
    path: Path, between: Callable[..., None]
) -> None:
    with Memory.create(path, embed) as memory:
        memory.add(["one", "two"], ids=["1", "2"])

        def meanwhile() -> None:
            Memory.open(path, "a", embedder=embed).close()
            assert len(list(path.parent.glob("*.compacting"))) == 1
            assert len(os.listdir(f"{path}.index")) == 2

        between("rewrite", meanwhile)
        memory.compact()
        assert memory.ids() == ["1", "2"]
    assert left_over(path) == []


def test_an_index_that_a_killed_process_put_in_the_place_of_the_next_is_not_believed(path: Path) -> None:
    with Memory.create(path, embed) as memory:
        memory.add(["one", "two"], ids=["1", "2"])
        place = memory._indexed.place
        journal = memory._indexed.journal.again()
        journal.header = msgspec.structs.replace(journal.header, epoch=1)
        stale = place.open(journal)
        with stale.transaction():
            stale.note(b"\x91nonsense")
        stale.close()
        memory.compact()
        assert memory.search("two", k=1, mode="dense")[0].id == "2"
    assert left_over(path) == []


def test_a_new_file_is_locked_before_anybody_can_take_it_for_left(tmp_path: Path) -> None:
    from memvid_core.video.file import ByteFile

    file = ByteFile(tmp_path / "new", "x")
    with (tmp_path / "new").open("r+b") as other:
        assert not system_lock().try_lock(other.fileno())
    file.close()


class TestWords:
    """A compaction brings the words along where they were in use, and does no work for them where they were not."""

    @pytest.fixture(params=[False, True], ids=["nothing deleted", "some deleted"])
    def memory(self, path: Path, request: pytest.FixtureRequest) -> Iterator[Memory]:
        with Memory.create(path, embed) as memory:
            for i in range(40):
                memory.add(f"common word{i}", ids=str(i))
            if request.param:
                memory.delete([str(i) for i in range(0, 40, 3)])
            yield memory

    @staticmethod
    def no_question_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
        def feed(*_: Any) -> None:
            raise AssertionError("the words were not there")

        monkeypatch.setattr(LexicalIndex, "extend", feed)

    def assert_found(self, memory: Memory) -> None:
        ids = memory.ids()
        assert {hit.id for hit in memory.search("common", k=100, mode="lexical")} == set(ids)
        for record_id in ids:
            assert memory.search(f"word{record_id}", k=1, mode="lexical")[0].id == record_id

    def test_the_first_question_after_it_finds_the_words(self, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.assert_found(memory)
        memory.compact()
        self.no_question_feeds(monkeypatch)
        self.assert_found(memory)
        with Memory.open(memory.path, embedder=embed) as other:
            self.assert_found(other)

    @pytest.mark.parametrize("step", ["rewrite", "catch_up"])
    def test_the_words_of_what_was_committed_meanwhile_are_there(
        self, memory: Memory, path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        self.assert_found(memory)
        original = getattr(compaction._Compaction, step)

        def busy(self: Any, *given: Any) -> Any:
            with Memory.open(path, "a", embedder=embed) as other:
                for i in range(40, 80):
                    other.add(f"common word{i}", ids=str(i))
                other.delete(["1", "50"])
            return original(self, *given)

        monkeypatch.setattr(compaction._Compaction, step, busy)
        memory.compact()
        self.no_question_feeds(monkeypatch)
        assert "50" not in memory.ids()
        self.assert_found(memory)
        with Memory.open(path, embedder=embed) as other:
            self.assert_found(other)

    def test_words_that_nobody_asked_for_are_not_indexed(self, memory: Memory) -> None:
        memory.compact()
        assert not memory._indexed.index.words.in_use
        self.assert_found(memory)


class TestAutoCompact:
    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "DEFAULTS", OFTEN)

    @pytest.fixture
    def in_a_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CompactionProcess, "possible", lambda: False)

    @staticmethod
    def settle(memory: Memory) -> None:
        assert memory._auto is not None
        if memory._auto._thread is not None:
            memory._auto._thread.join()

    def add_and_settle(self, memory: Memory) -> None:
        memory.add("one more")
        self.settle(memory)

    @pytest.mark.parametrize("possible", [True, False])
    def test_many_small_commits_become_few(
        self, path: Path, possible: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "memvid_core")
        monkeypatch.setattr(CompactionProcess, "possible", lambda: possible)
        with Memory.create(path, embed, auto_compact=0.3) as memory:
            for i in range(160):
                memory.add(f"text {i}", ids=str(i))
                if i % 16 == 15:
                    self.settle(memory)
            size, small = memory.info().bytes, len(memory.history())
            epoch = memory._indexed.journal.header.epoch
            assert epoch >= 1
            assert [vars(record)["event"] for record in caplog.records] == ["open", *["compact"] * epoch]
            assert memory.ids() == [str(i) for i in range(160)]
            memory.compact()
            assert small < 80
            assert size * (1 - 0.3) <= memory.info().bytes * 1.25
        assert left_over(path) == []

    def test_deleted_records_are_a_reason_too(self, path: Path) -> None:
        with Memory.create(path, embed, auto_compact=0.5) as memory:
            memory.add(
                [f"text {i} {random.Random(i).random()}" for i in range(2000)], ids=[str(i) for i in range(2000)]
            )
            memory.delete([str(i) for i in range(1900)])
            before = memory.info().bytes
            for i in range(16):
                memory.add("x", ids=f"x{i}")
            self.settle(memory)
            assert memory.info().bytes < before / 2
            assert len(memory) == 116

    def test_a_memory_that_was_emptied(self, path: Path, in_a_thread: None) -> None:
        with Memory.create(path, embed, auto_compact=0.1) as memory:
            for i in range(15):
                memory.add(f"text {i}", ids=str(i))
            memory.clear()
            self.settle(memory)
            assert memory._indexed.journal.header.epoch == 1
            assert len(memory) == 0

    def test_it_is_never_done_unasked_nor_where_it_saves_little(self, path: Path) -> None:
        with Memory.create(path, embed) as memory, Memory.open(path, "a", embedder=embed, auto_compact=0.99) as other:
            for i in range(40):
                memory.add(f"text {i}")
                other.add(f"other {i}")
            self.settle(other)
            assert len(memory.history()) == 80 + (memory.history()[0].number == 0)

    @pytest.mark.usefixtures("in_a_thread")
    def test_close_ends_a_fold_that_is_under_way_and_changes_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, closing = threading.Event(), threading.Event()
        original = compaction._Compaction.rewrite

        def slow(self: Any, merged_bytes: int) -> None:
            begun.set()
            assert closing.wait(30)
            original(self, merged_bytes)

        monkeypatch.setattr(compaction._Compaction, "rewrite", slow)
        memory = Memory.create(path, embed, auto_compact=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for i in range(16):
                memory.add(f"text {i}", ids=str(i))
            assert begun.wait(30)
            assert memory._auto is not None
            memory._auto._stop.set()
            closing.set()
            memory.close()
        assert left_over(path) == []
        with Memory.open(path, embedder=embed) as again:
            assert again.ids() == [str(i) for i in range(16)]
            assert again._indexed.journal.header.epoch == 0

    @pytest.mark.usefixtures("in_a_thread")
    def test_an_error_is_a_warning_and_the_commit_is_there(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(compaction_policy, "compact_once", full)
        with Memory.create(path, embed, auto_compact=0.1) as memory:
            for i in range(15):
                memory.add(f"text {i}", ids=str(i))
            with pytest.warns(UserWarning, match="could not be compacted by itself"):
                self.add_and_settle(memory)
            assert len(memory) == 16

    def test_close_ends_the_process_that_folds(self, path: Path) -> None:
        with Memory.create(path, embed, auto_compact=0.1) as memory:
            process = None
            for i in range(2000):
                memory.add(f"text {i}", ids=str(i))
                process = memory._auto._process if memory._auto else None
                if process is not None:
                    break
            assert process is not None
            count = len(memory)
        assert process._process.poll() is not None
        assert left_over(path) == []
        with Memory.open(path, embedder=embed) as again:
            assert again.ids() == [str(i) for i in range(count)]

    def test_a_process_that_ends_without_a_word_is_not_started_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = "import sys; sys.stdin.readline(); sys.exit(3)"
        monkeypatch.setattr(settings, "DEFAULTS", replace(OFTEN, compaction_program=program))
        with Memory.create(path, embed, auto_compact=0.1) as memory:
            for i in range(15):
                memory.add(f"text {i}", ids=str(i))
            with pytest.warns(UserWarning, match="ended with 3"):
                self.add_and_settle(memory)
            for i in range(16):
                memory.add(f"more {i}")
            self.settle(memory)
            assert memory._indexed.refresh().epoch.journal.header.epoch == 1
            assert len(memory) == 32

    def test_where_no_process_can_be_started_a_thread_does_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any, **__: Any) -> None:
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(subprocess, "Popen", refused)
        with Memory.create(path, embed, auto_compact=0.1) as memory:
            for i in range(16):
                memory.add(f"text {i}", ids=str(i))
            self.settle(memory)
            assert memory._indexed.refresh().epoch.journal.header.epoch == 1

    def test_what_another_process_refuses_is_told(self, path: Path) -> None:
        with Memory.create(path, embed) as memory:
            memory.add("one")
        os.link(path, path.with_name("second name.mp4"))
        with pytest.raises(MemvidError, match="2 names"):
            CompactionProcess(CompactionTask(str(path), str(path) + ".index", "auto", 30.0, 1 << 20)).result()

    @pytest.mark.parametrize("index", ["exact", Ivf(0.9)])
    def test_another_process_is_told_how_vectors_are_searched(self, path: Path, index: Index) -> None:
        with Memory.create(path, embed, index=index) as memory:
            for i in range(16):
                memory.add(f"text {i}", ids=str(i))
        task = CompactionTask(str(path), str(path) + ".index", index, 30.0, 1 << 20)
        assert CompactionProcess(task).result() is not None
        with Memory.open(path, embedder=embed, index=index) as memory:
            assert memory._indexed.refresh().epoch.journal.header.epoch == 1
            assert len(memory) == 16

    def test_what_a_fold_saves_is_estimated_well(self, path: Path) -> None:
        with Memory.create(path, embed) as memory:
            rng = np.random.default_rng(0)
            for i in range(300):
                memory.add(f"text {i} " + " ".join(map(str, rng.integers(0, 10**6, 12))), ids=str(i))
            commit, record = compaction_policy.compacted_bytes(memory._indexed.snapshot)
            memory.compact()
            assert commit + 300 * record == pytest.approx(memory.info().bytes, rel=0.1)

    def test_a_memory_that_nobody_holds_is_closed_all_the_same(self, path: Path) -> None:
        memory = Memory.create(path, embed, auto_compact=0.5)
        indexed = memory._indexed
        del memory
        gc.collect()
        assert indexed.closed

    @pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, True, "0.5", float("nan")])
    def test_a_share_that_is_none_is_refused(self, path: Path, share: Any) -> None:
        with pytest.raises(InvalidInputError, match="auto_compact"):
            Memory.create(path, embed, auto_compact=share)
        assert not path.exists()

    async def test_the_asynchronous_face_takes_it(self, path: Path) -> None:
        async with await Memory.acreate(path, embed, auto_compact=0.5) as memory:
            assert memory._auto is not None
        async with await Memory.aopen(path, "a", embedder=embed, auto_compact=0.5) as memory:
            assert memory._auto is not None
        async with await Memory.aopen(path, embedder=embed, auto_compact=0.5) as memory:
            assert memory._auto is None
