"""``memvid library``: build, search and inspect a library, a folder of sealed memories."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.exporting import lines, lines_of
from memvid_core.cli.failures import NOTHING, PARTLY
from memvid_core.cli.groups import Commands
from memvid_core.cli.options import (
    AsJson,
    AsOf,
    EmbedderName,
    IndexChoice,
    Where,
    WithQuestion,
    parse_as_of,
    parse_object,
)
from memvid_core.cli.output import console, count, facts, files_progress, megabytes, moment, note, say, write_json
from memvid_core.cli.places import Place, RemotePath, given_path, memory_place
from memvid_core.cli.searching import fields_of_hit, passage_length, show_hit

if TYPE_CHECKING:
    from memvid_core import Library, Record

__all__ = ["register"]

_NAMED_AT_MOST = 20  # of what is damaged
_AT_ONCE = 1_024  # records of a source that are read together

LibraryPath = Annotated[
    Place,
    typer.Argument(
        metavar="LIBRARY", parser=memory_place, show_default=False, help="The folder of the library, or its URL."
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    group = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="markdown")
    group.command("build", epilog="`memvid library build books/ a.mp4 b.mp4 more.jsonl`")(build)
    group.command("search", cls=WithQuestion, epilog='`memvid library search books/ "how do wings lift?"`')(search)
    group.command("info")(info)
    group.command("history")(history)
    group.command("verify")(verify)
    group.command("compact", epilog="`memvid library compact books/`")(compact)
    group.command("vacuum", epilog="`memvid library vacuum books/ --days 7 --dry-run`")(vacuum)
    description = "Many memories as one: a folder of sealed shards, built and searched together."
    epilog = "Every command has --help, and --json for scripts."
    app.add_typer(group, name="library", help=description, epilog=epilog, rich_help_panel="Libraries")


def build(
    library_path: LibraryPath,
    sources: Annotated[
        list[Place],
        typer.Argument(
            metavar="SOURCES",
            parser=memory_place,
            show_default=False,
            help="Memories or their URLs, and exports of memvid.",
        ),
    ],
    rows_per_shard: Annotated[
        int, typer.Option("--rows-per-shard", metavar="N", min=1, help="The maximum number of records of a shard.")
    ] = 2_000_000,
    partition_by: Annotated[
        list[str] | None,
        typer.Option(
            "--partition-by",
            metavar="FIELD",
            show_default=False,
            help="A metadata field whose values each shard of a new library lists; repeatable.",
        ),
    ] = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Keep the vectors of the sources; by default they are computed again.")
    ] = False,
    embedder: EmbedderName = None,
    index: IndexChoice = "auto",
    as_json: AsJson = False,
) -> None:
    """Add the records of memories and exports to a library, which is created if it does not exist.

    All of them appear at once, as one version; an id that the library has is replaced. If the command is interrupted,
    nothing is added. With `--index ivf`, the lists of an inverted file are made, too. To build a library from
    documents, make memories of them first, with `memvid build`.
    """
    for source in sources:
        if not source.exists():
            raise typer.BadParameter(f"{source} does not exist", param_hint="SOURCES")
    with _opened_or_made(library_path, partition_by, embedder, vectors, index) as library:
        with files_progress("Building", "records") as update:
            records = _records(sources, vectors, lambda done, name: update(done, done, name))
            report = library.build(records, rows_per_shard=rows_per_shard)
        state = library.info()
    if as_json:
        write_json({"library": str(library_path), **_fields(report), "records": state.records})
        return
    replaced = f", {report.deleted:,} replaced" if report.deleted else ""
    say(
        f"{library_path}: {count(report.added, 'record')} added in {count(report.shards, 'shard')}{replaced}; "
        f"version {report.version} has {count(state.records, 'record')}"
    )


def _records(sources: list[Path], vectors: bool, update: Any) -> Iterator[tuple[Record, Any] | Record]:
    """Yield the records of memories and exports, with their vectors if these are kept."""
    from memvid_core import Memory, Record

    done = 0
    for source in sources:
        if isinstance(source, RemotePath) or source.suffix.lower() in (".mp4", ".m4v", ".mov"):
            with Memory.open(given_path(source), embedder="given") as memory:
                ids = memory.ids()
                for first in range(0, len(ids), _AT_ONCE):
                    part = ids[first : first + _AT_ONCE]
                    yield from memory.select_with_vectors({"$id": {"$in": part}}) if vectors else memory.get(part)
                    done += len(part)
                    update(done, source.name)
            continue
        with lines_of(source) as file:
            file.seek(0)
            for item in lines(str(source), file):
                made = Record(item.get("id") or str(uuid.uuid4()), item["text"], item.get("metadata") or {})
                yield (made, item.get("vector")) if vectors else made
                done += 1
                if not done % _AT_ONCE:
                    update(done, source.name)


@contextmanager
def _opened(
    path: Path, embedder: str | None = None, as_of: str | None = None, index: Any = "auto"
) -> Iterator[Library]:
    from memvid_core import Library, NotAMemoryError

    if path.is_file() and not isinstance(path, RemotePath):
        raise NotAMemoryError(f"{path} is a file: give the folder of a library, or use memvid search")
    with Library.open(given_path(path), embedder=embedder, as_of=parse_as_of(as_of), index=index) as library:
        yield library


@contextmanager
def _opened_or_made(
    path: Path, partition_by: list[str] | None, embedder: str | None, vectors: bool, index: Any
) -> Iterator[Library]:
    from memvid_core import Library, NotAMemoryError

    place = given_path(path)
    new, folder = False, path.exists()
    try:
        library = Library.open(place, embedder=embedder, index=index)
    except NotAMemoryError:
        given = "given" if vectors and embedder is None else embedder
        library, new = Library.create(place, given, partition_by=partition_by or (), index=index), True
    else:
        state = library.info()
        if partition_by and tuple(dict.fromkeys(partition_by)) != state.partition_by:
            library.close()
            raise typer.BadParameter("the library exists, and its fields are fixed", param_hint="--partition-by")
        if not state.version:
            note(f"{path} has no version yet, as after a build that was killed; continuing it")
    try:
        with library:
            yield library
    except BaseException:
        if new and not isinstance(path, RemotePath):
            _remove_unbuilt(path, folder=not folder)
        raise


def _remove_unbuilt(path: Path, *, folder: bool) -> None:
    """Remove a new library without a version, unless another process builds in it; ``folder``: with its folder."""
    manifests, *others = (path / name for name in ("manifest", "writing", "shards", "models"))
    with suppress(OSError):  # the error that stopped the build says more
        if others[0].is_dir() and any(others[0].iterdir()):
            return
        # From here on nobody can commit: another process that does it first keeps the folder.
        with suppress(FileNotFoundError):
            manifests.rmdir()
        if folder:
            shutil.rmtree(path, ignore_errors=True)
            return
        (path / "library.json").unlink(missing_ok=True)
        for each in others:
            with suppress(OSError):
                each.rmdir()


def search(
    library_path: LibraryPath,
    query: Annotated[str, typer.Argument(metavar="QUERY", show_default=False, help="A question, or words.")],
    k: Annotated[int, typer.Option("-k", "-n", metavar="N", min=0, help="The maximum number of hits.")] = 5,
    mode: Annotated[
        Literal["hybrid", "dense", "lexical"] | None,
        typer.Option("--mode", show_default=False, help="By meaning (dense), words (lexical) or both (the default)."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score", metavar="X", min=0, max=1, show_default=False, help="The least relevance of a hit."
        ),
    ] = None,
    unique: Annotated[bool, typer.Option("--unique", help="Show texts that occur several times once.")] = False,
    where: Where = None,
    as_of: AsOf = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the scores of each part of the search.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show whole texts instead of the best passage.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Show what was found if shards do not answer (exit code 3).")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for the shards.")
    ] = 600.0,
    embedder: EmbedderName = None,
    index: IndexChoice = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the records of all shards that best answer a question, as one memory would."""
    condition = parse_object(where, "--where")
    if not query.strip():
        raise typer.BadParameter("the query is empty", param_hint="QUERY")
    with _opened(library_path, embedder, as_of, index) as library:
        chosen = mode or library.default_mode
        asked: dict[str, Any] = {"min_relevance": min_score, "unique": unique, "explain": explain, "timeout": timeout}
        allowed: Literal["allow", "raise"] = "allow" if partial else "raise"
        hits = library.search(query, k, condition, chosen, passage=passage_length(), partial=allowed, **asked)
    report = hits.report
    if as_json:
        shown = [fields_of_hit(hit, query, explain) for hit in hits]
        write_json(
            {"library": str(library_path), "query": query, "mode": chosen, "hits": shown, "report": _fields(report)}
        )
    else:
        for hit in hits:
            show_hit(hit, query, explain=explain, full=full)
        if not hits:
            note("nothing found")
    for name, reason in report.failed.items():
        note(f"{name} did not answer: {reason}")
    if report.failed:
        note(f"{count(report.rows_missing, 'record')} were not searched")
        raise typer.Exit(PARTLY)
    if not hits:
        raise typer.Exit(NOTHING)


