"""The words for what a file system behind a URL raises: what was to be done, and why it failed."""

from __future__ import annotations

import botocore.exceptions as botocore  # type: ignore[import-untyped]
import pytest

from memvid_core import MemoryNotFoundError, MemvidError, ReadOnlyError, StorageError
from memvid_core.system.remote_failures import asked

PLACE = "s3://bucket/library/manifest/1.json"
REFUSED = "these credentials do not permit writing it; open it with mode='r'"


def answered(status: int) -> OSError:
    """What s3fs raises for the answer of a server."""
    error = OSError("?")
    error.__cause__ = botocore.ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")
    return error


@pytest.mark.parametrize(
    ("to", "raised", "kind", "told"),
    [
        ("read", answered(409), StorageError, f"cannot read {PLACE}: the server answers 409"),
        ("write", answered(409), StorageError, f"cannot write {PLACE}: the server answers 409"),
        ("write", answered(404), StorageError, f"cannot write {PLACE}: there is no such bucket or folder"),
        ("write", FileNotFoundError(2, "?"), StorageError, f"cannot write {PLACE}: there is no such bucket or folder"),
        ("write", answered(403), ReadOnlyError, f"{PLACE}: {REFUSED}"),
        ("write", PermissionError(13, "?"), ReadOnlyError, f"{PLACE}: {REFUSED}"),
        ("read", FileNotFoundError(2, "?"), MemoryNotFoundError, f"{PLACE} does not exist"),
        ("read", answered(404), MemoryNotFoundError, f"{PLACE} does not exist"),
        ("delete", TimeoutError(), StorageError, f"cannot delete {PLACE}: the server does not answer in time"),
        (
            "list",
            botocore.FlexibleChecksumError(error_msg="?"),
            StorageError,
            f"cannot list {PLACE}: the answer of the server is damaged or cut (FlexibleChecksumError); try again",
        ),
        ("write", MemoryError(), MemvidError, f"the process has too little memory to write {PLACE}"),
    ],
)
def test_a_failure_names_what_was_to_be_done(to: str, raised: Exception, kind: type[MemvidError], told: str) -> None:
    def call() -> None:
        raise raised

    with pytest.raises(kind) as caught:
        asked(PLACE, call, to)
    assert str(caught.value) == told
