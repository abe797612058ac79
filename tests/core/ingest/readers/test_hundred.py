"""A hundred hostile files: each is read or named within its limits, and the rest goes in."""

from __future__ import annotations

from pathlib import Path

from memvid_core.ingest import read_many
from tests.core.ingest.readers.hundred import REFUSED, write_hundred

SECONDS, MEMORY = 20, 256 << 20


def test_a_hundred_hostile_files_among_good_ones(tmp_path: Path) -> None:
    hostile = write_hundred(tmp_path)
    assert len(hostile) >= 100
    files = []
    for number, path in enumerate(hostile):
        files.append(path)
        if number % 5 == 0:
            good = tmp_path / f"good{number}.txt"
            good.write_text(f"All is well with {number}.", encoding="utf-8")
            files.append(good)
    results = {result.path.name: result for result in read_many(files, timeout=SECONDS, memory_limit=MEMORY, workers=2)}
    assert len(results) == len(files)
    refused = {name for name, result in results.items() if not result.ok}
    assert refused >= REFUSED
    for name, result in results.items():
        text = "\n".join(chunk.text for chunk in result.chunks)
        assert "root:" not in text, name  # /etc/passwd
        assert "ha ha ha ha" not in text, name  # entities
        assert "seconds" not in str(result.error), name
        if name.startswith("good"):
            assert text == f"All is well with {name[4:-4]}."
        elif result.error is not None:
            assert str(result.error).startswith(f"{result.source}: ")
    assert not list(Path(tmp_path).parent.glob("outside.md"))
