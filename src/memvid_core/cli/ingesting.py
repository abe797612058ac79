"""``memvid build``, ``add``, ``sync`` and ``import``: files, folders, texts and exports into a memory."""

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
_NAMED_AT_MOST = 20  # of the files that could not be read; --json has them all
_KINDS_AT_MOST = 8  # of skipped files
_COMMAND_AT_MOST = 200  # characters of a command that is worth showing
_SIDE_FILES = ("*.mp4.index", "*.mp4.lock", "*.mp4.owner")

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="MEMORY", show_default=False, help="The memory to make: notes.mp4.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace the memory that is there.")]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATHS", show_default=False, help="Files, and folders with all in them."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    panel = "Put in"
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
    codec: Annotated[str, typer.Option("--codec", metavar="pcm|qr", help="How bytes become pictures.")] = "pcm",
    vector_dtype: Annotated[
        Literal["float16", "float32", "int8", "none"],
        typer.Option("--vector-dtype", help="How vectors are stored; none: made again when the index is."),
    ] = "float16",
    index: IndexChoice = "auto",
    metric: MetricChoice = None,
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="A line about it, kept in it.")
    ] = "",
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Make a memory from files and folders.

    Text, Markdown, source code, CSV and notebooks are read as they are; PDF, DOCX, PPTX, XLSX, HTML and EPUB with the
    extra `memvid-core[documents]`. Files that cannot be read are named and left out (exit code 3).
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
        typer.Argument(metavar="PATHS", show_default=False, help="Files and folders; - is standard input."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", show_default=False, help="A text, as one record; repeatable."),
    ] = None,
    record_id: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", show_default=False, help="The id of each --text; a known id is replaced."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", "-m", metavar="JSON", show_default=False, help="Metadata for --text and for -."),
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="PATHS and - are exports of memvid: records with their ids.")
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the memory if it is not there.")] = False,
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

    A file that is in it already is left alone, or replaced if it has changed. Nothing is dropped: for that there is
    `memvid sync`.
    """
    given = list(sources or [])
    from_stdin = "-" in given
    paths = [Path(source) for source in given if source != "-"]
    plain = parse_object(metadata, "--metadata")
    if not given and not text:
        raise typer.BadParameter("give files, folders, - for standard input, or --text TEXT", param_hint="PATHS")
    if record_id and not text:
        raise typer.BadParameter("an id goes with --text; files get theirs from their names", param_hint="--id")
    if plain is not None and (jsonl or not (text or from_stdin)):
        raise typer.BadParameter("it goes with --text and with - alone", param_hint="--metadata")
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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on though most files of a folder are gone.")] = False,
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
    """Bring a memory in step with folders.

    What is new is added, what has changed is replaced, what is gone is dropped; what did not come from these folders is
    not touched. The memory is made if it is not there. If all files of a folder are gone, or most of many, nothing is
    done without `--yes`: its disk may not be mounted.
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
        typer.Argument(metavar="EXPORTS", show_default=False, help="What memvid export wrote; - is standard input."),
    ],
    output: Output,
    force: Force = False,
    embedder: EmbedderName = None,
    metric: MetricChoice = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Make a memory from exports, with the same ids.

    An export is JSONL: each line an object with "text", and if you like "id" and "metadata". `memvid add --jsonl` takes
    exports into a memory that is there. A video and a JSON file that Memvid wrote are taken over too.
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
    """How vectors are searched, and how a new memory compares them."""

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
        with opened(path, "a", embedder=embedder, beside=given, **shared) as memory:
            yield memory


def _standard_input() -> str:
    from memvid_core import IngestError

    if sys.stdin.isatty():
        note("reading from the terminal: end with Ctrl-D (Ctrl-Z and Enter on Windows)")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise IngestError(f"standard input is no UTF-8 at byte {exc.start:,}; convert it first (iconv)") from exc


