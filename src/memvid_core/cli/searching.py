"""``memvid search`` and ``get``: find records by question, or show them by id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import (
    AsJson,
    AsOf,
    EmbedderName,
    IndexChoice,
    MemoryPath,
    Where,
    WithQuestion,
    opened,
    parse_as_of,
    parse_object,
    stored_ids,
)
from memvid_core.cli.output import console, in_one_line, note, printable, show, write_json, write_text

if TYPE_CHECKING:
    from rich.text import Text

    from memvid_core import Hit, Record

__all__ = ["fields_of_hit", "passage_length", "place", "register", "show_hit"]

_EXAMPLE = """`memvid search notes.mp4 "how do wings lift?" -k 3 --where '{"page": {"$gte": 3}}'`"""
_LINES = 3  # of a passage
_COLUMNS = 80  # outside a terminal
_INDENT = 4
_MARKS = ("\ue000", "\ue001")  # private-use characters, which readable texts do not contain


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    app.command("search", cls=WithQuestion, rich_help_panel="Search", epilog=_EXAMPLE)(search)
    app.command("get", rich_help_panel="Search")(get)


def search(
    memory_path: MemoryPath,
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
    rerank: Annotated[
        str | None,
        typer.Option(
            "--rerank",
            metavar="MODEL",
            show_default=False,
            help="A cross-encoder that sorts the best candidates again, such as cross-encoder/ms-marco-MiniLM-L6-v2.",
        ),
    ] = None,
    synonyms: Annotated[
        Path | None,
        typer.Option(
            "--synonyms",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="A text file with words that mean the same, such as car, automobile, on each line.",
        ),
    ] = None,
    fuzzy: Annotated[
        bool, typer.Option("--fuzzy/--no-fuzzy", help="Replace words that no record has by near ones.")
    ] = True,
    where: Where = None,
    as_of: AsOf = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the scores of each part of the search.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show whole texts instead of the best passage.")] = False,
    embedder: EmbedderName = None,
    index: IndexChoice = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the records that best answer a question.

    In a query, `"two words"` must occur together, `-word` must not occur, and `word*` matches any word with this
    beginning.
    """
    condition = parse_object(where, "--where")
    if not query.strip():
        raise typer.BadParameter("the query is empty; memvid export lists all records", param_hint="QUERY")
    with opened(memory_path, embedder=embedder, as_of=parse_as_of(as_of), index=index, others=[query]) as memory:
        chosen = mode or memory.default_mode
        if memory.embedder is None and mode is None:
            written = memory.info().embedder
            note(f"searching by words only; to search by meaning too, add --embedder {written}")
        asked: dict[str, Any] = {"min_relevance": min_score, "unique": unique, "explain": explain}
        asked |= {"rerank": rerank, "fuzzy": fuzzy, "synonyms": synonyms}
        hits = memory.search(query, k, condition, chosen, passage=passage_length(), **asked)
    if as_json:
        write_json(
            {
                "memory": str(memory_path),
                "query": query,
                "mode": chosen,
                "hits": [fields_of_hit(hit, query, explain) for hit in hits],
            }
        )
    else:
        for hit in hits:
            show_hit(hit, query, explain=explain, full=full)
        if not hits:
            note("nothing found")
    if not hits:
        raise typer.Exit(NOTHING)


