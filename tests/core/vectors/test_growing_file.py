"""A file that grows, on systems without ``pwrite``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from memvid_core.vectors.growing_file import GrowingFile, factors


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


def test_the_factors_of_checksums_are_those_of_every_index_written_so_far() -> None:
    known = [0x23647A4BA138A273, 0x4E38C9A79BFFED3F, 0x1172F6986A1FAEF5]
    assert factors(3).tolist() == known
    np.testing.assert_array_equal(factors(500)[:3], factors(3))
    assert (factors(500) % 2 == 1).all()
    assert len(set(factors(500).tolist())) == 500
