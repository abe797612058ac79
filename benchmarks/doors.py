"""MCP servers of memvid, Chroma and Qdrant, two processes of each over one store; and the viewer in a browser.

    python -m benchmarks.doors --chroma ENV/bin/python --qdrant ENV/bin/python
    python -m benchmarks.doors --viewer --data FOLDER  # needs Chromium and chromedriver

The peers need environments of their own, since each pins another ``mcp``: ``pip install chroma-mcp "pydantic<2.11"``
(with a newer pydantic, chroma-mcp 0.2.6 does not start) and ``pip install mcp-server-qdrant``. Both fetch an embedding
model when they are first used. Here a hash of the text takes its place, so that no network is needed, and a text is
found by itself alone.

The viewer is the page without a server: a Worker reads a memory that was dropped on it, verifies every checksum, and
searches. "Longest task" is that of the page's main thread, as the browser reports those of 50 ms and more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.data import add_data_option, chunks
from benchmarks.machine import describe
from memvid_core import Memory
from memvid_core.serving.viewing import static_page
from tests.core.serving.driving import Driven, driven

_ADDS = 20  # of each of two servers, at the same time
_HASH = """
import hashlib, sys
import numpy as np
def vector(text):
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=48).digest(), np.int8) / np.float32(128)
"""
_CHROMA = (
    _HASH
    + """
from chromadb.api.types import DefaultEmbeddingFunction
DefaultEmbeddingFunction.__call__ = lambda self, input: [vector(text) for text in input]
from chroma_mcp import main
sys.argv[1:] = ["--client-type", "persistent", "--data-dir", sys.argv[1]]
main()
"""
)
_QDRANT = (
    _HASH
    + """
import os
import mcp_server_qdrant.embeddings.fastembed as fastembed
class Provider(fastembed.FastEmbedProvider):
    def __init__(self, name): pass
    async def embed_documents(self, texts): return [vector(text).tolist() for text in texts]
    async def embed_query(self, text): return vector(text).tolist()
    def get_vector_name(self): return "hash"
    def get_vector_size(self): return 48
fastembed.FastEmbedProvider = Provider
os.environ.update(QDRANT_LOCAL_PATH=sys.argv[1], COLLECTION_NAME="notes")
from mcp_server_qdrant.main import main
sys.argv[1:] = []
main()
"""
)


class Server:
    """One server over stdio, and what it printed that is no message of the protocol."""

    def __init__(self, command: list[str], env: Mapping[str, str] | None = None) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=env)
        self.noise = 0
        self._calls = 0
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        with suppress(OSError):  # it has ended
            self._send({"method": "notifications/initialized"})

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a call; it has ``isError`` if the server refused it or has ended."""
        self._calls += 1
        failed: dict[str, Any] = {"isError": True}
        try:
            self._send({"id": self._calls, "method": method, "params": params})
        except OSError:
            return failed
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith("{"):
                self.noise += 1
                continue
            message = json.loads(line)
            if message.get("id") == self._calls:
                result: dict[str, Any] = message.get("result", failed)
                return result
        return failed

    def tool(self, name: str, **arguments: Any) -> tuple[bool, str]:
        """Call a tool; return whether that worked, and its text."""
        result = self.ask("tools/call", name=name, arguments=arguments)
        return not result.get("isError"), json.dumps(result)

    def tools(self) -> list[dict[str, Any]]:
        """Return the descriptions of the tools."""
        found: list[dict[str, Any]] = self.ask("tools/list").get("tools", [])
        return found


def _add(kind: str, server: Server, text: str) -> bool:
    if kind == "chroma":
        return server.tool("chroma_add_documents", collection_name="notes", documents=[text], ids=[text])[0]
    if kind == "qdrant":
        return server.tool("qdrant-store", information=text)[0]
    return server.tool("save_memories", texts=[text])[0]


def _found(kind: str, server: Server, text: str) -> bool:
    if kind == "chroma":
        asked = server.tool("chroma_query_documents", collection_name="notes", query_texts=[text], n_results=1)
    elif kind == "qdrant":
        asked = server.tool("qdrant-find", query=text)
    else:
        asked = server.tool("search_memory", query=text, k=1)
    return asked[0] and text in asked[1]


