"""The tools of the MCP server: their parameters with limits, their annotations and their answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

from memvid_core.errors import InvalidInputError
from memvid_core.model import Hit
from memvid_core.serving.answers import Answer, answer_of, fitted
from memvid_core.serving.extras import missing
from memvid_core.serving.memories import Served
from memvid_core.serving.words import TOOL_WORDS
from memvid_core.system.threads import run_in_thread

try:
    from typing import NotRequired

    from mcp.types import CallToolResult, TextContent, ToolAnnotations
    from pydantic import Field
    from typing_extensions import TypedDict
except ImportError as exc:
    raise missing("mcp", exc) from exc

__all__ = ["AGENT_TOOLS", "RECORD_TOOLS", "Remembering", "Tool"]


class Entry(TypedDict):
    """A record: its id, its text, its metadata, and the score of a search from 0 to 1."""

    id: str
    text: str
    metadata: dict[str, Any]
    score: NotRequired[float]


class Found(TypedDict):
    """Records. left_out: how many did not fit into the answer; total: how many match the filter."""

    memories: list[Entry]
    left_out: int
    total: NotRequired[int]
    missing: NotRequired[list[str]]


class Saved(TypedDict):
    """The ids of saved texts, in their order."""

    ids: list[str]


class Forgotten(TypedDict):
    """The ids that were deleted, and those that were not found or cannot be deleted here."""

    deleted: list[str]
    unknown: list[str]


class Recalled(TypedDict):
    """What is remembered, quoted with references, and the ids of those references."""

    text: str
    ids: list[str]


class Remembering(TypedDict):
    """The ids of turns that were stored, and of facts that were read from them."""

    turns: list[str]
    items: list[str]


class Versions(TypedDict):
    """The versions of a remembered fact, oldest first."""

    versions: list[dict[str, Any]]


Query = Annotated[str, Field(description=TOOL_WORDS["query"], min_length=1, max_length=4000)]
Id = Annotated[str, Field(description=TOOL_WORDS["id"], min_length=1, max_length=512)]
Ids = Annotated[list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Where = Annotated[
    dict[str, Any] | None,
    Field(description='Only those whose metadata match, such as {"page": {"$gte": 3}} or {"$or": [...]}.'),
]
Metadata = Annotated[dict[str, Any] | None, Field(description='Facts about it to filter by, such as {"page": 3}.')]


def _result(text: str, structured: Any) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)


def _found(answer: Answer, **more: Any) -> CallToolResult:
    return _result(answer.text, {"memories": answer.memories, "left_out": answer.left_out, **more})


# --- records ---


async def search_memory(
    served: Served,
    *,
    query: Query,
    k: Annotated[int, Field(description=TOOL_WORDS["k"], ge=1, le=50)] = 5,
    where: Where = None,
    min_relevance: Annotated[float, Field(description="0.5 leaves out what hardly answers.", ge=0, le=1)] = 0,
    unique: Annotated[bool, Field(description="Show equal texts once.")] = False,
    passage: Annotated[int, Field(description="Show passages of so many characters.", ge=0, le=4000)] = 0,
) -> Annotated[CallToolResult, Found]:
    """Search."""

    def hits() -> list[Hit]:
        chosen: dict[str, Any] = {"min_relevance": min_relevance or None, "passage": passage or None}
        return served.records.search(query, k, where, unique=unique, **chosen)

    return _found(answer_of(await run_in_thread(hits)))


async def get_memories(
    served: Served,
    *,
    ids: Ids,
    start: Annotated[int, Field(description="The character at which a long text continues.", ge=0)] = 0,
) -> Annotated[CallToolResult, Found]:
    """Get by id."""
    records = await run_in_thread(served.records.get, ids)
    there = {record.id for record in records}
    absent = [name for name in dict.fromkeys(ids) if name not in there]
    answer = answer_of(records, start=start, length=None, nothing="No memory has these ids.")
    return _found(answer, missing=absent)


async def list_memories(
    served: Served,
    *,
    where: Where = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 20,
    offset: Annotated[int, Field(ge=0)] = 0,
    order_by: Annotated[str | None, Field(description="A metadata key, such as created_at.", max_length=512)] = None,
    descending: bool = False,
) -> Annotated[CallToolResult, Found]:
    """List."""

    def page() -> tuple[list[Any], int]:
        return served.records.page(where, limit, offset, order_by, descending=descending)

    records, total = await run_in_thread(page)
    answer = answer_of(records)
    text = f"{answer.text}\n({offset + 1} to {offset + len(answer.memories)} of {total})" if records else answer.text
    return _found(answer._replace(text=text), total=total)


async def save_memories(
    served: Served,
    *,
    texts: Annotated[list[Annotated[Text, Field(description=TOOL_WORDS["text"])]], Field(min_length=1, max_length=100)],
    metadata: Metadata = None,
) -> Annotated[CallToolResult, Saved]:
    """Save."""
    ids = await run_in_thread(served.records.save, texts, metadata)
    return _result("Saved as " + ", ".join(f"[{name}]" for name in ids) + ".", {"ids": ids})


async def update_memory(
    served: Served,
    *,
    id: Id,
    text: Annotated[Text | None, Field(description="The new text; by default it stays.")] = None,
    metadata: Annotated[dict[str, Any] | None, Field(description="Keys to change; null removes one.")] = None,
) -> Annotated[CallToolResult, Found]:
    """Change."""
    record = await run_in_thread(served.records.update, id.strip(" []"), text, metadata)
    return _found(answer_of([record]))


async def forget_memories(served: Served, *, ids: Ids) -> Annotated[CallToolResult, Forgotten]:
    """Delete."""
    deleted, unknown = await run_in_thread(served.records.forget, ids)
    said = [f"Forgot {', '.join(f'[{name}]' for name in deleted)}."] if deleted else []
    if unknown:
        said.append(f"No memory that can be deleted here has the id {', '.join(f'[{name}]' for name in unknown)}.")
    return _result(fitted(" ".join(said)), {"deleted": deleted, "unknown": unknown})


# --- conversations ---

Session = Annotated[str | None, Field(description="The conversation; by default any or a new one.", max_length=200)]


def _scope(session: str | None) -> dict[str, Any]:
    return {} if session is None else {"session_id": session}


async def remember(
    served: Served,
    *,
    text: Annotated[Text, Field(description='What was said; several turns as lines such as "Ada: I moved to Lisbon."')],
    session: Session = None,
) -> Annotated[CallToolResult, Remembering]:
    """Remember what was said."""
    done = await served.service.add(text, **_scope(session))
    turns, items = [turn.id for turn in done.turns], [item.id for item in done.items]
    return _result(f"Remembered {len(turns)} turns and {len(items)} facts.", {"turns": turns, "items": items})


async def recall(
    served: Served,
    *,
    question: Query,
    budget: Annotated[int, Field(description="The most tokens of the answer.", ge=50, le=4000)] = 1000,
    as_of: Annotated[str | None, Field(description="Answer with what was known then: 2026-03-31.")] = None,
    session: Session = None,
) -> Annotated[CallToolResult, Recalled]:
    """Recall what was said and known."""
    answer = await served.service.recall(question, budget=budget, as_of=_time(as_of), **_scope(session))
    text = fitted(answer.text, 14_000) or "Nothing is remembered that answers it."
    return _result(text, {"text": text, "ids": [hit.id for hit in answer.hits]})


def _time(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        datetime.fromisoformat(given)
    except ValueError:
        raise InvalidInputError(f"as_of is a time such as 2026-03-31 or 2026-03-31T14:00, not {given!r}") from None
    return given


async def forget(served: Served, *, ids: Ids) -> Annotated[CallToolResult, Forgotten]:
    """Forget turns and facts."""
    receipt = await served.service.forget([name.strip(" []").removeprefix("ref:") for name in ids])
    gone = [*receipt.turns, *receipt.items, *receipt.categories, *receipt.resources]
    text = f"Forgot {len(gone)} records." if gone else "Nothing that is remembered has these ids."
    return _result(text, {"deleted": gone, "unknown": receipt.unknown})


async def history(served: Served, *, id: Id) -> Annotated[CallToolResult, Versions]:
    """Show the versions of a fact."""
    items = await served.service.history(id.strip(" []").removeprefix("ref:"))
    versions = [
        {"text": fitted(item.summary, 400), "known_since": item.created_at, "until": item.superseded_at}
        for item in items[-30:]
    ]
    lines = [f"{each['known_since']}: {each['text']}" for each in versions]
    return _result("\n".join(lines), {"versions": versions})


class Tool(NamedTuple):
    """A tool: its function, what it says to a model, and whether it writes, destroys, or can be repeated."""

    function: Callable[..., Any]
    title: str
    description: str
    writes: bool = False
    destroys: bool = False
    repeatable: bool = True

    @property
    def name(self) -> str:
        """Its name."""
        return self.function.__name__

    @property
    def annotations(self) -> ToolAnnotations:
        """What a client may know before it calls the tool."""
        return ToolAnnotations(
            title=self.title,
            read_only_hint=not self.writes,
            destructive_hint=self.destroys,
            idempotent_hint=self.repeatable,
            open_world_hint=False,
        )


_DATA: Final = TOOL_WORDS["data"]

RECORD_TOOLS: Final = (
    Tool(search_memory, "Search memory", f"{TOOL_WORDS['search']} {_DATA}"),
    Tool(get_memories, "Get memories", f"Show memories in full by their ids, after a search or a list. {_DATA}"),
    Tool(
        list_memories,
        "List memories",
        f"List and count memories by their metadata. To find something by its content, use search_memory. {_DATA}",
    ),
    Tool(
        save_memories,
        "Save memories",
        f"{TOOL_WORDS['save']} Each text is one fact; a text that is there already is not stored twice.",
        writes=True,
    ),
    Tool(
        update_memory,
        "Update a memory",
        "Correct the text or the metadata of one memory. It keeps its id. Search for it first.",
        writes=True,
        destroys=True,
    ),
    Tool(forget_memories, "Forget memories", TOOL_WORDS["forget"], writes=True, destroys=True),
)

AGENT_TOOLS: Final = (
    Tool(
        remember,
        "Remember a conversation",
        "Store what was said in a conversation, word by word, so that recall finds it later. For single facts, "
        "save_memories is better.",
        writes=True,
    ),
    Tool(
        recall,
        "Recall conversations",
        "Recall what was said before that answers a question: exchanges with who said them and when. Use it for "
        f"questions about earlier conversations. {_DATA}",
    ),
    Tool(
        forget,
        "Forget what was said",
        "Forget turns or facts of conversations by the ids that recall shows as [ref:...], and all that rests on them "
        "alone.",
        writes=True,
        destroys=True,
    ),
    Tool(
        history,
        "Show earlier versions",
        f"Show what a remembered fact said before it was corrected, by the id that recall shows. {_DATA}",
    ),
)
