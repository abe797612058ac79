"""A library built and searched by a local Ray of two workers, which die: the answers are those of one memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from memvid_core import (
    EmbedderWarning,
    EmbeddingError,
    HashingEmbedder,
    InvalidInputError,
    Ivf,
    Library,
    Memory,
    TextError,
)
from memvid_core.engine.search_request import Mode
from memvid_core.errors import ClosedError, IngestError
from memvid_core.library import Failure, ShardRef
from memvid_core.vectors.inverted_file import InvertedFile
from memvid_ray import RayExecutor, build, build_files
from memvid_ray.__main__ import main
from memvid_ray.columns import Columns
from memvid_ray.executor import _AT_ONCE, _PING, _SILENT, _Asking
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records
from tests.memvid_ray.killing import Held, Killing, Locked
from tests.memvid_ray.rows import FIELDS, SOME, rows
from tests.processes import environment

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:::ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes to the system
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATIENCE = ("RAY_agent_register_timeout_ms", "RAY_raylet_start_wait_time_s", "RAY_worker_register_timeout_seconds")
MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid")


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local Ray of two workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for name in PATIENCE:  # a machine that does much else starts processes slowly
        os.environ[name] = "600000" if name.endswith("_ms") else "600"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        import ray.data

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=80 << 20,
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()


def compared(memory: Memory, library: Library) -> None:
    """Ask both the same questions."""
    for mode in MODES:
        for question in ("wing heat", "대한마을 shock", "btas"):
            found = library.search(question, 9, mode=mode, timeout=120)  # a busy machine starts actors slowly
            assert plain(found) == plain(memory.search(question, 9, mode=mode))


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, Any]]]:
    """A bucket of a server that answers as S3 does, and the options for it."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "ada", "secret": "x"}
    options["client_kwargs"] = {"region_name": "us-east-1"}  # type: ignore[assignment]
    with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/shelf", method="PUT")):
        yield "s3://shelf/library", options
    running.stop()


