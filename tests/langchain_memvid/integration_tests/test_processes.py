"""A store in a file, used by more than one process."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_memvid import MemvidVectorStore
from tests.langchain_memvid.fakes import AGENTS
from tests.processes import run


def elsewhere(code: str, path: Path) -> Any:
    """Run code in another process; it prints one JSON value, which is returned."""
    head = f"import json\nfrom langchain_memvid import MemvidVectorStore\npath = {str(path)!r}\n"
    done = run(head + textwrap.dedent(code), modules=AGENTS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_one_process_wrote_another_reads_and_adds_to(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    documents = [
        Document("the wing lifts", id="1", metadata={"page": 1, "nested": {"a": [1]}}),
        Document("the engine hums", id="2", metadata={"page": 2}),
    ]
    MemvidVectorStore.from_documents(documents, path=path).close()
    added = elsewhere(
        """
        with MemvidVectorStore(path=path) as store:
            found = store.similarity_search_with_score("a lifting wing", k=2, filter={"page": {"$gte": 1}})
            store.add_texts(["the tail steers"], [{"page": 3}], ids=["3"])
            store.delete(["2"])
            print(json.dumps([[d.id, d.page_content, d.metadata, score] for d, score in found]))
        """,
        path,
    )
    assert [entry[:3] for entry in added] == [[d.id, d.page_content, d.metadata] for d in documents]
    with MemvidVectorStore(path=path) as store:
        assert list(store.store) == ["1", "3"]
        assert store.similarity_search("a steering tail", k=1)[0].id == "3"


def test_a_reader_follows_a_writer_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    MemvidVectorStore.from_texts(["the wing lifts"], path=path).close()
    with MemvidVectorStore(path=path, mode="r") as reader:
        assert len(reader.similarity_search("steer")) == 1
        elsewhere(
            """
            with MemvidVectorStore(path=path) as store:
                print(json.dumps(store.add_texts(["the tail steers"])))
            """,
            path,
        )
        assert {document.page_content for document in reader.similarity_search("steer")} == {
            "the wing lifts",
            "the tail steers",
        }


def test_a_second_process_writes_while_the_first_has_the_store_open(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore.from_texts(["the wing lifts"], ids=["1"], path=path) as store:
        elsewhere(
            """
            with MemvidVectorStore(path=path) as store:
                print(json.dumps(store.add_texts(["the tail steers"], ids=["2"])))
            """,
            path,
        )
        store.add_texts(["the engine hums"], ids=["3"])
        assert list(store.store) == ["1", "2", "3"]


def test_an_index_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore.from_texts(["the wing lifts", "the engine hums"], path=path) as store:
        before = store.similarity_search_with_score("a lifting wing")
    for entry in sorted(Path(f"{path}.index").rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    with MemvidVectorStore(path=path) as store:
        assert store.similarity_search_with_score("a lifting wing") == before


@pytest.mark.parametrize("vectors", ["float16", "float32", "float64", "int8", "none"])
def test_each_kind_of_stored_vector_finds_the_same_again(tmp_path: Path, vectors: Any) -> None:
    path = tmp_path / "store.mp4"
    texts = ["the wing lifts", "the engine hums", "the tail steers"]
    with MemvidVectorStore.from_texts(texts, path=path, vector_dtype=vectors) as store:
        before = [document.page_content for document in store.similarity_search("a lifting wing")]
    with MemvidVectorStore(path=path) as store:
        assert [document.page_content for document in store.similarity_search("a lifting wing")] == before
        store.dump(tmp_path / "copy.mp4")
    with MemvidVectorStore.load(tmp_path / "copy.mp4") as copy:
        assert copy.memory.info().vector_dtype == vectors
        assert [document.page_content for document in copy.similarity_search("a lifting wing")] == before
