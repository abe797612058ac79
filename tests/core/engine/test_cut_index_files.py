"""Another program cuts files of an index that a process has open: no search may end the process (SIGBUS)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory
from memvid_core.model import IndexName
from tests.core.vectors.tuned import tune

ROWS, DIMENSION = 300, 24

_PROGRAM = f"""
import json, sys
import numpy as np
from memvid_core import Memory
from memvid_core.vectors import settings

settings.DEFAULTS = settings.VectorSettings(auto_floats=100 * {DIMENSION})
vectors = np.random.default_rng(0).standard_normal(({ROWS}, {DIMENSION})).astype(np.float32)


def answers(memory, row):
    words = memory.search(f"word{{row}}", k=1, mode="lexical")
    return [memory.search(vectors[row], k=1)[0].id, words[0].id, *memory.ids({{"n": row}}), memory.get(f"r{{row}}").id]


memories = [Memory.open(path, embedder="given", index=sys.argv[1]) for path in sys.argv[2:]]
for row in (7, 7, 250, {ROWS - 1}):
    print(json.dumps([answers(memory, row) == [f"r{{row}}"] * 4 for memory in memories]), flush=True)
    sys.stdin.readline()
for memory in memories:
    memory.close()
"""


@pytest.mark.parametrize(("index", "size"), [("quantized", 0), ("exact", 100)])
def test_a_search_survives_index_files_that_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: IndexName, size: int
) -> None:
    tune(monkeypatch, auto_floats=100 * DIMENSION)
    made = tmp_path / "made"
    made.mkdir()
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    with Memory.create(made / "m.mp4", "given", vector_dtype="int8", index=index) as memory:
        for rows in (range(ROWS - 1), range(ROWS - 1, ROWS)):
            memory.add(
                [f"word{i}" for i in rows], [{"n": i} for i in rows], [f"r{i}" for i in rows], vectors=vectors[rows]
            )
        memory.prepare()
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file() and path.suffix != ".mp4"]
    files += [file.with_name(f"{file.name}-shm") for file in files if file.suffix == ".sqlite"]
    copies = [shutil.copytree(made, tmp_path / str(number)) for number in range(len(files))]
    assert len(files) > 8
    command = [sys.executable, "-c", _PROGRAM, index, *(str(copy / "m.mp4") for copy in copies)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for turn in range(4):
            assert process.stdout.readline() == f"[{', '.join(['true'] * len(files))}]\n", turn
            if not turn:
                for copy, file in zip(copies, files, strict=True):
                    with contextlib.suppress(FileNotFoundError, PermissionError):  # Windows refuses some
                        os.truncate(copy / file, size)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
