"""How long `memvid mcp` takes: to start, to answer each tool over a large memory, and for a first search.

    python -m benchmarks.mcp_server                    # 100,000 records; 30 processor seconds to make them

Start: the processor and the wall time until `initialize` is answered, of a server whose bytecode is cached, as after an
installation. Calls: one client, one call after another, arguments that differ. First search: in a memory whose index of
words does not exist yet, 5 s after `initialize` and at once.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data import add_data_option, chunks
from benchmarks.doors import Server
from benchmarks.machine import describe
from memvid_core import Memory

_STARTS, _CALLS, _FRESH = 5, 25, 10_000
_WORDS = ("wing", "boundary layer", "shock waves in a supersonic flow", "heat transfer at a plate", "pressure of a jet")
Call = Callable[..., Any]


def _command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "memvid_core.cli", "mcp", str(path), *options]


def _make(path: Path, records: int, data: Path, *, prepared: bool) -> None:
    texts = islice(cycle([text for text in chunks(data) if text.isascii()]), records)
    with Memory.create(path) as memory:
        memory.add([f"{text} {i}" for i, text in enumerate(texts)], [{"number": i} for i in range(records)])
        if prepared:
            memory.prepare()


def _start(path: Path, env: dict[str, str]) -> tuple[float, float]:
    """Return the processor and the wall seconds until a server has answered ``initialize``."""
    before, began = os.times(), time.perf_counter()
    server = Server(_command(path), env)
    took = time.perf_counter() - began
    server.process.kill()
    server.process.communicate()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, took


def _stdio(server: Server) -> Call:
    def call(name: str, **arguments: Any) -> Any:
        worked, said = server.tool(name, **arguments)
        assert worked, said
        return json.loads(said)["structuredContent"]

    return call


@contextmanager
def _http(path: Path, env: dict[str, str]) -> Iterator[Call]:
    """A server over HTTP, and a connection to it that stays open."""
    command = _command(path, "--http", "0")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stderr is not None
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r":(\d+)/mcp", line)))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}

        def post(message: dict[str, Any]) -> Any:
            connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", **message}), headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            if session := answer.headers.get("mcp-session-id"):
                headers["mcp-session-id"] = session
            return json.loads(body[body.index("{") :]) if "{" in body else None

        client = {"name": "benchmark", "version": "1"}
        begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        post({"id": 1, "method": "initialize", "params": begin})
        post({"method": "notifications/initialized"})

        def call(name: str, **arguments: Any) -> Any:
            answer = post({"id": 2, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
            assert not answer["result"].get("isError"), answer
            return answer["result"]["structuredContent"]

        yield call
    finally:
        process.kill()
        process.communicate()


def _timed(call: Callable[[int], Any]) -> tuple[float, float]:
    """Return the median and the longest of the calls, in milliseconds."""
    took = []
    for number in range(_CALLS):
        began = time.perf_counter()
        call(number)
        took.append(1000 * (time.perf_counter() - began))
    return median(took), max(took)


def _calls(call: Call, word: str) -> dict[str, tuple[float, float]]:
    """Return the times of each tool; ``word`` makes the texts differ from those of another transport."""
    saved: list[str] = []

    def save(number: int) -> None:
        saved.extend(call("save_memories", texts=[f"a fact about {word} {number}"], metadata={"number": number})["ids"])

    def save_and_search(number: int) -> None:
        save(_CALLS + number)
        call("search_memory", query=asked[number])

    asked = [f"{_WORDS[i % len(_WORDS)]} {i}" for i in range(_CALLS)]
    call("search_memory", query="the first search warms the rest")
    call("recall", question="what was said first?")
    return {
        "search_memory": _timed(lambda i: call("search_memory", query=asked[i])),
        "search_memory, with a filter": _timed(
            lambda i: call("search_memory", query=asked[i], where={"number": {"$lt": 1000 + i}})
        ),
        "save_memories, one text": _timed(save),
        "save_memories and search_memory": _timed(save_and_search),
        "get_memories": _timed(lambda i: call("get_memories", ids=[saved[i]])),
        "list_memories": _timed(lambda i: call("list_memories", where={"number": {"$gte": i}})),
        "update_memory": _timed(lambda i: call("update_memory", id=saved[i], text=f"corrected {word} {i}")),
        "forget_memories": _timed(lambda i: call("forget_memories", ids=[saved[i]])),
        "remember": _timed(lambda i: call("remember", text=f"Ada: I saw {word} {i}.")),
        "recall": _timed(lambda i: call("recall", question=f"Who saw {word} {i}?")),
    }


def _first_search(made: Path, folder: Path, wait: float, env: dict[str, str]) -> float:
    """Return the milliseconds of the first search of a memory without its index of words."""
    fresh = folder / "fresh.mp4"
    shutil.copy(made, fresh)
    server = Server(_command(fresh), env)
    time.sleep(wait)
    began = time.perf_counter()
    _stdio(server)("search_memory", query="wing")
    took = 1000 * (time.perf_counter() - began)
    server.process.kill()
    server.process.communicate()
    fresh.unlink()
    shutil.rmtree(f"{fresh}.index")
    return took


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder for the memories, which are made once", metavar="FOLDER")
    add_data_option(parser)
    given = parser.parse_args()
    print(describe("memvid-core", "mcp", "pydantic"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        kept = Path(given.keep or folder)
        path, small, large = Path(folder, "notes.mp4"), kept / "small.mp4", kept / f"{given.records}.mp4"
        if not large.exists():
            _make(large, given.records, Path(given.data), prepared=True)
            _make(small, _FRESH, Path(given.data), prepared=False)
        shutil.copy(large, path)
        shutil.copytree(f"{large}.index", f"{path}.index")
        _start(path, env)  # writes the bytecode
        starts = [_start(path, env) for _ in range(_STARTS)]
        print(f"\n{given.records:,} records; {_CALLS} calls of each tool\n")
        cpu, wall = median(cpu for cpu, _ in starts), median(wall for _, wall in starts)
        print(f"start: {cpu:.2f} s of processor time, {wall:.2f} s until `initialize` is answered\n")
        server = Server(_command(path), env)
        over_stdio = _calls(_stdio(server), "ships")
        server.process.kill()
        server.process.communicate()
        with _http(path, env) as call:
            over_http = _calls(call, "planes")
        print("| tool | stdio: median (slowest) | HTTP: median (slowest) |\n|---|---|---|")
        for name, (middle, slowest) in over_stdio.items():
            other = over_http[name]
            print(f"| {name} | {middle:.1f} ({slowest:.0f}) ms | {other[0]:.1f} ({other[1]:.0f}) ms |")
        later, at_once = (_first_search(small, Path(folder), wait, env) for wait in (5, 0))
        print(f"\nfirst search of {_FRESH:,} records without an index of words: {later:.0f} ms 5 s after `initialize`,")
        print(f"{at_once:.0f} ms at once", flush=True)


if __name__ == "__main__":
    main()
