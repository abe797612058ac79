"""Five hundred shards where a process may open 1,024 files: all answer, and few are open at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from memvid_core import Library, Record
from memvid_core.library.manifest import commit_manifest, time_after
from tests.processes import environment

pytestmark = pytest.mark.long

SHARDS, LIMIT = 500, 1_024

ASKED = f"""if True:
    import json, os, sys, time
    from memvid_core import Library, ThreadExecutor
    try:
        import resource
    except ImportError:  # Windows has no such limit: the number of open shards is given
        executor, most = ThreadExecutor(open_shards=40), 40
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))
        executor, most = ThreadExecutor(), {LIMIT} // 12
    begun = time.process_time()
    library = Library.open(sys.argv[1], executor=executor)
    found = {{"open": time.process_time() - begun}}

    def asked(name, where, mode):
        hits = library.search("wing lifts", 5, where, mode, timeout=None)
        assert 0 < executor.open_count <= most, executor.open_count
        found[name] = [hits.report.asked, hits.report.complete, len(hits), executor.open_count]

    asked("some", {{"part": 9}}, "dense")
    asked("all", None, "dense")
    asked("words", None, "lexical")
    asked("again", {{"part": 9}}, "lexical")
    library.close()
    executor.close()
    found["files"] = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    print(json.dumps(found))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A library of five hundred shards; eight of them have records of part 9."""
    path = tmp_path / "library"
    some = [Record(f"{part}-{n}", f"the wing {part} lifts {n}", {"part": part}) for part in range(10) for n in range(4)]
    with Library.create(path, partition_by=["part"]) as library:
        library.build(some, rows_per_shard=4)
        manifest, objects = library._state.manifest, library._place.objects
        entries = []
        for number in range(SHARDS):  # copies, which are made much faster than shards
            entry = manifest.shards[9 if number < 8 else number % 9]
            copied = replace(entry, name=f"{number:032x}")
            shutil.copy(path / entry.file, path / copied.file)
            shutil.copytree(f"{path / entry.file}.index", f"{path / copied.file}.index")
            entries.append(copied)
        rows, tokens = sum(entry.live for entry in entries), sum(entry.tokens for entry in entries)
        totals = replace(manifest.totals, rows=rows, tokens=tokens)
        many = replace(manifest, version=2, time=time_after(manifest.time), shards=tuple(entries), totals=totals)
        assert commit_manifest(objects, many)
    return path


def test_all_of_them_answer_in_a_process_that_may_open_few_files(path: Path) -> None:
    command = [sys.executable, "-c", ASKED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["open"] <= 1.0  # it reads one manifest, and opens no shard
    assert found["some"] == [8, True, 5, 8]
    assert found["all"][:3] == [SHARDS, True, 5]
    assert found["words"][:3] == [SHARDS, True, 5]
    assert found["again"][:3] == [8, True, 5]  # the words are counted already
    assert found["files"] < 30
