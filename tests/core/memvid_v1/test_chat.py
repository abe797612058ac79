"""MemvidChat: answers from what the memory has, with sources; streaming, history, files; and no model at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from llama_index.core.llms import MockLLM

from memvid_core import Memory
from memvid_core.errors import (
    ChatError,
    InvalidInputError,
    MemoryNotFoundError,
    MissingExtraError,
    QueryError,
)
from memvid_core.memvid_v1 import MemvidChat, MemvidEncoder, chat_with_memory, quick_chat
from memvid_core.memvid_v1.models import PROVIDERS
from tests.core.memvid_v1.openai_server import chat_server

FAQ = [
    ("refunds.pdf", 2, "Refunds are paid within five working days."),
    ("shipping.md", None, "We ship to Korea and Japan."),
    ("account.md", None, "A password is reset on the login page."),
]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for name in provider.variables:
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def faq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faq") / "faq.mp4"
    encoder = MemvidEncoder()
    for source, page, text in FAQ:
        encoder.add_chunks([text], {"source": source, **({} if page is None else {"page": page})})
    encoder.build_video(path, path.with_suffix(".json"))
    return path


class Model:
    """A model that keeps what it is shown and answers with a count."""

    def __init__(self) -> None:
        self.shown: list[list[dict[str, str]]] = []

    def __call__(self, messages: list[dict[str, str]]) -> Iterator[str]:
        self.shown.append(messages)
        yield "Answer "
        yield f"{len(self.shown)} [1]."


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def chat(faq: Path, model: Model) -> Iterator[MemvidChat]:
    with MemvidChat(faq, faq.with_suffix(".json"), llm_model=model) as chat:
        yield chat


class TestAnswers:
    def test_the_model_is_shown_the_passages_and_the_sources_are_told(self, chat: MemvidChat, model: Model) -> None:
        assert chat.chat("When are refunds paid?") == "Answer 1 [1]."
        (messages,) = model.shown
        assert [message["role"] for message in messages] == ["system", "user"]
        asked = messages[-1]["content"]
        assert asked.endswith("Question: When are refunds paid?")
        assert "[1] refunds.pdf, page 2 (faq.mp4, frame " in asked
        assert FAQ[0][2] in asked
        first = chat.sources[0]
        assert (first["number"], first["text"], first["video"]) == (1, FAQ[0][2], "faq.mp4")
        assert first["metadata"] == {"source": "refunds.pdf", "page": 2}
        with Memory.open(chat.retriever.video_file) as memory:
            assert 0 < first["frame"] < memory.info().frames

    def test_history_goes_along_and_no_question_twice(self, chat: MemvidChat, model: Model) -> None:
        chat.chat("one?")
        chat.chat("two?")
        roles = [message["role"] for message in model.shown[1]]
        assert roles == ["system", "user", "assistant", "user"]
        contents = [message["content"] for message in model.shown[1]]
        assert contents[1:3] == ["one?", "Answer 1 [1]."]
        assert sum("two?" in content for content in contents) == 1
        chat.max_history = 2
        chat.chat("three?")
        assert [message["content"] for message in model.shown[2]][1:3] == ["two?", "Answer 2 [1]."]
        chat.max_history = 0
        chat.chat("four?")
        assert len(model.shown[3]) == 2

    def test_streaming(self, chat: MemvidChat, capsys: pytest.CaptureFixture[str]) -> None:
        assert chat.chat("refunds?", stream=True) == "Answer 1 [1]."
        assert capsys.readouterr().out == "Answer 1 [1].\n"
        assert list(chat.stream("refunds?")) == ["Answer ", "2 [1]."]
        assert [turn["content"] for turn in chat.conversation_history if turn["role"] == "assistant"] == [
            "Answer 1 [1].",
            "Answer 2 [1].",
        ]
        assert capsys.readouterr().out == ""

    def test_a_stream_that_is_left_was_not_said(self, chat: MemvidChat) -> None:
        next(chat.stream("refunds?"))
        assert chat.conversation_history == []

    def test_how_much_is_shown(self, faq: Path, model: Model, tmp_path: Path) -> None:
        with MemvidChat(faq, llm_model=model, context_chunks=2) as chat:
            chat.chat("refunds and shipping")
            assert [source["number"] for source in chat.sources] == [1, 2]
        with Memory.create(tmp_path / "long.mp4") as memory:
            memory.add([f"{word} " * 500 for word in ("alpha", "beta", "gamma")])
        with MemvidChat(tmp_path / "long.mp4", llm_model=model) as chat:
            chat.chat("alpha beta gamma", max_context_tokens=100)
            assert len(chat.sources) == 1
            assert len(chat.sources[0]["text"]) <= 400
            assert chat.sources[0]["text"].endswith("…")
            chat.chat("alpha beta gamma", max_context_tokens=10_000)
            assert len(chat.sources) == 3

    @pytest.mark.parametrize("given", [FakeListChatModel(responses=["five days"]), MockLLM(max_tokens=2)])
    def test_models_of_the_frameworks(self, faq: Path, given: Any) -> None:
        for settings in ({"llm_model": given}, {"llm_provider": given}):
            with MemvidChat(faq, **settings) as chat:
                assert chat.chat("refunds?") in ("five days", "text text")
                assert chat.get_stats()["llm_model"].startswith(type(given).__name__)

    def test_a_provider_over_a_connection(self, faq: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with chat_server(key="k") as server:
            with MemvidChat(faq, None, "openai", "tiny", "k", llm_base_url=server.url) as chat:
                assert chat.chat("refunds?", stream=True) == "2 messages. You asked: refunds? [1]"
                assert chat.get_stats()["llm_provider"] == "openai"
            answer = quick_chat(
                faq, None, "refunds?", provider="ollama", model="tiny", api_key="k", base_url=server.url
            )
        assert answer == "2 messages. You asked: refunds? [1]"
        assert capsys.readouterr().out == answer + "\n"

    def test_a_failing_model_leaves_the_conversation_as_it_was(self, faq: Path) -> None:
        def broken(messages: Any) -> str:
            raise TimeoutError("too slow")

        with MemvidChat(faq, llm_model=broken) as chat:
            for stream in (False, True):
                with pytest.raises(ChatError, match="too slow"):
                    chat.chat("refunds?", stream=stream)
            assert chat.conversation_history == []

    def test_an_empty_question(self, chat: MemvidChat) -> None:
        for stream in (False, True):
            for question in (" ", None):
                with pytest.raises(QueryError):
                    chat.chat(question, stream=stream)  # type: ignore[arg-type]

    @pytest.mark.parametrize("said", ['"', "***"])
    def test_what_asks_nothing_finds_nothing_and_is_answered(self, chat: MemvidChat, model: Model, said: str) -> None:
        assert chat.chat(said) == "Answer 1 [1]."
        assert chat.sources == []
        assert "(none fits the question)" in model.shown[0][-1]["content"]

    @pytest.mark.parametrize("said", ['What did "paid when" mean?', "-refunds -paid?", 'refunds "'])
    def test_what_is_said_is_no_query_language(self, chat: MemvidChat, said: str) -> None:
        chat.chat(said)
        assert FAQ[0][2] in [source["text"] for source in chat.sources]

    def test_an_empty_memory(self, tmp_path: Path, model: Model) -> None:
        Memory.create(tmp_path / "m.mp4").close()
        with MemvidChat(tmp_path / "m.mp4", llm_model=model) as chat:
            chat.chat("anything?")
            assert "(none fits the question)" in model.shown[0][-1]["content"]
        assert "No passage in the memory fits" in quick_chat(tmp_path / "m.mp4", None, "anything?", provider=None)


class TestWithoutModel:
    def test_the_passages_and_a_line_that_says_so(self, faq: Path) -> None:
        with MemvidChat(faq) as chat:  # google, and no key
            answer = chat.chat("When are refunds paid?")
            assert answer.startswith(f"[1] {FAQ[0][2]}\n    refunds.pdf, page 2 (faq.mp4, frame ")
            assert (
                "These are passages of the memory, not an answer: no language model is set: call set_api_key" in answer
            )
            assert not chat.get_stats()["llm_available"]
            assert chat.conversation_history[-1]["content"] == answer
        with MemvidChat(faq, llm_provider=None) as chat:
            assert "no language model was requested" in "".join(chat.stream("refunds?"))

    def test_a_key_turns_it_on(self, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with chat_server(key="k") as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            with MemvidChat(faq) as chat:
                assert "not an answer" in chat.chat("refunds?")
                chat.set_api_key("k", provider="openai")
                assert chat.chat("refunds?") == "4 messages. You asked: refunds? [1]"
            with MemvidChat(faq, llm_provider="openai", llm_model="tiny") as chat:
                assert not chat.get_stats()["llm_available"]
                chat.set_api_key("k")
                assert chat.get_stats()["llm_model"] == "openai:tiny"

    def test_a_key_without_its_package(self, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "langchain_google_genai", None)
        with MemvidChat(faq) as chat, pytest.raises(MissingExtraError, match="pip install langchain-google-genai"):
            chat.set_api_key("k")

    def test_unknown_providers(self, faq: Path) -> None:
        with pytest.raises(InvalidInputError, match="unknown provider 'skynet'"):
            MemvidChat(faq, llm_provider="skynet")
        with MemvidChat(faq) as chat, pytest.raises(InvalidInputError, match="unknown provider"):
            chat.set_api_key("k", provider="skynet")

    @pytest.mark.parametrize("count", [0, -1, 2.5])
    def test_context_chunks(self, faq: Path, count: Any) -> None:
        with pytest.raises(InvalidInputError, match="context_chunks"):
            MemvidChat(faq, context_chunks=count)


class TestSessions:
    def test_start(self, chat: MemvidChat, model: Model) -> None:
        assert chat.get_stats()["session_id"] is None
        assert chat.start_session("Answer like a pirate.", "mine") == "mine" == chat.session_id
        chat.chat("refunds?")
        assert model.shown[0][0]["content"] == "Answer like a pirate."
        assert chat.start_session() != "mine"
        assert chat.conversation_history == []
        assert "name the passages" in chat.system_prompt

    def test_search_context_asks_no_model(self, chat: MemvidChat, model: Model) -> None:
        assert chat.search_context("password", top_k=1) == [FAQ[2][2]]
        assert model.shown == []

    def test_clear_and_reset(self, chat: MemvidChat) -> None:
        chat.chat("refunds?")
        name = chat.session_id
        chat.clear_history()
        assert (chat.session_id, chat.conversation_history, chat.sources) == (name, [], [])
        chat.reset_session()
        assert chat.session_id is None

    def test_stats(self, chat: MemvidChat) -> None:
        chat.chat("refunds?")
        stats = chat.get_stats()
        assert stats.items() >= {"messages_exchanged": 2, "llm_available": True, "context_chunks_per_query": 5}.items()
        assert stats["retriever_stats"]["cache_hits"] >= 0

    def test_export_and_load(self, chat: MemvidChat, faq: Path, model: Model, tmp_path: Path) -> None:
        chat.start_session("Be brief.", "s1")
        chat.chat("When are refunds paid? 환불")
        chat.export_conversation(tmp_path / "new" / "talk.json")
        told = json.loads((tmp_path / "new" / "talk.json").read_text(encoding="utf-8"))
        assert told["session_id"] == "s1"
        assert [turn["role"] for turn in told["conversation"]] == ["user", "assistant"]
        assert told["conversation"][1]["sources"][0]["metadata"]["source"] == "refunds.pdf"
        assert told["llm_model"] == "Model"
        with MemvidChat(faq, llm_model=model) as other:
            assert other.load_session(tmp_path / "new" / "talk.json") == "s1"
            assert (other.system_prompt, other.conversation_history) == ("Be brief.", chat.conversation_history)
            other.chat("and shipping?")
        assert model.shown[-1][1]["content"] == "When are refunds paid? 환불"

    def test_no_key_is_ever_written(self, faq: Path, tmp_path: Path) -> None:
        with (
            chat_server() as server,
            MemvidChat(faq, None, "openai", "m", "sk-secret", llm_base_url=server.url) as chat,
        ):
            chat.chat("refunds?")
            chat.export_conversation(tmp_path / "talk.json")
        assert "sk-secret" not in (tmp_path / "talk.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            (None, MemoryNotFoundError),
            ("{", InvalidInputError),
            ("[]", InvalidInputError),
            ('{"conversation": [{"role": "king", "content": "x"}]}', InvalidInputError),
            ('{"conversation": [{"role": "user", "content": 7}]}', InvalidInputError),
            ("[" * 100_000, InvalidInputError),
        ],
    )
    def test_what_is_no_conversation(self, chat: MemvidChat, tmp_path: Path, text: str | None, error: Any) -> None:
        chat.chat("refunds?")
        before = chat.conversation_history
        if text is not None:
            (tmp_path / "talk.json").write_text(text, encoding="utf-8")
        with pytest.raises(error):
            chat.load_session(tmp_path / "talk.json")
        assert chat.conversation_history == before


def test_chat_on_the_terminal(
    faq: Path, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["refunds?", "", "stats", "clear", "and shipping?", "quit", "not read"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    chat_with_memory(faq, faq.with_suffix(".json"), model=model)
    out = capsys.readouterr().out
    assert "Assistant: Answer 1 [1].\n" in out
    assert "'messages_exchanged': 2" in out
    assert "Assistant: Answer 2 [1].\n" in out
    assert [len(messages) for messages in model.shown] == [2, 2]  # cleared in between
    assert next(lines) == "not read"
