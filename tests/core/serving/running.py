"""Servers in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import memvid_core

SOURCE = str(Path(memvid_core.__file__).parent.parent)
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONUTF8": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "memvid_core.cli", "mcp", *map(str, arguments)]


@contextmanager
def http_server(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a free port: its URL and its process, which is killed in the end."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stderr is not None
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
