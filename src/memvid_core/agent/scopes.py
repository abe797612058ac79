"""Scopes: whose memory a record is. Every record has one, and every question is asked within one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from memvid_core.agent.checks import mapping_of
from memvid_core.errors import Action, Hint, InvalidInputError

__all__ = ["DEFAULT_FIELDS", "RESERVED", "SESSION", "ScopeRules", "nearest"]

DEFAULT_FIELDS: Final = ("user_id", "agent_id", "session_id")
SESSION: Final = "session_id"
RESERVED: Final = frozenset({"agent", "created_at", "happened_at", "sources", "source", "chunk"})
"""Metadata keys of the records themselves."""
_ARGUMENTS: Final = frozenset(
    [
        *("self", "messages", "question", "budget", "now", "as_of", "k", "known", "count_tokens", "ids", "where"),
        *("memory_id", "record_id", "service", "folder", "force", "forget_missing"),
    ]
)
"""Arguments of the calls that take the fields of a scope by name."""
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

ScopeValue = str | int


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word most like a wrong one, else the list of known words.

    Example:
        >>> nearest("user", ["user_id", "agent_id"])
        "; did you mean 'user_id'?"
    """
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(words)}"


class ScopeRules:
    """The fields that a scope may have, and what they must hold.

    Args:
        model: The names of the fields, or a class that has them: a msgspec struct, a dataclass, a Pydantic model, a
            TypedDict. By default ``user_id``, ``agent_id`` and ``session_id``.
        default: Fields that hold wherever a call does not give them, as for a program with one user.

    Raises:
        InvalidInputError: A field has a name that records use themselves.

    Example:
        >>> ScopeRules().check({"user_id": "ada"})
        {'user_id': 'ada'}
    """

    def __init__(self, model: Any = DEFAULT_FIELDS, default: Mapping[str, ScopeValue] | None = None) -> None:
        self.fields = _field_names(model)
        used = RESERVED | _ARGUMENTS
        taken = [name for name in self.fields if name in used or name.startswith("$") or "." in name]
        if taken or not self.fields:
            raise InvalidInputError(
                f"a scope field cannot be called {', '.join(taken) or 'nothing'}: choose other names"
            )
        self.default = {name: self._value(name, value) for name, value in (default or {}).items()}

    def check(self, scope: Mapping[str, Any]) -> dict[str, ScopeValue]:
        """Return a whole scope: what was given over the default, in the order of the fields.

        Raises:
            InvalidInputError: A field is unknown or has no value, or nobody owns the scope.
        """
        scope = mapping_of(scope, "the scope")
        given = {**self.default, **{name: self._value(name, value) for name, value in scope.items()}}
        if not given.keys() - {SESSION}:
            owners = " or ".join(name for name in self.fields if name != SESSION)
            asked = "user_id or agent_id" if self.fields == DEFAULT_FIELDS else owners
            raise InvalidInputError("the scope names no owner", hint=Hint(Action.GIVE_SCOPE, {"fields": asked}))
        return {name: given[name] for name in self.fields if name in given}

    def owner(self, scope: Mapping[str, ScopeValue]) -> dict[str, ScopeValue]:
        """Return a scope without its session: items and categories outlive the conversation."""
        return {name: value for name, value in scope.items() if name != SESSION}

    def where(self, where: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the filter of a scope whose fields hold one value, or with ``__in`` one of several.

        Raises:
            InvalidInputError: As for :meth:`check`.

        Example:
            >>> ScopeRules().where({"user_id__in": ["ada", "bob"]})
            {'user_id': {'$in': ['ada', 'bob']}}
        """
        conditions: dict[str, Any] = {name: {"$eq": value} for name, value in self.default.items()}
        named: dict[str, str] = {}
        for key, value in mapping_of(where, "where").items():
            name, operator = _field_and_operator(key, self.fields)
            if named.setdefault(name, key) != key:
                raise InvalidInputError(f"where gives {name} twice, as {named[name]} and as {key}: give one of them")
            if operator == "in":
                if isinstance(value, str) or not isinstance(value, Iterable) or not (several := list(value)):
                    raise InvalidInputError(f"{key} must be a list of one value or more, not {value!r:.60}")
                conditions[name] = {"$in": [self._value(name, each) for each in several]}
            elif operator:
                raise InvalidInputError(f"{key!r} has an unknown operator; a field is given as {name} or {name}__in")
            else:
                conditions[name] = {"$eq": self._value(name, value)}
        if not conditions.keys() - {SESSION}:
            self.check({})
        return conditions

    def _value(self, name: str, value: Any) -> ScopeValue:
        if name not in self.fields:
            raise InvalidInputError(f"{name!r} is not a field of the scope{nearest(name, self.fields)}")
        if (
            isinstance(value, bool)
            or not isinstance(value, str | int)
            or (isinstance(value, str) and not value.strip())
        ):
            raise InvalidInputError(f"{name} must be a str that is not empty, or an int, not {value!r:.60}")
        if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
            raise InvalidInputError(f"{name} is an int of more than 64 bits: give it as a str")
        if isinstance(value, str) and not _is_valid(value):
            raise InvalidInputError(f"{name} has half of a character, a lone surrogate: {value!r:.60}")
        return value


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _field_and_operator(key: str, fields: Iterable[str]) -> tuple[str, str]:
    """Return the field of a key such as ``user_id__in``, and what follows it."""
    if key in fields:
        return key, ""
    name, _, operator = key.rpartition("__")
    return (name, operator) if name else (key, "")


def _field_names(model: Any) -> tuple[str, ...]:
    """Return the names of the fields of a scope model, each once."""
    return tuple(dict.fromkeys(_names_in(model)))


def _names_in(model: Any) -> tuple[str, ...]:
    if isinstance(model, str):
        return (model,)
    for attribute in ("model_fields", "__struct_fields__", "__dataclass_fields__", "__annotations__"):
        if isinstance(model, type) and (names := getattr(model, attribute, None)):
            return tuple(names)
    try:
        return tuple(str(name) for name in model)
    except TypeError:
        raise InvalidInputError(f"a scope model is a class with fields or a list of names, not {model!r:.60}") from None