@dataclass
class _Run:
    """One run: what goes in, and what became of it."""

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
        """Files and folders into a memory, with a bar."""
        from glob import escape

        from memvid_core.ingest import Chunker
        from memvid_core.ingest.sync import sync

        chunker = Chunker(self.chunk_size, self.overlap)
        own = Path(memory.path).name
        exclude = [*(self.exclude or ()), *_SIDE_FILES, escape(own), f"{escape(own)}.*"]
        with self._telling_what_is_in(memory, "sync" if drop else "add"), files_progress("Reading") as update:
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
        """One long text into a memory."""
        from memvid_core.ingest import Chunker

        chunks = Chunker(self.chunk_size, self.overlap).chunk(text, metadata={"source": "stdin", **metadata})
        self.ids += memory.add([chunk.text for chunk in chunks], [chunk.metadata for chunk in chunks])

    def load(self, memory: Memory, *, from_stdin: bool) -> None:
        """Exports into a memory."""
        from memvid_core.cli.exporting import load

        with self._telling_what_is_in(memory, None):
            self.loaded = load(memory, self.paths, from_stdin=from_stdin)

    def look(self, memory: Memory) -> None:
        """Note what the memory is now, while it is open."""
        info = memory.info()
        self.state = {"records": info.records, "commits": info.commits, "bytes": info.bytes}

    @contextmanager
    def _telling_what_is_in(self, memory: Memory, command: str | None) -> Iterator[None]:
        """Whatever ends the work early, say what stays."""
        before = len(memory.history())
        try:
            yield
        except (Exception, KeyboardInterrupt) as exc:
            commits = memory.history()[before:]
            added = sum(commit.added for commit in commits) + len(self.ids)
            told = f"{count(added, 'record')} of this run {'is' if added == 1 else 'are'} in {memory.path}"
            if not commits and not self.ids:
                told = "nothing was written"
            if commits and command:
                told += f"; to go on: {self._command(command, memory.path)}"
            if isinstance(exc, KeyboardInterrupt):
                raise type(exc)(told) from None
            if commits:
                exc.add_note(told)
            raise

    def _command(self, command: str, memory: str) -> str:
        """The command that goes on where this run stopped."""
        paths = [str(path) for path in self.paths]
        options = [f"--include={pattern}" for pattern in self.include or ()]
        options += [f"--exclude={pattern}" for pattern in self.exclude or ()]
        options += [] if self.chunk_size == _CHUNK_SIZE else [f"--chunk-size={self.chunk_size}"]
        options += [f"--overlap={self.overlap}"] if self.overlap else []
        order = [*paths, memory] if command == "sync" else [memory, *paths]
        shown = shlex.join(["memvid", command, *order, *options])
        return shown if len(shown) <= _COMMAND_AT_MOST else f"memvid {command}, with the same paths and options"

    def show(self, path: Path, as_json: bool) -> None:
        """Print what was done, and end with the exit code that says so."""
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
                    "skipped_kinds": _kinds(report.skipped) if report else {},
                    "failed": [
                        {"source": source, "type": type(error).__name__, "message": str(error)}
                        for source, error in failed.items()
                    ],
                }
            )
        else:
            say(self._summary(path, chunks))
            self._tell_skipped()
        if failed:
            note(f"{count(len(failed), 'file')} could not be read and {'is' if len(failed) == 1 else 'are'} not in:")
            for error in list(failed.values())[:_NAMED_AT_MOST]:
                note(f"  {error}")
            if len(failed) > _NAMED_AT_MOST:
                note(f"  … and {len(failed) - _NAMED_AT_MOST:,} more (--json names them all)")
        if not self.state["commits"]:
            raise typer.Exit(NOTHING)
        if failed:
            raise typer.Exit(PARTLY)

    def _tell_skipped(self) -> None:
        skipped = [] if self.report is None else self.report.skipped
        if skipped:
            kinds = [f"{kind} {number:,}" for kind, number in _kinds(skipped).items()]
            more = ", …" if len(kinds) > _KINDS_AT_MOST else ""
            note(f"{len(skipped):,} skipped ({', '.join(kinds[:_KINDS_AT_MOST])}{more})")

    def _summary(self, path: Path, chunks: int) -> str:
        if not self.state["commits"]:
            return f"no text found: {path} was not made"
        told = [count(chunks, "record")]
        report = self.report
        if report is not None:
            files = len(report.added) + len(report.changed)
            told = [f"{told[0]} from {count(files, 'file')}"] if chunks or files else []
            rest = {"changed": report.changed, "unchanged": report.unchanged, "gone": report.removed}
            rest["without text"] = report.empty
            told += [f"{len(names):,} {word}" for word, names in rest.items() if names]
        told = told or ["nothing to do"]
        told[-1] += f" in {time.monotonic() - self.started:.1f} s"
        held = "" if self.state["records"] == chunks else f"it holds {count(self.state['records'], 'record')}, "
        return f"{path}: {', '.join(told)}; {held}{megabytes(self.state['bytes'])}"


def _kinds(sources: list[str]) -> dict[str, int]:
    """How many files there are of each suffix, the most first.

    Example:
        >>> _kinds(["a.odt", "b.ODT", "c.zip", "core"])
        {'.odt': 2, '.zip': 1, 'without suffix': 1}
    """
    return dict(Counter(Path(source).suffix.lower() or "without suffix" for source in sources).most_common())
