"""Arguments and options that several commands share, and their parsing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand

from memvid_core.cli.places import Place, given_path, memory_place

if TYPE_CHECKING:
    from memvid_core import Index, Memory, Metric

__all__ = [
    "WAIT",
    "AsJson",
    "AsOf",
    "EmbedderName",
    "IndexChoice",
    "MemoryPath",
    "MetricChoice",
    "Timeout",
    "Where",
    "WithPlaces",
    "WithQuestion",
    "opened",
    "parse_as_of",
    "parse_object",
    "stored_ids",
]

WAIT = 30.0
"""Default number of seconds that a command waits for other writers."""

MemoryPath = Annotated[
    Place,
    typer.Argument(
        metavar="MEMORY", help="The file of the memory, or its URL.", show_default=False, parser=memory_place
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="JSON",
        show_default=False,
        help="""Only records that match a metadata filter, such as '{"page": {"$gte": 3}}'.""",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="COMMIT|TIME",
        show_default=False,
        help="The state after a commit (a number of memvid history) or at a time (2025-03-31, 2025-03-31T14:00).",
    ),
]
EmbedderName = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        metavar="NAME",
        envvar="MEMVID_EMBEDDER",
        show_default=False,
        help="The embedding model: fastembed:MODEL, model2vec:MODEL or a MODEL of "
        "sentence-transformers. By default the built-in embedder, which works offline.",
    ),
]


def _parsed_index(value: str) -> Any:
    from memvid_core import IndexName, Ivf

    name, _, recall = value.partition(":")
    if name == "ivf" and recall:
        try:
            return Ivf(float(recall))
        except ValueError as exc:
            raise typer.BadParameter(f"{value!r}: the recall is a number above 0 and up to 1") from exc
    if value not in get_args(IndexName):
        raise typer.BadParameter(f"{value!r} is none of {', '.join(get_args(IndexName))} and ivf:RECALL")
    return value


IndexChoice = Annotated[
    Any,
    typer.Option(
        "--index",
        metavar="auto|exact|sklearn|quantized|ivf|ivf:RECALL",
        parser=_parsed_index,
        help="How vectors are searched: auto selects by their number, exact compares all (NumPy), sklearn uses "
        "scikit-learn's NearestNeighbors, quantized and ivf are for large memories. ivf:0.9 finds 90 % of the nearest, "
        "ivf 98 %.",
    ),
]
MetricChoice = Annotated[
    Literal["cosine", "euclidean", "manhattan", "chebyshev"] | None,
    typer.Option(
        "--metric",
        show_default=False,
        help="How a new memory compares vectors. The default is cosine.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait while others write to the memory."),
]


class WithQuestion(TyperCommand):
    """Parse a command whose last argument is a question: several words with a leading hyphen are not an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put a question that begins with a hyphen after ``--``; if a single word does, say so in the error."""
        question = [arg for arg in args if arg.startswith("-") and " " in arg and "=" not in arg.partition(" ")[0]]
        if len(question) == 1 and "--" not in args:
            args = [*(arg for arg in args if arg != question[0]), "--", *question]
        try:
            return super().parse_args(ctx, args)
        except Exception as exc:
            if not getattr(exc, "possibilities", None):
                _explain(exc, "No such option", "a question that begins with a hyphen goes after --")
            raise


class WithPlaces(TyperCommand):
    """Parse a command of which the order of arguments, or the option for its output, is often mistaken."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the right form to the error of a mistaken command line."""
        try:
            return super().parse_args(ctx, args)
        except Exception as exc:
            names = {param.name: param for param in self.params}
            if "output" in names:
                _explain(exc, "unexpected extra argument", "the output goes after -o")
                given = next(param.metavar for param in self.params if param.param_type_name == "argument")
                form = f"memvid {ctx.info_name} {given} -o notes.mp4"
                _explain(exc, "Missing option", f"the memory to create goes after -o: {form}")
            elif getattr(getattr(exc, "param", None), "name", "") == "folders":
                raise typer.BadParameter(
                    f"give the folders, then the memory: memvid {ctx.info_name} docs/ notes.mp4", param_hint="FOLDERS"
                ) from exc
            raise


def _explain(error: Exception, kind: str, remedy: str) -> None:
    """Add the remedy to the message of an error of a command line, if it is of a kind."""
    shown = getattr(error, "format_message", None)
    if shown is not None and kind in (text := str(shown()).rstrip(".")):
        error.format_message = lambda: f"{text}; {remedy}"  # type: ignore[attr-defined]


def parse_object(text: str | None, option: str) -> dict[str, Any] | None:
    """Parse the JSON object of an option; return None if the option is not given.

    Raises:
        typer.BadParameter: The text is not JSON, or not a JSON object.
    """
    if text is None:
        return None
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise typer.BadParameter(
            f"{text!r} is not JSON ({exc}); write it in single quotes, such as '{{\"page\": 3}}'", param_hint=option
        ) from exc
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f"{text!r} is not a JSON object; write one such as '{{\"page\": 3}}'", param_hint=option
        )
    return value


def parse_as_of(text: str | None) -> int | datetime | None:
    """Parse a commit number or a time; a time without a zone is local.

    Raises:
        typer.BadParameter: It is neither.

    Example:
        >>> parse_as_of("12"), parse_as_of("2025-03-31T14:00Z").hour
        (12, 14)
    """
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as exc:
        raise typer.BadParameter(
            f"{text!r} is neither a commit's number nor a time such as 2025-03-31T14:00", param_hint="--as-of"
        ) from exc


@contextmanager
def opened(
    path: Path,
    mode: str = "r",
    *,
    embedder: str | None = None,
    as_of: int | datetime | None = None,
    index: Index = "auto",
    metric: Metric | None = None,
    timeout: float = WAIT,
    others: Iterable[str] = (),
    make: str = "memvid build PATHS -o {name}",
) -> Iterator[Memory]:
    """Open a memory for the duration of a command.

    Args:
        path: The memory.
        mode: ``"r"`` or ``"a"``.
        embedder: The name of the model that wrote the memory, unless it is the built-in one.
        as_of: A commit or a time, to open an earlier state.
        index: How vectors are searched.
        metric: The metric that the memory must have; None accepts any.
        timeout: How many seconds a commit waits for other writers.
        others: The other arguments of the command, to detect that they were swapped with the memory.
        make: The command that makes one, with ``{name}`` for the name of its file.

    Raises:
        MemoryNotFoundError: The memory does not exist; the message says how to create it.
    """
    from memvid_core import Memory, MemoryNotFoundError, NotAMemoryError

    swapped = next((other for other in others if other.endswith(".mp4") and Path(other).is_file()), None)
    if swapped is not None and not path.is_file():
        raise NotAMemoryError(f"{path} is not a memory; did you swap it with {swapped}? See --help for the order")
    if path.is_dir():
        raise NotAMemoryError(f"{path} is a folder: give the .mp4 file of a memory")
    if not path.exists():
        raise MemoryNotFoundError(f"{path} does not exist; create it with: {make.format(name=path.name)}")
    options: dict[str, Any] = {"as_of": as_of, "index": index, "metric": metric, "timeout": timeout}
    with Memory.open(given_path(path), mode, embedder=embedder, **options) as memory:
        yield memory


def stored_ids(memory: Memory, ids: Iterable[str]) -> list[str]:
    """Return ids as records have them: an id that no record has may be another spelling of one, as of a file's name."""
    from memvid_core.system.spellings import spellings

    forms = (next((form for form in spellings(each) if form in memory), each) for each in ids)
    return list(dict.fromkeys(forms))
