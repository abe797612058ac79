"""An object in S3, through the real s3fs and botocore, from a server that answers as S3 does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import Memory, MemoryNotFoundError, StorageError
from memvid_core.system.remote_cache import cached_copies
from tests.core.remote.web import MARK, Web

Look = Callable[[Memory], int]


def test_an_object_in_s3_is_read_with_few_requests_and_followed(root: Path, published: Path, look: Look) -> None:
    (root / "bucket").mkdir()
    copy = Path(shutil.copy(published, root / "bucket" / "m.mp4"))
    with Web(root) as web:
        options = {"endpoint_url": web.url(""), "key": "ada", "secret": MARK, "client_kwargs": {"region_name": "eu"}}
        with Memory.open("s3://bucket/m.mp4", storage_options=options) as memory:
            assert web.requests == 3
            assert web.total == copy.stat().st_size
            assert memory.search("engine", k=1)[0].id == "hum"
            web.forget()
            assert look(memory) == 38
            assert [(sent.status, sent.size) for sent in web.sent] == [(200, 0)]
            with Memory.open(published, "a") as writer:
                writer.add(["one more"])
            shutil.copy(published, copy)
            web.forget()
            assert look(memory) == 39
            assert web.requests == 3
            assert web.total < 20_000
        web.forget()
        with Memory.open("s3://bucket/m.mp4", storage_options=options) as memory:
            assert (web.requests, len(memory)) == (3, 39)
            assert web.total < 20_000
        with pytest.raises(MemoryNotFoundError, match=r"s3://bucket/none\.mp4 does not exist"):
            Memory.open("s3://bucket/none.mp4", storage_options=options)
        assert [copy.url for copy in cached_copies()] == ["s3://bucket/m.mp4"]


def test_an_object_that_does_not_have_its_checksum_is_damaged_or_cut(root: Path, published: Path) -> None:
    data = published.read_bytes()
    wrong = {"Content-Length": str(len(data)), "ETag": '"1"', "x-amz-checksum-crc32": "AAAAAA=="}
    with Web(root, answer=lambda path: (200, wrong, data)) as web:
        options = {"endpoint_url": web.url(""), "key": "ada", "secret": MARK, "client_kwargs": {"region_name": "eu"}}
        with pytest.raises(StorageError, match=r"cannot read s3://bucket/m\.mp4: the answer .* is damaged or cut"):
            Memory.open("s3://bucket/m.mp4", storage_options=options)
