"""One file, many writers: a lock a commit, between threads, objects and processes."""

from __future__ import annotations

import os
import sqlite3
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memvid_core import ClosedError, InvalidInputError, LockedError, Memory, ReadOnlyError, StorageError
from memvid_core.engine import opening
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.errors import IndexStaleError
from tests.core.embedders import embed
from tests.processes import Process, start

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.mp4"
    Memory.create(path, "given").close()
    return path


def at(path: Path, **options: object) -> Memory:
    return Memory.open(path, "a", embedder="given", **options)  # type: ignore[arg-type]


def add(memory: Memory, record_id: str, number: int = 0) -> None:
    memory.add([f"text of {record_id}"], [{"number": number}], [record_id], [[1.0, 0.0]])


def processes(code: str, path: Path, count: int = 1) -> list[str]:
    """Run code in so many processes at once, each with its ``name``; what each printed, one line each."""
    head = f"import sys\nfrom memvid_core import *\npath, name = {str(path)!r}, sys.argv[1]\n"
    running = [start(head + textwrap.dedent(code), number) for number in range(count)]
    said = [process.communicate(timeout=120) for process in running]
    assert [errors for _, errors in said] == [""] * count
    return [printed.strip() for printed, _ in said]


@pytest.fixture
def holder(path: Path) -> Iterator[Process]:
    """A process inside ``exclusive``, until its standard input is closed or it is killed."""
    code = f"""
        import sys
        from memvid_core import Memory
        with Memory.open({str(path)!r}, "a", embedder="given") as memory, memory.exclusive():
            memory.add(["mine"], ids=["mine"], vectors=[[1.0, 0.0]])
            print("held", flush=True)
            sys.stdin.read()
    """
    with start(textwrap.dedent(code)) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestManyObjects:
    def test_of_one_process_see_each_other_and_take_turns(self, path: Path) -> None:
        with at(path) as one, at(path) as two, Memory.open(path, embedder="given") as reader:
            for number in range(20):
                add(one if number % 2 else two, str(number))
                assert one.ids() == two.ids() == reader.ids() == [str(n) for n in range(number + 1)]
            one.delete("3")
            two.update("4", metadata={"number": 9})
            assert one.get("4").metadata == two.get("4").metadata == reader.get("4").metadata == {"number": 9}
            assert "3" not in two
            one.compact()
            add(two, "after")
            assert one.ids() == two.ids() == reader.ids()
            assert two.verify().ok

    def test_of_many_threads_lose_nothing(self, path: Path) -> None:
        failures: list[BaseException] = []

        def work(name: int) -> None:
            try:
                with at(path) as memory:
                    for number in range(10):
                        add(memory, f"{name}-{number}")
                        assert f"{name}-{number}" in memory
            except BaseException as exc:
                failures.append(exc)

        together(work, 8)
        assert not failures
        with at(path) as memory:
            assert sorted(memory.ids()) == sorted(f"{name}-{number}" for name in range(8) for number in range(10))
            assert memory.verify().ok

    def test_of_many_processes_lose_nothing_while_one_compacts(self, path: Path) -> None:
        code = """
            with Memory.open(path, "a", embedder="given") as memory:
                for number in range(25):
                    memory.add(["text"], ids=[f"{name}-{number}"], vectors=[[1.0, 0.0]])
                    if name == "0" and number % 10 == 5:
                        memory.compact()
                print(len(memory))
        """
        assert max(map(int, processes(code, path, 4))) == 100
        with at(path) as memory:
            assert sorted(memory.ids()) == sorted(f"{name}-{number}" for name in range(4) for number in range(25))
            assert memory.verify().ok

    def test_an_idle_writer_holds_nothing(self, path: Path) -> None:
        with at(path) as idle:
            add(idle, "first")
            code = 'Memory.open(path, "a", embedder="given", timeout=1).add(["x"], ids=[name], vectors=[[1.0, 0.0]])'
            processes(code, path)
            assert idle.ids() == ["first", "0"]

    def test_may_all_be_the_first(self, tmp_path: Path) -> None:
        code = """
            with Memory.open(path, "a", embedder="given", create=True) as memory:
                memory.add(["text"], ids=[name], vectors=[[1.0, 0.0]])
        """
        processes(code, tmp_path / "new.mp4", 4)
        with Memory.open(tmp_path / "new.mp4", embedder="given") as memory:
            assert sorted(memory.ids()) == ["0", "1", "2", "3"]

    def test_open_or_create_opens_what_is_there(self, path: Path) -> None:
        with at(path) as memory:
            add(memory, "kept")
        with at(path, create=True) as memory:
            assert memory.ids() == ["kept"]
        with pytest.raises(InvalidInputError):
            Memory.open(path, "r", create=True)

    def test_under_two_names_of_one_file(self, path: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.mp4"
        try:
            os.link(path, other)
        except OSError:
            pytest.fail("this file system has no links")
        with at(path) as one, at(other) as two:
            for number in range(5):
                add(one, f"one-{number}")
                add(two, f"two-{number}")
            assert one.ids() == two.ids()
            assert len(one) == 10
            assert one.verify().ok


class TestWhatDependsOnTheState:
    """Read and written under one lock."""

    def test_exclusive_counts_right_across_processes(self, path: Path) -> None:
        with at(path) as memory:
            add(memory, "counter")
        code = """
            with Memory.open(path, "a", embedder="given") as memory:
                for _ in range(20):
                    with memory.exclusive():
                        number = memory.get("counter").metadata["number"]
                        memory.update("counter", metadata={"number": number + 1})
        """
        processes(code, path, 4)
        with at(path) as memory:
            assert memory.get("counter").metadata["number"] == 80
            assert memory.ids() == ["counter"]

    def test_exclusive_counts_right_across_threads_of_one_memory(self, path: Path) -> None:
        with at(path) as memory:
            add(memory, "counter")

            def count(_: int) -> None:
                for _ in range(10):
                    with memory.exclusive(), memory.exclusive():
                        number = memory.get("counter").metadata["number"]
                        memory.update("counter", metadata={"number": number + 1})

            together(count, 8)
            assert memory.get("counter").metadata["number"] == 80

    def test_an_id_that_all_write_is_there_once(self, path: Path) -> None:
        code = """
            with Memory.open(path, "a", embedder="given") as memory:
                for number in range(20):
                    memory.add([f"{name} {number}"] * 2, ids=["same", name], vectors=[[1.0, 0.0]] * 2)
        """
        processes(code, path, 4)
        with at(path) as memory:
            assert sorted(memory.ids()) == ["0", "1", "2", "3", "same"]
            assert len(list(memory)) == 5
            assert {hit.id for hit in memory.search([1.0, 0.0], k=50)} == {"0", "1", "2", "3", "same"}
            assert len(memory.history()) == 80

    def test_half_an_update_by_another_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "embedded.mp4"
        with Memory.create(path, embed) as one, Memory.open(path, "a", embedder=embed) as two:
            one.add(["a text"], [{"number": 1}], ids=["a"])
            one.update("a", metadata={"number": 7})
            two.update("a", text="another text")
            assert (one.get("a").text, one.get("a").metadata) == ("another text", {"number": 7})

    def test_deleting_counts_what_was_there(self, path: Path) -> None:
        with at(path) as memory:
            for number in range(50):
                add(memory, str(number), number)
        code = """
            with Memory.open(path, "a", embedder="given") as memory:
                print(sum(memory.delete(where={"number": {"$gte": low, "$lt": low + 20}}) for low in range(0, 50, 10)))
        """
        assert sum(map(int, processes(code, path, 4))) == 50


class TestWaiting:
    def test_it_names_who_holds_the_lock(self, path: Path, holder: Process) -> None:
        with at(path, timeout=0.05) as memory:
            with pytest.raises(LockedError, match=f"process {holder.pid} "):
                add(memory, "a")
            assert memory.ids() in ([], ["mine"])
            with pytest.raises(LockedError), memory.exclusive(timeout=0):
                pass

    def test_it_ends_with_the_holder(self, path: Path, holder: Process) -> None:
        with at(path, timeout=60) as memory:
            releasing = threading.Timer(0.1, holder.communicate)
            releasing.start()
            add(memory, "a")
            releasing.join()
            assert memory.ids() == ["mine", "a"]

    def test_it_ends_when_the_holder_is_killed(self, path: Path, holder: Process) -> None:
        with at(path, timeout=60) as memory:
            holder.kill()
            add(memory, "a")
            assert memory.ids() == ["mine", "a"]
            assert memory.verify().ok

    def test_readers_do_not_wait(self, path: Path, holder: Process) -> None:
        with Memory.open(path, embedder="given", timeout=0.05) as reader:
            assert reader.ids() in ([], ["mine"])
            with pytest.raises(ReadOnlyError):
                reader.exclusive().__enter__()

    @pytest.mark.parametrize("timeout", [-1, float("nan"), "soon", True])
    def test_a_timeout_is_a_number_of_seconds(self, path: Path, timeout: object) -> None:
        with pytest.raises(InvalidInputError):
            at(path, timeout=timeout)


class TestTheFileItself:
    @pytest.mark.parametrize("bytes_", [1, 100, 3000])
    @pytest.mark.skipif(os.name == "nt", reason="Windows cuts no open file")
    def test_that_another_program_cut_is_not_written_to(self, path: Path, bytes_: int) -> None:
        with at(path) as memory:
            for number in range(9):
                add(memory, str(number))
            size = path.stat().st_size - bytes_
            os.truncate(path, size)
            with pytest.raises(StorageError):
                add(memory, "lost")
            assert path.stat().st_size == size

    @pytest.mark.skipif(os.name == "nt", reason="Windows deletes no open file")
    def test_that_another_program_deleted_is_not_written_to(self, path: Path) -> None:
        with at(path) as memory:
            add(memory, "a")
            path.unlink()
            with pytest.raises(StorageError):
                add(memory, "lost")
            assert not path.exists()

    @needs_fork
    def test_a_fork_refuses_and_holds_no_lock(self, path: Path) -> None:
        code = """
            import os
            memory = Memory.open(path, "a", embedder="given")
            with memory.exclusive():
                child = os.fork()
                if child == 0:
                    try:
                        memory.ids()
                    except ClosedError:
                        os._exit(7)
                    os._exit(0)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                memory.add(["text"], ids=["a"], vectors=[[1.0, 0.0]])
        """
        assert processes(code, path) == ["7"]
        with at(path) as memory:
            assert memory.ids() == ["a"]

    def test_closed_means_closed(self, path: Path) -> None:
        memory = at(path)
        memory.close()
        with pytest.raises(ClosedError), memory.exclusive():
            pass


def together(work: Callable[[int], None], count: int) -> None:
    """Run a function in so many threads."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- files that are replaced while they are opened ---


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(["one", "two"], ids=["a", "b"])
    return path


@pytest.mark.parametrize("error", [StorageError("?"), IndexStaleError("?"), sqlite3.OperationalError("disk I/O error")])
def test_a_memory_opens_although_others_replace_its_file_and_delete_the_index_of_the_old_one(
    compacted: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    disturbed = 0

    def open_index(*arguments: Any, **options: Any) -> IndexedJournal:
        nonlocal disturbed
        if disturbed < 3:
            disturbed += 1
            with monkeypatch.context() as undisturbed:
                undisturbed.setattr(opening, "IndexedJournal", IndexedJournal)
                with Memory.open(compacted, "a", embedder=embed) as other:
                    other.compact()
            raise error
        return IndexedJournal(*arguments, **options)

    monkeypatch.setattr(opening, "IndexedJournal", open_index)
    with Memory.open(compacted, embedder=embed) as memory:
        assert sorted(memory.ids()) == ["a", "b"]
    assert disturbed == 3


def test_an_index_that_fails_although_nobody_replaced_the_file_is_an_error(
    compacted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fail(*arguments: object, **options: object) -> None:
        calls.append(1)
        raise IndexStaleError("?")

    monkeypatch.setattr(opening, "IndexedJournal", fail)
    with pytest.raises(StorageError, match="delete its index folder"):
        Memory.open(compacted, embedder=embed)
    assert calls == [1]
