"""``memvid build``, ``add``, ``sync`` and ``import``: store files, folders, texts and exports in a memory."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from memvid_core.cli.converting import import_pair, is_pair
from memvid_core.cli.creating import new_memory
from memvid_core.cli.failures import NOTHING, PARTLY
from memvid_core.cli.options import (
    WAIT,
    AsJson,
    ChunkSize,
    EmbedderName,
    Exclude,
    Include,
    IndexChoice,
    MemoryPath,
    MetricChoice,
    Overlap,
    Timeout,
    opened,
    parse_object,
)
from memvid_core.cli.output import count, files_progress, megabytes, note, say, write_json

if TYPE_CHECKING:
    from memvid_core import IndexName, Memory, Metric
    from memvid_core.ingest.sync import SyncReport

__all__ = ["register"]

_CHUNK_SIZE = 1000
_NAMED_AT_MOST = 20  # of unreadable files; --json lists all
_KINDS_AT_MOST = 8  # of skipped file types
_COMMAND_AT_MOST = 200  # longest command that is printed
_SIDE_FILES = ("*.mp4.index", "*.mp4.lock", "*.mp4.owner")

Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="MEMORY", show_default=False, help="The memory to create, such as notes.mp4."
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an existing memory.")]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATHS", show_default=False, help="Files and folders, with all their contents."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    panel = "Add"
    app.command("build", rich_help_panel=panel, epilog="`memvid build docs/ README.md -o notes.mp4`")(build)
    app.command("add", rich_help_panel=panel, epilog="`git log -1 | memvid add notes.mp4 - report.pdf`")(add)
    app.command("sync", rich_help_panel=panel, epilog="`memvid sync docs/ notes.mp4`")(sync_)
    app.command("import", rich_help_panel=panel, epilog="`memvid import notes.jsonl -o notes.mp4`")(import_)


def build(
    paths: Paths,
    output: Output,
    force: Force = False,
    chunk_size: ChunkSize = _CHUNK_SIZE,
    overlap: Overlap = 0,
    include: Include = None,
    exclude: Exclude = None,
    embedder: EmbedderName = None,
    codec: Annotated[str, typer.Option("--codec", metavar="pcm|qr", help="How data is stored as pictures.")] = "pcm",
    vector_dtype: Annotated[
        Literal["float16", "float32", "int8", "none"],
        typer.Option("--vector-dtype", help="The dtype of vectors; none embeds again whenever the index is rebuilt."),
    ] = "float16",
    index: IndexChoice = "auto",
    metric: MetricChoice = None,
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="A description, stored in the memory.")
    ] = "",
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Create a memory from files and folders.

    Text, Markdown, source code, CSV and notebooks need no extra; PDF, DOCX, PPTX, XLSX, HTML and EPUB need
    `memvid-core[documents]`. Unreadable files are listed and skipped (exit code 3).
    """
    run = _Run(paths, chunk_size, overlap, include, exclude)
    settings = {"embedder": embedder, "codec": codec, "vector_dtype": vector_dtype, "description": description}
    settings |= {"index": index, "metric": metric or "cosine"}
    with new_memory(output, force=force, timeout=timeout, **settings) as memory:
        run.read(memory, drop=False)
        run.look(memory)
    run.show(output, as_json)


