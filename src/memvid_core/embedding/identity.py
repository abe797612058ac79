"""The names of external models that a memory records, also as older versions recorded them."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

__all__ = ["identity", "names_model", "old_identity", "same_embedder"]

_DEPLOYMENTS: Final = ("azure_deployment", "deployment", "deployment_name", "endpoint_name")
_MODELS: Final = (
    "model",
    "model_name",
    "model_id",
    "model_name_or_path",
    "base_model_name",
    "model_path",
    "repo_id",
)
_OLD_MODELS: Final = (*_MODELS[:4], "deployment", _MODELS[4])
_DIMENSIONS: Final = ("dimensions", "output_dimensionality", "output_dimension", "truncate_dim")
_OPTIONS: Final = ("model_kwargs", "additional_kwargs")  # options that a model passes on
_CACHES: Final = ("underlying_embeddings", "base_embeddings")  # of wrappers that return the vectors unchanged
_METHODS: Final = (("embed_documents", "embed_query"), ("get_text_embedding_batch", "get_query_embedding"))
_DEEPEST: Final = 8  # wrappers around wrappers


def identity(obj: object, depth: int = 0) -> str:
    """Return class, model or deployment, and reduced dimension of an external object, without secrets.

    It is the same in every process. A cache has the name of the cached model, another wrapper ``Wrapper(inner)``; a
    method includes the model of its object.

    Example:
        >>> class Model:
        ...     model, dimensions = "text-embedding-3-small", 256
        >>> identity(Model())
        'Model:text-embedding-3-small:256'
    """
    if isinstance(obj, partial):
        return ":".join([identity(obj.func, depth), *_details(_Options(obj.keywords))])
    own = getattr(obj, "__qualname__", None)
    if isinstance(own, str):  # a function, or a method of an object that may have a model
        return ":".join([own, *_details(getattr(obj, "__self__", None))])
    details = _details(obj)
    if not details and depth < _DEEPEST:
        attribute, inner = _wrapped(obj)
        if inner is not None:
            known = getattr(inner, "name", None)  # of an embedder of this package, or one like it
            name = known if isinstance(known, str) and hasattr(inner, "dimension") else identity(inner, depth + 1)
            return name if attribute in _CACHES else f"{type(obj).__name__}({name})"
    return ":".join([type(obj).__name__, *details])


def old_identity(obj: object) -> str:
    """Return the name that older versions recorded, without deployment, dimension and wrapped model."""
    own = getattr(obj, "__qualname__", None)
    if isinstance(own, str):
        return own
    model = _text(obj, _OLD_MODELS) or _tokenizer(obj)
    return ":".join([type(obj).__name__, *([plain_name(model)] if model else [])])


def names_model(obj: object) -> bool:
    """Return whether :func:`old_identity` identifies the model, or is all that identifies it."""
    model = next((name for name in _OLD_MODELS if _text(obj, (name,))), None)
    if model is None and _tokenizer(obj) is None:
        return identity(obj) == old_identity(obj)
    given = getattr(obj, "model_fields_set", None)  # of pydantic
    if _deployment(obj) is not None and isinstance(given, set):
        return model in given  # otherwise it is the default of the class, not the model of the deployment
    return True


def same_embedder(embedder: Any, recorded: str) -> bool:
    """Return whether a memory recorded this embedder, under its current name or the name of an older version.

    Args:
        embedder: Any ``Embedder``. If it has a method ``matches(recorded)``, that decides; otherwise its name.
        recorded: The recorded name.

    Example:
        >>> from memvid_core.embedding import HashingEmbedder
        >>> same_embedder(HashingEmbedder(), "memvid-hash-v1:384")
        True
    """
    if embedder.name == recorded:
        return True
    matches = getattr(type(embedder), "matches", None)
    return bool(matches(embedder, recorded)) if callable(matches) else False


def plain_name(model: str) -> str:
    """Return a model's name without private parts of a URL or a local path."""
    if "://" in model or model.startswith(("/", "~", ".")) or "\\" in model or model.count("/") > 1:
        model = re.split(r"[?#]", model)[0].rstrip("/\\")
        return re.split(r"[/\\]", model)[-1].rpartition("@")[2]
    return model


class _Options:
    """Provide keyword arguments as attributes."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def _details(obj: object) -> list[str]:
    """Return the model and the configured dimension of an object, as far as it has them."""
    model = _deployment(obj) or _text(obj, _MODELS) or _text(obj, _DEPLOYMENTS[-1:]) or _tokenizer(obj)
    size = _dimensions(obj)
    return [*([plain_name(model)] if model else []), *([str(size)] if size else [])]


def _text(obj: object, attributes: tuple[str, ...]) -> str | None:
    for attribute in attributes:
        value = getattr(obj, attribute, None)
        # a mock has every attribute, but no string in it; "unknown" is what LlamaIndex calls a model without a name
        if isinstance(value, str) and value.strip() not in ("", "unknown"):
            return value.strip()
    return None


def _deployment(obj: object) -> str | None:
    """Return the deployment, unless it is the default of its class (OpenAI's default does not name the model)."""
    given = getattr(obj, "model_fields_set", None)
    names = [name for name in _DEPLOYMENTS if not isinstance(given, set) or name in given]
    return _text(obj, tuple(names))


def _tokenizer(obj: object) -> str | None:
    """Return the name by which a SentenceTransformer was loaded."""
    return _text(getattr(obj, "tokenizer", None), ("name_or_path",))


def _dimensions(obj: object) -> int | None:
    options = [getattr(obj, name, None) for name in _OPTIONS]
    places = [obj, *(_Options(values) for values in options if isinstance(values, dict))]
    for value in (getattr(place, name, None) for place in places for name in _DIMENSIONS):
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _wrapped(obj: object) -> tuple[str, object | None]:
    """Return the attribute with the only embedder in an object, and that embedder."""
    held = {**getattr(obj, "__dict__", {}), **(getattr(obj, "__pydantic_private__", None) or {})}
    found = {
        name: value
        for name, value in held.items()
        if not name.startswith(("_mock_", "__")) and not isinstance(value, type) and _embeds(value)
    }
    for name in _CACHES:
        if name in found:
            return name, found[name]
    return next(iter(found.items())) if len({id(value) for value in found.values()}) == 1 else ("", None)


def _embeds(value: object) -> bool:
    return any(all(callable(getattr(value, method, None)) for method in methods) for methods in _METHODS)
