"""JSON files of others: what they would cost is looked at before it is paid."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from memvid_core import IngestError, InvalidInputError, Memory, MemoryNotFoundError, MemvidError, NotAMemoryError
from memvid_core.memvid_v1 import MemvidChat, MemvidRetriever, import_pair
from memvid_core.memvid_v1.json_files import read_json

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b'{"metadata":[' + b"[]," * (6 * MEGABYTE) + b"[]]}",
        b'{"metadata":[' + b"{}," * (6 * MEGABYTE) + b"{}]}",
        b"[" + b"0," * (8 * MEGABYTE) + b"0]",
        b"[" * 100_000,
        b"\xff\xfe" * 50,
        b'{"metadata": ' + b"9" * 100_000 + b"}",
    ],
    ids=["lists", "dicts", "numbers", "nested", "bytes", "digits"],
)
def test_what_would_fill_the_memory_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(IngestError):
            read_json(path, 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 16 * MEGABYTE
    finally:
        tracemalloc.stop()
    with Memory.create(":memory:") as memory, pytest.raises(MemvidError):
        import_pair(None, path, memory)


def test_a_large_file_of_texts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    entry = b'{"id":%d,"text":"Of wings, engines, and tails.","frame":%d,"length":30},'
    path.write_bytes(b'{"metadata":[' + b"".join(entry % (n, n) for n in range(400_000))[:-1] + b"]}")
    assert len(read_json(path, 1 << 30)["metadata"]) == 400_000
    with pytest.raises(IngestError, match="larger"):
        read_json(path, MEGABYTE)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes in folders are for others")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "index.json"
    os.mkfifo(pipe)
    with pytest.raises(IngestError, match="pipe"):
        read_json(pipe, MEGABYTE)
    with Memory.create(":memory:") as memory, pytest.raises(IngestError, match="pipe"):
        import_pair(None, pipe, memory)
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add("the wing lifts")
    with MemvidChat(path, llm_provider=None) as chat, pytest.raises(InvalidInputError, match="pipe"):
        chat.load_session(pipe)
    (tmp_path / "no.mp4").write_bytes(b"no memory")
    with pytest.raises(NotAMemoryError):
        MemvidRetriever(tmp_path / "no.mp4", pipe)


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(MemoryNotFoundError, match=r"none\.json"):
        read_json(tmp_path / "none.json", MEGABYTE)
