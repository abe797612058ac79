"""The process that forks those of :mod:`tests.processes`; it has imported the modules named on its command line.

Each line on its standard input, a socket, asks for one process: its code, arguments, folder and environment as JSON,
with the descriptors of its three streams and of a pipe, on which the server writes the process's id and, at the end,
its status. The next request follows when the id has been read.

What the server has imported is neither searched for garbage in a process nor cleared at its end: both would copy all
pages of it, which takes ten times as long as most processes run. What a process makes is searched seldom, as in all
that the tests start.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import types
from typing import Any

IMPORTED: set[str] = set()
"""The names of the modules that the server has imported."""


def keep_imported() -> None:
    """Have what is imported now outlive each process; what a process itself has made and imported ends with it."""
    names = set(sys.modules) - {"__main__", "builtins", "sys"}
    kept: list[Any] = [sys.modules[name] for name in names]
    kept.append(kept)  # nothing frees it, since what is frozen is not searched for such a circle
    IMPORTED.update(names)
    gc.collect()
    gc.freeze()


def forget_imported() -> None:
    """Hide what the server has imported from the end of this process."""
    for name in IMPORTED:
        sys.modules.pop(name, None)


def ended(pipes: dict[int, int]) -> None:
    """Report the processes that have ended."""
    while pipes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        os.write(pipes[pid], f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(pipes.pop(pid))


def asked(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request: return what is asked for in the new process, and None in the server at the end."""
    pipes: dict[int, int] = {}
    woken, waking = socket.socketpair()
    for end in (woken, waking):
        end.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                    ended(pipes)
                    continue
                message, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 4)
                if not message:
                    return None
                while not message.endswith(b"\n"):
                    message += requests.recv(1 << 16)
                *streams, report = descriptors
                if pid := os.fork():
                    pipes[pid] = report
                    os.write(report, f"{pid}\n".encode())
                    for stream in streams:
                        os.close(stream)
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for other in (report, *pipes.values()):
                    os.close(other)
                woken.close()
                waking.close()
                return json.loads(message), streams


def become(request: dict[str, Any], streams: list[int]) -> types.CodeType:
    """Make this the process that was asked for; return its code."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # As an interpreter in UTF-8 mode opens them.
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # type: ignore[misc]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["-c", *request["arguments"]]
    sys.path[0] = ""
    return compile(request["code"], "<string>", "exec")


if __name__ == "__main__":
    atexit.register(forget_imported)  # the first that is registered is called last
    for name in sys.argv[1:]:
        importlib.import_module(name)
    keep_imported()
    if (found := asked(requests := socket.socket(fileno=os.dup(0)))) is not None:
        requests.close()
        code = become(*found)
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(code, vars(sys.modules["__main__"]))
