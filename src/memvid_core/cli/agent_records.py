"""``memvid memory list``, ``forget``, ``history`` and ``stats``: the records of an agent's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.agent_options import MAKE, Agent, Session, User, scope_of, service_of
from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import WAIT, AsJson, MemoryPath, Timeout, opened
from memvid_core.cli.output import count, facts, note, say, write_json

if TYPE_CHECKING:
    from memvid_core.agent import SyncMemoryService

__all__ = ["forget", "history", "list_", "stats"]

Ids = Annotated[list[str] | None, typer.Argument(metavar="IDS", show_default=False, help="Ids that recall names.")]
Kind = Literal["items", "categories", "resources", "turns"]


def list_(
    memory_path: MemoryPath,
    kind: Annotated[Kind, typer.Option("--kind", help="What to list.")] = "items",
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    as_json: AsJson = False,
) -> None:
    """List what is remembered: items, categories, resources or turns."""
    with opened(memory_path, make=MAKE) as memory:
        found = _listed(service_of(memory), kind, scope_of(user, agent, session))
    if as_json:
        write_json({"memory": str(memory_path), kind: found})
        return
    for each in found:
        say(f"{each.id}  {_line(kind, each)}")


def _listed(service: SyncMemoryService, kind: Kind, scope: dict[str, Any]) -> list[Any]:
    from memvid_core.agent.records import read_resource, read_turn

    if kind == "items":
        return list(service.list_memory_items(scope))
    if kind == "categories":
        return list(service.list_memory_categories(scope))
    read: Any = read_turn if kind == "turns" else read_resource
    where = {**service.scopes.where(scope), "agent.kind": {"$eq": kind.removesuffix("s")}}
    return [read(record) for record in service.memory.select(where)]


def _line(kind: Kind, each: Any) -> str:
    if kind == "items":
        text = each.summary
    elif kind == "categories":
        text = f"{each.name}{' (summary is out of date)' if each.stale else ''}"
    elif kind == "turns":
        text = f"{each.created_at[:10]} {each.who}: {each.text}"
    else:
        text = f"{each.modality}, {count(each.turns, 'turn')}  {each.title or each.url or ''}"
    return " ".join(text.split())


def forget(
    memory_path: MemoryPath,
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Forget all of the user, agent or session.")] = False,
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Forget turns, items, categories or conversations, and what rests on them alone.

    Nothing of it is recalled from then on. `memvid compact` takes the bytes out of the file.
    """
    if bool(ids) == everything:
        raise typer.BadParameter("say what to forget: ids, or --all for the whole scope", param_hint="IDS")
    with opened(memory_path, "a", timeout=timeout, others=ids or (), make=MAKE) as memory:
        receipt = service_of(memory).forget(ids if ids else None, where=scope_of(user, agent, session))
    gone = (receipt.turns, receipt.items, receipt.categories, receipt.resources, receipt.notes)
    forgotten = sum(map(len, gone))
    if as_json:
        write_json({"memory": str(memory_path), "receipt": receipt})
    else:
        parts = f"{count(len(receipt.turns), 'turn')}, {count(len(receipt.items), 'item')}"
        say(f"{memory_path}: {count(forgotten, 'record')} forgotten ({parts})")
        if forgotten:
            note(f"the bytes are still in the file; to remove them: memvid compact {memory_path}")
    for record_id in receipt.unknown:
        note(f"nothing in this scope has the id {record_id!r}")
    if receipt.unknown or not forgotten:
        raise typer.Exit(NOTHING)


def history(
    memory_path: MemoryPath,
    item_id: Annotated[str, typer.Argument(metavar="ID", show_default=False, help="The id of an item.")],
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    as_json: AsJson = False,
) -> None:
    """Show the versions of an item, oldest first."""
    with opened(memory_path, others=[item_id], make=MAKE) as memory:
        versions = service_of(memory).history(item_id, **scope_of(user, agent, session))
    if as_json:
        write_json({"memory": str(memory_path), "versions": versions})
        return
    for item in versions:
        until = f" until {item.superseded_at[:10]}" if item.superseded_at else ""
        say(f"{item.version}  {item.created_at[:10]}{until}  {_line('items', item)}")


def stats(
    memory_path: MemoryPath, user: User = None, agent: Agent = None, session: Session = None, as_json: AsJson = False
) -> None:
    """Count what is remembered of a user, an agent or a session."""
    kinds: tuple[Kind, ...] = ("resources", "turns", "items", "categories")
    with opened(memory_path, make=MAKE) as memory:
        service, scope = service_of(memory), scope_of(user, agent, session)
        found = {kind: _listed(service, kind, scope) for kind in kinds}
    times = sorted(turn.created_at for turn in found["turns"])
    span = {"first": times[0], "last": times[-1]} if times else {"first": None, "last": None}
    if as_json:
        write_json({"memory": str(memory_path), **{kind: len(each) for kind, each in found.items()}, **span})
        return
    pairs: dict[str, str] = {kind: f"{len(each):,}" for kind, each in found.items()}
    facts(str(memory_path), {**pairs, **{name: time for name, time in span.items() if time}})
