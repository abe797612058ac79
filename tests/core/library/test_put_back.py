"""A library that was put back or made again under an open one: its version numbers are used again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from langchain_memvid import MemvidVectorStore
from llama_index_memvid import MemvidVectorStore as NodeStore
from memvid_core import DamagedLibraryError, Library


def made(path: Path, *texts: str) -> None:
    """Make a library with one version for each text."""
    with Library.create(path) as library:
        for number, text in enumerate(texts):
            library.add([text], ids=[f"{text}-{number}"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made(tmp_path / "books", "first", "lost")
    return tmp_path / "books"


def put_back(path: Path) -> None:
    """Put back the copy of version 1, and commit another version 2."""
    with Library.open(path, as_of=1) as first:
        (file,) = (shard.file for shard in first.shards())
    for name in ("manifest/00000000000000000002.json", "manifest/00000000000000000002.committed"):
        (path / name).unlink()
    for shard in (path / "shards").glob("*.mp4"):
        if shard.name != Path(file).name:
            shard.unlink()
            shutil.rmtree(f"{shard}.index")
    with Library.open(path) as library:
        library.add(["other"], ids=["other-1"])
        assert library.version == 2


@pytest.mark.parametrize("call", ["refresh", "add", "compact", "vacuum"])
def test_another_version_of_the_same_number_is_noticed(path: Path, call: str) -> None:
    with Library.open(path) as library:
        assert library.search("lost", k=1)[0].id == "lost-1"
        put_back(path)
        for _ in range(2):
            with pytest.raises(DamagedLibraryError, match="restored meanwhile"):
                getattr(library, call)(*([["more"]] if call == "add" else []))
    with Library.open(path) as library:
        assert sorted(library.ids()) == ["first-0", "other-1"]
        library.add(["more"], ids=["more-2"])
        assert library.verify().ok


def test_stores_do_not_find_what_was_lost(path: Path) -> None:
    with MemvidVectorStore(path=path) as store, NodeStore(path) as nodes:
        assert "lost" in {found.page_content for found in store.similarity_search("lost")}
        put_back(path)
        for ask in (lambda: store.similarity_search("lost"), lambda: store.get_by_ids(["lost-1"]), nodes.get_nodes):
            with pytest.raises(DamagedLibraryError, match="open the library again"):
                ask()
    with MemvidVectorStore(path=path) as store:
        assert sorted(found.page_content for found in store.similarity_search("lost", k=9)) == ["first", "other"]


def test_a_library_that_was_made_again_is_another_one(path: Path) -> None:
    with MemvidVectorStore(path=path) as store:
        store.similarity_search("lost")
        shutil.rmtree(path)
        made(path, "new", "newer")
        for _ in range(2):
            with pytest.raises(DamagedLibraryError, match="open it again"):
                store.similarity_search("lost")
        with pytest.raises(DamagedLibraryError, match="open it again"):
            store.add_texts(["more"])
    with MemvidVectorStore(path=path) as store:
        assert sorted(found.page_content for found in store.similarity_search("new", k=9)) == ["new", "newer"]


def test_a_manifest_that_was_copied_is_the_same_version(path: Path) -> None:
    with Library.open(path) as library:
        manifest = path / "manifest" / "00000000000000000002.json"
        shutil.copyfile(manifest, path / "copy")
        (path / "copy").replace(manifest)
        shutil.rmtree(path / "shards")  # what is open already answers
        assert library.refresh() == 2
        assert library.version == 2


def test_another_object_of_the_same_number_is_read() -> None:
    with Library.create("memory://put-back/books", storage_options={}) as writer:
        writer.add(["first"], ids=["first"])
        writer.add(["lost"], ids=["lost"])
        with Library.open("memory://put-back/books", storage_options={}) as reader:
            import fsspec

            fs = fsspec.filesystem("memory")
            for kind in ("json", "committed"):
                fs.rm(f"/put-back/books/manifest/00000000000000000002.{kind}")
            with Library.open("memory://put-back/books", storage_options={}) as other:
                other.add(["another"], ids=["another"])
                assert other.version == 2
            with pytest.raises(DamagedLibraryError, match="restored meanwhile"):
                reader.refresh()
