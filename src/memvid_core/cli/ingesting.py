"""``memvid build``, ``add``, ``sync`` and ``import``: store files, folders, texts and exports in a memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from memvid_core.cli.converting import import_pair, is_pair
from memvid_core.cli.creating import new_memory
from memvid_core.cli.file_options import DEFAULTS, FileOptions, with_file_options
from memvid_core.cli.ingest_run import IngestRun, expanded, standard_input
from memvid_core.cli.options import (
    WAIT,
    AsJson,
    EmbedderName,
    IndexChoice,
    MemoryPath,
    MetricChoice,
    Timeout,
    WithPlaces,
    opened,
    parse_object,
)
from memvid_core.system.unfinished import finished

if TYPE_CHECKING:
    from memvid_core import Index, Memory, Metric

__all__ = ["register"]

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
    app.command("build", cls=WithPlaces, rich_help_panel=panel, epilog="`memvid build docs/ README.md -o notes.mp4`")(
        build
    )
    app.command("add", rich_help_panel=panel, epilog="`git log -1 | memvid add notes.mp4 - report.pdf`")(add)
    app.command("sync", cls=WithPlaces, rich_help_panel=panel, epilog="`memvid sync docs/ notes.mp4`")(sync_)
    app.command("import", cls=WithPlaces, rich_help_panel=panel, epilog="`memvid import notes.jsonl -o notes.mp4`")(
        import_
    )


@with_file_options
def build(
    paths: Paths,
    output: Output,
    force: Force = False,
    files: FileOptions = DEFAULTS,
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
    film: Annotated[
        bool | None,
        typer.Option(
            "--film/--no-film",
            help="Begin the video with a title card; by default, if `memvid-core[film]` is installed.",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Create a memory from files and folders.

    Text, Markdown, source code, CSV, JSON, mail and notebooks need no extra; PDF, Office and OpenDocument files, HTML,
    XML and EPUB need `memvid-core[documents]`. `-` is standard input. Unreadable files are listed and skipped (exit
    code 3).
    """
    from_stdin = Path("-") in paths
    named = expanded(path for path in paths if path != Path("-"))
    run = IngestRun(named, files)
    settings: dict[str, Any] = {
        "embedder": embedder,
        "codec": codec,
        "vector_dtype": vector_dtype,
        "description": description,
    }
    settings |= {"index": index, "metric": metric or "cosine"}
    if film or (film is None and codec == "pcm" and importlib.util.find_spec("PIL")):
        settings["film"] = output.stem
    task = "" if from_stdin else run.task  # what standard input said is gone
    with new_memory(output, force=force, timeout=timeout, task=task, **settings) as memory:
        if from_stdin:
            run.cut(memory, standard_input(), {})
        if named:
            run.read(memory, drop=False)
        run.look(memory)
    run.show(output, as_json)


@with_file_options
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
    files: FileOptions = DEFAULTS,
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
    paths = expanded(Path(source) for source in given if source != "-")
    plain = parse_object(metadata, "--metadata")
    if not given and not text:
        raise typer.BadParameter("give files, folders, - for standard input, or --text TEXT", param_hint="PATHS")
    if record_id and not text:
        raise typer.BadParameter("--id needs --text; the ids of files come from their names", param_hint="--id")
    if plain is not None and (jsonl or not (text or from_stdin)):
        raise typer.BadParameter("--metadata needs --text or -", param_hint="--metadata")
    run = IngestRun(paths, files)
    searching = _Searching(index, metric)
    with _opened_or_made(memory_path, given, searching, create=create, embedder=embedder, timeout=timeout) as memory:
        if text:
            metadatas = None if plain is None else [plain] * len(text)
            run.ids += memory.add(text, metadatas, record_id)
        if jsonl:
            run.load(memory, from_stdin=from_stdin)
        else:
            if from_stdin:
                run.cut(memory, standard_input(), plain or {})
            if paths:
                run.read(memory, drop=False)
        run.look(memory)
    run.show(memory_path, as_json)


@with_file_options
def sync_(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDERS", show_default=False, help="Folders and files.")],
    memory_path: MemoryPath,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Continue even if most files of a folder are missing.")
    ] = False,
    files: FileOptions = DEFAULTS,
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
    folders = expanded(folders)
    run = IngestRun(folders, files, drop_most=yes)
    given = [str(folder) for folder in folders]
    searching = _Searching(index, metric)
    with _opened_or_made(memory_path, given, searching, create=True, embedder=embedder, timeout=timeout) as memory:
        run.read(memory, drop=True)
        run.look(memory)
    run.show(memory_path, as_json)


def import_(
    exports: Annotated[
        list[Path],
        typer.Argument(
            metavar="EXPORTS", show_default=False, help="Exports, or stores of other packages; - for standard input."
        ),
    ],
    output: Output,
    force: Force = False,
    embedder: EmbedderName = None,
    metric: MetricChoice = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Keep the vectors in the exports; by default they are computed again.")
    ] = False,
    vector_dtype: Annotated[
        Literal["float16", "float32", "float64"], typer.Option("--vector-dtype", help="The dtype of kept vectors.")
    ] = "float32",
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Create a memory from exports, with the same ids.

    An export is JSONL: each line is an object with "text", and optionally "id", "metadata" and "vector". `memvid add
    --jsonl` adds exports to an existing memory. Folders of Chroma, LanceDB, local Qdrant and LangChain's FAISS,
    Parquet, LangGraph's SqliteStore, the JSON of mem0's get_all, and files of Memvid v1, a video and its JSON, are
    imported too. With `--vectors` and without `--embedder`, the memory is searched by words or by vectors of the same
    model.
    """
    from memvid_core.cli.peers import peer_records

    if is_pair(exports) and not (exports[0].is_file() and peer_records(exports[0]) is not None):
        settings: dict[str, Any] = {"embedder": embedder, "metric": metric or "cosine"}
        import_pair(exports, output, force=force, settings=settings, timeout=timeout, as_json=as_json)
        return
    from_stdin = Path("-") in exports
    run = IngestRun([path for path in exports if path != Path("-")], whole=True)
    kept: dict[str, Any] = {"embedder": embedder}
    if vectors:
        kept = {"embedder": embedder or "given", "vector_dtype": vector_dtype}
    with new_memory(output, force=force, whole=True, metric=metric or "cosine", timeout=timeout, **kept) as memory:
        run.load(memory, from_stdin=from_stdin, vectors=vectors)
        run.look(memory)
    run.show(output, as_json)


class _Searching(NamedTuple):
    """Hold the index, and the metric of a new memory."""

    choice: Index
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
        finished(path)  # what a killed build left is complete
