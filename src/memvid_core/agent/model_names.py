"""Models by name: ``"provider:model"``, through LangChain."""

from __future__ import annotations

import importlib
from typing import Any

from memvid_core.errors import ChatError, InvalidInputError, MissingExtraError

__all__ = ["named_model"]


def named_model(name: str) -> Any:
    """Return the chat model of a name such as ``"openai:gpt-5-mini"`` or ``"ollama:llama3.2"``.

    Args:
        name: A provider and a model, as ``langchain.chat_models.init_chat_model`` takes them. Keys are read from the
            environment, as the provider's package does.

    Raises:
        InvalidInputError: The name has no provider, or the provider is unknown.
        MissingExtraError: LangChain or the provider's package is not installed.
        ChatError: The provider refused, as without a key.
    """
    provider, _, model = name.partition(":")
    if not provider.strip() or not model.strip():
        raise InvalidInputError(f"a model is named provider:model, such as openai:gpt-5-mini, not {name!r:.60}")
    try:
        made: Any = importlib.import_module("langchain.chat_models").init_chat_model(name)
    except ImportError as exc:
        missing = exc.name or ""
        hint = "pip install 'memvid-core[agents]'"
        if missing and not missing.startswith("langchain."):
            hint = hint if missing == "langchain" else f"pip install {missing.partition('.')[0].replace('_', '-')}"
        raise MissingExtraError(f"the model {name!r} needs a package that is not installed ({exc}); {hint}") from exc
    except ValueError as exc:
        raise InvalidInputError(f"the model {name!r} cannot be used: {str(exc).splitlines()[0]:.300}") from exc
    except Exception as exc:
        raise ChatError(f"the model {name!r} cannot be used: {exc}") from exc
    return made
