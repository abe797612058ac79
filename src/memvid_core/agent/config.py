"""Configuration of a memory service: small structs, read from dictionaries; an unknown key is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from memvid_core.agent.categories import DEFAULT_CATEGORIES
from memvid_core.agent.checks import count_of, names_given
from memvid_core.agent.conversations import ROLES
from memvid_core.agent.messages import KNOWN_ROLES
from memvid_core.agent.scopes import DEFAULT_FIELDS, nearest
from memvid_core.errors import InvalidInputError

__all__ = ["Extract", "MemorizeConfig", "RetrieveConfig", "UserConfig", "configured"]

C = TypeVar("C", bound=msgspec.Struct)
Extract = Literal["raw", "rules", "llm"]


class MemorizeConfig(msgspec.Struct, kw_only=True, frozen=True):
    """How conversations are memorized.

    Attributes:
        extract: How items are made: ``"raw"`` makes none, ``"rules"`` by patterns, ``"llm"`` by a model.
        roles: Whose messages are remembered.
        categories: What the categories are about, by name.
        segment_tokens: How many tokens of a conversation a model reads in one call.
        attempts: How often a model is asked before its answer counts as a failure.
    """

    extract: Extract = "raw"
    roles: tuple[str, ...] = ROLES
    categories: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_CATEGORIES))
    segment_tokens: int = 2_000
    attempts: int = 3

    def __post_init__(self) -> None:
        count_of(self.segment_tokens, "segment_tokens", 1)
        count_of(self.attempts, "attempts", 1)
        names_given(list(self.categories), "categories")
        unknown = [role for role in self.roles if role not in KNOWN_ROLES]
        if unknown:
            raise InvalidInputError(f"{unknown[0]!r} is not a role{nearest(unknown[0], KNOWN_ROLES)}")


class RetrieveConfig(msgspec.Struct, kw_only=True, frozen=True):
    """How memory is retrieved.

    Attributes:
        method: ``"rag"`` without a model, ``"llm"`` with one or two calls.
        k: How many items, categories and resources at most.
        budget: How many tokens a recall may have.
        salience: Whether items count more that were said often and lately.
    """

    method: Literal["rag", "llm"] = "rag"
    k: int = 10
    budget: int = 1_000
    salience: bool = False

    def __post_init__(self) -> None:
        count_of(self.k, "k", 1)
        count_of(self.budget, "budget")


class UserConfig(msgspec.Struct, kw_only=True, frozen=True):
    """Whose memory it is.

    Attributes:
        model: The fields of a scope: a class that has them, or their names.
        default: Values that hold where a call gives none.
    """

    model: Any = DEFAULT_FIELDS
    default: dict[str, Any] = {}


def configured(kind: type[C], given: C | Mapping[str, Any] | None) -> C:
    """Return a configuration.

    Args:
        kind: Its class.
        given: It, or its keys and values; None is the default.

    Raises:
        InvalidInputError: A key is unknown, and the error names the nearest; or a value has the wrong type.

    Example:
        >>> configured(RetrieveConfig, {"k": 3}).k
        3
    """
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"a {kind.__name__} is given as a dict, not {given!r:.60}")
    for key in given:
        if key not in kind.__struct_fields__:
            raise InvalidInputError(f"{kind.__name__} has no key {key!r}{nearest(str(key), kind.__struct_fields__)}")
    try:
        return msgspec.convert(dict(given), kind, strict=True)
    except (msgspec.ValidationError, ValueError) as exc:
        raise InvalidInputError(f"{kind.__name__}: {exc}") from exc
