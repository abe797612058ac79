"""Servers in processes of their own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import memvid_core
from tests import processes

SOURCE = str(Path(memvid_core.__file__).parent.parent)
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONUTF8": "1"}


_SERVE = "import runpy, sys; sys.argv[:1] = ['memvid', 'mcp']; runpy.run_module('memvid_core.cli', run_name='__main__')"
_IMPORTED = ("memvid_core.serving.server", "memvid_core.serving.http", "memvid_core.cli.mcp", *processes.CORE)


def server(*arguments: object, **env: str) -> processes.Process:
    """Start ``memvid mcp`` as a fork of a process that has imported what it needs."""
    return processes.start(_SERVE, *arguments, env={**ENVIRONMENT, **env}, modules=_IMPORTED)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "memvid_core.cli", "mcp", *map(str, arguments)]


@contextmanager
def http_server(*arguments: object) -> Iterator[tuple[str, processes.Process]]:
    """A server on a free port: its URL and its process, which is killed in the end."""
    process = server(*arguments)
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+/mcp", line):
                yield found[0], process
                break
        else:
            raise AssertionError("the server did not start")
    finally:
        process.kill()
        process.communicate()
