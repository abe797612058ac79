"""Libraries that somebody else made, or of which a part is gone: an error says so, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import DamagedLibraryError, InvalidInputError, Library, MemvidError, Record, ThreadExecutor
from memvid_core.library.manifest import StoredEvidence
from memvid_core.library.objects import digest
from tests.core.embedders import embed
from tests.core.library.libraries import records

SOME = records(40)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "library"
    with Library.create(path, embed, partition_by=["year"]) as library:
        library.build(SOME, rows_per_shard=20)
        library.delete(["r1", "r30"])
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "library"))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a manifest or a description, with a checksum that matches."""
    content = json.loads(path.read_bytes())["content"]
    change(content)
    data = json.dumps(content).encode()
    path.write_bytes(b'{"checksum":"%s","content":%s}' % (digest(data).encode(), data))


def newest(path: Path) -> Path:
    return max((path / "manifest").glob("*.json"))


def used(path: Path) -> None:
    """Do everything with a library that a user does."""
    with Library.open(path, embedder=embed) as library:
        calls: list[Callable[[], object]] = [
            lambda: library.search("wing", k=60),
            lambda: library.search("wing", where={"year": {"$gt": 2000}}),
            lambda: library.mmr("wing"),
            library.info,
            library.history,
            library.ids,
            library.verify,
            lambda: len(library),
            lambda: library.get(["r0", "r39"]),
            lambda: library.add("new", ids="new"),
            lambda: library.delete("r2"),
        ]
        failed: list[MemvidError] = []
        for call in calls:
            try:
                call()
            except MemvidError as exc:
                failed.append(exc)
        if failed:
            raise failed[0]


def spoiled(content: dict[str, Any], field: str, name: str) -> None:
    """Put a name into the first shard of a manifest."""
    content["shards"][0][field] = name


NUMBERS = [-1, 1 << 63, 1 << 100, -(1 << 70), 10**30]


@pytest.mark.parametrize(
    "field", ["time", "added", "deleted", "dimension", "rows", "records", "live", "tokens", "bytes", "commit", "totals"]
)
def test_a_number_that_nothing_can_be_computed_with(path: Path, field: str) -> None:
    def change(content: dict[str, Any], number: int) -> None:
        at = content["totals"] if field == "totals" else content if field in content else content["shards"][0]
        at["rows" if field == "totals" else field] = number

    for number in NUMBERS:
        changed(newest(path), partial(change, number=number))
        with pytest.raises(DamagedLibraryError, match=newest(path).name):
            Library.open(path, embedder=embed)


@pytest.mark.parametrize("field", ["b", "alpha", "background", "spread", "spread_words"])
def test_a_weight_outside_of_its_range(path: Path, field: str) -> None:
    evidence = dict.fromkeys(StoredEvidence.__struct_fields__, 0.5) | {"records": 1_000}

    def change(content: dict[str, Any], number: float) -> None:
        content["evidence"] = evidence | ({field: number} if field in evidence else {})
        if field == "b":
            content["totals"]["b"] = number

    for number in (-5, -0.001, 0) if field.startswith("spread") else (-5, -0.001, 1.001, 9, 1e308):
        changed(newest(path), partial(change, number=number))
        with pytest.raises(DamagedLibraryError, match=newest(path).name):
            Library.open(path, embedder=embed)
    changed(newest(path), partial(change, number=0.5))
    with Library.open(path, embedder=embed) as library:
        assert library.search("wing")


@pytest.mark.parametrize("number", [1 << 20, 3])
def test_a_dimension_that_is_not_the_vectors(path: Path, number: int) -> None:
    changed(newest(path), lambda content: content.update(dimension=number))
    with pytest.raises(MemvidError):
        used(path)


def test_counts_that_contradict_each_other_and_a_shard_named_twice(path: Path) -> None:
    whole = newest(path).read_bytes()
    for change in (
        lambda content: content["shards"][0].update(live=21),
        lambda content: content["shards"][0].update(records=21),
        lambda content: content["shards"].append(content["shards"][0]),
    ):
        changed(newest(path), change)
        with pytest.raises(DamagedLibraryError, match="twice"):
            Library.open(path, embedder=embed)
        newest(path).write_bytes(whole)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", ".", "", "a/b", "x" * 32, "0" * 32 + "\n", "\0"])
