"""Files written by every version of the format open and say what they always said."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory
from tests.core.embedders import embed
from tests.core.golden import searched
from tests.core.golden.content import MANY, RECORDS, REPLACED

FILES = sorted((Path(__file__).parent / "golden").glob("format-*.mp4"))


@pytest.mark.parametrize("golden", FILES, ids=lambda path: path.stem)
def test_it_opens_and_holds_what_it_held(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    shutil.copy(golden, path)
    many = MANY if golden.stem >= "format-3" else []
    expected = [record for record in RECORDS if record[0] not in ("gone", "changed")] + [REPLACED, *many]
    with Memory.open(path, embedder=embed) as memory:
        assert [(record.id, record.text, record.metadata) for record in memory] == expected
        assert memory.info().description == "golden"
        assert memory.verify().ok
        vector = memory.get_vectors(["plain"])["plain"]
        assert np.array_equal(vector, embed([RECORDS[0][1]])[0].astype(np.float16))
        for name, text, _ in many:
            assert np.array_equal(memory.get_vectors([name])[name], embed([text])[0].astype(np.float16))
            assert memory.search(text, k=1, mode="dense")[0].id == name
    assert (b"memvid payload 1" in golden.read_bytes()) is bool(many)
    with Memory.open(path, embedder=embed, as_of=5) as past:
        assert [(record.id, record.text, record.metadata) for record in past] == RECORDS


@pytest.mark.parametrize("golden", FILES, ids=lambda path: path.stem)
def test_it_takes_more(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    shutil.copy(golden, path)
    before = path.read_bytes()
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.add("And one more.", ids="more")
        assert memory.verify().ok
    assert path.read_bytes()[: len(before)] == before


def test_the_first_embedder_answers_as_it_did(tmp_path: Path) -> None:
    """The fit is read from the file: rows are in the recorded order, with the recorded scores."""
    path = tmp_path / "m.mp4"
    shutil.copy(searched.PATH, path)
    expected = json.loads(searched.PATH.with_suffix(".json").read_text("utf-8"))
    with Memory.open(path) as memory:
        assert memory.info().embedder == "memvid-hash-v1:32"
        found = searched.answers(memory)
    assert list(found) == list(expected)
    for question, hits in expected.items():
        assert [record_id for record_id, _ in found[question]] == [record_id for record_id, _ in hits]
        scores, before = ([score for _, score in part] for part in (found[question], hits))
        np.testing.assert_allclose(scores, before, atol=1e-4)


def test_texts_that_are_added_later_are_embedded_with_the_fit_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    shutil.copy(searched.PATH, path)
    with Memory.open(path, "a") as memory:
        memory.add([record.text for record in memory.get(["r7"])], ids=["again"])
        vectors = memory.get_vectors(["r7", "again"])
    np.testing.assert_allclose(vectors["again"], vectors["r7"], atol=1e-3)


def test_the_files_are_the_ones_that_were_released() -> None:
    digests = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (*FILES, searched.PATH)}
    assert digests == {
        "format-1": "7cc422507a85094c",
        "format-2": "a52fcdf09f060d44",
        "format-3": "df519e3922e565e3",
        "embedder-1": "e0503cbccfc5d885",
    }
