"""Language models: those of LangChain and LlamaIndex as they come, functions, and providers by name.

No framework is imported here unless a provider is asked for by name, or a LlamaIndex model is given.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from memvid_core.errors import ChatError, InvalidInputError, MemvidError, MissingExtraError

__all__ = ["PROVIDERS", "ChatModel", "Message", "as_chat_model", "find_api_key", "load_chat_model"]

Message = Mapping[str, str]
"""``role`` (``system``, ``user`` or ``assistant``) and ``content``."""


class ChatModel(Protocol):
    """What answers messages."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def reply(self, messages: Sequence[Message]) -> str:
        """The whole answer.

        Raises:
            ChatError: The model failed.
        """
        ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer in pieces, as they come.

        Raises:
            ChatError: The model failed.
        """
        ...


@dataclass(frozen=True)
class Provider:
    """Where a provider's chat model is found, and what it takes.

    ``key`` and ``url`` are what the class calls its API key and server; ``variables`` are where a key is looked for.
    A local server takes any key.
    """

    package: str
    cls: str
    model: str
    variables: tuple[str, ...] = ()
    server: str = ""
    key: str = "api_key"

    @property
    def local(self) -> bool:
        """Whether it is a server of one's own."""
        return bool(self.server)


PROVIDERS = {
    "google": Provider(
        "langchain_google_genai",
        "ChatGoogleGenerativeAI",
        "gemini-flash-latest",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        key="google_api_key",
    ),
    "openai": Provider("langchain_openai", "ChatOpenAI", "gpt-5-mini", ("OPENAI_API_KEY",)),
    "anthropic": Provider("langchain_anthropic", "ChatAnthropic", "claude-sonnet-4-5", ("ANTHROPIC_API_KEY",)),
    "ollama": Provider("langchain_openai", "ChatOpenAI", "", server="http://localhost:11434/v1"),
    "vllm": Provider("langchain_openai", "ChatOpenAI", "", server="http://localhost:8000/v1"),
}
"""By name. Ollama, vLLM, llama.cpp, LM Studio and others speak OpenAI's protocol: ``openai`` with a ``base_url``."""


def find_api_key(provider: str) -> str | None:
    """The key that the environment has for a provider; a local server needs none.

    Example:
        >>> find_api_key("ollama")
        'none'
    """
    known = _provider(provider)
    found = next((os.environ[name] for name in known.variables if os.environ.get(name)), None)
    return "none" if found is None and known.local else found


def load_chat_model(
    provider: str, model: str | None = None, api_key: str | None = None, *, base_url: str | None = None, **options: Any
) -> ChatModel:
    """The chat model of a provider.

    Args:
        provider: ``google``, ``openai``, ``anthropic``, ``ollama`` or ``vllm``.
        model: Its name there; a provider of local models has no default.
        api_key: The key; by default the provider's environment variable.
        base_url: Another server that speaks the provider's protocol.
        options: For the framework's class, such as ``temperature=0``.

    Raises:
        InvalidInputError: An unknown provider, no model's name, or no key.
        MissingExtraError: The package that speaks to it is not installed; the message names it.
        ChatError: The package refuses the settings.
    """
    known = _provider(provider)
    name = model or known.model
    if not name:
        raise InvalidInputError(f"{provider} serves what was loaded into it: name the model, such as model='llama3.2'")
    key = api_key or find_api_key(provider) or ("none" if base_url else None)
    if key is None:
        raise InvalidInputError(f"{provider} needs an API key: give one, or set {known.variables[0]}")
    try:
        cls = getattr(importlib.import_module(known.package), known.cls)
    except ImportError as exc:
        package = known.package.replace("_", "-")
        raise MissingExtraError(f"{provider} needs {package}; install it with: pip install {package}") from exc
    arguments = {"model": name, known.key: key, **options}
    if base_url or known.server:
        arguments["base_url"] = base_url or known.server
    try:
        made = cls(**arguments)
    except Exception as exc:  # each package has its own
        raise _failed(f"{provider}:{name}", exc, (key,)) from exc
    return LangChainModel(made, f"{provider}:{name}", (key,))


def _provider(name: str) -> Provider:
    try:
        return PROVIDERS[name.lower()]
    except (KeyError, AttributeError):
        known = ", ".join(PROVIDERS)
        raise InvalidInputError(
            f"there is no provider {name!r}; there are: {known}. Any server that speaks OpenAI's protocol is openai "
            "with a base_url"
        ) from None


