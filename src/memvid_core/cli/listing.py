"""``memvid ls``: the sources in a memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import AsJson, AsOf, MemoryPath, Where, opened, parse_as_of, parse_object
from memvid_core.cli.output import console, count, in_one_line, note, show, write_json

if TYPE_CHECKING:
    from memvid_core import Memory

__all__ = ["register"]

# Columns of the smallest terminal that gets a table; in a smaller one, a source has lines of its own.
_TABLE = 64
_HEADS = ("source", "chunks", "characters", "date")
_DATES = ("date", "modified", "created_at", "timestamp")


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("ls", rich_help_panel="Search", epilog="`memvid ls notes.mp4 'docs/*.md'`")(ls)


def ls(
    memory_path: MemoryPath,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATTERNS", show_default=False, help="Only sources that match, such as 'docs/*.md'."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("-n", metavar="N", min=1, show_default=False, help="Only the first N.")
    ] = None,
    where: Where = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """List the sources in a memory, with their chunks and dates.

    The date is when `build`, `add` or `sync` read the file, or the date in the metadata of its records.
    """
    condition = parse_object(where, "--where")
    with opened(memory_path, as_of=parse_as_of(as_of), others=patterns or ()) as memory:
        sources = _sources(memory, condition, patterns)
    total = len(sources)
    sources = sources[:last] if last else sources
    if as_json:
        write_json({"memory": str(memory_path), "sources": sources})
    else:
        _print(memory_path, sources, total)
    if not sources:
        raise typer.Exit(NOTHING)


def _sources(memory: Memory, where: dict[str, Any] | None, patterns: list[str] | None) -> list[dict[str, Any]]:
    """Return the sources in the order of their names; records without one are together, last."""
    from memvid_core.ingest.patterns import Patterns

    chosen = Patterns(patterns or ())
    found: dict[str | None, dict[str, Any]] = {}
    for record in memory.select(where) if where else memory:
        source = record.metadata.get("source")
        name = source if isinstance(source, str) else None
        entry = found.setdefault(name, {"source": name, "chunks": 0, "characters": 0, "date": None})
        entry["chunks"] += 1
        entry["characters"] += len(record.text)
        entry["date"] = _date(record.metadata) or entry["date"]
    named = sorted((name for name in found if name is not None), key=str.casefold)
    if chosen:
        return [found[name] for name in named if chosen.match(name)]
    return [found[name] for name in [*named, *([None] if None in found else [])]]


def _date(metadata: Any) -> str | None:
    entry = metadata.get("_sync")
    dates = [entry.get("at")] if isinstance(entry, dict) else []
    dates += [metadata.get(key) for key in _DATES]
    return next((date for date in dates if isinstance(date, str) and date), None)


def _print(memory_path: Path, sources: list[dict[str, Any]], total: int) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not sources:
        note("no sources" if not total else "no source matches")
        return
    rows = [_shown(entry) for entry in sources]
    if out.is_terminal and out.width < _TABLE:
        for entry, (source, _, characters, date) in zip(sources, rows, strict=True):
            numbers = f"  {count(entry['chunks'], 'chunk')}, {characters} characters"
            show(Text(source, style="bold"), hang=4)
            out.print(Text(numbers), Text(f"  {date}"), sep="\n")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, side in zip(_HEADS, ("left", "right", "right", "left"), strict=True):
            wrapped = name == "source" and out.is_terminal
            table.add_column(name, justify=side, no_wrap=not wrapped, overflow="fold")  # type: ignore[arg-type]
        others = [max(map(len, column)) for column in zip(*rows, _HEADS, strict=True)][1:]
        room = out.width - sum(others) - 2 * len(others)
        for source, *rest in rows:
            table.add_row(*map(Text, (_broken(source, room) if out.is_terminal else source, *rest)))
        out.print(table, soft_wrap=not out.is_terminal)
    total_chunks = sum(entry["chunks"] for entry in sources)
    more = f" of {total:,}" if total != len(sources) else ""
    note(f"{memory_path}: {count(len(sources), 'source')}{more}, {count(total_chunks, 'record')}")


def _broken(source: str, width: int) -> str:
    r"""Return a source in lines that fit, broken behind slashes, hyphens and the like where it has some.

    Example:
        >>> _broken("docs/a-long-name.md", 12)
        'docs/a-long-\nname.md'
    """
    from rich.cells import cell_len

    lines = [""]
    for piece in re.split(r"(?<=[\s/_-])(?=[^\s/_-])", source):
        if lines[-1] and cell_len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _shown(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return a row of the table: source, chunks, characters and date."""
    source = "(no source)" if entry["source"] is None else in_one_line(entry["source"])
    date = (entry["date"] or "")[:16].replace("T", " ")
    return source, f"{entry['chunks']:,}", f"{entry['characters']:,}", date
