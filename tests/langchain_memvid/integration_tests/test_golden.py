"""What an earlier version stored for LangChain and LangGraph is found, continued and changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidSaver, MemvidStore
from tests.langchain_memvid.golden.content import DOCUMENTS, FOLDER, ITEMS, THREAD, graph


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copy(FOLDER / f"{name}-1.mp4", tmp_path))


def test_documents(copied: Callable[[str], Path]) -> None:
    expected = {name: Document(text, id=name, metadata=metadata) for name, text, metadata in DOCUMENTS}
    with MemvidVectorStore(path=copied("documents")) as store:
        assert store.get_by_ids([*expected]) == [*expected.values()]
        assert store.similarity_search("a lifting wing", k=1) == [expected["wing"]]
        assert store.similarity_search("서울", k=1, filter={"page": 2}) == [expected["봄"]]
        store.add_documents([Document("A tail steers.", id="wing")])
        assert store.get_by_ids(["wing"]) == [Document("A tail steers.", id="wing")]


def test_items(copied: Callable[[str], Path]) -> None:
    with MemvidStore(copied("store")) as store:
        for namespace, key, value in ITEMS:
            found = store.get(namespace, key)
            assert found is not None
            assert found.value == value
        assert store.get(("users", "ada"), "gone") is None
        assert store.list_namespaces() == [namespace for namespace, _, _ in ITEMS]
        assert store.search(("users",), query="who likes green tea?")[0].key == "tea"
        store.put(*ITEMS[0][:2], {"text": "Ada likes coffee."})
        assert [item.value for item in store.search(("users", "ada"))] == [{"text": "Ada likes coffee."}]


def test_checkpoints(copied: Callable[[str], Path]) -> None:
    with MemvidSaver(copied("saver")) as saver:
        before = graph(saver).get_state(THREAD).values["messages"]
        assert [(message.type, message.text) for message in before] == [
            ("human", "When does it close?"),
            ("ai", "At six."),
        ]
        after = graph(saver).invoke({"messages": [HumanMessage("And on Sunday?")]}, THREAD)
        assert [message.text for message in after["messages"]] == ["When does it close?", "At six.", "And on Sunday?"]
        assert len([*saver.list(THREAD)]) == 6


def test_the_files_are_the_ones_that_were_released() -> None:
    digests = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in FOLDER.glob("*.mp4")}
    assert digests == {"documents-1": "ca7d2c9987aa87c5", "store-1": "ff77f69adea4f438", "saver-1": "83c21cc5d346c83a"}
