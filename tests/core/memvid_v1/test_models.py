"""Language models: the frameworks' own objects, functions, and providers by name over a real connection."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from llama_index.core.llms import MockLLM

from memvid_core.errors import ChatError, InvalidInputError, MissingExtraError
from memvid_core.memvid_v1 import LLMClient, create_llm_client
from memvid_core.memvid_v1.models import PROVIDERS, as_chat_model, find_api_key, load_chat_model
from tests.core.memvid_v1.openai_server import chat_server

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello to you"}]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for name in provider.variables:
            monkeypatch.delenv(name, raising=False)


def upper(messages: list[dict[str, str]]) -> str:
    return messages[-1]["content"].upper()


def in_words(messages: list[dict[str, str]]) -> Iterator[str]:
    yield from messages[-1]["content"].split(" ")


def blocks(_: Any) -> AIMessage:
    return AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "hello"}, " there"])


class TestObjects:
    @pytest.mark.parametrize(
        ("model", "answer", "pieces"),
        [
            (FakeListChatModel(responses=["hello there"] * 2), "hello there", 11),
            (GenericFakeChatModel(messages=iter([AIMessage("hello there")] * 2)), "hello there", 3),
            (MockLLM(max_tokens=3), "text text text", 3),
            (upper, "HELLO TO YOU", 1),
            (in_words, "hellotoyou", 3),
            (RunnableLambda(blocks), "hello there", 1),
        ],
        ids=["list", "generic", "llama-index", "function", "generator", "chain"],
    )
    def test_whole_and_in_pieces(self, model: Any, answer: str, pieces: int) -> None:
        adapted = as_chat_model(model)
        assert adapted.reply(MESSAGES) == answer
        found = list(adapted.stream(MESSAGES))
        assert "".join(found) == answer
        assert len(found) == pieces
        assert adapted.name

    def test_messages_arrive_as_they_are(self) -> None:
        seen: list[Any] = []

        def keep(messages: Any) -> str:
            seen.append(messages)
            return "ok"

        as_chat_model(RunnableLambda(keep)).reply(MESSAGES)
        assert seen == [MESSAGES]
        assert as_chat_model(MockLLM()).reply(MESSAGES) == "system: be brief\nuser: hello to you\nassistant: "

    @pytest.mark.parametrize("model", [7, "gpt", FakeListChatModel, None])
    def test_what_is_no_model(self, model: Any) -> None:
        with pytest.raises(InvalidInputError):
            as_chat_model(model)

    def test_failures_are_chat_errors_with_their_cause(self) -> None:
        def broken(messages: Any) -> str:
            raise ConnectionError("no route")

        for ask in (as_chat_model(broken).reply, lambda messages: list(as_chat_model(broken).stream(messages))):
            with pytest.raises(ChatError, match=r"broken failed to answer \(ConnectionError: no route\)") as caught:
                ask(MESSAGES)
            assert isinstance(caught.value.__cause__, ConnectionError)
        with pytest.raises(ChatError, match="a value of type int, not a text"):
            as_chat_model(lambda messages: 7).reply(MESSAGES)


class TestProviders:
    def test_openai_protocol_over_a_connection(self) -> None:
        with chat_server() as server:
            model = load_chat_model("openai", "tiny", base_url=server.url, temperature=0)
            assert model.reply(MESSAGES) == "2 messages. You asked: hello to you [1]"
            assert list(model.stream(MESSAGES)) == ["2 messages. ", "You asked: ", "hello to you", " [1]"]
            assert server.asked[0]["model"] == "tiny"
            assert server.asked[0]["temperature"] == 0
            assert server.asked[0]["messages"] == MESSAGES

    @pytest.mark.parametrize("provider", ["ollama", "vllm"])
    def test_local_servers_need_a_model_and_no_key(self, provider: str) -> None:
        with pytest.raises(InvalidInputError, match="has no default model"):
            load_chat_model(provider)
        with chat_server() as server:
            assert "hello to you" in load_chat_model(provider, "llama3.2", base_url=server.url).reply(MESSAGES)
        assert find_api_key(provider) == "none"

    def test_errors_of_the_server_name_no_key(self) -> None:
        with chat_server(key="right") as server:
            assert load_chat_model("openai", "tiny", "right", base_url=server.url).reply(MESSAGES)
            wrong = load_chat_model("openai", "tiny", "sk-very-secret", base_url=server.url, max_retries=0)
            for ask in (wrong.reply, lambda messages: list(wrong.stream(messages))):
                with pytest.raises(ChatError, match="Incorrect API key") as caught:
                    ask(MESSAGES)
                assert "sk-very-secret" not in str(caught.value)
            assert "sk-very-secret" not in repr(wrong)
            broken = load_chat_model("openai", "broken", "right", base_url=server.url, max_retries=0)
            with pytest.raises(ChatError, match="not loaded"):
                broken.reply(MESSAGES)

    def test_nobody_there(self) -> None:
        with chat_server() as server:
            url = server.url
        with pytest.raises(ChatError, match="openai:tiny failed to answer"):
            load_chat_model("openai", "tiny", base_url=url, max_retries=0).reply(MESSAGES)

    def test_keys_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InvalidInputError, match="set OPENAI_API_KEY"):
            load_chat_model("openai")
        monkeypatch.setenv("OPENAI_API_KEY", "from-outside")
        with chat_server(key="from-outside") as server:
            assert load_chat_model("OpenAI", base_url=server.url).name == f"OpenAI:{PROVIDERS['openai'].model}"
            assert load_chat_model("openai", base_url=server.url).reply(MESSAGES)

    @pytest.mark.parametrize("provider", ["google", "anthropic"])
    def test_a_package_that_is_missing_is_named(self, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
        package = PROVIDERS[provider].package
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=f"pip install {package.replace('_', '-')}"):
            load_chat_model(provider, api_key="key")

    def test_settings_that_the_package_refuses(self) -> None:
        with pytest.raises(ChatError, match="openai:tiny"):
            load_chat_model("openai", "tiny", "key", temperature="hot")

    def test_unknown(self) -> None:
        with pytest.raises(InvalidInputError, match="google, openai, anthropic, ollama, vllm"):
            load_chat_model("skynet")


class TestClient:
    def test_by_provider(self) -> None:
        with chat_server() as server:
            client = LLMClient("openai", "tiny", "key", base_url=server.url)
            assert (client.provider, client.model) == ("openai", "openai:tiny")
            assert "hello to you" in client.chat(MESSAGES)
            assert "".join(client.chat(MESSAGES, stream=True)) == "".join(client.chat_stream(MESSAGES))

    def test_by_object(self) -> None:
        for client in (LLMClient(upper), LLMClient(model=upper), create_llm_client(upper)):
            assert (client.provider, client.model) == (None, "upper")
            assert client.chat(MESSAGES) == "HELLO TO YOU"

    def test_what_there_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert LLMClient.list_providers() == ["google", "openai", "anthropic", "ollama", "vllm"]
        monkeypatch.setenv("GEMINI_API_KEY", "key")
        told = {"google": True, "openai": False, "anthropic": False, "ollama": True, "vllm": True}
        assert LLMClient.check_api_keys() == told
