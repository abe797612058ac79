"""``memvid watch``: keep a memory synchronized with folders until it is stopped."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from memvid_core.cli.failures import in_shell_words
from memvid_core.cli.file_options import DEFAULTS, FileOptions, with_file_options
from memvid_core.cli.ingest_run import expanded, kinds_of, tell_left_out
from memvid_core.cli.options import WAIT, EmbedderName, MemoryPath, Timeout, WithPlaces
from memvid_core.cli.output import count, in_one_line, note, say, write_json

__all__ = ["register"]

_NAMED_AT_MOST = 5
_Seen = dict[str, tuple[int, int]]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("watch", cls=WithPlaces, rich_help_panel="Add", epilog="`memvid watch docs/ notes.mp4 --every 5`")(
        watch
    )


@with_file_options
def watch(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDERS", show_default=False, help="Folders and files.")],
    memory_path: MemoryPath,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often to look for changes.")
    ] = 2.0,
    files: FileOptions = DEFAULTS,
    embedder: EmbedderName = None,
    timeout: Timeout = WAIT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line for each change.")] = False,
) -> None:
    """Synchronize a memory with folders whenever they change, until Ctrl-C.

    Changes are found by the sizes and times of files. Other commands and programs may use the memory meanwhile.
    """
    from memvid_core import MemvidError
    from memvid_core.ingest.discover import find

    chosen = files.selection(memory_path)
    opening: dict[str, Any] = {"embedder": embedder, "timeout": timeout}
    pause = threading.Event()
    before: _Seen | None = None
    while True:
        try:
            seen = _stamps([found.path for found in find(expanded(folders), **chosen)])
            if seen != before:
                _sync(folders, memory_path, files, opening, first=before is None, as_json=as_json)
                before = seen
        except MemvidError as exc:
            if before is None:
                raise
            note(f"error: {in_shell_words(exc)}; trying again", style="bold red")
        pause.wait(every)


def _stamps(paths: list[Path]) -> _Seen:
    stamps: _Seen = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        stamps[str(path)] = (status.st_mtime_ns, status.st_size)
    return stamps


def _sync(
    folders: list[Path],
    memory_path: Path,
    files: FileOptions,
    opening: dict[str, Any],
    *,
    first: bool,
    as_json: bool,
) -> None:
    from memvid_core.cli.creating import new_memory
    from memvid_core.cli.options import opened
    from memvid_core.ingest.sync import sync

    given = [str(folder) for folder in folders]
    there = memory_path.exists()
    place = opened(memory_path, "a", others=given, **opening) if there else new_memory(memory_path, **opening)
    with place as memory:
        report = sync(memory, expanded(folders), chunker=files.chunker, **files.selection(memory_path))
        records = len(memory)
    changes = {"added": report.added, "changed": report.changed, "removed": report.removed}
    failed = {source: str(error) for source, error in report.failed.items()}
    if as_json:
        left_out = {"warnings": report.warnings, "skipped_kinds": kinds_of(report.skipped)}
        write_json({"memory": str(memory_path), "records": records, **changes, "failed": failed, **left_out})
    else:
        parts = [f"{word} {_named(names)}" for word, names in changes.items() if names]
        say(f"{memory_path}: {'; '.join(parts) or 'up to date'}; {count(records, 'record')}")
        tell_left_out(report, report.warnings)
        for error in failed.values():
            note(f"  {in_one_line(str(error))}")
    if first:
        note("watching; stop with Ctrl-C")


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED_AT_MOST]) + (" …" if len(names) > _NAMED_AT_MOST else "")
