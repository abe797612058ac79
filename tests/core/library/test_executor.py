"""Executors: open memories are bounded, a late shard is named, and another executor gives the same answers."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from memvid_core import (
    ClosedError,
    DamagedLibraryError,
    IncompleteSearchError,
    InvalidInputError,
    Library,
    ThreadExecutor,
)
from memvid_core.engine.search_request import Mode
from memvid_core.engine.shard import ShardReader
from memvid_core.library import executor as executors
from memvid_core.library.executor import Failure, OpenShards, Questions, ShardRef
from memvid_core.library.objects import Objects
from memvid_core.system.shared_work import split_over_cores
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records
from tests.processes import FORKS, run

SOME = records(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=5)
    return tmp_path / "library"


class Elsewhere:
    """An executor whose questions and answers are copied, as between processes."""

    def __init__(self) -> None:
        self._threads = ThreadExecutor()

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        sent = pickle.loads(pickle.dumps(list(questions)))
        answers: list[Any] = pickle.loads(pickle.dumps(self._threads.ask(call, sent, timeout)))
        return answers

    def close(self) -> None:
        self._threads.close()


def test_questions_and_answers_can_cross_processes(path: Path) -> None:
    elsewhere = Elsewhere()
    with (
        closing(elsewhere),
        Library.open(path, embedder=embed) as here,
        Library.open(path, embedder=embed, executor=elsewhere) as there,
    ):
        options: list[dict[str, Any]] = [
            {},
            {"mode": "dense", "with_vectors": True},
            {"explain": True, "synonyms": {"wing": "heat"}},
        ]
        for option in options:
            assert plain(there.search("wnig barim", **option)) == plain(here.search("wnig barim", **option))
        assert there.ids(order_by="year") == here.ids(order_by="year")
        there.delete("r3")
        assert here.refresh() == 2


def test_open_memories_are_bounded_whatever_is_asked(path: Path) -> None:
    executor = ThreadExecutor(open_shards=3, threads=8)
    with (
        closing(executor),
        Library.open(path, embedder=embed) as plenty,
        Library.open(path, embedder=embed, executor=executor) as few,
    ):
        wanted = plain(plenty.search("wing heat"))
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(3):
                    assert plain(few.search("wing heat", timeout=None)) == wanted
                    assert executor.open_count <= 3
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
    assert executor.open_count == 0


def test_more_memories_stay_open_as_long_as_their_files_are_small_together(path: Path) -> None:
    with Library.open(path, embedder=embed) as library:
        refs = library._state.shards.refs
        sizes = [ref.entry.bytes for ref in refs]
    shards = OpenShards(2, 5, sum(sizes[:4]))
    counts = []
    for ref in refs[:6]:
        with shards.leased(ref):
            counts.append(shards.count)
        assert shards.has(ref)
    assert counts[:4] == [1, 2, 3, 4]
    assert max(counts) <= 5
    assert shards.count <= 4  # the fifth is too much
    other = refs[0]._replace(entry=replace(refs[0].entry, bytes=1))
    with pytest.raises(DamagedLibraryError), shards.leased(other):
        pass
    assert not shards.has(other)
    assert sum(map(shards.has, refs)) == shards.count
    shards.close()
    assert shards.count == 0


def test_a_late_shard_is_named_and_answers_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    whole = ShardReader.candidates
    with Library.open(path, embedder=embed) as library:
        wanted = plain(library.search("wing heat", k=60))
        slow = min(library.explain_shards())

        def late(reader: ShardReader, *arguments: Any) -> Any:
            if Path(reader._session.path).name == Path(slow).name:
                goes_on.wait()
            return whole(reader, *arguments)

        monkeypatch.setattr(ShardReader, "candidates", late)
        try:
            with pytest.raises(IncompleteSearchError, match="did not answer within") as caught:
                library.search("wing heat", k=60, timeout=2.0)
        finally:
            goes_on.set()
        assert slow in caught.value.report.failed
        assert len(caught.value.hits) == len(wanted) - 5 * len(caught.value.report.failed)
        assert plain(library.search("wing heat", k=60, timeout=None)) == wanted


class Late(ThreadExecutor):
    """Loses one more shard in each round, after the time of the round, or after a multiple of it."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self._times, self.rounds = times, list[float]()

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        answers = super().ask(call, questions)
        if timeout is not None:
            self.rounds.append(timeout)
            threading.Event().wait(self._times * timeout)
            answers[0] = Failure("it was late")
        return answers


def test_all_rounds_of_a_search_have_one_time_together(path: Path) -> None:
    with closing(Late(0.05)) as late, Library.open(path, embedder=embed, executor=late) as library:
        hits = library.search("wing heat", k=60, partial="allow", timeout=4.0)
        assert len(late.rounds) > 2
        waited = 0.0
        for seconds in late.rounds:
            assert seconds <= 0.8 * (4.0 - waited)
            waited += 0.05 * seconds
        assert "it was late" in hits.report.failed.values()


