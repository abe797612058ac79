"""A run of ``memvid build``, ``add``, ``sync`` or ``import``: its input, its progress and its report."""

from __future__ import annotations

import shlex
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memvid_core.cli.failures import NOTHING, PARTLY
from memvid_core.cli.file_options import DEFAULTS, FileOptions
from memvid_core.cli.output import count, files_progress, in_one_line, megabytes, note, say, write_json
from memvid_core.cli.places import as_on_disk

if TYPE_CHECKING:
    from memvid_core import Memory
    from memvid_core.ingest.sync import SyncReport

__all__ = ["IngestRun", "expanded", "kinds_of", "standard_input", "tell_left_out"]

_NAMED_AT_MOST = 20  # of unreadable files; --json lists all
_KINDS_AT_MOST = 8  # of skipped file types
_COMMAND_AT_MOST = 200  # longest command that is printed


def standard_input() -> str:
    """Return the text on standard input."""
    from memvid_core import IngestError

    if sys.stdin.isatty():
        note("reading from the terminal: end with Ctrl-D (Ctrl-Z and Enter on Windows)")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise IngestError(
            f"standard input is not UTF-8 at byte {exc.start:,}; convert it first, for example with iconv"
        ) from exc


@dataclass
class IngestRun:
    """Hold the input and the results of one run."""

    paths: list[Path]
    files: FileOptions = DEFAULTS
    drop_most: bool = False
    whole: bool = False
    ids: list[str] = field(default_factory=list)
    loaded: int = 0
    warnings: dict[str, list[str]] = field(default_factory=dict)
    report: SyncReport | None = None
    started: float = field(default_factory=time.monotonic)
    state: dict[str, int] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What the run does, equal for runs of which one can continue the other."""
        return "\n".join([*(str(path.absolute()) for path in self.paths), *self.files.shell])

    def read(self, memory: Memory, *, drop: bool) -> None:
        """Read files and folders into a memory, with a progress bar."""
        from memvid_core.ingest.sync import sync

        with self._reporting_stored(memory, "sync" if drop else "add"), files_progress("Reading") as update:
            self.report = sync(
                memory,
                self.paths,
                chunker=self.files.chunker,
                **self.files.selection(memory.path),
                drop=drop,
                drop_most=self.drop_most,
                on_file=lambda result, done, total: update(done, total, result.source),
                on_commit=lambda number: update.waits_for(f"Storing {count(number, 'record')}"),
            )
        self.warnings |= self.report.warnings

    def cut(self, memory: Memory, text: str, metadata: dict[str, Any]) -> None:
        """Split one long text into records of a memory."""
        from memvid_core.ingest.plain_text import readable

        text, warnings = readable(text)
        self.warnings |= {"standard input": warnings} if warnings else {}
        chunks = self.files.chunker.chunk(text, metadata={"source": "stdin", **metadata})
        self.ids += memory.add([chunk.text for chunk in chunks], [chunk.metadata for chunk in chunks])

    def load(self, memory: Memory, *, from_stdin: bool, vectors: bool = False) -> None:
        """Import exports into a memory."""
        from memvid_core.cli.exporting import load

        with self._reporting_stored(memory, None):
            self.loaded = load(memory, self.paths, from_stdin=from_stdin, vectors=vectors)

    def look(self, memory: Memory) -> None:
        """Record the state of the memory while it is open."""
        info = memory.info()
        self.state = {"records": info.records, "commits": info.commits, "bytes": info.bytes}

    @contextmanager
    def _reporting_stored(self, memory: Memory, command: str | None) -> Iterator[None]:
        """Report how many records are stored if the work ends early."""
        if self.whole:  # what is stored is removed
            yield
            return
        before = len(memory.history())
        try:
            yield
        except (Exception, KeyboardInterrupt) as exc:
            commits = memory.history()[before:]
            added = sum(commit.added for commit in commits) + len(self.ids)
            message = f"{count(added, 'record')} of this run {'is' if added == 1 else 'are'} in {memory.path}"
            if not commits and not self.ids:
                message = "nothing was written"
            if commits and command:
                message += f"; continue with: {self._command(command, memory.path)}"
            if isinstance(exc, KeyboardInterrupt):
                exc.args = (message,)
                raise
            if commits:
                exc.add_note(message)
            raise

    def _command(self, command: str, memory: str) -> str:
        """Return the command that continues where this run stopped."""
        paths = [str(path) for path in self.paths]
        order = [*paths, memory] if command == "sync" else [memory, *paths]
        shown = shlex.join(["memvid", command, *order, *self.files.shell])
        return shown if len(shown) <= _COMMAND_AT_MOST else f"memvid {command}, with the same paths and options"

    def show(self, path: Path, as_json: bool) -> None:
        """Print the results and exit with the matching code."""
        report = self.report
        failed = {} if report is None else report.failed
        chunks = (0 if report is None else report.chunks) + len(self.ids) + self.loaded
        if as_json:
            write_json(
                {
                    "memory": str(path),
                    **self.state,
                    "chunks": chunks,
                    "ids": self.ids,
                    "added": report.added if report else [],
                    "changed": report.changed if report else [],
                    "unchanged": report.unchanged if report else [],
                    "empty": report.empty if report else [],
                    "removed": report.removed if report else [],
                    "skipped": report.skipped if report else [],
                    "ignored": report.ignored if report else [],
                    "unused_patterns": report.unused if report else [],
                    "warnings": self.warnings,
                    "skipped_kinds": kinds_of(report.skipped) if report else {},
                    "failed": [
                        {"source": source, "type": type(error).__name__, "message": str(error)}
                        for source, error in failed.items()
                    ],
                }
            )
        else:
            say(self._summary(path, chunks))
            tell_left_out(self.report, self.warnings)
        if failed:
            note(f"{count(len(failed), 'file')} could not be read and {'was' if len(failed) == 1 else 'were'} skipped:")
            for error in list(failed.values())[:_NAMED_AT_MOST]:
                note(f"  {in_one_line(str(error))}")
            if len(failed) > _NAMED_AT_MOST:
                note(f"  … and {len(failed) - _NAMED_AT_MOST:,} more (--json lists them all)")
        if not self.state["commits"]:
            raise typer.Exit(NOTHING)
        if failed:
            raise typer.Exit(PARTLY)

    def _summary(self, path: Path, chunks: int) -> str:
        if not self.state["commits"]:
            return f"no text found: {path} was not created"
        parts = [count(chunks, "record")]
        report = self.report
        if report is not None:
            files = len(report.added) + len(report.changed)
            parts = [f"{parts[0]} from {count(files, 'file')}"] if chunks or files else []
            rest = {"changed": report.changed, "unchanged": report.unchanged, "removed": report.removed}
            rest["without text"] = report.empty
            parts += [f"{len(names):,} {word}" for word, names in rest.items() if names]
        parts = parts or ["nothing to do"]
        parts[-1] += f" in {time.monotonic() - self.started:.1f} s"
        held = "" if self.state["records"] == chunks else f"it contains {count(self.state['records'], 'record')}, "
        return f"{path}: {', '.join(parts)}; {held}{megabytes(self.state['bytes'])}"


def tell_left_out(report: SyncReport | None, warnings: dict[str, list[str]]) -> None:
    """Print what was skipped, and the warnings about files that were read."""
    if report is not None and report.skipped:
        kinds = [f"{kind} {number:,}" for kind, number in kinds_of(report.skipped).items()]
        more = ", …" if len(kinds) > _KINDS_AT_MOST else ""
        note(f"{len(report.skipped):,} skipped ({', '.join(kinds[:_KINDS_AT_MOST])}{more})")
    if report is not None and report.ignored:
        note(f"{count(len(report.ignored), 'name')} in .gitignore not read; --no-ignore reads them")
    for pattern in () if report is None else report.unused:
        note(f"no file matches --include {shlex.quote(pattern)}")
    lines = [f"{source}: {warning}" for source, found in warnings.items() for warning in found]
    for line in lines[:_NAMED_AT_MOST]:
        note(f"  {in_one_line(line)}")
    if len(lines) > _NAMED_AT_MOST:
        note(f"  … and {len(lines) - _NAMED_AT_MOST:,} more (--json lists them all)")


def expanded(paths: Iterable[Path]) -> list[Path]:
    """Return paths with patterns replaced by the files they match, where the shell has not done so."""
    found: list[Path] = []
    for path in paths:
        path = as_on_disk(path)
        matched = [] if path.exists() or not _has_pattern(path) else sorted(_glob(path))
        found += matched or [path]
    return found


def _has_pattern(path: Path) -> bool:
    return any(char in str(path) for char in "*?[")


def _glob(path: Path) -> Iterator[Path]:
    from glob import iglob

    # Names on a disk may be composed or decomposed, which look the same.
    forms = {unicodedata.normalize(form, str(path)) for form in ("NFC", "NFD")}
    found = (Path(name) for form in forms for name in iglob(form, recursive=True))
    # Where names of both forms are those of one file, both patterns give it.
    seen: dict[tuple[int, int, str], Path] = {}
    for path in found:
        with suppress(OSError):  # deleted since
            known = path.lstat()
            seen.setdefault((known.st_dev, known.st_ino, unicodedata.normalize("NFC", str(path))), path)
    return iter(seen.values())


def kinds_of(sources: list[str]) -> dict[str, int]:
    """Count the files of each suffix, most frequent first.

    Example:
        >>> kinds_of(["a.odt", "b.ODT", "c.zip", "core"])
        {'.odt': 2, '.zip': 1, 'without suffix': 1}
    """
    return dict(Counter(_kind(Path(source)) for source in sources).most_common())


def _kind(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "broken link"
    if path.exists() and not path.is_file():
        return "special file"
    return path.suffix.lower() or "without suffix"
