"""Records of an agent's memory: resources, turns, items and categories, as records of a ``Memory`` and back.

=========  =====================  ================================  ==================================================
kind       id                     text                              metadata
=========  =====================  ================================  ==================================================
resource   ``session-KEY``        its title, or its id              ``agent``: modality, url, number of turns
turn       ``KEY-POSITION``       who, when and what was said       ``agent``: session, position, role, who, head
item       ``item-…``             what is known                     ``sources``; ``agent``: type, categories, count, …
sources    ``item-….sNUMBER``     nothing                           ``sources``; ``agent``: item, number
forgotten  ``session-KEY.fNUMBER``  nothing                         ``agent``: digests of forgotten turns
category   ``category-…``         its name and its summary          ``agent``: name, description, stale
=========  =====================  ================================  ==================================================

Every record has the fields of its scope and ``created_at`` at the top of its metadata; ``happened_at`` is what it
speaks of. A turn is searched with who said it and when; ``head`` is how many characters of its text that takes, and the
rest is what was said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from memvid_core.agent.folding import has_hangul
from memvid_core.model import Record

__all__ = [
    "AGENT",
    "Category",
    "Draft",
    "Item",
    "Readable",
    "Resource",
    "Turn",
    "changed",
    "digest",
    "head_of",
    "kind_of",
    "resource_id",
    "turn_id",
]

AGENT: Final = "agent"
"""The metadata key under which a record says what it is."""

_KEPT: Final = 32
"""How many digests of forgotten turns a resource keeps itself."""
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


_Fields = tuple[tuple[str, ...], tuple[type, ...]]
_DATED: Final[_Fields] = (("created_at",), (str,))
_FIELDS: Final[dict[str, tuple[_Fields, _Fields]]] = {
    "turn": ((("session", "at", "role", "who", "head"), (str, int, str, str, int)), _DATED),
    "item": ((("memory_type",), (str,)), _DATED),
    "category": ((("name", "head"), (str, int)), _DATED),
    "resource": (((), ()), _DATED),
    "sources": ((("item", "number"), (str, int)), (("sources",), (list,))),
    "forgotten": ((("marks",), (dict,)), ((), ())),
}
"""The fields that each kind of record has under ``agent``, and outside of it."""

T = TypeVar("T", bound="Readable")


class Draft(NamedTuple):
    """A record to be written."""

    id: str
    text: str
    metadata: dict[str, Any]


class Readable(msgspec.Struct, kw_only=True, frozen=True):
    """A struct that also reads as a dictionary."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.__struct_fields__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__struct_fields__)

    def keys(self) -> tuple[str, ...]:
        """Return the names of the fields, so that ``dict(...)`` works."""
        return self.__struct_fields__

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field, or a default if the field is missing."""
        return getattr(self, name) if name in self.__struct_fields__ else default


class Turn(Readable, frozen=True, kw_only=True):
    """One thing that was said in a conversation. ``dated`` tells whether the message itself said when it was said."""

    id: str
    session: str
    position: int
    role: str
    who: str
    text: str
    created_at: str
    happened_at: str | None = None
    dated: bool = False
    scope: dict[str, Any] = {}


class Resource(Readable, frozen=True, kw_only=True):
    """A conversation or a file that was memorized.

    ``turns`` counts its turns, forgotten ones included; ``extracted`` of them were read for items. ``forgotten`` has a
    digest for each position that was forgotten, so that the same conversation, given again, does not bring it back;
    when they are many, they move into records of their own, as many as ``older`` says. ``born`` tells it from another
    with the same id that was forgotten before.
    """

    id: str
    url: str | None
    modality: str
    title: str | None
    turns: int
    created_at: str
    extracted: int = 0
    forgotten: dict[str, str] = {}
    older: int = 0
    born: str = ""
    scope: dict[str, Any] = {}


class Item(Readable, frozen=True, kw_only=True):
    """One thing that is known.

    Attributes:
        id: Its id; it stays when the item is corrected.
        memory_type: ``"profile"``, ``"event"``, ``"knowledge"``, ``"behavior"``, ``"skill"`` or ``"tool"``.
        summary: What is known, as a sentence.
        categories: The names of its categories.
        sources: The ids of the turns that it comes from; of an item in a list, the last of them
            (:mod:`memvid_core.agent.sources`).
        older: How many records hold the ids of the turns that it does not list.
        count: How often it was said.
        origin: ``"user"`` (written by hand), ``"rules"`` or ``"llm"``.
        version: 1, and one more for each correction.
        created_at: Since when this version is known.
        happened_at: The time that it speaks of.
        superseded_at: When a newer version took its place.
        superseded_by: The id of the item that took its place.
        supersedes: The id of the version before it.
        expires_at: When it stops to be true.
        same_as: The id of an item that says nearly the same.
        slot: What of whom it says, if that can only be true once.
        key: A digest of its folded text, by which repeats are found.
    """

    id: str
    memory_type: str
    summary: str
    categories: list[str] = []
    sources: list[str] = []
    older: int = 0
    count: int = 1
    origin: str = "user"
    version: int = 1
    created_at: str = ""
    happened_at: str | None = None
    superseded_at: str | None = None
    superseded_by: str | None = None
    supersedes: str | None = None
    expires_at: str | None = None
    same_as: str | None = None
    slot: str | None = None
    key: str = ""
    scope: dict[str, Any] = {}


class Category(Readable, frozen=True, kw_only=True):
    """A subject, with a summary of its items. A summary that is ``stale`` is empty until it is written again."""

    id: str
    name: str
    description: str = ""
    summary: str = ""
    stale: bool = False
    created_at: str = ""
    scope: dict[str, Any] = {}


def changed(struct: T, **fields: Any) -> T:
    """Return a copy of a struct with some fields changed."""
    return msgspec.structs.replace(struct, **fields)


def digest(*parts: Any) -> str:
    """Return twelve letters and digits (60 bits) that stand for some JSON values.

    Example:
        >>> len(digest("a", 1)), digest("a", 1) == digest("a", 2)
        (12, False)
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return "".join(_DIGITS[number >> shift & 31] for shift in range(55, -5, -5))


