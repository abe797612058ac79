"""Scopes: whose memory it is, said once for the tools and the middleware of an agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from langgraph.runtime import Runtime, get_runtime

from langchain_memvid.sharing import NOTE
from memvid_core import InvalidInputError

__all__ = ["Scope", "ScopeError", "check_scope", "current_runtime", "scope_for"]

Scope = Mapping[str, Any] | Callable[[Runtime[Any]], Mapping[str, Any]] | None
"""Metadata that says whose a note is; or a function of LangGraph's ``Runtime`` that gives it; None is everybody's."""


class ScopeError(InvalidInputError):
    """The scope function could not say whose memory it is: the agent was called without what the function reads."""


def check_scope(scope: object) -> None:
    """Raise if this is no scope.

    Raises:
        InvalidInputError: Neither a dict that names somebody nor a plain function.
    """
    if callable(scope):
        if inspect.iscoroutinefunction(scope) or inspect.iscoroutinefunction(type(scope).__call__):
            raise InvalidInputError("the scope is an async function, whose answer nobody waits for: give a plain one")
    elif scope is not None:
        _checked(scope)


def scope_for(scope: Scope, runtime: Runtime[Any] | None) -> dict[str, Any]:
    """Whose memory it is in this run; empty for everybody's.

    Args:
        scope: A scope that :func:`check_scope` let pass.
        runtime: The run's; None outside of one.

    Raises:
        ScopeError: The function needs a run, or failed.
        InvalidInputError: The function names nobody.
    """
    if not callable(scope):
        return {} if scope is None else _checked(scope)
    if runtime is None:
        raise ScopeError("the scope is a function of LangGraph's Runtime, and this is no run of an agent or graph")
    try:
        named: object = scope(runtime)
    except Exception as exc:
        raise ScopeError(
            f"the scope function failed with {type(exc).__name__}: {exc}; call the agent with what it reads, as in "
            "agent.invoke(..., context={...})"
        ) from exc
    if inspect.iscoroutine(named):
        named.close()
        raise ScopeError("the scope function gave a coroutine: give a plain function")
    if not named:
        raise InvalidInputError(
            f"the scope {named!r} names nobody: the function returns a dict such as {{'user': 'ada'}}"
        )
    return _checked(named)


def current_runtime() -> Runtime[Any] | None:
    """The ``Runtime`` of the run that this is called in; None outside of one."""
    try:
        return get_runtime()
    except RuntimeError:
        return None


def _checked(scope: object) -> dict[str, Any]:
    """A scope that says whose notes they are: to a filter, None would be everyone who has not said."""
    if not isinstance(scope, Mapping):
        raise InvalidInputError(f"a scope is a dict such as {{'user': 'ada'}}, not {scope!r}")
    if taken := scope.keys() & {NOTE, "created_at"}:
        raise InvalidInputError(f"the scope cannot have the keys {sorted(taken)}: notes have their own")
    for key, value in scope.items():
        if not isinstance(key, str) or key.startswith("$") or not isinstance(value, str | int | float):
            raise InvalidInputError(
                f"the scope {key!r}: {value!r} names nobody: give a str or a number under a plain key"
            )
    return dict(scope)
