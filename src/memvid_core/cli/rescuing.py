"""``memvid rescue``: recover an intact memory from a damaged one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memvid_core.cli.failures import PARTLY
from memvid_core.cli.options import AsJson
from memvid_core.cli.output import count, megabytes, note, say, write_json

if TYPE_CHECKING:
    from memvid_core import RescueReport

__all__ = ["register"]

_NAMED_AT_MOST = 10

Damaged = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The damaged memory.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="The memory to create.")]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("rescue", rich_help_panel="Maintain", epilog="`memvid rescue broken.mp4 notes.mp4`")(rescue)


def rescue(file: Damaged, out: Target, as_json: AsJson = False) -> None:
    """Recover all readable records of a damaged memory into a new memory.

    The beginning, the end or any other part of the file may be damaged. Each record is either recovered exactly or
    missing. The damaged file is only read. Losses are listed (exit code 3).
    """
    from memvid_core import rescue as run

    report = run(file, out)
    if as_json:
        write_json(
            {
                "source": str(file),
                "memory": str(out),
                "whole": report.whole,
                "records": report.records,
                "commits": report.commits,
                "lost_records": report.lost,
                "header_lost": report.header_lost,
                "damage": report.damage,
                "bytes": report.bytes,
                "source_bytes": report.source_bytes,
            }
        )
    else:
        _say(report)
    if not report.whole:
        raise typer.Exit(PARTLY)


def _say(report: RescueReport) -> None:
    written = f"{count(report.records, 'record')} in {count(report.commits, 'commit')}"
    say(f"{report.path}: {written}, {megabytes(report.bytes)} (from {megabytes(report.source_bytes)})")
    for item in report.damage[:_NAMED_AT_MOST]:
        commit = "" if item.commit is None else f"commit {item.commit}, "
        note(f"  {commit}{item.reason}")
    if len(report.damage) > _NAMED_AT_MOST:
        note(f"  … and {len(report.damage) - _NAMED_AT_MOST:,} more (--json lists them all)")
    if report.lost:
        note(f"{count(report.lost, 'record')} lost")
    if report.header_lost:
        note("the name of the embedder is lost too: search with --embedder NAME")
