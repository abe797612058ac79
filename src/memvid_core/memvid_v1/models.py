"""Language models: LangChain and LlamaIndex models, functions, and providers by name.

A framework is imported only for a provider by name or for a LlamaIndex model.
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
    """A model that answers messages."""

    @property
    def name(self) -> str:
        """The name of the model."""
        ...

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the complete answer.

        Raises:
            ChatError: The model failed.
        """
        ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer in pieces while it is generated.

        Raises:
            ChatError: The model failed.
        """
        ...


@dataclass(frozen=True)
class Provider:
    """Locate a provider's chat model and describe its arguments.

    ``key`` and ``url`` are the class's names for API key and server; ``variables`` are the environment variables of the
    key. A local server accepts any key.
    """

    package: str
    cls: str
    model: str
    variables: tuple[str, ...] = ()
    server: str = ""
    key: str = "api_key"

    @property
    def local(self) -> bool:
        """Whether the provider is a local server."""
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
"""Providers by name. For other servers with OpenAI's API, such as llama.cpp, use ``openai`` with a
``base_url``.
"""


def find_api_key(provider: str) -> str | None:
    """Return the API key of a provider from the environment; a local server needs none.

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
    """Create the chat model of a provider.

    Args:
        provider: ``google``, ``openai``, ``anthropic``, ``ollama`` or ``vllm``.
        model: The provider's name of the model; a provider of local models has no default.
        api_key: The key; by default from the provider's environment variable.
        base_url: Another server with the provider's API.
        options: Options of the framework's class, such as ``temperature=0``.

    Raises:
        InvalidInputError: The provider is unknown, or the model's name or the key is missing.
        MissingExtraError: The package for the provider is not installed; the message names it.
        ChatError: The package rejects the settings.
    """
    known = _provider(provider)
    name = model or known.model
    if not name:
        raise InvalidInputError(f"{provider} has no default model: name one, such as model='llama3.2'")
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
    except Exception as exc:  # each package has its own exceptions
        raise _failed(f"{provider}:{name}", exc, (key,)) from exc
    return LangChainModel(made, f"{provider}:{name}", (key,))


def _provider(name: str) -> Provider:
    try:
        return PROVIDERS[name.lower()]
    except (KeyError, AttributeError):
        known = ", ".join(PROVIDERS)
        raise InvalidInputError(
            f"unknown provider {name!r}; use one of {known}. For any server with OpenAI's API, use openai "
            "with a base_url"
        ) from None


def as_chat_model(model: object) -> ChatModel:
    """Wrap an object that answers messages as a chat model.

    Args:
        model: A LangChain chat model, LLM or chain; a LlamaIndex LLM; a function from a list of messages
            (``{"role", "content"}``) to a text or an iterator of pieces; or a ``ChatModel``, which is returned
            unchanged.

    Raises:
        InvalidInputError: The object cannot answer messages.

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
        f"an object of type {type(model).__name__} is not a language model: pass a LangChain or LlamaIndex one, or a "
        "function from messages to a text; a model name needs a provider"
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
    """Share what all adapters do: convert the model's exceptions to ChatError, without secrets."""

    model: Any = field(repr=False)
    name: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def _reply(self, messages: Sequence[Message]) -> object:
        raise NotImplementedError

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        raise NotImplementedError

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the complete answer."""
        try:
            return self._text(self._reply(messages))
        except MemvidError:
            raise
        except Exception as exc:
            raise _failed(self.name, exc, self.secrets) from exc

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer in pieces."""
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
        """Return the text of an answer: a str, or a message with a str or blocks as content."""
        content = answer if isinstance(answer, str) else getattr(answer, "content", answer)
        if content is None:
            return ""
        if isinstance(content, list):  # text blocks count; thoughts and calls do not
            blocks = [block if isinstance(block, str) else block.get("text", "") for block in content]
            content = "".join(block for block in blocks if isinstance(block, str))
        if not isinstance(content, str):
            raise ChatError(f"{self.name} answered with a value of type {type(content).__name__}, not a text")
        return content


class LangChainModel(_Outside):
    """Adapt a LangChain chat model, LLM or chain."""

    def _reply(self, messages: Sequence[Message]) -> object:
        return self.model.invoke([dict(message) for message in messages])

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        pieces: Iterable[object] = self.model.stream([dict(message) for message in messages])
        return pieces


class LlamaIndexModel(_Outside):
    """Adapt a LlamaIndex LLM."""

    @staticmethod
    def _messages(messages: Sequence[Message]) -> list[Any]:
        message = importlib.import_module("llama_index.core.llms").ChatMessage
        return [message(role=given["role"], content=given["content"]) for given in messages]

    def _reply(self, messages: Sequence[Message]) -> object:
        return self.model.chat(self._messages(messages)).message

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        return (response.delta or "" for response in self.model.stream_chat(self._messages(messages)))


class FunctionModel(_Outside):
    """Adapt a function from messages to a text, or to an iterator of pieces."""

    def _reply(self, messages: Sequence[Message]) -> object:
        return "".join(map(self._text, self._pieces(messages)))

    def _pieces(self, messages: Sequence[Message]) -> Iterable[object]:
        function: Callable[[list[dict[str, str]]], Any] = self.model
        answer = function([dict(message) for message in messages])
        return answer if isinstance(answer, Iterator) else [answer]


def _failed(name: str, error: Exception, secrets: tuple[str, ...]) -> ChatError:
    reason = f"{type(error).__name__}: {error}"
    for secret in secrets:
        if secret != "none":  # the placeholder key of a local server
            reason = reason.replace(secret, "***")
    return ChatError(f"{name} failed to answer ({reason})")
