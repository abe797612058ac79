"""Programs as users run them: a web server with four workers, two graphs over one file, a repeated notebook cell."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from memvid_core import Memory
from soak.model import check, versions_in

__all__ = ["graphs", "notebook", "run", "web"]

_SECONDS = 60.0

APP = '''
"""One memory for all workers: each opens the file itself, and every request is one commit or one search."""
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from memvid_core import Memory
from soak.model import put, unique_word

memory = Memory.open(os.environ["MEMORY"], "a", embedder="given", create=True)

def add(request):
    put(memory, {request.path_params["name"]: request.path_params["version"]})
    return JSONResponse({"pid": os.getpid()})

def find(request):
    hits = memory.search(unique_word(request.path_params["name"], request.path_params["version"]), mode="lexical")
    return JSONResponse({"pid": os.getpid(), "ids": [hit.id for hit in hits], "count": len(memory)})

app = Starlette(routes=[
    Route("/add/{name}/{version:int}", add, methods=["POST"]),
    Route("/find/{name}/{version:int}", find),
])
'''


class _Client:
    """Add records and find each right after, with any workers; the count never decreases."""

    def __init__(self, port: int, name: str, requests: int) -> None:
        self._port, self._name, self._requests = port, name, requests
        self.workers: set[int] = set()

    def _ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        check(answer.status == 200, f"{method} {path}: {answer.status} {body[:200]!r}")
        found = json.loads(body)
        self.workers.add(found["pid"])
        return found

    def __call__(self) -> set[int]:
        seen = 0
        for version in range(self._requests):
            name = f"{self._name}-{version}"
            self._ask("POST", f"/add/{name}/{version}")
            found = self._ask("GET", f"/find/{name}/{version}")
            check(found["ids"] == [name], f"{name} was added, and a search finds {found['ids']}")
            check(found["count"] > seen, f"{self._name} saw {seen} records and then {found['count']}")
            seen = found["count"]
        return self.workers


def web(folder: Path, *, workers: int = 4, clients: int = 64, requests: int = 3) -> Counter[str]:
    """Run a server of four processes with 64 clients; acknowledged records must exist."""
    path = folder / "web.mp4"
    (folder / "web_app.py").write_text(APP, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:  # clients may come before the workers do
        listening.set_inheritable(True)
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "web_app:app", "--fd", str(listening.fileno())]
        command += ["--workers", str(workers), "--log-level", "warning", "--app-dir", str(folder)]
        root = str(Path(__file__).resolve().parent.parent)
        places = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "MEMORY": str(path), "PYTHONPATH": places}
        server = subprocess.Popen(command, env=environment, pass_fds=[listening.fileno()], stderr=subprocess.PIPE)
    try:
        with ThreadPoolExecutor(clients) as pool:
            asked = [pool.submit(_Client(port, f"c{number}", requests)) for number in range(clients)]
            answered = set().union(*(one.result() for one in asked))
    finally:
        server.terminate()
        _, said = server.communicate(timeout=_SECONDS)
    check(not said, f"the server said: {said.decode()[-500:]}")
    expected = {f"c{number}-{version}": version for number in range(clients) for version in range(requests)}
    with Memory.open(path, embedder="given") as memory:
        check(versions_in(memory) == expected, f"{len(memory)} records of {len(expected)} that were acknowledged")
        check(memory.verify().ok, f"{memory.verify()}")
    return Counter({"requests": 2 * len(expected), "workers that answered": len(answered)})


class _Turns(TypedDict):
    turns: int


def graphs(folder: Path, *, calls: int = 10) -> Counter[str]:
    """Run two graphs in one process that each open store and checkpointer by path, as ``langgraph dev`` does."""
    from langgraph.graph import END, START, StateGraph

    from langchain_memvid.agents import MemvidSaver, MemvidStore

    path = folder / "agents.mp4"
    failures: list[str] = []

    def serve(name: str) -> None:
        try:
            with MemvidStore(path) as store, MemvidSaver(path) as saver:

                def step(state: _Turns) -> _Turns:
                    store.put((name,), str(state["turns"]), {"turn": state["turns"]})
                    return {"turns": state["turns"] + 1}

                builder = StateGraph(_Turns)
                builder.add_node("step", step)
                builder.add_edge(START, "step")
                builder.add_edge("step", END)
                graph = builder.compile(checkpointer=saver, store=store)
                turns = 0
                for _ in range(calls):
                    answer = graph.invoke({"turns": turns}, {"configurable": {"thread_id": name}})
                    turns = answer["turns"]
                check(turns == calls, f"graph {name} made {turns} turns of {calls}")
                items = store.search((name,), limit=100)
                check(len(items) == calls, f"graph {name} stored {len(items)} items of {calls}")
        except BaseException as exc:
            failures.append(f"graph {name}: {exc!r}")

    threads = [threading.Thread(target=serve, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failures, "; ".join(failures))
    with MemvidSaver(path, mode="r") as saver:
        for name in ("one", "two"):
            found = saver.get_tuple({"configurable": {"thread_id": name}})
            check(found is not None and found.checkpoint["channel_values"]["turns"] == calls, f"thread {name}: {found}")
    return Counter({"graph calls": 2 * calls})


_CELL = """
from memvid_core import Memory
memory = Memory.open("notes.mp4", "a", create=True)
memory.add("a note of this run of the cell")
opened = [*globals().get("opened", []), memory]
print(len(memory))
"""


def notebook(folder: Path, *, runs: int = 3) -> Counter[str]:
    """Run a cell that opens a memory for writing repeatedly; memories from earlier runs stay open."""
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(_CELL) for _ in range(runs)]  # type: ignore[no-untyped-call]
    book = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    client = NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute()
    # A kernel may send a line in several pieces.
    printed = ["".join(output["text"] for output in cell.outputs).strip() for cell in book.cells]
    check(printed == [str(number + 1) for number in range(runs)], f"the cells printed {printed}")
    with Memory.open(folder / "notes.mp4") as memory:
        check(len(memory) == runs, f"{len(memory)} notes of {runs}")
    return Counter({"cells": runs})


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round of each."""
    rng = random.Random(seed)
    counts = graphs(folder, calls=max(3, int(20 * scale))) + notebook(folder)
    if os.name == "posix":  # a socket is handed to the server by its descriptor
        counts += web(folder, clients=rng.choice([8, 64]), requests=max(1, int(5 * scale)))
    return counts
