"""Executors: open memories are bounded, a late shard is named, and another executor gives the same answers."""

from __future__ import annotations

import pickle
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memvid_core import ClosedError, IncompleteSearchError, InvalidInputError, Library, ThreadExecutor
from memvid_core.engine.shard import ShardReader
from memvid_core.library.executor import Questions
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records
from tests.processes import FORKS, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(records(60), rows_per_shard=5)
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
                library.search("wing heat", k=60, timeout=1.0)
        finally:
            goes_on.set()
        assert slow in caught.value.report.failed
        assert len(caught.value.hits) == len(wanted) - 5 * len(caught.value.report.failed)
        assert plain(library.search("wing heat", k=60, timeout=None)) == wanted


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