def _measure(kind: str, command: list[str]) -> None:
    """Print one row."""
    servers = [Server(command)]
    tools = servers[0].tools()
    if kind == "chroma":
        servers[0].tool("chroma_create_collection", collection_name="notes")
    _add(kind, servers[0], "the first fact")
    servers.append(Server(command))
    done: list[str] = []

    def add(place: int) -> None:
        texts = [f"fact {'ab'[place]}{number}" for number in range(_ADDS)]
        done.extend(text for text in texts if _add(kind, servers[place], text))

    threads = [threading.Thread(target=add, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [sum(_found(kind, server, text) for text in done) for server in servers]
    noted = sum(bool(tool.get("annotations")) for tool in tools)
    size = len(json.dumps(tools))
    noise = servers[0].noise
    print(f"| {kind} | {len(tools)} ({noted}) | {size:,} | {len(done)} | {seen[0]}, {seen[1]} | {noise} |", flush=True)
    for server in servers:
        server.process.kill()
        server.process.communicate()


_VIEWED = (10_000, 100_000)  # records
_RUNS = 5
_QUERIES = ("wing", "boundary layer transition", "shock waves in a supersonic flow", "heat transfer")
_OBSERVE = """
globalThis.tasks = [];
globalThis.observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({duration}) => duration)));
observer.observe({type: "longtask"});
await new Promise((resolve) => setTimeout(() => {
  for (const until = performance.now() + 100; performance.now() < until;);
  resolve();
}));
document.getElementById("file").addEventListener("change", () => globalThis.began = performance.now(), {capture: true});
"""
_LONGEST = """
await new Promise((resolve) => setTimeout(resolve, 100));
tasks.push(...observer.takeRecords().map(({duration}) => duration));
const longest = Math.max(0, ...tasks.splice(0));
"""
_OPENED = f"""
while (!document.getElementById("count").textContent) {{
  if (document.getElementById("refused").textContent) throw document.getElementById("refused").textContent;
  await new Promise((resolve) => requestAnimationFrame(resolve));
}}
const took = performance.now() - began;
{_LONGEST}
return [took, longest, memvid.info.records, memvid.info.damages];
"""
_ASKED = f"""
const times = [];
for (const query of args) {{
  const before = performance.now(), results = document.getElementById("results"), first = results.firstChild;
  document.getElementById("query").value = query;
  document.getElementById("form").requestSubmit();
  while (results.firstChild === first) await new Promise((resolve) => setTimeout(resolve, 1));
  times.push(performance.now() - before);
}}
{_LONGEST}
return [times, longest];
"""


def _make(path: Path, records: int, data: Path) -> None:
    rng = np.random.default_rng(4)
    texts = islice(cycle([text for text in chunks(data) if text.isascii()]), records)
    with Memory.create(path, "given", film=True) as memory:
        memory.add(
            [f"{text} {i}" for i, text in enumerate(texts)],
            [{"number": i} for i in range(records)],
            vectors=rng.standard_normal((records, 384)).astype(np.float32),
        )


def _view(window: Driven, page: Path, path: Path, records: int) -> None:
    """Print one row."""
    opened, asked, while_opening, while_asking = [], [], [], []
    for _ in range(_RUNS):
        window.go(page.as_uri())
        window.run(_OBSERVE)
        assert window.run(f"{_LONGEST} return longest;") >= 100  # the browser reports what took long on purpose
        window.type("#file", str(path))
        took, task, shown, damages = window.run(_OPENED)
        assert (shown, damages) == (records, 0)
        opened.append(took / 1000)
        while_opening.append(task)
        times, task = window.run(_ASKED, *_QUERIES)
        asked += times
        while_asking.append(task)
    seconds = f"{max(opened):.2f} ({median(opened):.2f}) s"
    tasks = (f"{max(each):.0f} ms" if max(each) else "none" for each in (while_opening, while_asking))
    size = path.stat().st_size
    print(f"| {records:,} | {size:,} | {seconds} | {median(asked):.0f} ms | {' | '.join(tasks)} |", flush=True)


def _viewer(data: Path) -> None:
    """Print the table of the viewer."""
    print(f"\n{_RUNS} openings of each, {len(_QUERIES)} searches after each\n")
    print("| records | bytes | opened: slowest (median) | search (median) | longest task: opening | searching |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder, "viewer.html")
        page.write_text(static_page(), encoding="utf-8")
        with driven(Path(folder, "profile")) as window:
            for records in _VIEWED:
                path = Path(folder, f"{records}.mp4")
                _make(path, records, data)
                _view(window, page, path, records)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chroma", metavar="PYTHON", help="the interpreter of an environment with chroma-mcp")
    parser.add_argument("--qdrant", metavar="PYTHON", help="the interpreter of an environment with mcp-server-qdrant")
    parser.add_argument("--viewer", action="store_true", help="measure the viewer instead")
    add_data_option(parser)
    given = parser.parse_args()
    os.environ["ANONYMIZED_TELEMETRY"] = "False"
    print(describe())
    if given.viewer:
        _viewer(Path(given.data))
        return
    print(f"\n{2 * _ADDS} adds, {_ADDS} by each of two servers at the same time\n")
    print("| | tools (annotated) | bytes of their schemas | adds done | found by the first, by the second | noise |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = str(Path(folder, "notes.mp4"))
        _measure("memvid", [sys.executable, "-m", "memvid_core.cli", "mcp", file, "--create"])
        for kind, python, code in (("chroma", given.chroma, _CHROMA), ("qdrant", given.qdrant, _QDRANT)):
            if python:
                _measure(kind, [python, "-c", code, str(Path(folder, kind))])
    print("\nnoise: lines on the standard output that are no JSON-RPC")


if __name__ == "__main__":
    main()