def test_no_name_leads_out_of_the_library_or_of_the_cache(path: Path, tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache" / "inner"
    cache.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    objects = [*(path / "manifest").glob("*.json"), path / "library.json"]
    for one in objects:
        changed(one, lambda content: content.update({"library" if "library" in content else "id": name}))
    with pytest.raises(DamagedLibraryError):
        Library.open(path, embedder=embed, cache_dir=cache).search("wing")
    for one in objects:
        changed(one, lambda content: content.update({"library" if "library" in content else "id": "0" * 32}))
    whole = newest(path).read_bytes()
    for field in ("name", "deletes", "checksum"):
        if field == "name" or name:
            changed(newest(path), partial(spoiled, field=field, name=name))
            with pytest.raises(DamagedLibraryError):
                Library.open(path, embedder=embed, cache_dir=cache).search("wing")
            newest(path).write_bytes(whole)
    assert sorted(tmp_path.rglob("*")) == before


def test_versions_with_a_gap_as_large_as_a_name_allows(path: Path) -> None:
    far = path / "manifest" / f"{1 << 61:020}.json"
    shutil.copy(newest(path), far)
    changed(far, lambda content: content.update(version=1 << 61))
    (path / "manifest" / "7.json").write_text("no manifest")
    with Library.open(path, embedder=embed) as library:
        [damage] = library.verify().damage
        assert damage.name.endswith("3.json")
        assert damage.reason == f"is missing, and all up to version {(1 << 61) - 1}"


def test_a_library_whose_manifests_are_gone_is_not_empty(path: Path) -> None:
    with Library.open(path, embedder=embed) as library:
        gone = newest(path)
        content = gone.read_bytes()
        gone.unlink()
        uses: list[Callable[[], object]] = [library.refresh, lambda: library.add("x"), lambda: library.delete("r0")]
        for use in uses:
            with pytest.raises(DamagedLibraryError, match=gone.name):
                use()
        gone.write_bytes(content)
        assert library.refresh() == 2
        shutil.rmtree(path / "manifest")
        for use in (*uses[:2], lambda: Library.open(path, embedder=embed)):
            with pytest.raises(DamagedLibraryError, match="manifest is missing"):
                use()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["library.json", "manifest", "deletes"])
def test_an_object_that_is_no_file_is_not_waited_for(path: Path, name: str, kind: str) -> None:
    file = path / name if name == "library.json" else max((path / name).iterdir())
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    with pytest.raises(MemvidError, match=name):
        Library.open(path, embedder=embed).search("wing")


def test_one_executor_does_not_answer_for_another_library(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    executor = ThreadExecutor()
    with (
        Library.open(path, embedder=embed, executor=executor) as one,
        Library.open(copy, embedder=embed, executor=executor) as other,
    ):
        assert len(one.search("wing", k=60)) == 38
        for file in other.explain_shards():
            (copy / file).unlink()
        assert not other.search("wing", partial="allow")
        assert len(one.search("wing", k=60)) == 38
    executor.close()


def test_arguments_of_other_types(path: Path, tmp_path: Path) -> None:
    one = SOME[0]
    with Library.open(path, embedder=embed) as library:
        given: list[Any] = [5, None, [(one,)], [()], [(one, None, 3)], [5], [one, None, one], [None]]
        for wrong in given:
            with pytest.raises(InvalidInputError):
                library.build(wrong, rows_per_shard=1)
        for vectors in (5, True, object()):
            with pytest.raises(InvalidInputError):
                library.add("text", vectors=vectors)  # type: ignore[arg-type]
        assert (library.version, len(library), library.verify().orphans) == (2, 38, ())
        nothing: Any = None
        library.build([(Record("none", "no metadata", nothing), np.ones(len(embed(["x"])[0])))])
        assert library.get("none").metadata == {}
    fields: list[Any] = [5, None, ["\ud800"]]
    for wrong in fields:
        with pytest.raises(InvalidInputError):
            Library.create(tmp_path / "other", partition_by=wrong)
    for name in ("cache_dir", "executor"):
        with pytest.raises(InvalidInputError, match=name):
            Library.open(path, embedder=embed, **{name: 5})  # type: ignore[arg-type]
