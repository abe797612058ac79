"""LLMClient: a language model by the name of its provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

from memvid_core.memvid_v1.models import PROVIDERS, Message, as_chat_model, find_api_key, load_chat_model

__all__ = ["LLMClient", "create_llm_client"]


class LLMClient:
    """Answer messages with a language model.

    Args:
        provider: ``google``, ``openai``, ``anthropic``, ``ollama``, ``vllm``; or a model object
            (:func:`~memvid_core.memvid_v1.models.as_chat_model`), without further arguments.
        model: The provider's name of the model, or a model object.
        api_key: The key; by default from the provider's environment variable.
        base_url: Another server with the provider's API.
        options: Options of the framework's class, such as ``temperature=0``.

    Raises:
        InvalidInputError: The provider is unknown, or the key is missing.
        MissingExtraError: The package for the provider is not installed; the message names it.

    Example:
        >>> client = LLMClient(lambda messages: f"{len(messages)} message")
        >>> client.chat([{"role": "user", "content": "hello"}])
        '1 message'
    """

    def __init__(
        self,
        provider: object = "google",
        model: object = None,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        given = model if model is not None and not isinstance(model, str) else provider
        if isinstance(given, str):
            self.provider: str | None = given.lower()
            name = model if isinstance(model, str) else None
            self._model = load_chat_model(given, name, api_key, base_url=base_url, **options)
        else:
            self.provider = None
            self._model = as_chat_model(given)

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._model.name

    def __repr__(self) -> str:
        return f"LLMClient({self.model!r})"

    @overload
    def chat(self, messages: Sequence[Message], stream: Literal[False] = False) -> str: ...
    @overload
    def chat(self, messages: Sequence[Message], stream: Literal[True]) -> Iterator[str]: ...
    def chat(self, messages: Sequence[Message], stream: bool = False) -> str | Iterator[str]:
        """Return the answer to messages with ``role`` and ``content``; with ``stream``, an iterator over its pieces.

        Raises:
            ChatError: The model failed.
        """
        return self._model.stream(messages) if stream else self._model.reply(messages)

    def chat_stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer in pieces while it is generated."""
        return self._model.stream(messages)

    @staticmethod
    def list_providers() -> list[str]:
        """Return the names of the providers."""
        return list(PROVIDERS)

    @staticmethod
    def check_api_keys() -> dict[str, bool]:
        """Return for each provider whether the environment has a key."""
        return {name: provider.local or find_api_key(name) is not None for name, provider in PROVIDERS.items()}


def create_llm_client(
    provider: object = "google",
    model: object = None,
    api_key: str | None = None,
    *,
    base_url: str | None = None,
    **options: Any,
) -> LLMClient:
    """Create an :class:`LLMClient`; ``options`` are passed to the framework's class, such as ``temperature=0``."""
    return LLMClient(provider, model, api_key, base_url=base_url, **options)
