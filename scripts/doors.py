"""Draw the pictures of the MCP server and of remote memories, from what they really answer.

    python scripts/doors.py                   # writes docs/assets/mcp.svg and docs/assets/remote.svg

A client of the SDK talks to ``memvid mcp``, and commands read a memory from a web server on this machine. Needs
``pip install "memvid-core[mcp,remote]"`` and rich.
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from rich.console import Console
from rich.text import Text

from memvid_core import Memory

ASSETS = Path(__file__).resolve().parent.parent / "docs" / "assets"
WIDTH = 84
PORT = 8765
FACTS = {
    "tea": "Ada drinks tea without milk.",
    "lisbon": "Ada moved to Lisbon in March 2026.",
    "wing": "The wing of the glider was repaired on Friday.",
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search_memory", {"query": "when did Ada move?", "k": 1}),
    ("save_memories", {"texts": ["Ada sails on Sundays."], "metadata": {"topic": "sport"}}),
    ("list_memories", {"where": {"topic": "sport"}}),
    ("update_memory", {"id": "tea", "text": "Ada drinks coffee now."}),
    ("search_memory", {"query": "what does Ada drink?", "k": 1}),
]


def make(path: Path) -> None:
    """Make a memory of a few facts."""
    with Memory.create(path) as memory:
        memory.add(list(FACTS.values()), ids=list(FACTS))


async def talk(path: Path, console: Console) -> None:
    """Call tools of a server over standard input and output, and print the calls and the answers."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "memvid_core.cli", "mcp", str(path)], env=dict(os.environ)
    )
    async with Client(server) as client:
        console.print(Text("memvid mcp notes.mp4", "bold"))
        console.print(Text(str(client.instructions).splitlines()[-1], "dim"))
        for name, arguments in CALLS:
            given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            (content,) = (await client.call_tool(name, arguments)).content
            assert isinstance(content, TextContent)
            console.print()
            console.print(Text(f"{name}({given})", "cyan"))
            console.print(Text(content.text))


def read(folder: Path, console: Console) -> None:
    """Read a memory from a web server, add to it there, and read it again."""
    url = f"http://127.0.0.1:{PORT}/notes.mp4"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*arguments: str) -> None:
        console.print(Text(f"$ memvid {' '.join(f'{each!r}' if ' ' in each else each for each in arguments)}", "bold"))
        environment = {**os.environ, "MEMVID_CACHE_DIR": str(folder / "cache"), "COLUMNS": str(WIDTH), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "memvid_core.cli", *arguments]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        console.print(Text(done.stdout.rstrip()))
        console.print()

    run("search", url, "when did Ada move?", "-k", "1")
    with Memory.open(folder / "notes.mp4", "a") as memory:
        memory.add("Ada sails on Sundays.", ids="sail")
    run("search", url, "when does Ada sail?", "-k", "1")
    run("history", url)
    server.shutdown()


def drawn(console: Console, title: str) -> str:
    """Return the picture as SVG, without the fonts that it would fetch."""
    picture = console.export_svg(title=title, unique_id=title.replace(" ", "-").lower())
    return re.sub(r"\s*@font-face \{[^}]*\}", "", picture)


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, open(os.devnull, "w") as nowhere:
        for kind, title in (("mcp", "An assistant and its memory"), ("remote", "A memory behind a URL")):
            folder = Path(name, kind)
            folder.mkdir()
            make(folder / "notes.mp4")
            console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
            if kind == "mcp":
                asyncio.run(talk(folder / "notes.mp4", console))
            else:
                read(folder, console)
            ASSETS.joinpath(f"{kind}.svg").write_text(drawn(console, title), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
