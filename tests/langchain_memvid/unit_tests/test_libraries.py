"""A store over a library: the same answers as over one file, typed errors for what a library cannot do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from langchain_memvid import MemvidVectorStore
from memvid_core import InvalidInputError, Ivf, Library, MemoryExistsError, NotAMemoryError, ReadOnlyError
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/library/"


def filled(path: str) -> MemvidVectorStore:
    store = MemvidVectorStore(TableEmbeddings(COMPASS), path=path)
    store.add_texts(list(COMPASS), [{"place": place} for place in range(len(COMPASS))], ids=list(COMPASS))
    return store


async def test_the_answers_are_those_of_a_file(path: str, tmp_path: Path) -> None:
    with filled(path) as library, filled(str(tmp_path / "one.mp4")) as file:
        assert isinstance(library.library, Library)
        assert repr(library).startswith("MemvidVectorStore(<Library ")
        for store in (library, file):
            store.add_texts(["north north"], ids=["again"], vectors=[[0.2, 0.9]])
            assert store.delete(["south"])
            assert store.delete(filter=lambda document: document.metadata.get("place") == 1)
        asked: list[dict[str, Any]] = [
            {"filter": {"place": {"$gte": 2}}},
            {"filter": lambda document: document.id != "again"},
            {"retrieval_mode": "lexical"},
            {"retrieval_mode": "hybrid", "unique": True, "passage": 5},
        ]
        for options in asked:
            wanted = file.similarity_search_with_score("north", k=9, **options)
            assert library.similarity_search_with_score("north", k=9, **options) == wanted
            assert await library.asimilarity_search_with_score("north", k=9, **options) == wanted
        assert library.similarity_search("", k=9) == file.similarity_search("", k=9)
        diverse = file.max_marginal_relevance_search("north", k=3)
        assert library.max_marginal_relevance_search("north", k=3) == diverse
        assert await library.amax_marginal_relevance_search("north", k=3) == diverse
        assert library.get_by_ids(["again", "nobody", "north"]) == file.get_by_ids(["again", "nobody", "north"])
        assert dict(library.store) == dict(file.store)
        assert await library.aadd_texts(["east east"], ids=["new"], vectors=[[1.0, 0.0]]) == ["new"]
        assert await library.adelete(["new"])
        assert "new" not in library.store


def test_it_is_opened_again_for_reading_and_from_a_pickle(path: str) -> None:
    with filled(path) as store:
        again = pickle.loads(pickle.dumps(store))
        assert again.similarity_search("north", k=1)[0].id == "north"
        assert again.library.mode == "a"
        again.close()
    with MemvidVectorStore(TableEmbeddings(COMPASS), path=path[:-1], mode="r") as reader:
        assert reader.similarity_search("north", k=1)[0].id == "north"
        with pytest.raises(ReadOnlyError, match="open for reading"):
            reader.add_texts(["more"])
        assert pickle.loads(pickle.dumps(reader)).library.mode == "r"
    with MemvidVectorStore(TableEmbeddings(COMPASS), path=path, index=Ivf(0.9)) as listed:
        assert listed.similarity_search("north", k=1)[0].id == "north"
    with pytest.raises(InvalidInputError, match="above 0"):
        MemvidVectorStore(TableEmbeddings(COMPASS), path=path, index=Ivf(1.5))
    with Library.open(path, embedder=TableEmbeddings(COMPASS)) as library, MemvidVectorStore(memory=library) as store:
        assert store.similarity_search("north", k=1, retrieval_mode="lexical")[0].id == "north"
        with pytest.raises(InvalidInputError, match="give either"):
            MemvidVectorStore(path="other.mp4", memory=library)


def test_what_it_cannot_do_is_said(path: str, tmp_path: Path) -> None:
    with filled(path) as store:
        for use in (lambda: store.memory, lambda: store.dump(tmp_path / "one.mp4")):
            with pytest.raises(InvalidInputError, match="is a library"):
                use()
    wrong: dict[str, Any] = {"codec": "qr", "timeout": 1.0}
    for option, value in wrong.items():
        with pytest.raises(InvalidInputError, match=f"library, which has no option {option}"):
            MemvidVectorStore(TableEmbeddings(COMPASS), path=path, **{option: value})
    with pytest.raises(InvalidInputError, match="by cosine, not by euclidean"):
        MemvidVectorStore(TableEmbeddings(COMPASS), path=path, metric="euclidean")
    with pytest.raises(NotAMemoryError):
        MemvidVectorStore(path=f"{tmp_path}/nowhere/", mode="r")
    Path(tmp_path, "full").mkdir()
    Path(tmp_path, "full", "a.txt").touch()
    with pytest.raises((NotAMemoryError, MemoryExistsError)):
        MemvidVectorStore(path=f"{tmp_path}/full/")
    assert [one.name for one in Path(tmp_path, "full").iterdir()] == ["a.txt"]
    with MemvidVectorStore(TableEmbeddings(COMPASS)) as store, pytest.raises(InvalidInputError, match="not a library"):
        assert store.library
