"""What another process runs in a test: a module that imports little, so that the process starts soon."""

from __future__ import annotations

from memvid_core.errors import DamagedFrameError


def read_a_damaged_frame(number: int) -> None:
    raise DamagedFrameError(number, "its bytes are not what was written")
