"""What a store takes in, what it refuses, and what it gives back by id."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_memvid import MemvidEmbeddings, MemvidVectorStore
from memvid_core import (
    ClosedError,
    EmbedderMismatchError,
    EmbedderWarning,
    InvalidInputError,
    Memory,
    MemoryNotFoundError,
    MetadataError,
    ReadOnlyError,
    StorageError,
    TextError,
)
from tests.langchain_memvid.conftest import MakeStore
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings

NESTED: dict[str, Any] = {
    "int": 3,
    "float": 3.0,
    "big": 2**63 - 1,
    "true": True,
    "none": None,
    "text": "漢字 ✈",
    "list": [1, "two", None, [3.5]],
    "dict": {"a": {"b": [1, {"c": False}]}},
    "": "an empty key",
    "a.b": "a dotted key",
}
ODD_IDS = [
    "",
    " ",
    "a/b\\c",
    "line\nbreak",
    "null\0byte",
    "'; DROP TABLE records; --",
    "日本語",
    "🛩",
    "0",
    "None",
    "f" * 128,
]


def contents(store: MemvidVectorStore) -> list[str]:
    return [record.text for record in store.memory]


# --- adding ---


def test_add_texts_gives_ids_that_find_the_texts_again(store: MemvidVectorStore) -> None:
    ids = store.add_texts(["one", "two"], [{"n": 1}, {"n": 2}])
    assert len(set(ids)) == 2
    assert store.get_by_ids(ids) == [
        Document(id=ids[0], page_content="one", metadata={"n": 1}),
        Document(id=ids[1], page_content="two", metadata={"n": 2}),
    ]


async def test_generators_are_taken_whole(store: MemvidVectorStore) -> None:
    ids = store.add_texts((text for text in "ab"), ({"n": n} for n in range(2)), ids=(i for i in ["1", "2"]))
    ids += await store.aadd_texts((text for text in "cd"), ({"n": n} for n in range(2)), ids=(i for i in ["3", "4"]))
    ids += store.add_documents(Document(text) for text in "ef")
    ids += await store.aadd_documents(Document(text) for text in "gh")
    assert contents(store) == list("abcdefgh")
    assert len(ids) == len(set(ids)) == 8


def test_from_texts_and_from_documents_take_generators() -> None:
    assert contents(MemvidVectorStore.from_texts(text for text in "ab")) == ["a", "b"]
    assert contents(MemvidVectorStore.from_documents(Document(text) for text in "ab")) == ["a", "b"]


@pytest.mark.parametrize("given", [{"metadatas": [{}]}, {"metadatas": [{}] * 3}, {"ids": ["1"]}, {"ids": list("123")}])
async def test_different_lengths_are_refused_and_nothing_is_written(
    store: MemvidVectorStore, given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match="as many as texts"):
        store.add_texts(["a", "b"], **given)
    with pytest.raises(ValueError, match="as many as texts"):
        await store.aadd_texts(["a", "b"], **given)
    with pytest.raises(ValueError, match="as many as texts"):
        store.add_documents([Document("a"), Document("b")], ids=["1"])
    assert len(store.memory) == 0


async def test_ids_and_none_mix_in_one_batch(store: MemvidVectorStore) -> None:
    ids = store.add_texts(["a", "b", "c"], ids=["1", None, "3"])
    assert (ids[0], ids[2]) == ("1", "3")
    assert store.get_by_ids([ids[1]])[0].page_content == "b"
    ids = await store.aadd_documents([Document("d", id="4"), Document("e"), Document("f", id="6")])
    assert (ids[0], ids[2]) == ("4", "6")
    assert store.get_by_ids([ids[1]])[0].page_content == "e"


def test_ids_given_go_before_the_documents_own(store: MemvidVectorStore) -> None:
    assert store.add_documents([Document("a", id="own")], ids=["given"]) == ["given"]
    assert store.add_documents([Document("b", id="own")], ids=None) == ["own"]


def test_any_string_is_an_id(store: MemvidVectorStore) -> None:
    assert store.add_texts(ODD_IDS, ids=ODD_IDS) == ODD_IDS
    assert [(d.id, d.page_content) for d in store.get_by_ids(ODD_IDS)] == [(i, i) for i in ODD_IDS]
    assert store.add_documents([Document("whole", id="")]) == [""]
    assert store.get_by_ids([""])[0].page_content == "whole"
    store.delete(ODD_IDS)
    assert len(store.memory) == 0


async def test_the_same_id_replaces_the_whole_record(store: MemvidVectorStore) -> None:
    store.add_texts(["old"], [{"old": 1}], ids=["1"])
    store.add_texts(["new"], ids=["1"])
    assert store.get_by_ids(["1"]) == [Document(id="1", page_content="new")]
    await store.aadd_documents([Document("newest", id="1", metadata={"n": 1})])
    assert store.get_by_ids(["1"]) == [Document(id="1", page_content="newest", metadata={"n": 1})]
    assert len(store.memory) == 1


def test_of_equal_ids_in_a_batch_the_last_one_stays(store: MemvidVectorStore) -> None:
    assert store.add_texts(["first", "other", "last"], ids=["1", "2", "1"]) == ["1", "2", "1"]
    assert {d.id: d.page_content for d in store.get_by_ids(["1", "2"])} == {"1": "last", "2": "other"}


def test_metadata_comes_back_equal_and_of_the_same_types(store: MemvidVectorStore) -> None:
    store.add_texts(["a"], [NESTED], ids=["1"])
    for found in (store.get_by_ids(["1"])[0], store.similarity_search("a", k=1)[0]):
        assert found.metadata == NESTED
        assert [type(value) for value in found.metadata.values()] == [type(value) for value in NESTED.values()]


def test_what_came_back_can_be_changed_and_changes_nothing(store: MemvidVectorStore) -> None:
    given = {"list": [1], "dict": {"a": 1}}
    store.add_texts(["a"], [given], ids=["1"])
    given["list"].append(2)  # type: ignore[attr-defined]
    for _ in range(2):
        found = store.get_by_ids(["1"])[0]
        assert found.metadata == {"list": [1], "dict": {"a": 1}}
        found.metadata["list"].append(3)
        found.metadata["dict"]["a"] = found.page_content = "changed"

    def spoil(document: Document) -> bool:
        document.metadata.clear()
        return True

    store.similarity_search("a", filter=spoil)
    assert store.get_by_ids(["1"])[0].metadata == {"list": [1], "dict": {"a": 1}}


@pytest.mark.parametrize(
    ("texts", "metadatas", "error"),
    [
        (["a", 1], None, TextError),
        (["a", "lone \ud800"], None, TextError),
        (["a", "b"], [{}, {"key": object()}], MetadataError),
        (["a", "b"], [{}, {1: "x"}], MetadataError),
    ],
)
async def test_what_cannot_be_stored_is_refused_and_nothing_is_written(
    store: MemvidVectorStore, texts: Any, metadatas: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.add_texts(texts, metadatas)
    with pytest.raises(error):
        await store.aadd_texts(texts, metadatas)
    assert len(store.memory) == 0


async def test_given_vectors_are_stored_instead_of_embedding(store: MemvidVectorStore) -> None:
    store.add_texts(["any", "other"], ids=["1", "2"], vectors=[[0.0, 2.0], [-1.0, 0.0]])
    await store.aadd_texts(["third"], ids=["3"], vectors=[[0.0, -1.0]])
    assert [d.id for d in store.similarity_search_by_vector([0.0, 1.0], k=3)] == ["1", "2", "3"]


async def test_nothing_to_do_is_done_without_a_word(store: MemvidVectorStore) -> None:
    assert store.add_texts([]) == store.add_documents([]) == []
    assert await store.aadd_texts([]) == await store.aadd_documents([]) == []
    assert store.get_by_ids([]) == store.get_by_ids(["none"]) == await store.aget_by_ids([]) == []
    assert store.delete([]) is await store.adelete([]) is True
    assert store.memory.history() == []


def test_get_by_ids_keeps_the_order_asked_for_and_passes_over_what_is_not_there(compass: MemvidVectorStore) -> None:
    assert [d.id for d in compass.get_by_ids(["west", "missing", "east"])] == ["west", "east"]
    assert [d.id for d in compass.get_by_ids(("north",))] == ["north"]


# --- deleting ---


async def test_delete_passes_over_what_is_not_there_and_never_says_false(compass: MemvidVectorStore) -> None:
    assert compass.delete(["east", "missing"]) is True
    assert await compass.adelete(["west", "missing"]) is True
    assert contents(compass) == ["almost east", "north-east", "north"]


async def test_delete_of_none_deletes_all_as_the_contract_says(compass: MemvidVectorStore) -> None:
    assert compass.delete() is True
    assert len(compass.memory) == 0
    compass.add_texts(["again"])
    assert await compass.adelete(None) is True
    assert contents(compass) == []


def test_an_empty_filter_says_nothing_and_deletes_nothing(compass: MemvidVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="removes every document"):
        compass.delete(filter={})
    assert len(compass.memory) == len(COMPASS)


async def test_delete_by_filter_and_by_both(compass: MemvidVectorStore) -> None:
    compass.delete(filter={"place": {"$lte": 1}})
    assert contents(compass) == ["north-east", "north", "west"]
    compass.delete(["north"], filter={"place": 2})
    assert contents(compass) == ["north-east", "north", "west"]
    compass.delete(["north", "west"], filter=lambda document: document.metadata["place"] == 4)
    await compass.adelete(filter=lambda document: document.id == "north")
    assert contents(compass) == ["north-east"]


def test_a_mistyped_filter_deletes_nothing(compass: MemvidVectorStore) -> None:
    with pytest.raises(TypeError, match="where"):
        compass.delete(where={"place": 1})  # type: ignore[call-arg]
    assert len(compass.memory) == len(COMPASS)


async def test_a_mistyped_option_loses_no_metadata_and_others_are_refused_too(store: MemvidVectorStore) -> None:
    wrong: dict[str, Any]
    for wrong in ({"metadata": [{"n": 1}]}, {"id": ["1"]}, {"vector": [[1.0, 0.0]]}):
        with pytest.raises(TypeError, match="did you mean"):
            store.add_texts(["north"], **wrong)
        with pytest.raises(TypeError, match="did you mean"):
            await store.aadd_documents([Document("north")], **wrong)
    assert len(store.memory) == 0
    with pytest.raises(TypeError, match="batch_size"):
        store.add_texts(["north"], ids=["1"], current_time=0)  # type: ignore[call-arg]
    assert len(store.memory) == 0


async def test_one_id_is_not_its_letters(store: MemvidVectorStore) -> None:
    store.add_texts(["north", "east", "south"], ids=["n", "e", "ne"])
    assert [document.id for document in store.get_by_ids("ne")] == ["ne"]
    assert [document.id for document in await store.aget_by_ids("ne")] == ["ne"]
    store.delete("ne")
    assert contents(store) == ["north", "east"]


def test_what_was_deleted_is_in_the_past_until_the_memory_is_compacted(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore.from_texts(["a", "b"], TableEmbeddings(), path=path) as store:
        store.delete()
    with Memory.open(path, embedder=TableEmbeddings(), as_of=1) as past:
        assert [record.text for record in past] == ["a", "b"]


# --- opening and closing ---


def test_a_file_is_created_and_then_opened(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore.from_texts(["a"], TableEmbeddings(), path=path):
        assert path.read_bytes()[4:8] == b"ftyp"
    with MemvidVectorStore.from_documents([Document("b")], TableEmbeddings(), path=str(path)) as store:
        assert contents(store) == ["a", "b"]
    with MemvidVectorStore(TableEmbeddings(), path=path, mode="r") as reader:
        assert contents(reader) == ["a", "b"]
        with pytest.raises(ReadOnlyError):
            reader.add_texts(["c"])


async def test_the_async_constructors_make_the_same_store(place: str) -> None:
    documents = [Document("a", id="1", metadata={"n": 1}), Document("b")]
    store = await MemvidVectorStore.afrom_documents(documents, TableEmbeddings(), path=place)
    assert store.get_by_ids(["1"]) == documents[:1]
    store.close()
    texts = await MemvidVectorStore.afrom_texts(["c"], TableEmbeddings(), [{"n": 3}], ids=["3"], path=place)
    assert texts.get_by_ids(["3"]) == [Document(id="3", page_content="c", metadata={"n": 3})]
    texts.close()


async def test_a_constructor_that_fails_gives_the_file_back(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    not_texts: Any = [1]
    for _ in range(2):
        with pytest.raises(TextError):
            MemvidVectorStore.from_texts(not_texts, TableEmbeddings(), path=path)
        with pytest.raises(TextError):
            await MemvidVectorStore.afrom_texts(not_texts, TableEmbeddings(), path=path)
    MemvidVectorStore(TableEmbeddings(), path=path).close()


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with pytest.raises(MemoryNotFoundError):
        MemvidVectorStore(path=path, mode="r")
    with pytest.raises(MemoryNotFoundError):
        MemvidVectorStore.load(path)
    with pytest.raises(FileNotFoundError):
        MemvidVectorStore(path=tmp_path / "missing" / "store.mp4")
    with pytest.raises(InvalidInputError, match="retrieval_mode"):
        MemvidVectorStore(path=path, retrieval_mode="fast")  # type: ignore[arg-type]
    assert not path.exists()
    MemvidVectorStore.from_texts(["a"], TableEmbeddings(), path=path).close()
    with pytest.raises(EmbedderMismatchError, match="TableEmbeddings"):
        MemvidVectorStore(MemvidEmbeddings(), path=path)


def test_an_open_memory_can_be_given_and_stays_open() -> None:
    with Memory.create(":memory:", TableEmbeddings()) as memory:
        memory.add(["a"], ids=["1"])
        with MemvidVectorStore(memory=memory) as store:
            assert store.memory is memory
            assert store.get_by_ids(["1"])[0].page_content == "a"
        assert len(memory) == 1
        other: dict[str, Any]
        for other in ({"embedding": TableEmbeddings()}, {"path": "store.mp4"}, {"vector_dtype": "float32"}):
            with pytest.raises(InvalidInputError, match="memory"):
                MemvidVectorStore(memory=memory, **other)


def test_a_closed_store_says_so(make_store: MakeStore) -> None:
    store = make_store()
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        store.add_texts(["a"])
    assert "closed" in repr(store)


def test_repr_tells_where_and_how_many(compass: MemvidVectorStore) -> None:
    assert repr(compass).startswith("MemvidVectorStore(<Memory ")
    assert "5 records" in repr(compass)


# --- the view of everything, and copies ---


def test_store_is_a_mapping_of_everything_by_id(compass: MemvidVectorStore) -> None:
    view = compass.store
    assert list(view) == list(COMPASS)
    assert len(view) == 5
    assert "east" in view
    assert "missing" not in view
    assert view["east"] == {"id": "east", "vector": [1.0, 0.0], "text": "east", "metadata": {"place": 0}}
    assert view.get("missing") is None
    assert [entry["text"] for entry in view.values()] == list(COMPASS)
    with pytest.raises(TypeError):
        view["east"] = {}  # type: ignore[index]


def test_vectors_in_ram_are_exactly_what_the_embedder_gave() -> None:
    vector = [0.1, 1 / 3]
    store = MemvidVectorStore.from_texts(["a"], TableEmbeddings({"a": vector}), ids=["1"])
    assert store.store["1"]["vector"] == vector


def test_a_record_without_a_vector_has_none() -> None:
    store = MemvidVectorStore(TableEmbeddings())
    store.add_texts(["a", "b"], ids=["1", "2"], vectors=[None, [0.0, 1.0]])
    assert store.store["1"]["vector"] is None
    assert store.store["2"]["vector"] == [0.0, 1.0]


def test_dump_writes_one_file_that_load_opens(compass: MemvidVectorStore, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "copy.json"
    compass.dump(path)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert [entry.name for entry in path.parent.iterdir()] == ["copy.json"]
    with MemvidVectorStore.load(path, TableEmbeddings(COMPASS)) as loaded:
        assert dict(loaded.store) == dict(compass.store)
        assert loaded.similarity_search("north") == compass.similarity_search("north")
        loaded.add_texts(["added"])
    assert len(compass.memory) == 5


def test_dump_replaces_what_is_there_and_leaves_out_what_was_deleted(
    compass: MemvidVectorStore, tmp_path: Path
) -> None:
    path = tmp_path / "copy.mp4"
    path.write_text("something else")
    compass.dump(path)
    compass.delete(["east"])
    compass.dump(str(path))
    with MemvidVectorStore.load(path, TableEmbeddings(COMPASS), mode="r") as loaded:
        assert "east" not in loaded.store
        assert loaded.memory.info().deleted == 0


def test_dump_keeps_what_the_built_in_embedder_learnt_and_records_without_vectors(place: str, tmp_path: Path) -> None:
    words = ["wing", "engine", "tail", "wheel", "rudder", "flap", "strut", "nose"]
    texts = [f"the {a} beside the {b} of aircraft {n}" for n in range(6) for a in words for b in words]
    with MemvidVectorStore.from_texts(texts, path=place, vector_dtype="float32") as store:
        embeddings = store.embeddings
        assert isinstance(embeddings, MemvidEmbeddings)
        assert embeddings.embedder.fitted  # type: ignore[attr-defined]
        store.memory.add(["no vector"], ids=["bare"], vectors=[None])
        store.dump(tmp_path / "copy.mp4")
        query = "a strut at the nose"
        with MemvidVectorStore.load(tmp_path / "copy.mp4") as loaded:
            assert loaded.store["bare"]["vector"] is None
            assert loaded.similarity_search_with_score(query, k=9) == store.similarity_search_with_score(query, k=9)
            assert loaded.embeddings.embed_query(query) == embeddings.embed_query(query)  # type: ignore[union-attr]


def test_dump_without_the_embedder_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    MemvidVectorStore.from_texts(list(COMPASS), TableEmbeddings(COMPASS), path=path).close()
    with pytest.warns(EmbedderWarning):
        reopened = MemvidVectorStore(path=path)
    with reopened as store:
        store.dump(tmp_path / "copy.mp4")
    with MemvidVectorStore.load(tmp_path / "copy.mp4", TableEmbeddings(COMPASS)) as loaded:
        assert loaded.similarity_search("north", k=1)[0].page_content == "north"


def test_dump_onto_its_own_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    store = MemvidVectorStore.from_texts(["a"], TableEmbeddings(), path=path)
    with store, pytest.raises(InvalidInputError, match="own file"):
        store.dump(path)


def test_a_dump_that_fails_leaves_what_was_there(
    compass: MemvidVectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "copies" / "copy.mp4"
    compass.dump(path)
    before = path.read_bytes()

    def fail(source: object, target: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError, match="no space"):
        compass.dump(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