def resource_id(session: str) -> str:
    """Return the id of the resource of a session."""
    return f"session-{session}"


def turn_id(session: str, position: int) -> str:
    """Return the id of a turn."""
    return f"{session}-{position}"


def head_of(who: str, when: datetime, text: str) -> str:
    """Return what a turn's searched text begins with: who said it, and when, in the language of the text.

    Example:
        >>> head_of("Ada", datetime(2026, 5, 8), "Hello")
        'Ada (8 May 2026): '
        >>> head_of("지우", datetime(2026, 5, 8), "안녕")
        '지우 (2026년 5월 8일): '
    """
    if has_hangul(text):
        return f"{who} ({when.year}년 {when.month}월 {when.day}일): "
    return f"{who} ({when.day} {_MONTHS[when.month - 1]} {when.year}): "


def kind_of(record: Record) -> str | None:
    """Return what a record is to an agent's memory, or None if it is something else.

    Records of other programs may lie in the same memory: one that lacks what its kind has is theirs.
    """
    about = record.metadata.get(AGENT)
    if not isinstance(about, dict):
        return None
    kind = about.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        return None
    (inside, forms), (beside, others) = _FIELDS[kind]
    # no loop, because a recall asks this for some hundred records
    own = all(map(isinstance, map(about.get, inside), forms))
    return kind if own and all(map(isinstance, map(record.metadata.get, beside), others)) else None


def _scope_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    own = (AGENT, "created_at", "happened_at", "sources")
    return {key: value for key, value in metadata.items() if key not in own}


def turn_draft(turn: Turn, when: datetime) -> Draft:
    """Return the record of a turn."""
    head = head_of(turn.who, when, turn.text)
    about = {"kind": "turn", "session": turn.session, "at": turn.position, "role": turn.role, "who": turn.who}
    about |= {"head": len(head), "dated": turn.dated}
    metadata = {**turn.scope, "created_at": turn.created_at, AGENT: about}
    if turn.happened_at is not None:
        metadata["happened_at"] = turn.happened_at
    return Draft(turn.id, head + turn.text, metadata)


def read_turn(record: Record) -> Turn:
    """Read a turn from its record."""
    about = record.metadata[AGENT]
    return Turn(
        id=record.id,
        session=about["session"],
        position=about["at"],
        role=about["role"],
        who=about["who"],
        text=record.text[about["head"] :],
        created_at=record.metadata["created_at"],
        happened_at=record.metadata.get("happened_at"),
        dated=bool(about.get("dated")),
        scope=_scope_of(record.metadata),
    )