def as_chat_model(model: object) -> ChatModel:
    """Make a chat model of whatever answers messages.

    Args:
        model: A LangChain chat model, LLM or chain; a LlamaIndex LLM; a function from a list of messages
            (``{"role", "content"}``) to a text or to an iterator of pieces; or a ``ChatModel`` (returned as it is).

    Raises:
        InvalidInputError: It answers nothing.

    Example:
        >>> as_chat_model(lambda messages: messages[-1]["content"].upper()).reply([{"role": "user", "content": "hi"}])
        'HI'
    """
    if isinstance(model, type):
        raise InvalidInputError(f"{model.__name__} is a class: give an instance of it")
    if _has(model, "reply", "stream"):
        return model  # type: ignore[return-value]
    if _has(model, "chat", "stream_chat"):
        return LlamaIndexModel(model, _name(model))
    if _has(model, "invoke", "stream"):
        return LangChainModel(model, _name(model))
    if callable(model):
        return FunctionModel(model, getattr(model, "__name__", type(model).__name__))
    raise InvalidInputError(
        f"an object of type {type(model).__name__} is no language model: give a LangChain or LlamaIndex one, or a "
        "function from messages to a text; a model by its name goes with a provider"
    )


def _has(model: object, *methods: str) -> bool:
    return all(callable(getattr(model, method, None)) for method in methods)


def _name(model: object) -> str:
    for attribute in ("model_name", "model"):
        value = getattr(model, attribute, None)
        if isinstance(value, str) and value:
            return f"{type(model).__name__}:{value}"
    return type(model).__name__


@dataclass(frozen=True)
class _Outside:
    """What all adapters share: the model's own exceptions become ours, without its secrets."""

    model: Any = field(repr=False)
    name: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def _reply(self, messages: Sequence[Message]) -> object:
        raise NotImplementedError

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        raise NotImplementedError

    def reply(self, messages: Sequence[Message]) -> str:
        """The whole answer."""
        try:
            return self._text(self._reply(messages))
        except MemvidError:
            raise
        except Exception as exc:
            raise _failed(self.name, exc, self.secrets) from exc

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer in pieces."""
        try:
            for piece in self._pieces(messages):
                text = self._text(piece)
                if text:
                    yield text
        except MemvidError:
            raise
        except Exception as exc:
            raise _failed(self.name, exc, self.secrets) from exc

    def _text(self, answer: object) -> str:
        """The text of an answer: a str, or a message whose content is one or is made of blocks."""
        content = answer if isinstance(answer, str) else getattr(answer, "content", answer)
        if content is None:
            return ""
        if isinstance(content, list):  # blocks: text, and such as thoughts or calls, which are none
            blocks = [block if isinstance(block, str) else block.get("text", "") for block in content]
            content = "".join(block for block in blocks if isinstance(block, str))
        if not isinstance(content, str):
            raise ChatError(f"{self.name} answered with a value of type {type(content).__name__}, not a text")
        return content


class LangChainModel(_Outside):
    """A LangChain chat model, LLM or chain."""

    def _reply(self, messages: Sequence[Message]) -> object:
        return self.model.invoke([dict(message) for message in messages])

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        pieces: Iterable[object] = self.model.stream([dict(message) for message in messages])
        return pieces


class LlamaIndexModel(_Outside):
    """A LlamaIndex LLM."""

    @staticmethod
    def _messages(messages: Sequence[Message]) -> list[Any]:
        message = importlib.import_module("llama_index.core.llms").ChatMessage
        return [message(role=given["role"], content=given["content"]) for given in messages]

    def _reply(self, messages: Sequence[Message]) -> object:
        return self.model.chat(self._messages(messages)).message

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        return (response.delta or "" for response in self.model.stream_chat(self._messages(messages)))


class FunctionModel(_Outside):
    """A function from messages to a text, or to an iterator of pieces."""

    def _reply(self, messages: Sequence[Message]) -> object:
        return "".join(map(self._text, self._pieces(messages)))

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        function: Callable[[list[dict[str, str]]], Any] = self.model
        answer = function([dict(message) for message in messages])
        return answer if isinstance(answer, Iterator) else [answer]


def _failed(name: str, error: Exception, secrets: tuple[str, ...]) -> ChatError:
    told = f"{type(error).__name__}: {error}"
    for secret in secrets:
        if secret != "none":  # what a server of one's own is given
            told = told.replace(secret, "***")
    return ChatError(f"{name} gave no answer ({told})")