def info(library_path: LibraryPath, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show the size, settings and dates of a library."""
    with _opened(library_path, as_of=as_of) as library:
        found = library.info()
    if as_json:
        write_json({"library": str(library_path), **_fields(found)})
        return
    dimension = "" if found.dimension is None else f", {found.dimension:,} dimensions"
    deleted = f" ({found.deleted:,} deleted)" if found.deleted else ""
    pairs = {
        "version": f"{found.version:,}",
        "records": f"{found.records:,}{deleted}",
        "shards": f"{found.shards:,}, {megabytes(found.bytes)}",
        "partitions": ", ".join(found.partition_by),
        "vectors": f"{found.vector_dtype}{dimension}, {found.metric}",
        "embedder": found.embedder,
        "created": moment(found.created),
        "modified": moment(found.modified),
    }
    facts(str(library_path), {name: value for name, value in pairs.items() if value})


def history(library_path: LibraryPath, as_json: AsJson = False) -> None:
    """List the versions, oldest first. Each can be searched and shown with `--as-of`."""
    with _opened(library_path) as library:
        versions = library.history()
    if as_json:
        write_json({"library": str(library_path), "versions": versions})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("version", "time", "change", "added", "deleted", "records", "shards"):
        table.add_column(name, justify="left" if name in ("time", "change") else "right", no_wrap=True)
    for one in versions:
        numbers = (f"{number:,}" if number else "" for number in (one.added, one.deleted, one.records, one.shards))
        table.add_row(*map(Text, (f"{one.number:,}", moment(one.time), one.change, *numbers)))
    console().print(table)


def verify(library_path: LibraryPath, as_json: AsJson = False) -> None:
    """Read every file of a library and compare every checksum. If anything is damaged, the exit code is 1."""
    with _opened(library_path) as library:
        report = library.verify()
    if as_json:
        write_json({"library": str(library_path), "ok": report.ok, **_fields(report)})
    else:
        read = (
            f"{count(report.records, 'record')}, {count(report.shards, 'shard')}, {count(report.versions, 'version')}"
        )
        state = "intact" if report.ok else "DAMAGED"
        say(f"{library_path}: {state} ({read}, {megabytes(report.bytes)} read)", "bold")
        for damage in report.damage[:_NAMED_AT_MOST]:
            affected = f" ({count(damage.records, 'record')})" if damage.records else ""
            say(f"  {damage.name}{affected}: {damage.reason}")
        if len(report.damage) > _NAMED_AT_MOST:
            say(f"  … and {len(report.damage) - _NAMED_AT_MOST:,} more (--json names them all)")
        if report.orphans:
            note(f"{count(len(report.orphans), 'file')} in shards/ of interrupted builds, which no version names")
    if not report.ok:
        raise typer.Exit(NOTHING)


def compact(
    library_path: LibraryPath,
    rows_per_shard: Annotated[
        int, typer.Option("--rows-per-shard", metavar="N", min=1, help="The maximum number of records of a shard.")
    ] = 2_000_000,
    max_deleted: Annotated[
        float,
        typer.Option(
            "--max-deleted", metavar="X", min=0, max=1, help="The largest share of deleted records that stays."
        ),
    ] = 0.2,
    across: Annotated[
        bool, typer.Option("--across-partitions", help="Merge shards without a common value in a partition field, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge small shards, and write those with many deleted records again. Older versions stay until `vacuum`."""
    with _opened(library_path) as library:
        report = library.compact(rows_per_shard, max_deleted=max_deleted, keep_partitions=not across)
        shards = library.info().shards
    if as_json:
        write_json({"library": str(library_path), **_fields(report), "shards": shards})
        return
    if not report.replaced:
        say(f"{library_path}: nothing to merge")
        return
    dropped = f", {count(report.dropped, 'deleted record')} dropped" if report.dropped else ""
    say(
        f"{library_path}: {count(report.replaced, 'shard')} merged into {report.written:,}{dropped}; "
        f"version {report.version} has {count(shards, 'shard')}"
    )


def vacuum(
    library_path: LibraryPath,
    days: Annotated[
        float, typer.Option("--days", metavar="N", min=0, help="For how many days what was replaced is kept.")
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete versions that were replaced long ago, and files that no other version names.

    These are also the files of interrupted builds. No file of a running build is deleted.
    """
    from datetime import timedelta

    with _opened(library_path) as library:
        report = library.vacuum(timedelta(days=days), dry_run=dry_run)
    if as_json:
        write_json({"library": str(library_path), **_fields(report)})
        return
    would = "would delete" if dry_run else "deleted"
    say(
        f"{library_path}: {would} {count(report.versions, 'version')} and {count(len(report.files), 'file')} "
        f"({megabytes(report.bytes)})"
    )
    for name in report.files if dry_run else ():
        say(f"  {name}")
    for name in report.kept:
        note(f"{name} is in use, and was not deleted")


def _fields(struct: object) -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(struct)  # type: ignore[arg-type]
