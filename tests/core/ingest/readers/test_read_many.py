from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest import Chunker, discover, read_many
from memvid_core.ingest.readers.worker_process import Limits
from memvid_core.ingest.readers.workers import ReaderPool
from tests.core.ingest import mixed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("mixed")
    return place, mixed.write_mixed(place, 14, damaged=3)


@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_files_are_named_and_the_rest_is_in(folder, workers):
    place, written = folder
    files = list(discover(place))
    results = list(read_many(files, Chunker(400), workers=workers))
    assert [result.path for result in results] == files
    by_path = {result.path: result for result in results}
    for file in written:
        result = by_path[file.path]
        if file.damaged:
            assert isinstance(result.error, IngestError)
            assert file.path.as_posix() in str(result.error)
        else:
            assert result.ok
            assert any(file.word in chunk.text for chunk in result.chunks)
            assert {chunk.metadata["source"] for chunk in result.chunks} == {file.path.as_posix()}


def test_processes_and_this_one_read_the_same(folder):
    files = [file.path for file in folder[1] if not file.damaged]
    here = list(read_many(files, workers=1, timeout=None, memory_limit=None))
    there = list(read_many(files, workers=2))
    assert here == there


def test_settings_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InvalidInputError, match="workers must be at least 1"):
        read_many([tmp_path / "gone"], workers=0)
    with pytest.raises(InvalidInputError, match="timeout must be above 0"):
        read_many([tmp_path / "gone"], timeout=0)


def test_a_missing_file_is_named_among_others(tmp_path):
    (tmp_path / "a.txt").write_text("here")
    first, second = read_many([tmp_path / "gone.pdf", tmp_path / "a.txt"], workers=2)
    assert "no such file" in str(first.error)
    assert second.chunks[0].text == "here"


def test_closing_early_ends_the_processes(folder):
    files = [file.path for file in folder[1]]
    before = set(threading.enumerate())
    results = read_many(files, workers=2)
    next(results)
    results.close()
    for thread in set(threading.enumerate()) - before:  # a timer that was called off is gone in a moment
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_a_reader_that_dies_names_its_file_and_the_next_goes_on(folder):
    file = next(file.path for file in folder[1] if not file.damaged and file.path.suffix == ".pdf")
    with closing(ReaderPool(1, Limits(60))) as pool:
        assert pool.read([file])[0].document is not None
        (reader,) = pool._all
        reader._process.kill()
        reader._process.wait()
        dead, alive = pool.read([file, file])
        assert "crashed" in dead.error
        assert alive.document is not None
    assert reader._process.poll() is not None


def test_a_reader_that_never_ends_is_ended(folder):
    file = next(file.path for file in folder[1] if not file.damaged and file.path.suffix == ".docx")
    with closing(ReaderPool(1, Limits(0.001))) as pool:
        (answer,) = pool.read([file])
    assert "took more than 0.001 seconds" in answer.error


def test_a_script_without_a_main_guard_does_not_start_over(folder, tmp_path):
    place, written = folder
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom memvid_core.ingest import discover, read_many\n"
        "print('started')\n"
        "print(sum(result.ok for result in read_many(discover(sys.argv[1]), workers=2)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, str(script), str(place)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.split() == ["started", str(sum(not file.damaged for file in written))]
    assert done.stderr == ""
    assert done.returncode == 0


if sys.platform != "win32":  # there a console sends Ctrl-C, not a process

    def test_ctrl_c_ends_everything(tmp_path):
        files = [tmp_path / f"{number}.txt" for number in range(40)]  # more than one request: both readers are started
        for file in files:
            file.write_text("Words.")
        script = tmp_path / "script.py"
        script.write_text(
            "import sys\nfrom memvid_core.ingest import read_many\n"
            "from memvid_core.ingest.readers import workers\n"
            "started = workers.subprocess.Popen\n"
            "def start(*args, **options):\n"
            "    process = started(*args, **options)\n"
            "    print(process.pid, flush=True)\n"
            "    return process\n"
            "workers.subprocess.Popen = start\n"
            "while True:\n"
            "    for result in read_many(sys.argv[1:], workers=2): pass\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen(
            [sys.executable, str(script), *map(str, files)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            readers = [int(process.stdout.readline()) for _ in range(4)]  # the second round has begun
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert "KeyboardInterrupt" in err
        assert process.returncode == -signal.SIGINT
        for pid in readers + [int(line) for line in out.split()]:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