def add(
    memory_path: MemoryPath,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATHS", show_default=False, help="Files and folders; - for standard input."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text", "-t", metavar="TEXT", show_default=False, help="A text to store as one record; repeatable."
        ),
    ] = None,
    record_id: Annotated[
        list[str] | None,
        typer.Option(
            "--id", metavar="ID", show_default=False, help="The id of each --text; an existing record is replaced."
        ),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", "-m", metavar="JSON", show_default=False, help="Metadata for --text and for -."),
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="PATHS and - are exports of memvid: records with ids.")
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Create the memory if it does not exist.")] = False,
    chunk_size: ChunkSize = _CHUNK_SIZE,
    overlap: Overlap = 0,
    include: Include = None,
    exclude: Exclude = None,
    embedder: EmbedderName = None,
    index: IndexChoice = "auto",
    metric: MetricChoice = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Add files, folders, standard input or texts to a memory.

    A known file is skipped if it is unchanged, and replaced if it has changed. Nothing is removed; use `memvid sync`
    for that.
    """
    given = list(sources or [])
    from_stdin = "-" in given
    paths = [Path(source) for source in given if source != "-"]
    plain = parse_object(metadata, "--metadata")
    if not given and not text:
        raise typer.BadParameter("give files, folders, - for standard input, or --text TEXT", param_hint="PATHS")
    if record_id and not text:
        raise typer.BadParameter("--id needs --text; the ids of files come from their names", param_hint="--id")
    if plain is not None and (jsonl or not (text or from_stdin)):
        raise typer.BadParameter("--metadata needs --text or -", param_hint="--metadata")
    run = _Run(paths, chunk_size, overlap, include, exclude)
    searching = _Searching(index, metric)
    with _opened_or_made(memory_path, given, searching, create=create, embedder=embedder, timeout=timeout) as memory:
        if text:
            metadatas = None if plain is None else [plain] * len(text)
            run.ids += memory.add(text, metadatas, record_id)
        if jsonl:
            run.load(memory, from_stdin=from_stdin)
        else:
            if from_stdin:
                run.cut(memory, _standard_input(), plain or {})
            if paths:
                run.read(memory, drop=False)
        run.look(memory)
    run.show(memory_path, as_json)


def sync_(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDERS", show_default=False, help="Folders and files.")],
    memory_path: MemoryPath,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Continue even if most files of a folder are missing.")
    ] = False,
    chunk_size: ChunkSize = _CHUNK_SIZE,
    overlap: Overlap = 0,
    include: Include = None,
    exclude: Exclude = None,
    embedder: EmbedderName = None,
    index: IndexChoice = "auto",
    metric: MetricChoice = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Synchronize a memory with folders.

    New files are added, changed files replaced, and missing files removed; records from elsewhere are kept. The memory
    is created if it does not exist. If all files of a folder are missing, or most of a large folder, nothing is changed
    without `--yes`: its disk may not be mounted.
    """
    run = _Run(folders, chunk_size, overlap, include, exclude, drop_most=yes)
    given = [str(folder) for folder in folders]
    searching = _Searching(index, metric)
    with _opened_or_made(memory_path, given, searching, create=True, embedder=embedder, timeout=timeout) as memory:
        run.read(memory, drop=True)
        run.look(memory)
    run.show(memory_path, as_json)