def get(
    memory_path: MemoryPath,
    ids: Annotated[list[str], typer.Argument(metavar="IDS", show_default=False, help="Ids of records.")],
    as_of: AsOf = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the texts, unchanged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show records by their ids."""
    with opened(memory_path, as_of=parse_as_of(as_of)) as memory:
        ids = stored_ids(memory, ids)
        records = memory.get(ids)
    found = {record.id for record in records}
    missing = [record_id for record_id in ids if record_id not in found]
    if as_json:
        write_json({"memory": str(memory_path), "records": records, "missing": missing})
    elif raw:
        for record in records:
            write_text(record.text if record.text.endswith("\n") else record.text + "\n")
    else:
        for i, record in enumerate(records):
            _show_record(record, first=not i)
    for record_id in missing:
        note(f"no record has the id {record_id!r}")
    if missing:
        raise typer.Exit(NOTHING)


def passage_length() -> int:
    """Return the maximum length of the passage of a hit, in characters."""
    return _LINES * _room()


def fields_of_hit(hit: Hit, query: str, explain: bool) -> dict[str, Any]:
    """Return a hit as JSON."""
    from memvid_core import snippet

    assert hit.passage is not None
    record, passage = hit.record, hit.passage.text
    shown: dict[str, Any] = {
        "rank": hit.rank,
        "score": hit.score,
        "relevance": hit.relevance,
        "id": record.id,
        "text": record.text,
        "metadata": record.metadata,
        "passage": hit.passage,
        "snippet": snippet(passage, query, width=max(1, len(passage))),
    }
    return {**shown, "explain": hit.explain or {}} if explain else shown


def place(record_id: str, metadata: dict[str, Any]) -> str:
    """Return where a record comes from, without the parts that its id shows; empty if unknown.

    Example:
        >>> place("docs/a.pdf#7", {"source": "docs/a.pdf", "heading": "Intro", "page": 3, "chunk": 7})
        'Intro · page 3'
        >>> place("0199-a", {"source": "a.txt"}), place("talk.vtt#0", {"time_start": 62.5, "time_end": 70.0})
        ('a.txt', '1:02–1:10')
    """
    from memvid_core.memvid_v1.sources import places

    parts = [str(metadata[key]) for key in ("source", "heading") if metadata.get(key) not in (None, "")]
    if parts and record_id.startswith(f"{parts[0]}#"):
        del parts[0]
    parts += places(metadata)
    return " ".join(printable(" · ".join(parts)).split())


def show_hit(hit: Hit, query: str, *, explain: bool, full: bool) -> None:
    """Print a hit with its best passage, or its text."""
    from rich.text import Text

    if hit.rank:
        show(Text())
    head = Text.assemble((f"{hit.rank + 1:2}", "bold"), "  ", (f"{hit.score:.3f}", "green"), "  ")
    head.append(in_one_line(hit.id), style="cyan")
    where = place(hit.id, hit.metadata)
    if where:
        head.append(f" · {where}", style="dim")
    show(head, hang=_INDENT)
    if explain and hit.explain:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in hit.explain.items())
        show(Text(parts, style="dim"), indent=_INDENT)
    show(_shown_text(hit.text if full else _shown_passage(hit), query, full=full), indent=_INDENT)


def _room() -> int:
    """Return the number of cells of a line of text."""
    out = console()
    return max(20, out.width - _INDENT) if out.is_terminal else _COLUMNS


def _shown_passage(hit: Hit) -> str:
    """Return the passage of a hit in one line, with ellipses where the text goes on."""
    assert hit.passage is not None
    before = "…" if hit.text[: hit.passage.start].strip() else ""
    after = "…" if hit.text[hit.passage.end :].strip() else ""
    return f"{before}{' '.join(hit.passage.text.split())}{after}"


def _shown_text(text: str, query: str, *, full: bool) -> Text:
    """Return a text with matches in bold, or between asterisks outside a terminal; a passage is cut to three lines."""
    from rich.cells import cell_len
    from rich.text import Text

    from memvid_core import snippet

    out = console()
    # Korean, Chinese and Japanese characters and most emoji are two cells wide.
    cells = max(1.0, cell_len(text[:1000]) / max(1, len(text[:1000])))
    width = max(1, len(text)) if full else int(_LINES * _room() / cells) + 2
    marks = _MARKS if out.is_terminal else ("**", "**")
    shown = printable(snippet(text.strip("\n"), query, width=width, marks=marks))
    if not out.is_terminal:
        return Text(shown.replace("\n", "\n" + " " * _INDENT))
    pieces = Text()
    for piece in shown.split(_MARKS[0]):
        matched, mark, rest = piece.partition(_MARKS[1])
        pieces.append(matched, style="bold yellow" if mark else "")
        pieces.append(rest)
    return pieces


def _show_record(record: Record, *, first: bool) -> None:
    import msgspec
    from rich.text import Text

    if not first:
        show(Text())
    show(Text(in_one_line(record.id), style="bold cyan"))
    if record.metadata:
        show(Text(printable(msgspec.json.encode(record.metadata).decode()), style="dim"))
    show(Text(printable(record.text)))
