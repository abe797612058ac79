"""Creating objects that must be new, so that a lost answer is neither a failure nor a second object."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from memvid_core.errors import DamagedLibraryError, MemoryExistsError, StorageError
from memvid_core.library.objects import Objects

__all__ = ["created"]

_SENT_AGAIN: Final = 2  # times, if the file system fails


def created(objects: Objects, name: str, data: bytes, successor: bytes = b"") -> bool:
    """Create an object; return whether the name has these bytes: False if another one was first.

    A store may create an object, and its answer be lost. Then the request is sent again, by the file system or here,
    and the name is taken by what was sent before: so what is there is compared. If nothing is there, it is sent again,
    too.

    Args:
        objects: The library.
        name: The name of the object.
        data: Bytes that nobody else writes.
        successor: What others may have written in their place meanwhile, if it tells that they were there.

    Raises:
        StorageError: It failed again and again. Of an object store it is not known whether the object was created.
    """
    for _ in range(_SENT_AGAIN):
        with suppress(StorageError):
            return _created(objects, name, data, successor)
    return _created(objects, name, data, successor)


def _created(objects: Objects, name: str, data: bytes, successor: bytes) -> bool:
    try:
        objects.create(name, data)
    except MemoryExistsError as exc:
        try:
            return objects.read(name) in (data, successor or data)
        except DamagedLibraryError:
            if objects.exists(name):
                raise
        # S3 refuses a request that meets another one for the same name (409), even if that one fails: send it again.
        raise StorageError(f"{objects.name} says that {name} exists, and has it not; try again") from exc
    return True
