"""A file that grows, on systems without ``pwrite``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memvid_core.index.vectors.growing_file import GrowingFile


def test_writes_without_pwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pwrite", raising=False)
    file = GrowingFile(tmp_path / "a", writable=True)
    file.write(3, memoryview(b"def"))
    file.write(0, memoryview(b"abc"))
    assert file.span(0, 6).tobytes() == b"abcdef"
    file.close()
