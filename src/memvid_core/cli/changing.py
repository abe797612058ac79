"""``memvid delete`` and ``compact``: remove records, and the space that they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import WAIT, AsJson, MemoryPath, Timeout, Where, opened, parse_object, stored_ids
from memvid_core.cli.output import count, in_one_line, megabytes, note, say, write_json

if TYPE_CHECKING:
    from memvid_core import Memory

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    example = """`memvid delete notes.mp4 --where '{"source": "docs/old.md"}'`"""
    app.command("delete", rich_help_panel="Export and delete", epilog=example)(delete)
    app.command("compact", rich_help_panel="Export and delete")(compact)


def delete(
    memory_path: MemoryPath,
    ids: Annotated[list[str] | None, typer.Argument(metavar="IDS", show_default=False, help="Ids of records.")] = None,
    where: Where = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", metavar="PATTERN", show_default=False, help="Records whose source matches, such as 'old/*.md'."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Delete records by id, by filter, by source, or all of these.

    Deleted records remain in earlier states (`--as-of`) and in the file until `memvid compact`.
    """
    condition = parse_object(where, "--where")
    if not ids and not condition and not source:
        raise typer.BadParameter("say what to delete: ids, --where or --source", param_hint="IDS")
    with opened(memory_path, "r" if dry_run else "a", timeout=timeout, others=ids or ()) as memory:
        wanted = stored_ids(memory, ids) if ids else None
        if source:
            matching = {"source": {"$in": _matching(memory, source)}}
            condition = {"$and": [matching, condition]} if condition else matching
        missing = [record_id for record_id in wanted or () if record_id not in memory]
        asked = condition or {}
        if wanted is not None:
            asked = {"$and": [{"$id": {"$in": wanted}}, asked]} if asked else {"$id": {"$in": wanted}}
        chosen = [record.id for record in memory.select(asked)]
        deleted = 0 if dry_run else memory.delete(wanted, where=condition)
        records = len(memory)
    if as_json:
        write_json(
            {
                "memory": str(memory_path),
                "dry_run": dry_run,
                "deleted": deleted,
                "ids": chosen,
                "missing": missing,
                "records": records,
            }
        )
    elif dry_run:
        for record_id in chosen:
            say(in_one_line(record_id))
        note(f"{count(len(chosen), 'record')} would be deleted")
    else:
        say(f"{memory_path}: {count(deleted, 'record')} deleted, {records:,} left")
    for record_id in missing:
        note(f"no record has the id {record_id!r}")
    if missing or not chosen:
        raise typer.Exit(NOTHING)


def _matching(memory: Memory, patterns: list[str]) -> list[str]:
    """Return the sources in a memory that match a pattern."""
    from memvid_core.ingest.patterns import Patterns

    chosen = Patterns(patterns)
    sources = {record.metadata.get("source") for record in memory.select({"source": {"$exists": True}})}
    return sorted(source for source in sources if isinstance(source, str) and chosen.match(source))


def compact(
    memory_path: MemoryPath,
    keep_history: Annotated[
        bool, typer.Option("--keep-history", help="Keep every commit, so that --as-of still works.")
    ] = False,
    drop_damaged: Annotated[
        bool, typer.Option("--drop-damaged", help="Drop records that cannot be read instead of failing.")
    ] = False,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Rewrite the file without deleted records.

    The new file replaces the old one when it is complete. Earlier states (`--as-of`) are removed, unless you give
    `--keep-history`.
    """
    with opened(memory_path, "a", timeout=timeout) as memory:
        before = memory.info()
        saved = memory.compact(keep_history=keep_history, drop_damaged=drop_damaged)
        after = memory.info()
    if as_json:
        write_json(
            {
                "memory": str(memory_path),
                "saved": saved,
                "bytes_before": before.bytes,
                "bytes": after.bytes,
                "records_before": before.records,
                "records": after.records,
                "commits": after.commits,
            }
        )
        return
    sizes = f"{megabytes(before.bytes)} to {megabytes(after.bytes)}"
    say(f"{memory_path}: compacted from {sizes}, {count(after.records, 'record')}")
    lost = before.records - after.records
    if lost:
        note(f"{count(lost, 'record')} could not be read and {'was' if lost == 1 else 'were'} dropped")
