"""Models: any callable, LangChain chat model or LlamaIndex LLM as a function from a prompt to a text."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from memvid_core.agent.model_names import named_model
from memvid_core.errors import ChatError, InvalidInputError

__all__ = ["Model", "as_model"]

S = TypeVar("S")
_DECODER: Final = json.JSONDecoder()
_TRIED: Final = 20
"""At how many braces of an answer a JSON object is looked for."""


class Model:
    """Asks a model, counts the calls, and checks its answers.

    Args:
        ask: A prompt to a text; a coroutine function runs in an event loop of its own.
    """

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask
        self.calls = 0

    def text(self, prompt: str) -> str:
        """Return the model's answer.

        Raises:
            ChatError: The model failed, or answered with something that is not text.
        """
        self.calls += 1
        try:
            answer = self._ask(prompt)
            if inspect.isawaitable(answer):
                answer = asyncio.run(_awaited(answer))
        except Exception as exc:
            raise ChatError(f"the model failed: {exc}") from exc
        text = _text_of(answer)
        if text is None:
            raise ChatError(f"the model must answer with text, not {answer!r:.60}")
        return _valid(text)

    def json(self, prompt: str, schema: type[S], attempts: int) -> S:
        """Return the model's answer as a struct; an answer that does not fit is asked for again.

        Raises:
            ChatError: No answer of all attempts fits.
        """
        problem = ""
        for _ in range(max(attempts, 1)):
            told = f"\n\nYour last answer could not be read ({problem}). Answer with one JSON object and nothing else."
            try:
                return _struct(self.text(f"{prompt}{told if problem else ''}"), schema)
            except (ValueError, RecursionError, msgspec.ValidationError, ChatError) as exc:
                problem = str(exc)
        raise ChatError(f"the model gave no valid answer in {attempts} attempts; the last: {problem:.160}")


def _struct(text: str, schema: type[S]) -> S:
    """Return the last JSON object of a text that fits a struct: a model may think aloud before it answers.

    Raises:
        ValueError: There is none.
    """
    fields: tuple[str, ...] = schema.__struct_fields__  # type: ignore[attr-defined]
    found: list[S] = []
    why: Exception = ValueError("there is no JSON object in it")
    place = text.find("{")
    for _ in range(_TRIED):
        if place < 0:
            break
        end = place + 1
        try:
            value, end = _DECODER.raw_decode(text, place)
            if value.keys().isdisjoint(fields):
                raise ValueError(f"the JSON object has none of {', '.join(fields)}")
            plain = _valid(json.dumps(value, ensure_ascii=False))  # an escape may be a lone surrogate
            found.append(msgspec.convert(json.loads(plain), schema))
        except (ValueError, RecursionError, msgspec.ValidationError) as exc:
            why = exc
        place = text.find("{", end)
    if not found:
        raise ValueError(str(why)) from why
    return found[-1]


def _valid(text: str) -> str:
    """Return a text whose lone surrogates, which no memory can hold, became question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


async def _awaited(answer: Any) -> Any:
    return await answer


def _text_of(answer: Any) -> str | None:
    for value in (answer, getattr(answer, "content", None), getattr(answer, "text", None)):
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "\n".join(part if isinstance(part, str) else str(part.get("text", "")) for part in value)
    return None


def as_model(model: Any) -> Model | None:
    """Return a model from whatever asks one; None stays None.

    Args:
        model: A callable from a prompt to a text, an object with ``invoke`` (LangChain) or with ``complete``
            (LlamaIndex), or a name such as ``"openai:gpt-5-mini"``.

    Raises:
        InvalidInputError: It is none of these.
        MissingExtraError: It is a name, and the package for it is not installed.

    Example:
        >>> as_model(lambda prompt: prompt.upper()).text("hello")
        'HELLO'
    """
    if model is None or isinstance(model, Model):
        return model
    if isinstance(model, str):
        return as_model(named_model(model))
    for method in ("invoke", "complete"):
        if callable(getattr(model, method, None)):
            return Model(getattr(model, method))
    if callable(model):
        return Model(model)
    raise InvalidInputError(f"a model is a callable or has invoke() or complete(); {type(model).__name__} has neither")
