"""``memvid mcp``: memories as tools of assistants, through the Model Context Protocol."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.failures import INTERRUPTED, TERMINATED
from memvid_core.cli.options import EmbedderName
from memvid_core.cli.output import note
from memvid_core.cli.places import Place, RemotePath, given_path, is_library, memory_place

if TYPE_CHECKING:
    from memvid_core import Library, Memory

__all__ = ["register"]

_WAIT = 10.0  # seconds that a commit waits for others: a client gives a tool a minute

Paths = Annotated[
    list[Place],
    typer.Argument(
        metavar="MEMORIES",
        show_default=False,
        help="Files of memories, folders of libraries (a URL of one ends in a slash), or URLs with --read-only.",
        parser=memory_place,
    ),
]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("mcp", rich_help_panel="Remember", epilog="`memvid mcp notes.mp4 --print-config`")(mcp)


def mcp(
    paths: Paths,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer only tools that read.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Make a memory that is not there.")] = False,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", show_default=False, help="A memory's name for tools; one for each."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="KEY=VALUE", show_default=False, help="Metadata that every memory must have, or gets."
        ),
    ] = None,
    tools: Annotated[
        Literal["all", "records", "agent"],
        typer.Option("--tools", help="Which tools: search, save and others; remember, recall and others; or all."),
    ] = "all",
    embedder: EmbedderName = None,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="[HOST:]PORT", show_default=False, help="Serve by HTTP instead of stdio."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", show_default=False, help="Clients must send its token (HTTP)."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", show_default=False, help="A name that clients use (HTTP)."),
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
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the entry for a client.")] = False,
) -> None:
    """Serve memories to assistants as tools, through the Model Context Protocol (MCP).

    Clients start it themselves; --print-config prints what to put into their configuration.
    """
    named = _named(paths, names)
    fixed = _parsed(scope or [])
    if print_config:
        _print_config(list(named), _given(paths, read_only, create, names, scope, tools, embedder, synonyms))
        return
    gc.disable()  # until all is imported: nothing of it becomes garbage
    with ExitStack() as stack:
        stack.callback(gc.enable)
        stack.callback(gc.unfreeze)
        serve = _server_of(http, token_file, allow_host, stack)
        mode: Literal["r", "a"] = "r" if read_only else "a"
        opened = {name: stack.enter_context(_opened(path, mode, create, embedder)) for name, path in named.items()}
        from memvid_core.serving import mcp_server

        given: Any = next(iter(opened.values())) if len(opened) == 1 and not names else opened
        wanted = ("records", "agent") if tools == "all" else (tools,)
        server = mcp_server(given, read_only=read_only, scope=fixed, tools=wanted, synonyms=synonyms)
        gc.freeze()
        gc.enable()
        serve(server)


def _named(paths: Sequence[Path], names: Sequence[str] | None) -> dict[str, Path]:
    from memvid_core.serving.memories import checked_names, names_of

    if names and len(names) != len(paths):
        raise typer.BadParameter(f"{len(paths)} memories need as many names, not {len(names)}", param_hint="--name")
    chosen = list(names or names_of(paths))
    checked_names(chosen)
    return dict(zip(chosen, paths, strict=True))


def _parsed(scope: Sequence[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for each in scope:
        key, equals, value = each.partition("=")
        if not (key and equals and value):
            raise typer.BadParameter(f"{each!r} is not a key and a value, such as user_id=ada", param_hint="--scope")
        parsed[key] = value
    return parsed


def _server_of(http: str | None, token_file: Path | None, allow_host: Sequence[str] | None, stack: ExitStack) -> Any:
    """Return the function that runs a server, after what could fail has been checked."""
    if http is None:
        if token_file or allow_host:
            raise typer.BadParameter("--token-file and --allow-host go with --http", param_hint="--http")
        return _run_stdio
    from memvid_core import InvalidInputError
    from memvid_core.serving.http import bound, parse_address, read_token, run_http

    address = parse_address(http, allow_host or ())
    token = None if token_file is None else read_token(token_file)
    if token is None and not address.local:
        raise InvalidInputError(
            f"{address.host} can be reached from other machines: give a token with --token-file, or use 127.0.0.1"
        )
    listener = stack.enter_context(bound(address))

    def serve(server: Any) -> None:
        host = f"[{address.host}]" if ":" in address.host else address.host
        note(f"http://{host}:{listener.getsockname()[1]}/mcp")
        run_http(server, listener, address, token)

    return serve


def _run_stdio(server: Any) -> None:
    """Serve until standard input ends, or a signal comes: then at once, since a read of standard input cannot be ended.

    What was acknowledged is durable, and an unfinished commit is as if the process had been killed.
    """

    def end(number: int, frame: object) -> None:
        os._exit(INTERRUPTED if number == signal.SIGINT else TERMINATED)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, end)
    server.run("stdio")


@contextmanager
def _opened(path: Path, mode: Literal["r", "a"], create: bool, embedder: str | None) -> Iterator[Memory | Library]:
    """Open a memory or a library; the embedder is loaded for a memory that needs one."""
    from memvid_core import EmbedderWarning, Memory, MemoryNotFoundError, NotAMemoryError

    if is_library(path):
        from memvid_core import Library

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmbedderWarning)
            library = Library.open(given_path(path), "r", embedder=embedder)
        with library:
            yield library
        return
    if path.is_dir():
        raise NotAMemoryError(f"{path} is a folder: give the .mp4 file of a memory, or the folder of a library")
    missing = not path.exists()
    if missing and not create:
        raise MemoryNotFoundError(f"{path} does not exist; --create makes it, or: memvid build PATHS -o {path.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbedderWarning)  # the server tells its clients
        if missing:
            memory = Memory.open(path, "a", create=True, embedder=embedder, timeout=_WAIT)
            if mode == "r":
                memory.close()
        if not missing or mode == "r":
            place = given_path(path)
            memory = Memory.open(place, mode, timeout=_WAIT)
            if memory.embedder is None and embedder is not None:
                memory.close()
                memory = Memory.open(place, mode, embedder=embedder, timeout=_WAIT)
    with memory:
        yield memory


def _given(
    paths: Sequence[Path],
    read_only: bool,
    create: bool,
    names: Sequence[str] | None,
    scope: Sequence[str] | None,
    tools: str,
    embedder: str | None,
    synonyms: Path | None,
) -> list[str]:
    """Return the arguments of a server, with absolute paths."""
    given = ["mcp", *(path.url if isinstance(path, RemotePath) else os.path.abspath(path) for path in paths)]
    given += ["--read-only"] * read_only + ["--create"] * create
    for option, values in (("--name", names), ("--scope", scope)):
        for value in values or ():
            given += [option, value]
    given += [] if tools == "all" else ["--tools", tools]
    given += [] if synonyms is None else ["--synonyms", os.path.abspath(synonyms)]
    return given + ([] if embedder is None else ["--embedder", embedder])


def _print_config(names: Sequence[str], arguments: Sequence[str]) -> None:
    """Print the entry of a client's configuration: this Python, so that it works where this command does."""
    server = {"command": sys.executable, "args": ["-m", "memvid_core.cli", *arguments]}
    name = names[0] if len(names) == 1 else "memvid"
    sys.stdout.write(json.dumps({"mcpServers": {name: server}}, ensure_ascii=False, indent=2) + "\n")
