"""Damage to a library: what is missing, cut, swapped or changed is named and counted, and never answered from."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import (
    DamagedLibraryError,
    IncompleteSearchError,
    Library,
    LibraryHits,
    Memory,
    MemoryFileError,
    MemvidError,
    Record,
    ThreadExecutor,
)
from memvid_core.library.executor import Failure, Questions
from memvid_core.library.manifest import read_description, read_manifest
from memvid_core.library.objects import LocalObjects
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records

SOME = records(60)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "library", embed) as made:
        made.build(SOME, rows_per_shard=20)
        made.delete(["r1", "r30"])
    with Library.open(tmp_path / "library", embedder=embed) as opened:
        yield opened


def shards(library: Library) -> list[Path]:
    """The files of the shards, in order."""
    return [Path(library.path, name) for name in library.explain_shards()]


def missing(path: Path, _: Path) -> None:
    path.unlink()


def cut(path: Path, _: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_by_a_byte(path: Path, _: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def swapped(path: Path, other: Path) -> None:
    shutil.copy(other, path)


def grown(path: Path, _: Path) -> None:
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.add("one more")


def emptied(path: Path, _: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def without_index(path: Path) -> None:
    shutil.rmtree(f"{path}.index", ignore_errors=True)


@pytest.mark.parametrize("index", ["beside it", "deleted"])
@pytest.mark.parametrize("damage", [missing, cut, cut_by_a_byte, swapped, grown, emptied])
def test_a_shard_that_is_not_what_was_committed(
    library: Library, damage: Callable[[Path, Path], None], index: str
) -> None:
    _, second, third = shards(library)
    whole = plain(library.search("wing heat", k=60, mode="lexical"))
    library.close()
    damage(second, third)
    if index == "deleted":
        without_index(second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage, too
        again = Library.open(library.path, embedder=embed)
        with pytest.raises(IncompleteSearchError, match=second.name) as caught:
            again.search("wing heat", k=60, mode="lexical")
        error = caught.value
        assert list(error.report.failed) == [f"shards/{second.name}"]
        assert (error.report.asked, error.report.answered, error.report.rows_missing) == (3, 2, 19)
        lost = {record.id for record in SOME[20:40]}
        assert {hit.id for hit in error.hits} == {one[0].id for one in whole} - lost
        found = again.search("wing heat", k=60, mode="lexical", partial="allow")
        assert plain(found) == plain(error.hits)
        assert found.report == error.report
        assert not found.report.complete
        for call in (lambda: again.get("r25"), lambda: again.select(), lambda: again.add("new", ids="r3")):
            with pytest.raises(MemoryFileError, match=second.name):
                call()
        report = again.verify()
        assert [(one.name, one.records) for one in report.damage] == [(f"shards/{second.name}", 19)]
        assert not report.ok
        assert report.orphans == ()
        again.close()


def test_a_changed_bit_is_named_and_what_parity_cannot_restore_is_not_answered_from(library: Library) -> None:
    whole = plain(library.search("wing heat", k=9))
    [first, *_] = shards(library)
    data = first.read_bytes()
    library.close()
    for at in range(0, len(data), len(data) // 9):
        first.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        without_index(first)
        with warnings.catch_warnings(), Library.open(library.path, embedder=embed) as again:
            warnings.simplefilter("ignore")
            [named] = again.verify().damage
            assert named.name == f"shards/{first.name}"
            found = again.search("wing heat", k=9, timeout=None, partial="allow")
            if found.report.complete:
                assert plain(found) == whole
            else:
                assert list(found.report.failed) == [f"shards/{first.name}"]
                assert found.report.rows_missing == 19
    first.write_bytes(data)
    without_index(first)
    with Library.open(library.path, embedder=embed) as again:
        assert plain(again.search("wing heat", k=9)) == whole
        assert again.verify().ok


def test_records_that_cannot_be_read_in_a_shard_that_is_open(library: Library) -> None:
    first = shards(library)[0]
    with Memory.open(first, embedder=embed) as memory:
        places = memory._session.snapshot().frames_of(memory.ids()).values()
    with first.open("r+b") as file:
        for place in places:
            file.seek(place.offset)
            file.write(bytes(place.size))
    with pytest.raises(IncompleteSearchError, match=first.name) as caught:
        library.search("wing heat", k=60)
    assert caught.value.report.rows_missing == 19
    assert {hit.id for hit in caught.value.hits}.isdisjoint({record.id for record in SOME[:20]})
    assert caught.value.hits


@pytest.mark.parametrize("folder", ["", "manifest", "deletes"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "other"])
def test_other_objects_are_checked_when_they_are_read(library: Library, folder: str, damage: str) -> None:
    root = Path(library.path)
    path = root / "library.json" if not folder else sorted((root / folder).iterdir())[-1]
    library.close()
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "changed":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    else:
        path.write_bytes(b"[]")
    name = path.relative_to(root).as_posix()

    def use() -> None:
        with Library.open(root, embedder=embed) as again:
            [damaged] = again.verify().damage
            assert damaged.name == name
            again.search("wing", k=60)

    with pytest.raises(MemvidError, match=re.escape(name)) as caught:
        use()
    if isinstance(caught.value, IncompleteSearchError):
        assert caught.value.report.rows_missing == 19
    elif damage != "missing":
        assert isinstance(caught.value, DamagedLibraryError)
        assert caught.value.name == name


def test_a_model_is_checked(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library") as made:
        made.build(records(300))
        [path] = Path(made.path, "models").iterdir()
        assert made.verify().ok
        data = path.read_bytes()
        for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), b""):
            path.write_bytes(damaged)
            with pytest.raises(DamagedLibraryError, match="models/"):
                Library.open(made.path)
            assert [one.name for one in made.verify().damage] == [f"models/{path.name}"]


def test_a_manifest_that_names_other_files_is_refused(library: Library) -> None:
    path = sorted(Path(library.path, "manifest").glob("*.json"))[-1]
    older = path.with_name(path.name.replace("2.json", "1.json"))
    shutil.copy(older, path)
    with pytest.raises(DamagedLibraryError, match="version 1"):
        Library.open(library.path)
    assert [one.name for one in library.verify().damage] == [f"manifest/{path.name}"]


def test_the_error_crosses_processes_whole(library: Library) -> None:
    shards(library)[0].unlink()
    library.close()
    with Library.open(library.path, embedder=embed) as again, pytest.raises(IncompleteSearchError) as caught:
        again.search("wing")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.report, plain(copy.hits)) == (
        str(caught.value),
        caught.value.report,
        plain(caught.value.hits),
    )


@pytest.mark.parametrize("folder", ["", "manifest"])
def test_a_flipped_bit_of_any_byte_of_a_manifest_and_of_the_description_is_named(library: Library, folder: str) -> None:
    root = Path(library.path)
    path = root / "library.json" if not folder else max((root / folder).iterdir())
    objects, data = LocalObjects.of(root), path.read_bytes()
    description = read_description(objects, str(root))

    def read() -> object:
        return read_manifest(objects, description, 2) if folder else read_description(objects, str(root))

    read()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with pytest.raises(DamagedLibraryError) as caught:
            read()
        assert caught.value.name == path.relative_to(root).as_posix()
    path.write_bytes(data)
    assert library.verify().ok


def test_a_manifest_of_another_library_under_the_same_name_is_refused(library: Library, tmp_path: Path) -> None:
    with Library.create(tmp_path / "other", embed) as other:
        other.build(SOME, rows_per_shard=20)
        other.delete(["r1", "r30"])
        library_id = other.info().id
    name = f"manifest/{2:020}.json"
    shutil.copy(tmp_path / "other" / name, Path(library.path, name))
    with pytest.raises(DamagedLibraryError, match=f"{name} is version 2 of the library {library_id}"):
        Library.open(library.path)
    assert [one.name for one in library.verify().damage] == [name]


@pytest.mark.parametrize("change", ["delete", "add"])
def test_a_manifest_of_a_copy_that_was_changed_otherwise_is_not_answered_from(library: Library, change: str) -> None:
    root, copy = Path(library.path), Path(library.path).with_name("copy")
    shutil.copytree(root, copy)
    with Library.open(copy, "a", embedder=embed) as other:
        if change == "delete":
            other.delete("r50")
        else:
            other.add("new", ids="new")
    name = f"manifest/{3:020}.json"
    shutil.copy(copy / name, root / name)
    with Library.open(root, embedder=embed) as again:
        with pytest.raises(IncompleteSearchError) as caught:
            again.search("wing heat", k=60, mode="lexical")
        assert len(caught.value.report.failed) == 1
        [damage] = again.verify().damage
        assert damage.name.startswith("deletes/" if change == "delete" else "shards/")


class Losing:
    """An executor that asks one shard after the other, and loses the candidates of one, or all that it answers."""

    def __init__(self) -> None:
        self._threads, self.lost, self.calls = ThreadExecutor(threads=1), "", {"candidates"}
        self.asked: list[str] = []

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        answers = []
        for question in questions:
            self.asked.append(call)
            [answer] = self._threads.ask(call, [question], timeout)
            lost = call in self.calls and question[0].entry.file == self.lost
            answers.append(Failure("it was lost") if lost else answer)
        return answers

    def close(self) -> None:
        self._threads.close()


def test_what_a_failed_shard_has_found_hides_no_hit_of_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = 2_500
    texts = [" ".join(["wing", *(["heat"] * int(rng.integers(0, 4)))]) for _ in range(2 * rows)]
    for row in (*range(0, 40), *range(rows, rows + 3)):
        texts[row] += " aileron" * (3 if row < rows else 1)
    given = [Record(str(row), text, {"part": row // rows}) for row, text in enumerate(texts)]
    with Library.create(tmp_path / "library", embed, partition_by=["part"]) as library:
        library.build(given, rows_per_shard=rows)
    losing = Losing()
    with closing(losing), Library.open(tmp_path / "library", embedder=embed, executor=losing) as library:
        losing.lost = library.shards_of(["0"])["0"]
        hits = library.search("aileron wing heat", 20, mode="lexical", partial="allow")
        assert isinstance(hits, LibraryHits)
        assert (hits.report.complete, len(hits)) == (False, 20)
        assert losing.asked.count("candidates") == 3  # the second shard twice
        assert {hit.metadata["part"] for hit in hits} == {1}
        losing.calls.add("counts")
        expected = library.search("aileron wing heat", 20, mode="lexical", partial="allow")
        assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in expected]
        assert losing.asked.count("candidates") == 6


def test_the_version_before_does_not_pass_for_a_newest_one_that_is_missing(library: Library, tmp_path: Path) -> None:
    manifests = tmp_path / "library" / "manifest"
    lost, kept = manifests / f"{2:020d}.json", tmp_path / "kept"
    assert library.version == 2
    early = Library.open(tmp_path / "library", embedder=embed, as_of=1)
    lost.rename(kept)
    for opening in (library.refresh, lambda: Library.open(tmp_path / "library", embedder=embed)):
        with pytest.raises(DamagedLibraryError, match=r"0002\.json is missing.*as_of=1"):
            opening()
    with Library.open(tmp_path / "library", embedder=embed, as_of=1) as before:
        assert len(before) == 60
    with early:
        [damage] = early.verify().damage
        assert damage.name == f"manifest/{lost.name}"
        assert "missing" in damage.reason
    kept.rename(lost)
    with Library.open(tmp_path / "library", embedder=embed) as whole:
        assert len(whole) == 58
        assert whole.verify().ok

    # A writer that died between the manifest and its witness has committed; going on without a version is a choice.
    witness = manifests / f"{2:020d}.committed"
    witness.unlink()
    with Library.open(tmp_path / "library", embedder=embed) as whole:
        assert (whole.version, len(whole), whole.verify().ok) == (2, 58, True)
    lost.unlink()
    with Library.open(tmp_path / "library", embedder=embed) as whole:
        assert (whole.version, len(whole)) == (1, 60)


def test_a_library_that_is_restored_under_a_writer_loses_nothing_that_is_committed_then(tmp_path: Path) -> None:
    path, backup = tmp_path / "library", tmp_path / "backup"
    with Library.create(path, embed) as library:
        library.add(["one"], ids=["1"])
        shutil.copytree(path, backup)
        library.add(["two"], ids=["2"])
        shutil.rmtree(path)
        shutil.copytree(backup, path)
        with Library.open(path, embedder=embed) as other:
            other.add(["another two"], ids=["a2"])
        assert other.version == library.version
        for change in (lambda: library.add(["three"]), lambda: library.delete(["1"]), library.compact):
            with pytest.raises(MemvidError):
                change()
        with pytest.raises(DamagedLibraryError, match="restored meanwhile"):
            library.add(["three"])
    with Library.open(path, embedder=embed) as library:
        assert library.ids() == ["1", "a2"]
        report = library.verify()
        assert (report.ok, report.orphans) == (True, ())


def test_a_manifest_that_is_created_while_names_are_listed_is_not_missed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LocalObjects.names

    def without_the_newest(objects: LocalObjects, folder: str) -> list[str]:
        return [name for name in whole(objects, folder) if name != f"{2:020d}.json"]

    monkeypatch.setattr(LocalObjects, "names", without_the_newest)
    with Library.open(library.path, embedder=embed) as opened:
        assert opened.version == 2


def test_a_vacuum_removes_the_witnesses_of_the_versions_that_it_removes(library: Library, tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", embedder=embed) as writer:
        writer.vacuum(timedelta(0))
        newest = writer.version
    told = sorted(path.name for path in (tmp_path / "library" / "manifest").glob("*.committed"))
    assert told == [f"{newest:020d}.committed"]
