"""Scopes: the owner of notes, defined once for the tools and the middleware of an agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from langgraph.runtime import Runtime, get_runtime

from langchain_memvid.sharing import NOTE
from memvid_core import InvalidInputError

__all__ = ["Scope", "ScopeError", "check_scope", "current_runtime", "scope_for"]

Scope = Mapping[str, Any] | Callable[[Runtime[Any]], Mapping[str, Any]] | None
"""Metadata that names the owner of a note; or a function of LangGraph's ``Runtime`` that returns it; None for no owner.
"""


class ScopeError(InvalidInputError):
    """Report that the scope function could not determine an owner, for example because the run has no context."""


def check_scope(scope: object) -> None:
    """Check that an object is a scope.

    Raises:
        InvalidInputError: It is neither a dict that names an owner nor a plain function.
    """
    if callable(scope):
        if inspect.iscoroutinefunction(scope) or inspect.iscoroutinefunction(type(scope).__call__):
            raise InvalidInputError("the scope is an async function and would not be awaited: pass a plain function")
    elif scope is not None:
        _checked(scope)


def scope_for(scope: Scope, runtime: Runtime[Any] | None) -> dict[str, Any]:
    """Return the scope of a run; empty without a scope.

    Args:
        scope: A scope that passed :func:`check_scope`.
        runtime: The runtime of the run; None outside a run.

    Raises:
        ScopeError: The function needs a run, or failed.
        InvalidInputError: The function returned a scope without an owner.
    """
    if not callable(scope):
        return {} if scope is None else _checked(scope)
    if runtime is None:
        raise ScopeError(
            "the scope is a function of LangGraph's Runtime, but this call is not part of an agent's or graph's run"
        )
    try:
        named: object = scope(runtime)
    except Exception as exc:
        raise ScopeError(
            f"the scope function failed with {type(exc).__name__}: {exc}; pass the values that it reads, as in "
            "agent.invoke(..., context={...})"
        ) from exc
    if inspect.iscoroutine(named):
        named.close()
        raise ScopeError("the scope function returned a coroutine: pass a plain function")
    if not named:
        raise InvalidInputError(
            f"the scope {named!r} does not name an owner: the function must return a dict such as {{'user': 'ada'}}"
        )
    return _checked(named)


def current_runtime() -> Runtime[Any] | None:
    """Return the ``Runtime`` of the current run; None outside a run."""
    try:
        return get_runtime()
    except RuntimeError:
        return None


def _checked(scope: object) -> dict[str, Any]:
    """Check that a scope names an owner: in a filter, None would match every record without the key."""
    if not isinstance(scope, Mapping):
        raise InvalidInputError(f"a scope must be a dict such as {{'user': 'ada'}}, not {scope!r}")
    if taken := scope.keys() & {NOTE, "created_at"}:
        raise InvalidInputError(f"the scope cannot have the keys {sorted(taken)}: they are reserved for notes")
    for key, value in scope.items():
        if not isinstance(key, str) or key.startswith("$") or not isinstance(value, str | int | float):
            raise InvalidInputError(
                f"the scope {key!r}: {value!r} does not name an owner: use a str or a number under a key without $"
            )
    return dict(scope)
