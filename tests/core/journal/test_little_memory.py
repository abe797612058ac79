"""Too little memory is an error of its own, and never counts as damage, which an index would remember."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import resource
from memvid_core import Memory, OutOfMemoryError
from memvid_core.journal.compression import compress, decompress
from memvid_core.journal.frames import encode_rows

data = bytes(range(256)) * (200 << 10)  # 50 MiB
packed = compress(data)
rows = [("id", "text" * 20, {}) for _ in range(200_000)]
with open("/proc/self/statm", encoding="ascii") as numbers:
    used = int(numbers.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), resource.getrlimit(resource.RLIMIT_AS)[1]))
calls = [lambda: compress(data[1:] + data[:1]), lambda: decompress(packed, 7), lambda: encode_rows(rows)]
for call in calls:
    try:
        call()
    except MemoryError as exc:
        print(type(exc).__name__, exc)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and its measure are Linux's")
def test_no_memory_is_an_error_that_says_so() -> None:
    run = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    first, second, third = run.stdout.splitlines()
    assert first.startswith("MemoryError") or "cannot be compressed" in first  # the copy, or the compression
    assert second == "OutOfMemoryError the 52428800 bytes of frame 7 do not fit into memory"
    assert third.startswith("MemoryError")
