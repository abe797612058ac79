"""``memvid view``: memories and libraries in the browser."""

from __future__ import annotations

import warnings
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from memvid_core.cli.options import EmbedderName
from memvid_core.cli.output import note
from memvid_core.cli.places import Place, given_path, is_library, memory_place

__all__ = ["register"]

Paths = Annotated[
    list[Place] | None,
    typer.Argument(
        metavar="MEMORIES",
        show_default=False,
        help="Files of memories, folders of libraries, or their URLs: that of a library ends in a slash.",
        parser=memory_place,
    ),
]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("view", rich_help_panel="Search", epilog="`memvid view notes.mp4 books/`")(view)


def view(
    paths: Paths = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 is any free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    embedder: EmbedderName = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            show_default=False,
            help="Write the page that reads memories itself, without a server, and exit.",
        ),
    ] = None,
) -> None:
    """Show memories and libraries in the browser: search, records, commits and the video.

    Only this machine can reach the server, and only with the address that the command prints, which works once.
    """
    if page is not None:
        from memvid_core.serving.viewing import static_page
        from memvid_core.system.atomic_files import followed, write_file

        write_file(followed(page), static_page().encode())
        note(f"wrote {page}")
    elif not paths:
        raise typer.BadParameter("give the file of a memory, the folder of a library, or --page", param_hint="MEMORIES")
    else:
        _serve(paths, port, open_browser, embedder)


def _serve(paths: list[Path], port: int, open_browser: bool, embedder: str | None) -> None:
    from memvid_core import EmbedderWarning, Library, Memory, NotAMemoryError
    from memvid_core.serving.http import bound, parse_address, run_guarded
    from memvid_core.serving.memories import names_of
    from memvid_core.serving.viewing import Viewer

    address = parse_address(str(port))
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbedderWarning)  # the page says which embedder it is; words are searched
        memories: dict[str, Memory | Library] = {}
        for name, path in zip(names_of(paths), paths, strict=True):
            if is_library(path):
                memories[name] = stack.enter_context(Library.open(given_path(path), "r", embedder=embedder))
            elif path.is_dir():
                raise NotAMemoryError(f"{path} is a folder: give the .mp4 file of a memory, or the folder of a library")
            else:
                memories[name] = stack.enter_context(Memory.open(given_path(path), embedder=embedder))
        listener = stack.enter_context(bound(address))
        number = listener.getsockname()[1]
        viewer = Viewer(memories, number)
        stack.callback(viewer.close)
        url = f"http://127.0.0.1:{number}{viewer.path}"
        typer.echo(url)  # not wrapped, and written at once
        if open_browser:
            webbrowser.open(url)
        run_guarded(viewer.app(), listener, address.hosts(number))