def _rest(struct: Readable, *left_out: str) -> dict[str, Any]:
    """Return the fields of a struct that go under ``agent``: those that are set."""
    named = {name: getattr(struct, name) for name in struct.__struct_fields__ if name not in left_out}
    return {name: value for name, value in named.items() if value not in (None, [], "", {})}


def resource_draft(resource: Resource) -> Draft:
    """Return the record of a resource. Without a title its text is its id, which no question finds."""
    about = {"kind": "resource", **_rest(resource, "id", "title", "older", "created_at", "scope")}
    if resource.older:
        about["older"] = resource.older
    metadata = {**resource.scope, "created_at": resource.created_at, AGENT: about}
    return Draft(resource.id, resource.title or resource.id, metadata)


def read_resource(record: Record) -> Resource:
    """Read a resource from its record."""
    about = record.metadata[AGENT]
    return Resource(
        id=record.id,
        url=about.get("url"),
        modality=about.get("modality", "conversation"),
        title=None if record.text == record.id else record.text,
        turns=about.get("turns", 0),
        extracted=about.get("extracted", 0),
        forgotten=about.get("forgotten", {}),
        older=about.get("older", 0),
        born=about.get("born", ""),
        created_at=record.metadata["created_at"],
        scope=_scope_of(record.metadata),
    )


def with_forgotten(resource: Resource, marks: Mapping[str, str]) -> list[Draft]:
    """Return the records of a resource that keeps further digests of turns that were forgotten, by position."""
    every = {**resource.forgotten, **marks}
    if len(every) <= _KEPT:
        return [resource_draft(changed(resource, forgotten=every))]
    about = {"kind": "forgotten", "marks": every}
    metadata = {**resource.scope, "created_at": resource.created_at, AGENT: about}
    moved = Draft(f"{resource.id}.f{resource.older}", " ", metadata)
    return [resource_draft(changed(resource, forgotten={}, older=resource.older + 1)), moved]


def forgotten_ids(resource: Resource) -> list[str]:
    """Return the ids of the records with those digests that a resource no longer keeps itself."""
    return [f"{resource.id}.f{number}" for number in range(resource.older)]


def read_forgotten(record: Record) -> dict[str, str]:
    """Read the digests of turns that were forgotten, by position."""
    return dict(record.metadata[AGENT]["marks"])


def item_draft(item: Item) -> Draft:
    """Return the record of an item. A version that was superseded is kept, and searched only for the past."""
    about = {"kind": "item", **_rest(item, "id", "summary", "sources", "older", "created_at", "happened_at", "scope")}
    if item.older:
        about["older"] = item.older
    metadata = {**item.scope, "created_at": item.created_at, "sources": item.sources, AGENT: about}
    if item.happened_at is not None:
        metadata["happened_at"] = item.happened_at
    return Draft(item.id, item.summary, metadata)


def read_item(record: Record) -> Item:
    """Read an item from its record."""
    known = {name: value for name, value in record.metadata[AGENT].items() if name in Item.__struct_fields__}
    return Item(
        id=record.id,
        summary=record.text,
        sources=list(record.metadata.get("sources", [])),
        created_at=record.metadata["created_at"],
        happened_at=record.metadata.get("happened_at"),
        scope=_scope_of(record.metadata),
        **known,
    )


def category_draft(category: Category) -> Draft:
    """Return the record of a category."""
    about = {"kind": "category", **_rest(category, "id", "summary", "created_at", "scope")}
    about["head"] = len(category.name) + 2
    metadata = {**category.scope, "created_at": category.created_at, AGENT: about}
    return Draft(category.id, f"{category.name}: {category.summary}", metadata)


def read_category(record: Record) -> Category:
    """Read a category from its record."""
    about = record.metadata[AGENT]
    return Category(
        id=record.id,
        name=about["name"],
        description=about.get("description", ""),
        summary=record.text[about["head"] :],
        stale=about.get("stale", False),
        created_at=record.metadata["created_at"],
        scope=_scope_of(record.metadata),
    )
