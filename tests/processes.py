"""Real processes that start in milliseconds: forks of a server that has imported what most of them need.

From the fork on each is a Python process like any other: with its own id, streams, signals and end. What a process does
while it starts and imports, and how it behaves on a terminal, is tested with ``subprocess``.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Self, cast

from memvid_core import Memory

ROOT = Path(__file__).resolve().parent.parent
FORKS = hasattr(os, "fork")
CORE = (
    *("memvid_core.cli.program", Memory.__module__, "memvid_core.agent", "memvid_core.ingest.sync"),
    *("av", "numpy.ma", "numpy.random", "pydantic.type_adapter", "rich.console", "rich.progress", "rich.table"),
    "tests.core.embedders",
)
"""The modules that the server has imported, unless a test names others."""
_ONE_REQUEST = threading.Lock()


class Process:
    """A process, with the methods of ``subprocess.Popen``; its streams are pipes for text in UTF-8.

    Of one on a terminal, the caller has the other side; that of its own is closed here.
    """

    def __init__(self, server: socket.socket, request: Mapping[str, Any], terminal: int | None = None) -> None:
        self.returncode: int | None = None
        pairs = [os.pipe() for _ in range(4)]
        its = [pairs[0][0], *(write for _, write in pairs[1:])]
        self.stdin: IO[str] = os.fdopen(pairs[0][1], "w", encoding="utf-8")
        self.stdout, self.stderr, self._report = (os.fdopen(read, encoding="utf-8") for read, _ in pairs[1:])
        if terminal is not None:
            for descriptor in its[:3]:
                os.close(descriptor)
            its[:3] = terminal, os.dup(terminal), os.dup(terminal)
        message = json.dumps(request).encode() + b"\n"
        with _ONE_REQUEST:
            sent = socket.send_fds(server, [message], its)
            for descriptor in its:
                os.close(descriptor)
            server.sendall(message[sent:])
            self.pid = int(self._report.readline())

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.returncode = int(self._report.readline())
            self._report.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, input: str = "", timeout: float | None = None) -> tuple[str, str]:
        said = ["", ""]

        def read(at: int, stream: IO[str]) -> None:
            said[at] = stream.read()

        readers = [threading.Thread(target=read, args=pair) for pair in enumerate((self.stdout, self.stderr))]
        for reader in readers:
            reader.start()
        with suppress(BrokenPipeError):  # it has ended
            self.stdin.write(input)
            self.stdin.close()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self._close()
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended meanwhile, as subprocess has it
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for stream in (self.stdout, self.stderr):
            stream.close()
        with suppress(BrokenPipeError):
            self.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child process: this very code, and UTF-8."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": path, **more}


@cache
def _server(modules: tuple[str, ...]) -> socket.socket:
    """Start the server; it ends with this process."""
    ours, its = socket.socketpair()
    command = [sys.executable, str(ROOT / "tests" / "fork_server.py"), *modules]
    server = subprocess.Popen(command, stdin=its.fileno(), stdout=subprocess.DEVNULL, env=environment())
    its.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def start(
    code: str,
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    modules: tuple[str, ...] = CORE,
    terminal: int | None = None,
) -> Process:
    """Start Python code with arguments in a process of its own, like ``python -c``; on a terminal, if one is given."""
    given = [str(argument) for argument in arguments]
    env = environment() if env is None else env
    if not FORKS:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code, *given]
        started = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env, encoding="utf-8")
        return cast(Process, started)
    request = {"code": code, "arguments": given, "cwd": str(cwd or Path.cwd()), "env": dict(env)}
    return Process(_server(modules), request, terminal)


def run(
    code: str,
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    modules: tuple[str, ...] = CORE,
) -> subprocess.CompletedProcess[str]:
    """Run Python code with arguments in a process of its own, with nothing on its standard input."""
    process = start(code, *arguments, cwd=cwd, env=env, modules=modules)
    out, err = process.communicate()
    return subprocess.CompletedProcess(code, process.wait(), out, err)
