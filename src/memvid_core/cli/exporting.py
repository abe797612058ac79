"""``memvid export``: write records as JSONL or Parquet, which can be imported, as Markdown, or as captions."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.options import AsJson, AsOf, MemoryPath, Where, WithPlaces, opened, parse_as_of, parse_object
from memvid_core.cli.output import count, escaped_json, files_progress, megabytes, note, printable, write_json
from memvid_core.cli.tables import with_vectors, write_parquet
from memvid_core.system.atomic_files import followed, remove_left, writing_file

if TYPE_CHECKING:
    from memvid_core import Memory, Record

__all__ = ["lines", "lines_of", "load", "register"]

# Lines per commit; large, because an embedder that is fitted learns from the first commit.
_LINES_A_COMMIT = 4096
_OTHER_SUFFIXES = frozenset((".csv", ".docx", ".html", ".mp4", ".pdf", ".srt", ".tsv", ".txt", ".xlsx", ".xml", ".zip"))
_UPDATE_EVERY = 256
_LONGEST_LINE = 1 << 28  # bytes


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    app.command(
        "export",
        cls=WithPlaces,
        rich_help_panel="Export and delete",
        epilog="`memvid export notes.mp4 -o notes.jsonl`",
    )(export)


def export(
    memory_path: MemoryPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", show_default=False, help="The output file; by default, standard output."
        ),
    ] = None,
    style: Annotated[
        Literal["jsonl", "parquet", "markdown", "vtt"] | None,
        typer.Option("--format", help="By default from FILE's suffix, else jsonl.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace FILE if it exists.")] = False,
    vectors: Annotated[bool, typer.Option("--vectors", help="Also write the vectors, in JSONL or Parquet.")] = False,
    where: Where = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Export records as JSONL, Parquet or Markdown, or captions for the video.

    A JSONL line has the id, text and metadata of one record; `memvid import` reads it unchanged. Parquet has
    the same as columns. Markdown is for reading. VTT names the records of each frame: VLC and mpv show
    `notes.vtt` with `notes.mp4`. With `--json`, you get a summary if the records go to a file, else one
    document that contains them all.
    """
    from memvid_core import MemoryExistsError

    condition = parse_object(where, "--where")
    if output is not None and os.path.lexists(output) and not force:
        remove_left(output)  # a process may have been killed at the very end
        raise MemoryExistsError(f"{output} exists; replace it with --force")
    chosen = style or _style_of(output)
    if vectors and chosen in ("markdown", "vtt"):
        raise typer.BadParameter(f"{chosen} has no vectors; they go into JSONL or Parquet", param_hint="--vectors")
    if chosen == "parquet" and output is None:
        raise typer.BadParameter("Parquet is written to a file: give -o FILE", param_hint="--format")
    with ExitStack() as stack:
        memory = stack.enter_context(opened(memory_path, as_of=parse_as_of(as_of)))
        records = _records(memory, condition)
        lines = _with_vectors(memory, records) if vectors and chosen == "jsonl" else None
        if chosen == "vtt":
            from memvid_core.serving.vtt import captions

            lines = captions(memory, condition)
        if output is None:
            out: IO[bytes] = _standard_output()
            pieces = lines or (_document(memory_path, records) if as_json else _written(records, chosen))
        else:
            out = stack.enter_context(writing_file(followed(output)))
            pieces = lines or _written(records, chosen)
        total = len(memory)
        # On a terminal, the printed records show the progress.
        hidden = output is None and sys.stdout.isatty()
        update = None if hidden else stack.enter_context(files_progress("Exporting", "records"))
        done = 0
        if chosen == "parquet":
            for done in write_parquet(out, memory, records, vectors=vectors):
                if update is not None:
                    update(done, total, "")
            pieces = iter(())
        for piece in map(_shown(chosen, as_json), pieces) if hidden else pieces:
            out.write(piece)
            done += 1
            if update is not None and done % _UPDATE_EVERY == 0:
                update(done, total, "")
        size = out.tell() if output is not None else 0
    if output is None:
        return
    if as_json:
        result = {"memory": str(memory_path), "output": str(output), "format": chosen, "records": done, "bytes": size}
        write_json(result)
    else:
        what = count(done - 1, "caption") if chosen == "vtt" else count(done, "record")
        note(f"{output}: {what}, {megabytes(size)}")


def _style_of(output: Path | None) -> str:
    suffix = output.suffix.lower() if output else ""
    if suffix in _OTHER_SUFFIXES:
        raise typer.BadParameter(
            f"exports are .jsonl, .parquet, .md or .vtt, and not {suffix}; --format writes one under any name",
            param_hint="--output",
        )
    return {".md": "markdown", ".markdown": "markdown", ".parquet": "parquet", ".vtt": "vtt"}.get(suffix, "jsonl")


def _shown(style: str, as_json: bool) -> Callable[[bytes], bytes]:
    """Return the function that makes a piece of an export safe for a terminal."""
    return escaped_json if as_json or style == "jsonl" else lambda piece: printable(piece.decode()).encode()


def _records(memory: Memory, where: dict[str, Any] | None) -> Iterator[Record]:
    return iter(memory) if not where else iter(memory.select(where))


def _written(records: Iterator[Record], style: str) -> Iterator[bytes]:
    return map(_line, records) if style == "jsonl" else _markdown(records)