def test_builds(
    ray: Any, bucket: tuple[str, dict[str, Any]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Workers die before, in and after the writing of shards: nothing is missing, and nothing is there twice.
    calls = tmp_path / "calls"
    calls.mkdir()
    dataset = ray.data.from_items(rows(), override_num_blocks=7)
    path = tmp_path / "library"
    report = build(dataset, path, metadata=FIELDS, embedder=Killing(calls, [1, 2, 4]), rows_per_shard=13)
    assert (report.version, report.shards, report.added) == (1, 5, 60)
    assert len(list(calls.iterdir())) == 5 + 3
    with (
        Library.open(path, embedder=Killing(calls)) as library,
        Memory.create(tmp_path / "one.mp4", Killing(calls)) as memory,
    ):
        memory.add([r.text for r in SOME], [r.metadata for r in SOME], [r.id for r in SOME])
        assert list(library) == SOME
        compared(memory, library)
        found = library.verify()
        assert found.ok
        assert len(found.orphans) == 3
        library.vacuum(timedelta(0))
        assert library.verify().orphans == ()
        assert list(library) == SOME

    # A second build replaces ids, and commits on what is there; an invalid record commits nothing.
    again = [{**row, "text": f"again {row['id']}"} for row in rows()[:5]]
    assert build(ray.data.from_items(again), path, metadata=FIELDS, embedder=Killing(calls)).deleted == 5
    for wrong, error in (([{"id": "x", "text": 5}], TextError), ([{"id": "x"}], InvalidInputError)):
        with pytest.raises((error, InvalidInputError)):
            build(ray.data.from_items(wrong), path, embedder=Killing(calls))
    with pytest.raises(InvalidInputError, match="whole number"):
        build(ray.data.from_items([{"id": None, "text": "a"}]), path, embedder=Killing(calls))
    wrongs: list[dict[str, Any]] = [{"rows_per_shard": 0}, {"sample": "all"}]
    for arguments in (*wrongs, {"num_cpus": -1}, {"num_cpus": "two"}, {"embedder": Locked()}):
        with pytest.raises(InvalidInputError):
            build(dataset, path if "embedder" not in arguments else tmp_path / "locked", **arguments)
    with pytest.raises(EmbeddingError, match="opened without it"), pytest.warns(EmbedderWarning):
        build(dataset, path)
    mixed = [*rows()[:20], {"id": "x", "text": None}]
    with pytest.raises(TextError):  # the shards of the other tasks are deleted
        build(ray.data.from_items(mixed, override_num_blocks=1), tmp_path / "mixed", embedder=embed, rows_per_shard=20)
    with Library.open(tmp_path / "mixed", embedder=embed) as library:
        assert library.verify().orphans == ()
    assert build(ray.data.from_items([]), tmp_path / "none", embedder=embed).version == 0
    numbered = [{"id": number, "text": text, "topic": "b"} for number, text in ((1, "a"), (2, "b"), (1, "c"))]
    build(ray.data.from_items(numbered), tmp_path / "numbered", metadata="topic", embedder=embed)
    with Library.open(tmp_path / "numbered", embedder=embed) as library:
        there = [(record.id, record.text, record.metadata) for record in library]
        assert there == [("1", "c", {"topic": "b"}), ("2", "b", {"topic": "b"})]  # as Memory.add has them
    with pytest.raises(InvalidInputError, match=r"ray\.data"):
        build(rows(), path)
    with Library.open(path, embedder=Killing(calls)) as library:
        assert (library.version, len(library)) == (3, 60)  # with the vacuum

    # Given vectors, in an object store, and no ids.
    url, options = bucket
    given = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    for column in ([list(map(float, one)) for one in given], list(given)):
        items = [{"text": record.text, "vector": one} for record, one in zip(SOME, column, strict=True)]
        target = f"{url}{len(column[0])}{type(column[0]).__name__}"
        dataset = ray.data.from_items(items, override_num_blocks=3)
        report = build(dataset, target, id=None, vector="vector", rows_per_shard=25, storage_options=options)
        assert (report.shards, report.added) == (3, 60)
        with Library.open(target, storage_options=options) as library:
            assert [record.text for record in library] == [record.text for record in SOME]
            for row in (0, 31, 59):
                hit = library.search(given[row], 1)[0]
                assert hit.record.text == SOME[row].text
            assert library.verify().ok

    # The built-in embedder is fitted once, to an even sample or to the first rows.
    many = records(300)
    items = [{"id": record.id, "text": record.text} for record in many]
    blocks = ray.data.from_items(items, override_num_blocks=7)  # and not the 200 of Ray, with a task for each
    for number, dataset in enumerate((blocks.materialize(), blocks.map(lambda row: row))):
        build(dataset, tmp_path / f"fitted {number}", rows_per_shard=100, sample=1000)
        with (
            Library.open(tmp_path / f"fitted {number}") as library,
            Memory.create(tmp_path / f"{number}.mp4") as memory,
        ):
            assert isinstance(library.embedder, HashingEmbedder)
            assert library.embedder.fitted
            memory.add([r.text for r in many], ids=[r.id for r in many])
            memory.refit()
            compared(memory, library)

    # Files.
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.md").write_text("# Wings\n\nThe wing lifts.")
    (folder / "b.txt").write_text("The engine hums.")
    capfd.readouterr()
    command = [str(folder), "-o", str(tmp_path / "files.library")]
    for wrong_index, code in (("tree", "1"), ("ivf:2", "1"), ("ivf:x", "2")):
        with pytest.raises(SystemExit, match=code):
            main([*command, "--index", wrong_index])
    capfd.readouterr()
    assert main([*command, "--index", "ivf:0.9"]) == 0
    assert "2 records in 1 shards" in capfd.readouterr().out
    assert build_files([folder], tmp_path / "files.library").deleted == 2
    with Library.open(tmp_path / "files.library") as library:
        [hit] = library.search("a lifting wing", 1)
        assert hit.id.endswith("a.md#0")
        assert hit.metadata["heading"] == "Wings"
    (folder / "c.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.raises(IngestError, match=r"c\.pdf"):
        build_files([folder], tmp_path / "files.library")
    with pytest.raises(SystemExit, match="1"):
        main(command)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="no files"):
        build_files(tmp_path / "empty", tmp_path / "files.library")


def test_workers_make_the_lists_of_an_inverted_file(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((800, 8_192)).astype(np.float32)
    dataset = ray.data.from_items([{"id": n, "text": f"text {n}", "v": vector} for n, vector in enumerate(vectors)])
    build(dataset, tmp_path / "library", vector="v", index=Ivf(recall=0.9))
    assert len([*tmp_path.rglob("*.lists")]) == 1
    monkeypatch.setattr(InvertedFile, "fit", None)  # no search makes them
    with Library.open(tmp_path / "library", embedder="given", index=Ivf(recall=0.9)) as library:
        assert library.search(vectors[7], k=1)[0].id == "7"
    with pytest.raises(InvalidInputError, match="index is"):
        build(dataset, tmp_path / "other", vector="v", index="tree")  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


DRIVER = """if True:
    import os, sys
    from pathlib import Path
    import ray, ray.data
    from memvid_ray import build
    from tests.memvid_ray.killing import Killing
    from tests.memvid_ray.rows import FIELDS, rows
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    embedder = Killing(Path(sys.argv[2]), [2], os.getpid())
    dataset = ray.data.from_items(rows(), override_num_blocks=7)
    build(dataset, sys.argv[3], metadata=FIELDS, embedder=embedder, rows_per_shard=13)
"""


def test_a_build_whose_driver_dies_commits_nothing_and_is_made_again(ray: Any, tmp_path: Path) -> None:
    calls, again, path = tmp_path / "calls", tmp_path / "again", tmp_path / "library"
    calls.mkdir()
    again.mkdir()
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run([sys.executable, "-c", DRIVER, address, calls, path], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    limit = time.monotonic() + 120
    while any(_alive(int(note.read_text() or 0)) for note in calls.iterdir()) and time.monotonic() < limit:
        time.sleep(0.05)  # Ray ends the workers of a driver that is gone
    with Library.open(path, embedder=Killing(again)) as library:
        assert (library.version, len(library)) == (0, 0)
    dataset = ray.data.from_items(rows(), override_num_blocks=7)
    report = build(dataset, path, metadata=FIELDS, embedder=Killing(again), rows_per_shard=13)
    assert (report.version, report.shards, report.added, report.deleted) == (1, 5, 60, 0)
    with Library.open(path, embedder=Killing(again)) as library:
        assert list(library) == SOME
        assert library.verify().ok
        library.vacuum(timedelta(0))
        assert library.verify().orphans == ()
        assert list(library) == SOME


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return state.rpartition(") ")[2][:1] != "Z"


def asked_of_another(ray: Any, executor: RayExecutor, ref: ShardRef, ask: Callable[[], None]) -> None:
    """Ask while an actor stands still, which no connection tells: its shards are asked of another until it answers."""
    slow = executor._actor_of(ref, 0)
    # It was killed just now.
    pid = ray.get(executor._actors[slow].pid.options(max_task_retries=-1).remote(), timeout=120)
    os.kill(pid, signal.SIGSTOP)
    try:
        ask()
        assert executor._living(ref, 0) == executor._actor_of(ref, 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    while not executor._is_up(slow):  # at first it may be told that the one before was killed
        assert ray.wait([executor._down[slow]], timeout=120)[0]
    assert executor._living(ref, 0) == slow
    ask()


def test_actors_answer_and_come_back(ray: Any, tmp_path: Path) -> None:
    path = tmp_path / "library"
    with Library.create(path, embed) as library, Memory.create(tmp_path / "one.mp4", embed) as memory:
        library.build(SOME, rows_per_shard=10)
        memory.add([r.text for r in SOME], [r.metadata for r in SOME], [r.id for r in SOME])

        def kill(executor: RayExecutor, ref: ShardRef) -> None:
            victim = executor._actors[executor._actor_of(ref, 0)]
            os.kill(ray.get(victim.pid.remote()), signal.SIGKILL)

        given: list[dict[str, Any]] = [{"replicas": 2}, {"replicas": 1, "max_restarts": 1}]
        for arguments in given:
            replicas = arguments["replicas"]
            executor = RayExecutor(actors=2, spares=0, **arguments)
            with Library.open(path, embedder=embed, executor=executor) as asked:
                compared(memory, asked)
                assert list(asked) == SOME
                [ref, *_] = asked._state.shards.refs
                kill(executor, ref)
                for _ in range(3):
                    hits = asked.search("wing heat", 9, partial="allow", timeout=60)
                    assert hits.report.complete
                    assert plain(hits) == plain(memory.search("wing heat", 9))
                with pytest.raises(InvalidInputError):
                    asked.search("wing", where={"$no": 1})
                if replicas == 2:
                    asked_of_another(ray, executor, ref, lambda: compared(memory, asked))
                if replicas == 1:
                    # Now it is gone for good: its shards are named, and not waited for longer than allowed.
                    kill(executor, ref)
                    hits = asked.search("wing heat", 60, mode="lexical", partial="allow", timeout=0.3)
                    assert ref.entry.file in hits.report.failed
                    assert hits.report.rows_missing == 10 * len(hits.report.failed)
                    failed = [name in hits.report.failed for name in library.explain_shards()]
                    missing = {record.id for number, record in enumerate(SOME) if failed[number // 10]}
                    assert missing.isdisjoint(hit.id for hit in hits)
                    assert isinstance(executor.ask("check", [(ref, ())], 0.0)[0], Failure)
            executor.close()
            executor.close()
            with pytest.raises(ClosedError):
                executor.ask("check", [(ref, ())])
    wrong = ({"actors": 0}, {"replicas": 3, "actors": 2}, {"max_restarts": -2}, {"replicas": True}, {"spares": -1})
    for arguments in wrong:
        with pytest.raises(InvalidInputError):
            RayExecutor(**arguments)


def test_whole_answers_whichever_actors_are_killed(ray: Any, tmp_path: Path, sized: Callable[[int, int], int]) -> None:
    path = tmp_path / "library"
    random = Random(7)
    with Library.create(path, embed) as library:
        library.build(SOME, rows_per_shard=10)
        expected = plain(library.search("wing heat", 9))
    for replicas in range(sized(2, 1), 3):
        executor = RayExecutor(actors=2, replicas=replicas)
        with Library.open(path, embedder=embed, executor=executor) as asked:

            def whole(asked: Library = asked) -> None:
                hits = asked.search("wing heat", 9, partial="allow", timeout=120)
                assert (hits.report.failed, plain(hits)) == ({}, expected)

            def kill(numbers: Iterable[int], executor: RayExecutor = executor) -> None:
                for number in numbers:
                    with suppress(ray.exceptions.RayError, ProcessLookupError):  # it is starting or dying
                        os.kill(ray.get(executor._actors[number].pid.remote(), timeout=120), signal.SIGKILL)

            def homes(executor: RayExecutor = executor, asked: Library = asked) -> list[int]:
                return [executor._actor_of(ref, 0) for ref in asked._state.shards.refs]

            with ThreadPoolExecutor() as threads:
                if replicas == 2:
                    whole()
                asking = threads.submit(whole)
                Event().wait(random.uniform(0, 0.1))  # any moment of the question, or of the opening of the shards
                kill((0, 1))  # all that have shards
                asking.result()
            kill((0, 1, 2))  # the spare one, and what has just been started again
            whole()
            ray.get([actor.pid.options(max_task_retries=-1).remote() for actor in executor._actors], timeout=120)
            whole()
            before = homes()
            kill(before[:1])
            for _ in range(3):
                whole()
                assert replicas == 2 or homes()[0] not in before  # the spare one has taken its place
        executor.close()


def test_an_actor_is_not_taken_for_dead_before_it_is_silent_and_a_spare_one_that_died_is_one_again(
    ray: Any, tmp_path: Path
) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(SOME, rows_per_shard=10)
        [ref, *_] = library._state.shards.refs
    executor = RayExecutor(actors=2, replicas=2)
    slow, other, spare = executor._actor_of(ref, 0), executor._actor_of(ref, 1), 2
    assert executor.ask("check", [(ref, ())]) == [None]
    pids = ray.get([actor.pid.remote() for actor in executor._actors], timeout=120)
    asking = _Asking("check", [(ref, ())], 120.0)
    os.kill(pids[slow], signal.SIGSTOP)
    try:
        sent = executor._sent(asking, {slow: [0]})
        assert executor._checked(_PING, asking, sent, {0}) == {}
        assert executor._living(ref, 0) == slow  # other questions are still asked of it
        assert executor._checked(_SILENT, asking, sent, {0}) == {other: [0]}
        assert executor._living(ref, 0) == other
    finally:
        os.kill(pids[slow], signal.SIGCONT)
    assert ray.get(executor._down[slow], timeout=120) == pids[slow]
    assert executor._living(ref, 0) == slow

    os.kill(pids[spare], signal.SIGKILL)
    with suppress(ray.exceptions.RayError):
        while True:  # until it is told of as killed
            executor._down[spare] = executor._actors[spare].pid.remote()
            ray.get(executor._down[spare], timeout=120)
    for _ in range(9):  # at first it may be told so again
        executor._has_died(slow)
        if spare not in executor._down:
            break
        ray.wait([executor._down[spare]], timeout=120)
    # It has taken a place, but no shard is open in it: it is asked when it has opened them.
    assert (executor._actor_of(ref, 0), executor._living(ref, 0)) == (spare, other)
    assert executor.ask("check", [(ref, ())]) == [None]
    assert ray.get(executor._cold[spare], timeout=120) == [None]
    assert executor._living(ref, 0) == spare
    executor.close()
    with pytest.raises(ClosedError):  # in the middle of a question
        executor._round(asking, {0: 0})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_an_actor_that_is_busy_says_that_it_is_there(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr("memvid_ray.executor.Opener", Held)
    executor = RayExecutor(actors=1, spares=0)
    [actor] = executor._actors
    held = [actor.hold.remote(str(gate)) for _ in range(_AT_ONCE)]
    assert ray.get(actor.pid.remote(), timeout=120) > 0
    assert ray.wait(held, num_returns=1, timeout=0)[0] == []
    with gate.open("wb"):
        ray.get(held, timeout=120)
    executor.close()


def test_lists_of_numbers_are_read_as_a_matrix_unless_they_differ() -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 3)
    lists = pa.array(matrix.astype(np.float64).tolist())
    for column in (fixed, lists, pa.chunked_array([fixed.slice(0, 1), fixed.slice(1)])):
        table = pa.table({"id": list("abcd"), "text": list("abcd"), "vector": column})
        found: list[Any] = [*Columns("text", "vector", "id", ()).records(table, 1, 4)]
        assert [record.id for record, _ in found] == list("bcd")
        assert [list(vector) for _, vector in found] == matrix[1:].tolist()
        assert all(isinstance(vector, np.ndarray) for _, vector in found)
    structs = pa.table({"text": ["a"], "vector": pa.array([{"of": [1.0, 2.0]}])})
    found = [*Columns("text", "vector", None, ()).records(structs, 0, 1)]
    assert [*found[0][1]] == ["of"]  # no vector, which a build says
    odds: list[Any] = [[[1.0, 2.0], None], [[1.0, 2.0], [3.0]], [[1.0, None], [3.0, 4.0]], [[], []], [[1, 2], [3, 4]]]
    for odd in odds:
        table = pa.table({"text": ["a", "b"], "vector": pa.array(odd)})
        found = [*Columns("text", "vector", None, ()).records(table, 0, 2)]
        assert [vector for _, vector in found] == odd


@pytest.mark.parametrize("wrong", [None, 2.5, True, b"b"])  # as many as are null would be one record
def test_an_id_that_is_no_string_and_no_whole_number_is_refused(wrong: object) -> None:
    columns = Columns("text", None, "id", ())
    with pytest.raises(InvalidInputError, match="whole number"):
        list(columns.records(pa.table({"id": [wrong], "text": ["a"]}), 0, 1))


def test_what_a_worker_does_not_need_is_not_imported() -> None:
    code = """if True:
        import sys
        import pyarrow as pa
        from memvid_ray.building import _write
        from memvid_ray.columns import Columns
        from memvid_ray.executor import Opener
        table = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "three"]})
        print([record.text for record in Columns("text", None, "id", ()).records(table, 1, 3)])
        print(*sorted({"ray.data", "memvid_core.ingest"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=False, capture_output=True, encoding="utf-8"
    )
    assert done.stdout == "['two', 'three']\n\n", done.stderr