def import_(
    exports: Annotated[
        list[Path],
        typer.Argument(metavar="EXPORTS", show_default=False, help="Exports of memvid export; - for standard input."),
    ],
    output: Output,
    force: Force = False,
    embedder: EmbedderName = None,
    metric: MetricChoice = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Create a memory from exports, with the same ids.

    An export is JSONL: each line is an object with "text", and optionally "id" and "metadata". `memvid add --jsonl`
        adds exports to an existing memory. Files of Memvid v1, a video and its JSON, are imported too.
    """
    if is_pair(exports):
        settings: dict[str, Any] = {"embedder": embedder, "metric": metric or "cosine"}
        import_pair(exports, output, force=force, settings=settings, timeout=timeout, as_json=as_json)
        return
    from_stdin = Path("-") in exports
    run = _Run([path for path in exports if path != Path("-")])
    with new_memory(output, force=force, embedder=embedder, metric=metric or "cosine", timeout=timeout) as memory:
        run.load(memory, from_stdin=from_stdin)
        run.look(memory)
    run.show(output, as_json)


class _Searching(NamedTuple):
    """Hold the index, and the metric of a new memory."""

    choice: IndexName
    metric: Metric | None


@contextmanager
def _opened_or_made(
    path: Path, given: list[str], searching: _Searching, *, create: bool, embedder: str | None, timeout: float
) -> Iterator[Memory]:
    index, metric = searching.choice, searching.metric
    if create and not path.exists():
        with new_memory(path, embedder=embedder, index=index, metric=metric or "cosine", timeout=timeout) as memory:
            yield memory
    else:
        shared: dict[str, Any] = {"index": index, "metric": metric, "timeout": timeout}
        with opened(path, "a", embedder=embedder, others=given, **shared) as memory:
            yield memory


def _standard_input() -> str:
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
class _Run:
    """Hold the input and the results of one run."""

    paths: list[Path]
    chunk_size: int = _CHUNK_SIZE
    overlap: int = 0
    include: list[str] | None = None
    exclude: list[str] | None = None
    drop_most: bool = False
    ids: list[str] = field(default_factory=list)
    loaded: int = 0
    report: SyncReport | None = None
    started: float = field(default_factory=time.monotonic)
    state: dict[str, int] = field(default_factory=dict)

    def read(self, memory: Memory, *, drop: bool) -> None:
        """Read files and folders into a memory, with a progress bar."""
        from glob import escape

        from memvid_core.ingest import Chunker
        from memvid_core.ingest.sync import sync

        chunker = Chunker(self.chunk_size, self.overlap)
        own = Path(memory.path).name
        exclude = [*(self.exclude or ()), *_SIDE_FILES, escape(own), f"{escape(own)}.*"]
        with self._reporting_stored(memory, "sync" if drop else "add"), files_progress("Reading") as update:
            self.report = sync(
                memory,
                self.paths,
                chunker=chunker,
                include=self.include or None,
                exclude=exclude,
                drop=drop,
                drop_most=self.drop_most,
                on_file=lambda result, done, total: update(done, total, result.source),
            )

    def cut(self, memory: Memory, text: str, metadata: dict[str, Any]) -> None:
        """Split one long text into records of a memory."""
        from memvid_core.ingest import Chunker

        chunks = Chunker(self.chunk_size, self.overlap).chunk(text, metadata={"source": "stdin", **metadata})
        self.ids += memory.add([chunk.text for chunk in chunks], [chunk.metadata for chunk in chunks])

    def load(self, memory: Memory, *, from_stdin: bool) -> None:
        """Import exports into a memory."""
        from memvid_core.cli.exporting import load

        with self._reporting_stored(memory, None):
            self.loaded = load(memory, self.paths, from_stdin=from_stdin)

    def look(self, memory: Memory) -> None:
        """Record the state of the memory while it is open."""
        info = memory.info()
        self.state = {"records": info.records, "commits": info.commits, "bytes": info.bytes}

    @contextmanager
    def _reporting_stored(self, memory: Memory, command: str | None) -> Iterator[None]:
        """Report how many records are stored if the work ends early."""
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
                raise type(exc)(message) from None
            if commits:
                exc.add_note(message)
            raise

    def _command(self, command: str, memory: str) -> str:
        """Return the command that continues where this run stopped."""
        paths = [str(path) for path in self.paths]
        options = [f"--include={pattern}" for pattern in self.include or ()]
        options += [f"--exclude={pattern}" for pattern in self.exclude or ()]
        options += [] if self.chunk_size == _CHUNK_SIZE else [f"--chunk-size={self.chunk_size}"]
        options += [f"--overlap={self.overlap}"] if self.overlap else []
        order = [*paths, memory] if command == "sync" else [memory, *paths]
        shown = shlex.join(["memvid", command, *order, *options])
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
                    "warnings": report.warnings if report else {},
                    "skipped_kinds": _kinds(report.skipped) if report else {},
                    "failed": [
                        {"source": source, "type": type(error).__name__, "message": str(error)}
                        for source, error in failed.items()
                    ],
                }
            )
        else:
            say(self._summary(path, chunks))
            self._show_skipped()
            self._show_warnings()
        if failed:
            note(f"{count(len(failed), 'file')} could not be read and {'was' if len(failed) == 1 else 'were'} skipped:")
            for error in list(failed.values())[:_NAMED_AT_MOST]:
                note(f"  {error}")
            if len(failed) > _NAMED_AT_MOST:
                note(f"  … and {len(failed) - _NAMED_AT_MOST:,} more (--json lists them all)")
        if not self.state["commits"]:
            raise typer.Exit(NOTHING)
        if failed:
            raise typer.Exit(PARTLY)

    def _show_skipped(self) -> None:
        skipped = [] if self.report is None else self.report.skipped
        if skipped:
            kinds = [f"{kind} {number:,}" for kind, number in _kinds(skipped).items()]
            more = ", …" if len(kinds) > _KINDS_AT_MOST else ""
            note(f"{len(skipped):,} skipped ({', '.join(kinds[:_KINDS_AT_MOST])}{more})")

    def _show_warnings(self) -> None:
        warnings = {} if self.report is None else self.report.warnings
        lines = [f"{source}: {warning}" for source, found in warnings.items() for warning in found]
        for line in lines[:_NAMED_AT_MOST]:
            note(f"  {line}")
        if len(lines) > _NAMED_AT_MOST:
            note(f"  … and {len(lines) - _NAMED_AT_MOST:,} more (--json lists them all)")

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


def _kinds(sources: list[str]) -> dict[str, int]:
    """Count the files of each suffix, most frequent first.

    Example:
        >>> _kinds(["a.odt", "b.ODT", "c.zip", "core"])
        {'.odt': 2, '.zip': 1, 'without suffix': 1}
    """
    return dict(Counter(Path(source).suffix.lower() or "without suffix" for source in sources).most_common())