def _object(record: Record) -> bytes:
    plain = {"id": record.id, "text": record.text, "metadata": record.metadata}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _with_vectors(memory: Memory, records: Iterator[Record]) -> Iterator[bytes]:
    """Yield lines with vectors: the shortest decimal numbers that are exactly the stored ones."""
    while batch := list(islice(records, _UPDATE_EVERY)):
        for record, vector in with_vectors(memory, batch):
            numbers = None if vector is None else [float(number) for number in vector]
            yield _object(record)[:-1] + b',"vector":' + json.dumps(numbers).encode() + b"}\n"


def _line(record: Record) -> bytes:
    return _object(record) + b"\n"


def _document(path: Path, records: Iterator[Record]) -> Iterator[bytes]:
    """Yield one JSON document in pieces, so that memory use does not depend on the number of records."""
    import msgspec

    before = b'{"memory":' + msgspec.json.encode(str(path)) + b',"records":['
    for record in records:
        yield before + msgspec.json.encode(record)
        before = b","
    yield (before if before != b"," else b"") + b"]}\n"


def _markdown(records: Iterator[Record]) -> Iterator[bytes]:
    """Yield a heading per source, and for each record a comment with its id and metadata, and its text."""
    source: object = None
    for i, record in enumerate(records):
        named = record.metadata.get("source")
        title = f"# {' '.join(str(named).split())}\n\n" if named is not None and named != source else ""
        source = named
        rest = {key: value for key, value in record.metadata.items() if key != "source"}
        about = json.dumps({"id": record.id, **({"metadata": rest} if rest else {})}, ensure_ascii=False)
        # "--" would end the comment.
        about = about.replace("--", "\\u002d\\u002d")
        yield f"{chr(10) if i else ''}{title}<!-- {about} -->\n\n{record.text.rstrip()}\n".encode()


def _standard_output() -> IO[bytes]:
    sys.stdout.flush()
    buffer: IO[bytes] = sys.stdout.buffer
    return buffer


# ------------------------------------------------------------------------------------------------------------ import


def load(memory: Memory, paths: list[Path], *, from_stdin: bool = False, vectors: bool = False) -> int:
    """Import exports into a memory, several thousand records per commit; return how many.

    All input is checked before anything is written, so an invalid line changes nothing. With ``vectors``, the vectors
    in the lines are stored; without, they are computed again.

    Raises:
        IngestError: A file cannot be read, or a line is not a record; the message names it.
    """
    with ExitStack() as stack:
        files = [(str(path), stack.enter_context(lines_of(path))) for path in paths]
        if from_stdin:
            spool = stack.enter_context(tempfile.TemporaryFile())
            while block := sys.stdin.buffer.read(1 << 20):
                spool.write(block)
            files.append(("standard input", spool))
        total = 0
        for name, file in files:
            file.seek(0)
            total += sum(1 for _ in lines(name, file))
        done = 0
        with files_progress("Importing", "records") as update:
            for name, file in files:
                file.seek(0)
                batch: list[dict[str, Any]] = []
                for item in lines(name, file):
                    batch.append(item)
                    if len(batch) == _LINES_A_COMMIT:
                        done += _add(memory, batch, vectors=vectors)
                        update(done, total, name)
                        batch = []
                done += _add(memory, batch, vectors=vectors)
                update(done, total, name)
    return done


def lines_of(path: Path) -> IO[bytes]:
    """Return the lines of an export; the store of another package is written as lines first."""
    from memvid_core.cli.peers import peer_records

    records = peer_records(path) if path.exists() else None
    if records is None:
        return _opened(path)
    with ExitStack() as stack:
        spool: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        for record in records:
            spool.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        stack.pop_all()  # the caller closes it
    return spool


def _opened(path: Path) -> IO[bytes]:
    from memvid_core import IngestError

    try:
        return io.BufferedReader(io.FileIO(path, "r"))
    except OSError as exc:
        raise IngestError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def lines(name: str, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records of an export.

    Raises:
        IngestError: A line is not a record; the message names it.
    """
    from memvid_core import IngestError

    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        if len(line) > _LONGEST_LINE:
            raise IngestError(f"{name}, line {number}: longer than {_LONGEST_LINE:,} bytes; a record is one line")
        if not line.strip():
            continue
        if number == 1 and line.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
            raise IngestError(
                f"{name}: a JSON array, but an export has one record per line; convert it with: jq -c '.[]'"
            )
        try:
            item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as exc:
            remedy = "; documents are read by memvid build" if number == 1 else ""
            raise IngestError(
                f"{name}, line {number}: not JSON ({exc}); an export has one record per line{remedy}"
            ) from exc
        wrong = _what_is_wrong(item)
        if wrong:
            raise IngestError(f'{name}, line {number}: {wrong}; a record is {{"id": …, "text": …, "metadata": {{…}}}}')
        yield item


def _what_is_wrong(item: Any) -> str:
    if not isinstance(item, dict):
        return f"a value of type {type(item).__name__}, not an object"
    if not isinstance(item.get("text"), str):
        return '"text" is missing' if "text" not in item else '"text" is not a string'
    if not isinstance(item.get("id"), str | None):
        return '"id" is not a string'
    if not isinstance(item.get("metadata"), dict | None):
        return '"metadata" is not an object'
    vector = item.get("vector")
    if vector is not None and not (isinstance(vector, list) and {int, float}.issuperset(map(type, vector))):
        return '"vector" is not a list of numbers'
    return ""


def _add(memory: Memory, batch: list[dict[str, Any]], *, vectors: bool) -> int:
    if batch:
        given = [item.get("vector") for item in batch] if vectors else None
        memory.add(
            [item["text"] for item in batch],
            [item.get("metadata") for item in batch],
            [item.get("id") for item in batch],
            vectors=given,
        )
    return len(batch)
