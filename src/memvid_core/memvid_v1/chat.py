"""MemvidChat: a language model answers questions from the passages that a memory has on them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, Self

from memvid_core.errors import QueryError
from memvid_core.memvid_v1.checks import check_count
from memvid_core.memvid_v1.client import LLMClient
from memvid_core.memvid_v1.models import PROVIDERS, find_api_key
from memvid_core.memvid_v1.pointer import StrPath
from memvid_core.memvid_v1.retriever import MemvidRetriever
from memvid_core.memvid_v1.session import SYSTEM_PROMPT, Session
from memvid_core.memvid_v1.sources import context_text, find_sources, passages_text
from memvid_core.model import plain_query

__all__ = ["MemvidChat", "chat_with_memory", "quick_chat"]

_WITHOUT_KEY = "no language model is set: call set_api_key(key), or pass llm_provider and llm_model, or a model object"
_WITHOUT = "no language model was requested"


class MemvidChat:
    """Hold a conversation about a memory.

    For each question, the memory is searched and the model answers from the passages found; :attr:`sources` lists them
    by file and frame. Without a model, the answer consists of the passages.

    Args:
        video: The file of the memory.
        index: The path that was passed to :meth:`MemvidEncoder.build_video`; optional.
        llm_provider: ``google``, ``openai``, ``anthropic``, ``ollama``, ``vllm``; a model object; or None for no model.
        llm_model: The provider's name of the model; or a model object: LangChain's, LlamaIndex's, a function of
            messages.
        llm_api_key: The key; by default from the provider's environment variable. Without a key, no model is used.
        llm_base_url: Another server with the provider's API, such as OpenAI's.
        embedding_model: As for :class:`MemvidRetriever`.
        context_chunks: The maximum number of passages for the model.
        timeout: How many seconds to wait for others who write to the memory.

    Raises:
        InvalidInputError: The provider is unknown.
        MissingExtraError: There is a key, but the package for the provider is not installed; the message names it.

    Example:
        >>> from memvid_core.memvid_v1 import MemvidEncoder
        >>> encoder = MemvidEncoder()
        >>> encoder.add_text("Refunds take five days.", metadata={"source": "faq.md"})
        1
        >>> stats = encoder.build_video("support.mp4")
        >>> def model(messages):
        ...     return "Five days [1]." if "five days" in messages[-1]["content"] else "I do not know."
        >>> with MemvidChat("support.mp4", llm_model=model) as chat:
        ...     answer = chat.chat("How long does a refund take?")
        ...     source = chat.sources[0]
        >>> answer, source["metadata"]["source"], source["frame"]
        ('Five days [1].', 'faq.md', 2)
    """

    def __init__(
        self,
        video: StrPath,
        index: StrPath | None = None,
        llm_provider: object = "google",
        llm_model: object = None,
        llm_api_key: str | None = None,
        *,
        llm_base_url: str | None = None,
        embedding_model: object = None,
        context_chunks: int = 5,
        timeout: float = 30.0,
    ) -> None:
        check_count("context_chunks", context_chunks, 1)
        self.retriever = MemvidRetriever(video, index, embedding_model, timeout=timeout)
        self.context_chunks = context_chunks
        self.max_history = 10
        """How many of the last turns the model gets; questions and answers count separately."""
        self.sources: list[dict[str, Any]] = []
        """The passages for the last answer: number, text, score, id, video, frame and metadata."""
        self._session: Session | None = None
        self._settings = (llm_provider, llm_model, llm_base_url)
        try:
            self.llm_client = self._client(llm_api_key)
        except BaseException:
            self.close()
            raise

    def _client(self, api_key: str | None) -> LLMClient | None:
        provider, model, base_url = self._settings
        if model is not None and not isinstance(model, str):
            return LLMClient(model=model)
        if provider is None or not isinstance(provider, str):
            return None if provider is None else LLMClient(provider)
        if provider.lower() in PROVIDERS and not (api_key or base_url or find_api_key(provider)):
            return None
        return LLMClient(provider, model, api_key, base_url=base_url)

    def close(self) -> None:
        """Close the memory's file."""
        self.retriever.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def set_api_key(self, api_key: str, provider: str | None = None) -> None:
        """Set the key of the provider, or of another provider with which the conversation continues.

        Raises:
            InvalidInputError: The provider is unknown.
            MissingExtraError: The package for the provider is not installed; the message names it.
        """
        before = self._settings
        known, model, base_url = before
        if provider is not None:
            self._settings = (provider, None, None)
        elif not isinstance(known, str):
            self._settings = ("google", model, base_url)
        try:
            self.llm_client = self._client(api_key)
        except BaseException:
            self._settings = before
            raise

    # --- the conversation ---

    @property
    def session_id(self) -> str | None:
        """The id of the conversation; None before it begins."""
        return None if self._session is None else self._session.id

    @property
    def system_prompt(self) -> str:
        """The system prompt."""
        return SYSTEM_PROMPT if self._session is None else self._session.system_prompt

    @system_prompt.setter
    def system_prompt(self, prompt: str) -> None:
        if self._session is None:
            self.start_session()
        assert self._session is not None
        self._session.system_prompt = prompt

    @property
    def conversation_history(self) -> list[dict[str, Any]]:
        """The turns so far, each with ``role`` and ``content``; answers also with ``sources``."""
        return [] if self._session is None else list(self._session.turns)

    def start_session(self, system_prompt: str | None = None, session_id: str | None = None) -> str:
        """Start a new conversation and return its id.

        Args:
            system_prompt: The system prompt; the default one asks for answers from the passages, with citations.
            session_id: An id; by default a new one.
        """
        self._session = Session.start(system_prompt, session_id)
        self.sources = []
        return self._session.id

    def chat(self, message: str, stream: bool = False, max_context_tokens: int = 2000) -> str:
        """Ask a question and return the answer.

        Args:
            message: The question.
            stream: Also write the answer to standard output while it is generated.
            max_context_tokens: The approximate size of the passages for the model.

        Raises:
            QueryError: The question is empty.
            ChatError: The model failed. The conversation is unchanged.
        """
        answer = ""
        for piece in self.stream(message, max_context_tokens) if stream else [self._whole(message, max_context_tokens)]:
            answer += piece
            if stream:
                sys.stdout.write(piece)
                sys.stdout.flush()
        if stream:
            sys.stdout.write("\n")
        return answer

    def stream(self, message: str, max_context_tokens: int = 2000) -> Iterator[str]:
        """Ask as :meth:`chat`, and yield the answer in pieces. It is recorded when the last piece has been taken."""
        session = self._search(message, max_context_tokens)
        if self.llm_client is None:
            answer = self._passages()
            yield answer
        else:
            pieces = []
            asked = session.messages(message, context_text(self.sources), self.max_history)
            for piece in self.llm_client.chat_stream(asked):
                pieces.append(piece)
                yield piece
            answer = "".join(pieces)
        session.add(message, answer, self.sources)

    def _whole(self, message: str, max_context_tokens: int) -> str:
        session = self._search(message, max_context_tokens)
        if self.llm_client is None:
            answer = self._passages()
        else:
            asked = session.messages(message, context_text(self.sources), self.max_history)
            answer = self.llm_client.chat(asked)
        session.add(message, answer, self.sources)
        return answer

    def _search(self, message: str, max_context_tokens: int) -> Session:
        if not isinstance(message, str):
            raise QueryError(f"the question must be a str, not {type(message).__name__}")
        if not message.strip():
            raise QueryError("the question is empty")
        if self._session is None:
            self.start_session()
        assert self._session is not None
        memory = self.retriever.memory
        # Use the best ranking for an answer. Thresholds, which need comparable scores, are the retriever's.
        query = plain_query(message)  # quotes and dashes of a message are not query syntax
        hits = memory.search(query, self.context_chunks) if query.strip() else []
        self.sources = find_sources(memory, hits, max_context_tokens)
        return self._session

    def _passages(self) -> str:
        return passages_text(self.sources, _WITHOUT if self._settings[0] is None else _WITHOUT_KEY)

    def search_context(self, query: str, top_k: int = 5) -> list[str]:
        """Return the chunks that best answer a question, without a model."""
        return [text for text, _ in self.retriever.search(query, top_k)]

    def clear_history(self) -> None:
        """Forget the turns; the conversation keeps its id and prompt."""
        if self._session is not None:
            self._session.turns = []
        self.sources = []

    def reset_session(self) -> None:
        """Forget the conversation."""
        self._session = None
        self.sources = []

    def export_conversation(self, path: StrPath) -> None:
        """Write the conversation as JSON: every turn, with the passages of each answer, and without the API key."""
        session = self._session or Session.start()
        about = {
            "llm_provider": None if self.llm_client is None else self.llm_client.provider,
            "llm_model": None if self.llm_client is None else self.llm_client.model,
            "video_file": self.retriever.video_file,
            "index_file": self.retriever.index_file,
        }
        session.save(path, about)

    def load_session(self, path: StrPath) -> str:
        """Continue a conversation that :meth:`export_conversation` wrote; return its id.

        Raises:
            MemoryNotFoundError: The file does not exist.
            InvalidInputError: The file is not a conversation.
        """
        self._session = Session.load(path)
        self.sources = []
        return self._session.id

    def get_stats(self) -> dict[str, Any]:
        """Return statistics of the conversation, the model and the retriever."""
        return {
            "session_id": self.session_id,
            "messages_exchanged": len(self.conversation_history),
            "llm_provider": None if self.llm_client is None else self.llm_client.provider,
            "llm_model": None if self.llm_client is None else self.llm_client.model,
            "llm_available": self.llm_client is not None,
            "video_file": self.retriever.video_file,
            "index_file": self.retriever.index_file,
            "context_chunks_per_query": self.context_chunks,
            "max_history": self.max_history,
            "retriever_stats": self.retriever.get_stats(),
        }

    def interactive_chat(self) -> None:
        """Chat on the terminal until ``quit`` or end of input; ``clear`` starts over, ``stats`` shows counts."""
        self.start_session()
        sys.stdout.write("Ask a question; clear starts over, stats shows statistics, quit ends.\n")
        while True:
            try:
                asked = input("\nYou: ").strip()
            except (EOFError, KeyboardInterrupt):
                sys.stdout.write("\n")
                return
            if asked.lower() in ("quit", "exit", "q"):
                return
            if asked.lower() == "clear":
                self.clear_history()
            elif asked.lower() == "stats":
                sys.stdout.write(f"{self.get_stats()}\n")
            elif asked:
                sys.stdout.write("Assistant: ")
                self.chat(asked, stream=True)


def quick_chat(
    video: StrPath,
    index: StrPath | None,
    message: str,
    provider: object = "google",
    api_key: str | None = None,
    *,
    model: object = None,
    base_url: str | None = None,
) -> str:
    """Ask a memory one question and return the answer; takes the arguments of :class:`MemvidChat`."""
    with MemvidChat(video, index, provider, model, api_key, llm_base_url=base_url) as chat:
        return chat.chat(message)


def chat_with_memory(
    video: StrPath,
    index: StrPath | None = None,
    api_key: str | None = None,
    provider: object = "google",
    model: object = None,
    *,
    base_url: str | None = None,
) -> None:
    """Chat on the terminal; takes the arguments of :class:`MemvidChat`."""
    with MemvidChat(os.fspath(video), index, provider, model, api_key, llm_base_url=base_url) as chat:
        chat.interactive_chat()
