"""``memvid rescue``: a sound memory out of whatever can be read of a damaged one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memvid_core.cli.failures import PARTLY
from memvid_core.cli.options import AsJson
from memvid_core.cli.output import count, megabytes, note, say, write_json

if TYPE_CHECKING:
    from memvid_core.rewriting.rescue import RescueReport

__all__ = ["register"]

_NAMED_AT_MOST = 10

Damaged = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The damaged memory.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="The memory to make.")]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("rescue", rich_help_panel="Look after", epilog="`memvid rescue broken.mp4 notes.mp4`")(rescue)


def rescue(file: Damaged, out: Target, as_json: AsJson = False) -> None:
    """Write what can be read of a damaged memory into a new, sound one.

    Whatever is damaged: the head of the file, its end, or parts in between. Each record is exactly what was written, or
    is not there. The file itself is only read. What is lost is named (exit code 3).
    """
    from memvid_core.rewriting.rescue import rescue as run

    told = run(file, out)
    if as_json:
        write_json(
            {
                "source": str(file),
                "memory": str(out),
                "whole": told.whole,
                "records": told.records,
                "commits": told.commits,
                "lost_records": told.lost,
                "header_lost": told.header_lost,
                "damage": told.damage,
                "bytes": told.bytes,
                "source_bytes": told.source_bytes,
            }
        )
    else:
        _say(told)
    if not told.whole:
        raise typer.Exit(PARTLY)


def _say(told: RescueReport) -> None:
    written = f"{count(told.records, 'record')} in {count(told.commits, 'commit')}"
    say(f"{told.path}: {written}, {megabytes(told.bytes)} (from {megabytes(told.source_bytes)})")
    for item in told.damage[:_NAMED_AT_MOST]:
        commit = "" if item.commit is None else f"commit {item.commit}, "
        note(f"  {commit}{item.reason}")
    if len(told.damage) > _NAMED_AT_MOST:
        note(f"  … and {len(told.damage) - _NAMED_AT_MOST:,} more (--json names them all)")
    if told.lost:
        note(f"{count(told.lost, 'record')} lost")
    if told.header_lost:
        note("which embedder wrote it is lost, too: name it with --embedder when you search")