def test_a_search_whose_time_is_over_asks_nobody_and_says_so(path: Path) -> None:
    with closing(Late(2.0)) as late, Library.open(path, embedder=embed, executor=late) as library:
        with pytest.raises(IncompleteSearchError, match=r"12 of 12 shards with 60 records did not answer") as caught:
            library.search("wing heat", k=60, timeout=1.0)
        assert len(late.rounds) == 1
        assert caught.value.hits == []
        [first, *others] = caught.value.report.failed.values()
        assert (first, {*others}) == (
            "it was late",
            {"the 1 seconds of the search were over; a larger timeout= waits for it"},
        )
        late.rounds.clear()
        with pytest.raises(IncompleteSearchError, match="the 0 seconds of the search were over"):
            library.search("wing heat", timeout=0)
        assert late.rounds == []


def test_nobody_asks_the_other_shards_of_a_question_that_was_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    asked: list[ShardRef] = []

    def slow(shard: ShardRef) -> None:
        asked.append(shard)
        goes_on.wait()

    with Library.open(path, embedder=embed) as library, closing(ThreadExecutor(threads=1)) as executor:
        monkeypatch.setattr(executor._shards, "leased", nullcontext)
        monkeypatch.setattr(ShardRef, "check", slow, raising=False)
        answers = executor.ask("check", [(ref, ()) for ref in library._state.shards.refs], 0.05)
        assert all(isinstance(answer, executors.Failure) for answer in answers)
        goes_on.set()
        assert executor._pool is not None
        executor._pool.shutdown(wait=True)
    assert len(asked) == 1


FORK = """if True:
    import os, sys
    from memvid_core import ClosedError, Library
    from tests.core.embedders import embed
    library = Library.open(sys.argv[1], embedder=embed)
    library.search("wing")
    if not os.fork():
        try:
            library.search("wing")
        except ClosedError as error:
            print("fork of it" in str(error), flush=True)
        library.close()
        os._exit(0)
    os.wait()
    print(len(library.search("wing")))
    library.close()
"""


@pytest.mark.skipif(not FORKS, reason="the system does not fork")
def test_a_fork_opens_the_library_itself(path: Path) -> None:
    assert run(FORK, path).stdout.split() == ["True", "5"]


def test_a_closed_executor_and_wrong_numbers(path: Path) -> None:
    executor = ThreadExecutor()
    executor.close()
    with pytest.raises(ClosedError):
        executor.ask("check", [])
    for wrong in ({"open_shards": 0}, {"threads": -1}, {"threads": True}):
        with pytest.raises(InvalidInputError):
            ThreadExecutor(**wrong)


