"""What a memory behind a URL costs: requests, bytes and time, over HTTP with a delay, and over S3.

    python -m benchmarks.remote                        # 10,000 records, 50 ms a request
    python -m benchmarks.remote --s3                   # also through s3fs from moto's S3 server, if both are installed

The delay is that of the server before each answer. The wall time is that of this machine, with what else it did.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from memvid_core import Memory
from memvid_core.memory import session_of
from tests.core.remote.web import Web

_WORDS = 60


def _make(path: Path, records: int) -> None:
    rng = np.random.default_rng(5)
    words = np.array([f"word{i}" for i in range(20_000)])
    with Memory.create(path) as memory:
        memory.add([" ".join(rng.choice(words, _WORDS)) for _ in range(records)])


def _row(name: str, began: float, requests: int, sent: int) -> None:
    took = time.perf_counter() - began
    print(f"| {name} | {requests} | {sent / 1000:,.1f} kB | {1000 * took:,.0f} ms |", flush=True)


def _measure(path: Path, opened: Callable[[], Memory], counts: Callable[[], tuple[int, int]]) -> None:
    """Print one row for each step; ``counts`` returns requests and bytes since its last call."""
    counts()
    print("| | requests | bytes | time |\n|---|---|---|---|")

    began = time.perf_counter()
    opened().close()
    _row("first opening", began, *counts())

    began = time.perf_counter()
    memory = opened()
    _row("later opening", began, *counts())
    began = time.perf_counter()
    memory.search("word7 word8", k=10)
    _row("first search", began, *counts())
    memory.close()

    began = time.perf_counter()
    memory = opened()
    hits = memory.search("word9 word10", k=10)
    _row("later opening and search", began, *counts())
    began = time.perf_counter()
    memory.get(hits[0].id)
    _row("get", began, *counts())

    remote = session_of(memory).remote
    assert remote is not None
    with Memory.open(path, "a") as writer:
        writer.add(["one record more"])
    counts()
    began = time.perf_counter()
    remote.look(at_once=True)
    assert len(memory) == memory.info().records
    _row("a new commit of one record", began, *counts())
    memory.close()


def _over_http(path: Path, delay: float) -> None:
    for version in ("etag", "none"):
        says = "ETags" if version == "etag" else "no ETags"
        size = path.stat().st_size
        print(f"\nHTTP, {delay * 1000:.0f} ms a request, a server with {says}; the file has {size:,} bytes\n")
        shutil.rmtree(os.environ["MEMVID_CACHE_DIR"], ignore_errors=True)
        with Web(path.parent, delay=delay, version=version) as web:

            def counts(web: Web = web) -> tuple[int, int]:
                found = web.requests, web.total
                web.forget()
                return found

            _measure(path, lambda web=web: Memory.open(web.url(path.name)), counts)  # type: ignore[misc]


def _over_s3(path: Path) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    print(f"\nS3 (moto) through s3fs, without a delay; the file has {path.stat().st_size:,} bytes\n")
    shutil.rmtree(os.environ["MEMVID_CACHE_DIR"], ignore_errors=True)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    place: dict[str, Any] = {"endpoint_url": f"http://{host}:{port}"}
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", **place, **keys)
    client.create_bucket(Bucket="bucket")
    client.upload_file(str(path), "bucket", "m.mp4")
    sent: list[int] = []

    def opened() -> Memory:
        options = {**place, "key": "a", "secret": "b"}
        memory = Memory.open("s3://bucket/m.mp4", storage_options=options)
        return memory

    def counts() -> tuple[int, int]:
        found = len(sent), sum(sent)
        sent.clear()
        if path.stat().st_size != client.head_object(Bucket="bucket", Key="m.mp4")["ContentLength"]:
            client.upload_file(str(path), "bucket", "m.mp4")
        return found

    with _counted(sent):
        _measure(path, opened, counts)
    server.stop()


def _counted(sent: list[int]) -> Any:
    """Count the requests of s3fs, and the bytes that they return."""
    from contextlib import contextmanager
    from unittest.mock import patch

    import s3fs

    call = s3fs.S3FileSystem._call_s3

    @contextmanager
    def counting() -> Any:
        async def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
            answer = await call(self, method, *arguments, **options)
            sent.append(answer.get("ContentLength", 0) if method == "get_object" else 0)
            return answer

        with patch.object(s3fs.S3FileSystem, "_call_s3", counted):
            yield

    return counting()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--s3", action="store_true", help="also through s3fs from moto's S3 server")
    given = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEMVID_CACHE_DIR"] = f"{folder}/cache"
        (Path(folder) / "root").mkdir()
        path = Path(folder) / "root" / "m.mp4"
        _make(path, given.records)
        _over_http(path, given.delay)
        if given.s3:
            _over_s3(path)


if __name__ == "__main__":
    main()
