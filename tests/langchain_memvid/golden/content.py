"""What the golden files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

FOLDER = Path(__file__).parent
DOCUMENTS: list[tuple[str, str, dict[str, Any]]] = [
    ("wing", "A wing lifts.", {"page": 1, "tags": ["air"]}),
    ("봄", "서울의 봄은 짧다.", {"page": 2, "nested": {"쪽": None}}),
]
ITEMS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("users", "ada"), "tea", {"text": "Ada likes green tea.", "n": 1}),
    (("users", "bob"), "home", {"text": "Bob lives in Rome.", "tags": ["a", None]}),
]
ASKED = {"messages": [HumanMessage("When does it close?", id="asked")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "monday"}}


def graph(saver: Any) -> Any:
    """Return a graph that answers once."""
    said = {"messages": [AIMessage("At six.", id="said")]}
    return StateGraph(MessagesState).add_node("answer", lambda _: said).add_edge(START, "answer").compile(saver)
