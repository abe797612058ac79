"""Writing, reading and opening a store."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_memvid import MemvidEmbedding, MemvidVectorStore
from memvid_core import (
    ClosedError,
    DimensionError,
    EmbedderMismatchError,
    InvalidInputError,
    Memory,
    MemoryNotFoundError,
    MemvidError,
    ReadOnlyError,
    VectorError,
)
from tests.llama_index_memvid.conftest import MakeStore
from tests.llama_index_memvid.some_nodes import chunk, ids, node, one


def all_ids(store: MemvidVectorStore) -> list[str]:
    return [found.node_id for found in store.get_nodes()]


# --- what LlamaIndex asks a store about ---


def test_it_keeps_texts_and_nested_metadata() -> None:
    store = MemvidVectorStore()
    assert (store.stores_text, store.is_embedding_query, store.flat_metadata) == (True, True, False)
    assert store.class_name() == "MemvidVectorStore"
    assert store.client is store.memory
    assert repr(store) == "MemvidVectorStore(<Memory ':memory:': 0 records, no embedder>)"


# --- writing ---


def test_adding_a_known_id_replaces_it_whole(store: MemvidVectorStore) -> None:
    store.add([chunk("a", [1.0, 0.0], "d1", page=1), node("b", [0.0, 1.0])])
    store.add([node("a", [0.0, 1.0], "new", lang="en")])
    assert sorted(all_ids(store)) == ["a", "b"]
    (found,) = store.get_nodes(["a"])
    assert found == node("a", [0.0, 1.0], "new", lang="en")
    store.delete("d1")
    assert len(all_ids(store)) == 2


def test_of_equal_ids_in_one_batch_the_last_stays(store: MemvidVectorStore) -> None:
    assert store.add([node("a", [1.0], "first"), node("a", [1.0], "second")]) == ["a", "a"]
    assert [found.get_content() for found in store.get_nodes()] == ["second"]


def test_nodes_may_come_from_a_generator_and_there_may_be_none(store: MemvidVectorStore) -> None:
    generated: Any = (node(str(i), [1.0]) for i in range(3))
    assert store.add(generated) == ["0", "1", "2"]
    assert store.add([]) == []
    assert all_ids(store) == ["0", "1", "2"]


def test_unknown_options_are_refused(store: MemvidVectorStore) -> None:
    store.add([node("a", [1.0])])
    for call in (
        lambda: store.add([node("b", [1.0])], batchsize=3),  # type: ignore[call-arg]
        lambda: store.delete("d", bogus=1),  # type: ignore[call-arg]
        lambda: store.delete_nodes(["a"], filter={}),  # type: ignore[call-arg]
        lambda: store.query(VectorStoreQuery(query_embedding=[1.0]), wehre={}),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match="has no option"):
            call()
    assert all_ids(store) == ["a"]


def test_nodes_that_cannot_be_added_change_nothing(store: MemvidVectorStore) -> None:
    store.add([node("kept", [1.0, 0.0])])
    for bad, error in (
        (TextNode(id_="b", text="no embedding"), VectorError),
        (node("b", [1.0]), DimensionError),
        (node("b", []), MemvidError),
        (node("b", [float("nan"), 0.0]), VectorError),
        ("a text", InvalidInputError),
    ):
        with pytest.raises(error) as raised:
            store.add([node("a", [1.0, 0.0]), bad])  # type: ignore[list-item]
        assert isinstance(raised.value, ValueError)
    assert all_ids(store) == ["kept"]


def test_delete_takes_every_node_of_a_document(store: MemvidVectorStore) -> None:
    store.add([chunk("a", [1.0], "d1"), chunk("b", [1.0], "d2"), chunk("c", [1.0], "d1"), node("d", [1.0])])
    store.delete("d1")
    assert all_ids(store) == ["b", "d"]
    for nothing in (None, 3, ["d2"]):
        with pytest.raises(InvalidInputError, match="ref_doc_id"):
            store.delete(nothing)  # type: ignore[arg-type]
    store.delete("None")
    assert all_ids(store) == ["b", "d"]


def test_delete_nodes_takes_what_ids_and_filters_both_name(store: MemvidVectorStore) -> None:
    store.add([node(str(i), [1.0], even=i % 2 == 0, n=i) for i in range(8)])
    store.delete_nodes()
    store.delete_nodes(filters=None)
    store.delete_nodes([])
    store.delete_nodes([], filters=one("n", 1))
    store.delete_nodes(filters=type(one("n", 1))(filters=[]))
    assert len(all_ids(store)) == 8
    store.delete_nodes(["0", "1", "2", "not there"], filters=one("n", [1, 2, 3], operator=_in()))
    assert all_ids(store) == ["0", "3", "4", "5", "6", "7"]
    store.delete_nodes(filters=one("n", 7))
    store.delete_nodes(["3", "4"])
    assert all_ids(store) == ["0", "5", "6"]


def _in() -> Any:
    from llama_index.core.vector_stores.types import FilterOperator

    return FilterOperator.IN


def test_clear_takes_all_and_an_empty_store_takes_everything_calmly(store: MemvidVectorStore) -> None:
    for _ in range(2):
        store.clear()
        store.delete("d")
        store.delete_nodes(["a"])
        store.delete_nodes(filters=one("a", 1))
        assert store.get_nodes() == store.get_nodes(["a"]) == store.get_nodes(filters=one("a", 1)) == []
        store.add([node("a", [1.0], a=1)])
        assert all_ids(store) == ["a"]
        store.clear()


# --- reading ---


def test_get_nodes_by_ids_by_filter_and_by_both(store: MemvidVectorStore) -> None:
    store.add([node(str(i), [1.0], n=i) for i in range(5)])
    assert all_ids(store) == ["0", "1", "2", "3", "4"]
    assert [found.node_id for found in store.get_nodes(["3", "not there", "1"])] == ["3", "1"]
    assert [found.node_id for found in store.get_nodes(filters=one("n", [4, 1], operator=_in()))] == ["1", "4"]
    both = store.get_nodes(["4", "3"], filters=one("n", [4, 1], operator=_in()))
    assert [found.node_id for found in both] == ["4"]
    assert store.get_nodes([]) == []


@pytest.mark.parametrize(("vectors", "error"), [("float16", 1e-3), ("float32", 1e-7), ("float64", 0), ("int8", 1e-2)])
def test_embeddings_come_back_as_they_are_kept(tmp_path: Path, vectors: Any, error: float) -> None:
    row = [0.123456789, -0.4, 0.9]
    with MemvidVectorStore(tmp_path / "m.mp4", vector_dtype=vectors) as store:
        store.add([node("a", row)])
        (found,) = store.get_nodes()
        assert found.get_embedding() == pytest.approx(row, abs=error)
        assert all(type(value) is float for value in found.get_embedding())


# --- opening ---


def test_what_is_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore(path) as store:
        store.add([chunk("a", [1.0, 0.0], "d1", page=1)])
    for reopen in (
        lambda: MemvidVectorStore(path=str(path)),
        lambda: MemvidVectorStore.from_params(path=path),
        lambda: MemvidVectorStore.from_persist_path(str(path)),
        lambda: MemvidVectorStore.from_persist_path(str(path), fsspec.filesystem("file"), mode="r"),
        lambda: MemvidVectorStore(memory=Memory.open(path)),
    ):
        again = reopen()
        assert again.get_nodes() == [chunk("a", [1.0, 0.0], "d1", page=1)]
        again.memory.close()


def test_from_persist_path_opens_and_never_creates(tmp_path: Path) -> None:
    with pytest.raises(MemoryNotFoundError):
        MemvidVectorStore.from_persist_path(str(tmp_path / "none.mp4"))
    with pytest.raises(MemoryNotFoundError):
        MemvidVectorStore.from_persist_path("x.mp4", fsspec.filesystem("memory"))
    assert list(tmp_path.iterdir()) == []


def test_persist_flushes_and_writes_nothing_elsewhere(store: MemvidVectorStore, tmp_path: Path) -> None:
    store.add([node("a", [1.0])])
    before = sorted(tmp_path.iterdir())
    store.persist(str(tmp_path / "default__vector_store.json"))
    store.persist(persist_path=str(tmp_path / "x.json"), fs=fsspec.filesystem("file"))
    assert sorted(tmp_path.iterdir()) == before


def test_two_stores_write_one_file_and_a_reader_does_not(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore(path) as writer, MemvidVectorStore(path, mode="r") as reader:
        with MemvidVectorStore(path) as second:
            second.add([node("z", [1.0])])
            writer.add([node("a", [1.0])])
            second.delete_nodes(["z"])
        assert all_ids(reader) == all_ids(writer) == ["a"]
        for change in (
            lambda: reader.add([node("b", [1.0])]),
            lambda: reader.delete("d"),
            lambda: reader.delete_nodes(["a"]),
            reader.clear,
        ):
            with pytest.raises(ReadOnlyError):
                change()
    assert MemvidVectorStore(path).get_nodes() == [node("a", [1.0])]


def test_once_closed_it_says_so(make_store: MakeStore) -> None:
    store = make_store()
    store.close()
    store.close()
    for use in (store.get_nodes, store.clear, store.persist, lambda: ids(store), lambda: store.add([node("a", [1.0])])):
        with pytest.raises(ClosedError):
            use()


def test_a_memory_that_was_given_stays_open() -> None:
    memory = Memory.create(":memory:")
    MemvidVectorStore(memory=memory).close()
    assert len(memory) == 0
    with pytest.raises(InvalidInputError, match="give either an open memory"):
        MemvidVectorStore("other.mp4", memory=memory)
    with pytest.raises(InvalidInputError, match="open Memory"):
        MemvidVectorStore(memory="other.mp4")  # type: ignore[arg-type]


def test_the_embedder_is_checked_if_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    MemvidVectorStore(path, embedder=MemvidEmbedding("memvid-hash-v1:64")).close()
    with pytest.raises(EmbedderMismatchError):
        MemvidVectorStore(path, embedder=MemvidEmbedding("memvid-hash-v1:128"))
    with MemvidVectorStore(path, embedder="memvid-hash-v1:64") as store:
        assert store.embed_model is not None
        assert len(store.embed_model.get_query_embedding("x")) == 64
    with MemvidVectorStore(path) as store:  # of the core's own kind it is found in the file
        assert store.embed_model is not None
        assert store.embed_model.model_name == "memvid-hash-v1:64"


def test_a_file_of_given_vectors_may_be_opened_with_any_embedder(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore(path) as store:
        assert store.memory.info().embedder == "given"
        assert store.embed_model is None
    with MemvidVectorStore(path, embedder=MemvidEmbedding()) as store:
        model = store.embed_model
        assert isinstance(model, MemvidEmbedding)
        store.add([node("a", model.get_text_embedding("the wing lifts"))])
        assert store.query(VectorStoreQuery(query_str="a lifting wing")).ids == ["a"]


def test_an_option_that_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match="pth"):
        MemvidVectorStore(pth="x.mp4")  # type: ignore[call-arg]


# --- copies ---


def test_it_is_pickled_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore(path) as store:
        store.add([node("a", [1.0])])
        with pickle.loads(pickle.dumps(store)) as other:
            assert isinstance(other, MemvidVectorStore)
            assert (other.path, other.mode) == (str(path), "a")
            store.add([node("b", [1.0])])
            assert all_ids(other) == ["a", "b"]  # it follows the writer
            other.add([node("c", [1.0])])
            assert all_ids(other) == all_ids(store) == ["a", "b", "c"]
    with pickle.loads(pickle.dumps(MemvidVectorStore(path, mode="r"))) as reader, pytest.raises(ReadOnlyError):
        reader.add([node("d", [1.0])])


def test_a_store_in_ram_says_that_it_cannot_be_pickled() -> None:
    with pytest.raises(InvalidInputError, match="path"):
        pickle.dumps(MemvidVectorStore())


def test_it_is_described_by_its_path(tmp_path: Path) -> None:
    with MemvidVectorStore(tmp_path / "store.mp4") as store:
        store.add([node("a", [1.0])])
        described = store.to_dict()
    assert described["class_name"] == "MemvidVectorStore"
    with MemvidVectorStore.from_dict(described) as again:
        assert all_ids(again) == ["a"]


def test_a_copy_is_the_same_store() -> None:
    store = MemvidVectorStore()
    assert copy.copy(store) is copy.deepcopy(store) is store.model_copy() is store
