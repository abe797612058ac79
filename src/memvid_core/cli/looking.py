"""``memvid info``, ``history`` and ``verify``: properties, commits and integrity of a memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import AsJson, AsOf, MemoryPath, opened, parse_as_of
from memvid_core.cli.output import console, count, facts, megabytes, moment, note, say, write_json

if TYPE_CHECKING:
    from memvid_core.model import MemoryInfo, VerifyReport

__all__ = ["register"]

_NAMED_AT_MOST = 20  # of what is wrong


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    for command in (info, history, verify):
        app.command(command.__name__, rich_help_panel="Maintain")(command)


def info(memory_path: MemoryPath, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show the size, settings and dates of a memory.

    Known damage is listed, and the exit code is then 1; `memvid verify` reads the whole file to find more.
    """
    with opened(memory_path, as_of=parse_as_of(as_of)) as memory:
        found = memory.info()
    if as_json:
        write_json({"memory": str(memory_path), **_fields(found)})
    else:
        _show(memory_path, found)
    if not found.ok:
        raise typer.Exit(NOTHING)


def _show(memory_path: Path, found: MemoryInfo) -> None:
    dimension = "" if found.dimension is None else f", {found.dimension:,} dimensions"
    pairs = {
        "description": found.description,
        "records": f"{found.records:,}{_counts(deleted=found.deleted, damaged=found.lost)}",
        "commits": f"{found.commits:,} in {count(found.frames, 'frame')}",
        "size": f"{megabytes(found.bytes)}, index {megabytes(found.index_bytes)}",
        "index": f"in RAM: {found.index_in_ram}" if found.index_in_ram else "",
        "codec": f"{found.codec}, format {found.format_version}",
        "vectors": f"{found.vector_dtype}{dimension}, {found.metric}",
        "embedder": found.embedder,
        "created": moment(found.created),
        "modified": moment(found.modified),
    }
    facts(str(memory_path), {name: value for name, value in pairs.items() if value})
    _name_damage(found)


def _name_damage(found: MemoryInfo | VerifyReport) -> None:
    """List the damage of a memory, and the copies of interrupted writes next to it."""
    for damage in found.damage[:_NAMED_AT_MOST]:
        commit = "" if damage.commit is None else f"commit {damage.commit}, "
        lost = f"; {count(damage.records, 'record')} lost" if damage.records else ""
        say(f"  {commit}{damage.reason}{lost}")
    if len(found.damage) > _NAMED_AT_MOST:
        say(f"  … and {len(found.damage) - _NAMED_AT_MOST:,} more (--json names them all)")
    if found.torn_bytes:
        say(
            f"  the last write did not finish, or the copy is truncated: {count(found.torn_bytes, 'byte')} at the end, "
            "which the next write cuts off"
        )
    for copy in found.torn_copies:
        note(f"{copy} has the bytes of an interrupted write; recover them with: memvid rescue {copy} OUT")


def history(
    memory_path: MemoryPath,
    last: Annotated[
        int | None, typer.Option("--last", "-n", metavar="N", min=1, show_default=False, help="Only the last N.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the commits, oldest first.

    Each commit is a state of the memory that `--as-of` can search, show and export.
    """
    with opened(memory_path) as memory:
        commits = memory.history()
    commits = commits[-last:] if last else commits
    if as_json:
        write_json({"memory": str(memory_path), "commits": commits})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("commit", "time", "added", "deleted", "frames", "size"):
        table.add_column(name, justify="left" if name == "time" else "right", no_wrap=True)
    for commit in commits:
        row = (
            f"{commit.number:,}",
            moment(commit.time),
            f"{commit.added:,}" if commit.added else "",
            f"{commit.deleted:,}" if commit.deleted else "",
            f"{commit.frames:,}",
            megabytes(commit.bytes),
        )
        table.add_row(*map(Text, row))
    console().print(table)


def verify(memory_path: MemoryPath, as_json: AsJson = False) -> None:
    """Check that every byte is intact.

    Reads every frame and compares every checksum. If anything is damaged, the exit code is 1 and the damage is listed.
    """
    with opened(memory_path) as memory:
        report = memory.verify()
    if as_json:
        write_json({"memory": str(memory_path), "ok": report.ok, **_fields(report)})
    else:
        read = f"{count(report.records, 'record')}, {count(report.commits, 'commit')}, {count(report.frames, 'frame')}"
        say(f"{memory_path}: {'intact' if report.ok else 'DAMAGED'} ({read}, {megabytes(report.bytes)} read)", "bold")
        _name_damage(report)
        if report.repaired:
            say(f"  {count(len(report.repaired), 'frame')} rebuilt from parity: {', '.join(map(str, report.repaired))}")
        if any(not damage.restored for damage in report.damage):
            note(f"the other records are usable; remove the damage with: memvid compact --drop-damaged {memory_path}")
        elif report.damage or report.repaired:
            note(f"no data is lost; repair the file with: memvid compact --keep-history {memory_path}")
    if not report.ok:
        raise typer.Exit(NOTHING)


def _fields(struct: object) -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(struct)  # type: ignore[arg-type]


def _counts(**counts: int) -> str:
    """Return the counts that are not zero, in parentheses."""
    there = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
    return f" ({there})" if there else ""
