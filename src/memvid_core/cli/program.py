"""The program: its commands in the order of the help, and the handling of errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import atexit
import gc
import sys
import warnings
from functools import cache
from typing import Annotated, Any, Final, TextIO

import typer

from memvid_core import EmbedderWarning
from memvid_core.cli import (
    agent_memory,
    caching,
    changing,
    chatting,
    converting,
    exporting,
    following,
    ingesting,
    libraries,
    listing,
    looking,
    mcp,
    merging,
    rescuing,
    searching,
    viewing,
    watching,
)
from memvid_core.cli.failures import in_shell_words, reported, terminable
from memvid_core.cli.groups import Commands
from memvid_core.cli.output import note

__all__ = ["app"]

_ALLOCATIONS: Final = 20_000  # between two searches for garbage; importing what a command needs makes 100,000 objects


class Program(Commands):
    """Group all commands.

    ``--debug`` is accepted anywhere on the command line, since it is often appended to a failed command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``--debug`` first, and record whether errors must be printed as JSON."""
        own = args[: args.index("--")] if "--" in args else args
        rest = args[len(own) :]
        debug, as_json = "--debug" in own, "--json" in own
        ctx.obj = {"debug": debug, "json": as_json}
        if debug:
            args = ["--debug", *(arg for arg in own if arg != "--debug"), *rest]
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **named: Any) -> Any:
        """Run the program with few searches for garbage and none at its end: they take a quarter of a short command."""
        _end_at_once()
        usual = gc.get_threshold()
        if usual[0]:  # otherwise nothing is searched for
            gc.set_threshold(max(usual[0], _ALLOCATIONS), *usual[1:])
        try:
            return super().main(*args, **named)
        finally:
            gc.set_threshold(*usual)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error becomes one line and an exit code."""
        _prepare_streams()
        # The filters are restored at the end, for tests and programs that call this.
        with warnings.catch_warnings(), reported(debug=ctx.obj["debug"], as_json=ctx.obj["json"]), terminable():
            warnings.simplefilter("always", UserWarning)  # the core's warnings for users; others keep their filters
            warnings.showwarning = _warned
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


@cache
def _end_at_once() -> None:
    """Have the garbage collector pass over all objects when the interpreter ends."""
    atexit.register(gc.freeze)


def _prepare_streams() -> None:
    """Prevent encoding errors of an old console from ending a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # started without one: pythonw, or ">&-"
            setattr(sys, name, open("/dev/null" if sys.platform != "win32" else "nul", "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if isinstance(message, EmbedderWarning):  # the search command reports this itself
        return
    note(f"warning: {in_shell_words(message) if isinstance(message, Warning) else message}")


def _version(asked: bool) -> None:
    if asked:
        import platform
        from importlib.metadata import version

        typer.echo(f"memvid-core {version('memvid-core')} (Python {platform.python_version()})")
        raise typer.Exit


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every command has --help, and --json for scripts. Exit codes: 0 success, 1 nothing found or damaged, "
    "2 wrong usage, 3 done except for unreadable files, 4 and above: a problem with the memory.",
)


@app.callback()
def memvid(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A memory in one MP4 file: put documents in, ask it questions, play it as a video."""


# A new command group is a module with register(), listed here.
for group in (
    ingesting,
    watching,
    searching,
    listing,
    following,
    chatting,
    changing,
    exporting,
    converting,
    merging,
    looking,
    rescuing,
    caching,
    libraries,
    agent_memory,
    mcp,
    viewing,
):
    group.register(app)
