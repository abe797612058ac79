"""Verified chunks stay in RAM up to a limit, and never answer for the chunks of another block."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core.words import postings
from memvid_core.words.postings import PostingStore


@pytest.mark.parametrize("limit", [1, 1 << 13, postings.KEPT_BYTES])
def test_kept_chunks_are_bounded_and_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(postings, "KEPT_BYTES", limit)
    store = PostingStore(tmp_path / "lexical.sqlite")
    try:
        for first in range(0, 2400, 800):
            store.append(first, [f"word{row} shared{row % 7} every" for row in range(first, first + 800)])
            done = first + 800
            for row in range(0, done, 37):
                with store.snapshot():
                    assert store.find(f"word{row}", limit=9)[0].rows.tolist() == [row]
                    shared = store.find(f"shared{row % 7}", limit=99)[0].rows.tolist()
                assert shared == list(range(row % 7, done, 7))
                largest = max(len(chunk.rows) * 3 + len(chunk.starts) * 12 for chunk in store._chunks.values())
                assert store._chunk_bytes <= max(limit, largest * 4)
    finally:
        store.close()
