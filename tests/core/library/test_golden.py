"""A library that an earlier version wrote opens, says what it always said, and can be changed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from memvid_core import Library
from tests.core.embedders import embed
from tests.core.golden import library as golden


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shutil.unpack_archive(golden.PATH, tmp_path)
    return tmp_path / "library"


def test_it_holds_what_it_held(path: Path) -> None:
    gone = {golden.REPLACED.id, golden.DELETED}
    expected = [*(record for record in golden.BUILT if record.id not in gone), golden.ADDED, golden.REPLACED]
    with Library.open(path, embedder=embed) as library:
        assert [*library] == expected
        assert [version.change for version in library.history()] == ["build", "add", "add", "delete"]
        assert library.verify().ok
        for record in expected:
            for mode in ("dense", "lexical", "hybrid"):
                [hit] = library.search(record.text, k=1, where={"book": record.metadata["book"]}, mode=mode)
                assert hit.id == record.id
    with Library.open(path, embedder=embed, as_of=1) as past:
        assert [*past] == golden.BUILT


def test_it_is_changed(path: Path) -> None:
    with Library.open(path, embedder=embed) as library:
        before = library.ids()
        library.add("And one more.", ids="more")
        library.delete(["r3"])
        library.compact()
        assert library.ids() == [*(one for one in before if one != "r3"), "more"]
        assert library.info().shards == 3  # one of each book, and of no book
        assert library.verify().ok


def test_the_file_is_the_one_that_was_released() -> None:
    assert hashlib.sha256(golden.PATH.read_bytes()).hexdigest()[:16] == "dae7f2a36d7838d6"
