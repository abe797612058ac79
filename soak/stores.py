"""Eight processes commit to one library in an object store at the same time: every commit is there, once."""

from __future__ import annotations

import logging
import multiprocessing
import random
import urllib.request
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from memvid_core import HashingEmbedder, Library
from soak.model import check

__all__ = ["run"]

_WRITERS, _COMMITS = 8, 50
_TRIES = 3  # a commit, on average, at most
_MINUTES = 20.0


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Let eight processes add 50 records each, one a commit, to a library in an S3 of this machine."""
    from moto.server import ThreadedMotoServer

    requests = _Requests()
    log = logging.getLogger("werkzeug")  # it names every request
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [requests]
    commits = max(2, int(_COMMITS * scale))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options: dict[str, Any] = {"endpoint_url": f"http://{host}:{port}", "key": "ada", "secret": "x"}
        options["client_kwargs"] = {"region_name": "us-east-1"}
        with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/shelf", method="PUT")):
            return _written(folder, random.Random(seed), options, commits, requests)
    finally:
        server.stop()


class _Requests(logging.Handler):
    """Counts the requests that a server logs."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += "HTTP/1" in record.getMessage()


def _written(
    folder: Path, rng: random.Random, options: dict[str, Any], commits: int, requests: _Requests
) -> Counter[str]:
    url = "s3://shelf/library"
    context = multiprocessing.get_context("spawn")  # a fork would have the loop of s3fs without its thread
    with Library.create(url, HashingEmbedder(), storage_options=options) as library:
        tries = context.Queue()
        writers = [
            context.Process(target=_write, args=(url, options, str(folder / f"cache {n}"), n, commits, tries))
            for n in range(_WRITERS)
        ]
        rng.shuffle(writers)
        before = requests.count
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60 * _MINUTES)
        codes = [writer.exitcode for writer in writers]
        for writer in writers:
            writer.kill()
        check(codes == [0] * _WRITERS, f"the writers ended with {codes}")
        tried, asked = sum(tries.get() for _ in writers), requests.count - before
        library.refresh()
        expected = sorted(f"{writer} {number}" for writer in range(_WRITERS) for number in range(commits))
        found = library.ids()
        check(sorted(found) == expected, f"{len(found)} of {len(expected)} records, {len(set(found))} distinct")
        check(library.version == len(expected), f"{library.version} versions of {len(expected)} commits")
        check(tried <= _TRIES * len(expected), f"{tried} tries for {len(expected)} commits")
        library.compact()
        library.vacuum(timedelta(0))
        check(library.verify().ok, "damaged after compaction and vacuum")
        check(sorted(library.ids()) == expected, "other records after compaction and vacuum")
    return Counter({"commits": len(expected), "tries": tried, "requests": asked})


def _write(url: str, options: dict[str, Any], cache: str, writer: int, commits: int, tries: Any) -> None:
    """Add records, one a commit, and count how often a commit was tried."""
    import os

    from memvid_core.library import state

    os.environ["MEMVID_CACHE_DIR"] = cache
    counted = 0
    module: Any = state
    commit = module.commit_manifest

    def counting(*arguments: Any) -> bool:
        nonlocal counted
        counted += 1
        return bool(commit(*arguments))

    module.commit_manifest = counting
    with Library.open(url, storage_options=options) as library:
        for number in range(commits):
            library.add([f"record {number} of writer {writer}"], ids=[f"{writer} {number}"])
    tries.put(counted)