class Recorded(ThreadExecutor):
    """Records which shards are asked what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        self.asked += [(call, ref.entry.name) for ref, _ in questions]
        return super().ask(call, questions, timeout)


def test_a_commit_asks_small_shards_only_that_are_new_or_have_its_ids(tmp_path: Path) -> None:
    executor = Recorded()
    with Library.create(tmp_path / "library", embed, executor=executor) as library:
        library.build(SOME, rows_per_shard=10)
        library.add(["one"], ids=["one"])
        executor.asked.clear()
        library.add(["two"], ids=["two"])
        newest = [each.file for each in library.shards()[-2:]]  # the one before was not asked for all its ids yet
        assert {f"shards/{name}.mp4" for _, name in executor.asked} == {*newest}
        executor.asked.clear()
        library.add(["three"], ids=["r3"])
        files = [each.file for each in library.shards()]
        assert {f"shards/{name}.mp4" for _, name in executor.asked} == {files[0], *files[-2:]}
        assert library.get("r3").text == "three"
        with Library.open(tmp_path / "library", embedder=embed) as other:
            other.add(["four", "five"], ids=["two", "four"])
        library.add(["six"], ids=["four"])
        assert [library.get(name).text for name in ("one", "two", "four")] == ["one", "four", "six"]
        with Library.create(tmp_path / "again", embed) as again:
            again.build(list(library), rows_per_shard=50)
            for question in ("wing", "two four", "heat of a shock"):
                hits = [(hit.id, hit.score) for hit in again.search(question, 9)]
                assert [(hit.id, hit.score) for hit in library.search(question, 9)] == hits
    executor.close()


def test_shards_that_are_open_are_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=5)
        count = len(library.shards())
    opened: list[str] = []
    real = executors.opened_shard

    def counting(objects: Objects, ref: ShardRef) -> Any:
        opened.append(ref.entry.name)
        return real(objects, ref)

    monkeypatch.setattr(executors, "opened_shard", counting)
    executor = ThreadExecutor(open_shards=count - 2, threads=1)
    with Library.open(tmp_path / "library", embedder=embed, executor=executor) as library:
        wanted = library.ids()
        opened.clear()
        assert library.ids() == wanted
        assert len(opened) <= 4  # two rounds, in each of which two shards are not open
    executor.close()


def test_a_late_shard_keeps_no_other_from_answering(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    whole = ShardReader.check
    with Library.open(path, embedder=embed) as library, closing(ThreadExecutor(threads=2)) as executor:
        questions = [(ref, ()) for ref in library._state.shards.refs]
        for _ in range(20):  # it is known now that one thread is enough for them
            assert executor.ask("check", questions) == [None] * len(questions)
        slow = Path(min(library.explain_shards())).name

        def late(reader: ShardReader) -> None:
            if Path(reader._session.path).name == slow:
                goes_on.wait()
            whole(reader)

        monkeypatch.setattr(ShardReader, "check", late)
        answers = executor.ask("check", questions, 1.0)
        goes_on.set()
    failed = [Path(ref.entry.file).name for (ref, _), answer in zip(questions, answers, strict=True) if answer]
    assert failed == [slow]


class Working(ThreadExecutor):
    """Work for a while in place of asking a shard."""

    def __init__(self, seconds: float) -> None:
        super().__init__(threads=4)
        self.seconds = seconds

    def _answer(self, ref: ShardRef, call: str, arguments: tuple[Any, ...]) -> Any:
        ends = time.thread_time() + self.seconds
        while time.thread_time() < ends:
            pass
        return super()._answer(ref, call, arguments)


class Splitting(ThreadExecutor):
    """Note into how many parts work is split that is done in place of asking a shard."""

    def __init__(self) -> None:
        super().__init__(threads=4)
        self.parts: list[int] = []

    def _answer(self, ref: ShardRef, call: str, arguments: tuple[Any, ...]) -> Any:
        parts: list[int] = []
        split_over_cores(lambda first, last: parts.append(last - first), 64)
        self.parts.append(len(parts))
        return super()._answer(ref, call, arguments)


def test_only_a_single_shard_splits_its_work_over_all_cores(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    with Library.open(path, embedder=embed) as library, closing(Splitting()) as executor:
        questions = [(ref, ()) for ref in library._state.shards.refs]
        for asked, parts in ((questions, 1), (questions[:2], 2), (questions[:1], 4)):
            executor.parts.clear()
            executor.ask("check", asked)
            assert executor.parts == [parts] * len(asked)
        alone = executor._costs["check", ""]
        while alone.threads(len(questions), 4)[0] > 1:
            alone.learn(1, 1e-6)
        executor.parts.clear()
        executor.ask("check", questions)
        assert set(executor.parts) == {1}


def test_shards_that_take_longer_than_before_are_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    with Library.open(path, embedder=embed) as library, closing(Working(0.0)) as executor:
        questions = [(ref, ()) for ref in library._state.shards.refs]
        executor.ask("check", questions)
        costs = executor._costs["check", ""]
        for _ in range(20):
            threads, _ = costs.threads(len(questions), 4)
            costs.learn(threads, 0.0001 if threads == 1 else 0.0003)
        threads, usual = costs.threads(len(questions), 4)
        assert threads == 1
        executor.seconds = 0.03 / len(questions)  # the one thread is late, so that the others help
        for _ in range(5):
            executor.ask("check", questions)
        assert costs.threads(len(questions), 4)[1] > usual  # now it is known


def test_a_question_that_waits_for_a_thread_ends_when_the_executor_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, goes_on = threading.Semaphore(0), threading.Event()
    whole = ShardReader.check

    def late(reader: ShardReader) -> None:
        goes_on.wait()
        whole(reader)

    def waited(*arguments: Any) -> Any:
        waits.release()
        return wait(*arguments)

    with Library.open(path, embedder=embed) as library:
        questions = [(ref, ()) for ref in library._state.shards.refs]
    executor = ThreadExecutor(threads=1)
    assert executor.ask("check", questions) == [None] * len(questions)
    monkeypatch.setattr(ShardReader, "check", late)
    monkeypatch.setattr(executors, "wait", waited)
    raised: list[type[BaseException]] = []

    def ask() -> None:
        try:
            executor.ask("check", questions)
        except ClosedError as exc:
            raised.append(type(exc))

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in asking:
        thread.start()
        waits.acquire()
    executor.close()
    goes_on.set()
    for thread in asking:
        thread.join(60)
    assert raised == [ClosedError] * 3


_OUTLIVES = """
import sys, threading
from memvid_core import Library

library = Library.open(sys.argv[1])

def ask():
    threading.main_thread().join()
    print(*[hit.id for mode in ("lexical", "dense", "hybrid") for hit in library.search("wing", 3, mode=mode)])

threading.Thread(target=ask).start()
"""


def test_a_thread_that_outlives_the_main_one_still_gets_answers(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library") as library:
        library.build(records(60), rows_per_shard=20)
        expected = [hit.id for mode in get_args(Mode) for hit in library.search("wing", 3, mode=mode)]
    command = [sys.executable, "-c", _OUTLIVES, str(tmp_path / "library")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(expected)
