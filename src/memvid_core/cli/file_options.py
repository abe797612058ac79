"""Options on which files a command reads, and how it divides them into chunks: the same for every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

if TYPE_CHECKING:
    from memvid_core.ingest import Chunker

__all__ = ["DEFAULTS", "FileOptions", "with_file_options"]

_CHUNK_SIZE = 1000
_SIDE_FILES = ("*.mp4.index", "*.mp4.lock", "*.mp4.owner")


class FileOptions(NamedTuple):
    """The values of the options."""

    chunk_size: Annotated[
        int, typer.Option("--chunk-size", metavar="N", min=1, help="The maximum number of characters of a chunk.")
    ] = _CHUNK_SIZE
    overlap: Annotated[
        int,
        typer.Option(
            "--overlap", metavar="N", min=0, help="The number of characters repeated from the previous chunk."
        ),
    ] = 0
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="PATTERN",
            show_default=False,
            help="In folders, only read files that match, such as '*.md'.",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            show_default=False,
            help="In folders, skip names that match, such as 'old/*'.",
        ),
    ] = None
    no_ignore: Annotated[bool, typer.Option("--no-ignore", help="Also read files that .gitignore files name.")] = False

    @property
    def chunker(self) -> Chunker:
        """The chunker."""
        from memvid_core.ingest import Chunker

        return Chunker(self.chunk_size, self.overlap)

    def selection(self, memory: str | Path) -> dict[str, Any]:
        """Return arguments of ``find`` and ``sync``; the files of the memory itself are not read."""
        from glob import escape

        own = escape(Path(memory).name)
        exclude = [*(self.exclude or ()), *_SIDE_FILES, own, f"{own}.*"]
        return {"include": self.include or None, "exclude": exclude, "gitignore": not self.no_ignore}

    @property
    def shell(self) -> list[str]:
        """The options as they were given in the shell.

        Example:
            >>> FileOptions(overlap=50, include=["*.md"], no_ignore=True).shell
            ['--include=*.md', '--overlap=50', '--no-ignore']
        """
        return [
            *(f"--include={pattern}" for pattern in self.include or ()),
            *(f"--exclude={pattern}" for pattern in self.exclude or ()),
            *([] if self.chunk_size == _CHUNK_SIZE else [f"--chunk-size={self.chunk_size}"]),
            *([f"--overlap={self.overlap}"] if self.overlap else []),
            *(["--no-ignore"] if self.no_ignore else []),
        ]


DEFAULTS = FileOptions()
"""The options where none is given."""


def with_file_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``files`` of a command by the options of `FileOptions`."""
    signature = inspect.signature(command, eval_str=True)
    hints = get_type_hints(FileOptions, include_extras=True)
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=FileOptions._field_defaults[name], annotation=hints[name]
        )
        for name in FileOptions._fields
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += options if parameter.name == "files" else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]

    @wraps(command)
    def run(**given: Any) -> None:
        files = FileOptions(**{name: given.pop(name) for name in FileOptions._fields})
        command(files=files, **given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run
