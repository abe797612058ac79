"""A file that grows, on systems without ``pwrite``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memvid_core.vectors.growing_file import GrowingFile


def test_writes_without_pwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pwrite", raising=False)
    file = GrowingFile(tmp_path / "a", writable=True)
    file.write(3, memoryview(b"def"))
    file.write(0, memoryview(b"abc"))
    assert file.span(0, 6).tobytes() == b"abcdef"
    file.close()


def test_a_file_that_is_collected_and_then_closed_closes_no_other(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "a", writable=True)
    file.write(0, memoryview(b"abc"))
    file.__del__()  # as the garbage collector calls it for a file in a cycle, before the owner of the file closes it
    other = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
    file.close()
    os.fstat(other)
    os.close(other)
