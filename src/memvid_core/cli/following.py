"""``memvid follow``: print the commits of a memory as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memvid_core.cli.failures import in_shell_words
from memvid_core.cli.options import MemoryPath, opened
from memvid_core.cli.output import count, moment, note, say, write_json

if TYPE_CHECKING:
    from memvid_core import Commit

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("follow", rich_help_panel="Search", epilog="`memvid follow https://example.org/notes.mp4`")(follow)


def follow(
    memory_path: MemoryPath,
    since: Annotated[
        int | None,
        typer.Option(
            "--since", metavar="COMMIT", min=0, show_default=False, help="Also print the commits after this one."
        ),
    ] = None,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often to look.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line for each commit.")] = False,
) -> None:
    """Print each new commit, by any process, until Ctrl-C.

    The memory may be behind a URL: then each look is one request to the server.
    """
    import threading

    from memvid_core import StorageError

    pause = threading.Event()
    with opened(memory_path) as memory:
        about = memory.info()
        created = about.created
        if since is None:
            since = about.commits
            note(f"{memory_path}: {count(about.records, 'record')} in commit {since:,}; stop with Ctrl-C")
        while True:
            try:
                for commit in memory.follow(since, interval=None):
                    _print(commit, len(memory), as_json=as_json)
                    since = commit.number
                if memory.info().created != created:  # another memory is there
                    created, since = memory.info().created, 0
                    continue
            except StorageError as exc:
                note(f"error: {in_shell_words(exc)}; trying again", style="bold red")
            pause.wait(every)


def _print(commit: Commit, records: int, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        write_json({**msgspec.structs.asdict(commit), "records": records})
    else:
        say(
            f"{commit.number:,}  {moment(commit.time)}  +{commit.added:,} -{commit.deleted:,}  "
            f"{count(records, 'record')}"
        )
