"""Stream: the bytes of an answer of a server, of which some can be put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

from memvid_core.system.progress import Advance

__all__ = ["Stream"]

_CHUNK: Final = 1 << 20


class Stream:
    """Read the bytes of an answer, and put some of them back.

    Args:
        body: The bytes.
    """

    def __init__(self, body: Iterator[bytes]) -> None:
        self._body = body
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, or fewer at the end."""
        parts, got = [self._held], len(self._held)
        while got < size:
            data = next(self._body, b"")
            if not data:
                break
            parts.append(data)
            got += len(data)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]

    def put_back(self, data: bytes) -> None:
        """Put bytes back, to be read next."""
        self._held = data + self._held

    def copy_to(self, target: IO[bytes], size: int, advance: Advance) -> None:
        """Write the next ``size`` bytes to a file."""
        done = 0
        while done < size:
            data = self.read(min(_CHUNK, size - done))
            target.write(data)
            done += len(data)
            advance(done)

    def finish(self) -> None:
        """Read to the end, where a changed object is noticed."""
        for _ in self._body:
            pass
