"""Objects in Google's store and on the Hugging Face Hub, through the real gcsfs and huggingface_hub.

A server of this machine answers as far as they ask. The packages lie in a folder of their own: they are large.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from memvid_core import Memory
from tests.core.cli.running import environment
from tests.core.remote.web import MARK
from tests.other_packages import folder_with

pytestmark = pytest.mark.long

READS = """
import json, sys
from memvid_core import Memory, MemoryNotFoundError
from memvid_core.memory.memory import session_of

url, options = sys.argv[1], json.loads(sys.argv[2])
say = lambda told: print("TOLD", json.dumps(told), flush=True)
with Memory.open(url, storage_options=options) as memory:
    told = lambda: say([len(memory), memory.search("engine", k=1)[0].id, memory.verify().ok])
    told()
    for _ in sys.stdin:
        session_of(memory).remote.look(at_once=True)
        told()
try:
    Memory.open(url.replace("m.mp4", "none.mp4"), storage_options=options)
except MemoryNotFoundError as exc:
    say(str(exc))
"""


class Cloud(BaseHTTPRequestHandler):
    """One object, as the JSON interface of Google's store and as the Hub show it."""

    protocol_version = "HTTP/1.1"
    content: bytes

    def described(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.content).hexdigest()
        google = {
            "kind": "storage#object",
            "name": "m.mp4",
            "bucket": "bucket",
            "generation": str(int(digest[:12], 16)),
        }
        google |= {"etag": digest, "updated": "2026-11-29T12:00:00Z", "timeCreated": "2026-11-29T12:00:00Z"}
        size = len(self.content)
        hub = {
            "type": "file",
            "path": "m.mp4",
            "oid": digest[:40],
            "lfs": {"oid": digest, "size": size, "pointerSize": 134},
        }
        return {"google": {**google, "size": str(size)}, "hub": {**hub, "size": size}}

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        described = self.described()
        listed = [described["google"]] if "m.mp4".startswith(query.get("prefix", [""])[0]) else []
        answers: dict[str, Any] = {
            "/storage/v1/b/bucket/o/m.mp4": described["google"],
            "/storage/v1/b/bucket/o": {"kind": "storage#objects", "items": listed},
            "/api/datasets/ada/notes": {"id": "ada/notes", "sha": "0" * 40, "private": False},
            "/api/datasets/ada/notes/revision/main": {"id": "ada/notes", "sha": "0" * 40, "private": False},
            "/api/datasets/ada/notes/tree/main": [described["hub"]],
        }
        if path in answers:
            self.send(200, json.dumps(answers[path]).encode())
        elif path in ("/download/storage/v1/b/bucket/o/m.mp4", "/datasets/ada/notes/resolve/main/m.mp4"):
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            begin, end = (0, len(self.content)) if wanted is None else (int(wanted[1]), int(wanted[2] or 1 << 40) + 1)
            whole = {"Content-Range": f"bytes {begin}-{min(end, len(self.content)) - 1}/{len(self.content)}"}
            self.send(200 if wanted is None else 206, self.content[begin:end], {} if wanted is None else whole)
        else:
            self.send(404, b'{"error": "Entry not found"}', {"X-Error-Code": "EntryNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        found = [self.described()["hub"]] if "m.mp4" in body else []
        self.send(200, json.dumps(found).encode())

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        kind = "application/json" if body[:1] in (b"{", b"[") else "video/mp4"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # the client has what it wanted
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def cloud(content: bytes) -> Iterator[tuple[str, type[Cloud]]]:
    handler = type("Handler", (Cloud,), {"content": content})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def google(root: str) -> tuple[str, dict[str, Any]]:
    return "gs://bucket/m.mp4", {"endpoint_url": root, "token": "anon", "project": MARK}


def hub(root: str) -> tuple[str, dict[str, Any]]:
    return "hf://datasets/ada/notes/m.mp4", {"endpoint": root, "token": MARK}


@pytest.mark.parametrize("place", [google, hub])
def test_an_object_is_read_and_followed_through_a_commit_a_compaction_and_a_swap(
    place: Callable[[str], tuple[str, dict[str, Any]]], published: Path, root: Path, tmp_path: Path
) -> None:
    packages = folder_with("gcsfs" if place is google else "huggingface_hub")
    source = str(Path(__file__).resolve().parents[3] / "src")
    given = environment() | {
        "PYTHONPATH": os.pathsep.join([str(packages), source]),
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it asks Google which kind of bucket it is, by another protocol
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with cloud(published.read_bytes()) as (address, handler):
        url, options = place(address)
        command = [sys.executable, "-c", READS, url, json.dumps(options)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=given) as running:
            assert running.stdin is not None
            assert running.stdout is not None

            def told() -> Any:
                for line in running.stdout or ():
                    if line.startswith("TOLD "):
                        return json.loads(line[5:])
                raise AssertionError(running.stderr.read() if running.stderr else "")

            def looks() -> Any:
                assert running.stdin is not None
                running.stdin.write("look\n")
                running.stdin.flush()
                return told()

            assert told() == [38, "hum", True]
            with Memory.open(published, "a") as writer:
                writer.add(["one more"])
            handler.content = published.read_bytes()
            assert looks() == [39, "hum", True]
            with Memory.open(published, "a") as writer:
                writer.delete(ids=writer.ids()[:10])
                writer.compact()
            handler.content = published.read_bytes()
            assert looks() == [29, "hum", True]
            with Memory.create(root / "other.mp4") as writer:
                writer.add(["another engine"], ids=["other"])
            handler.content = (root / "other.mp4").read_bytes()
            assert looks() == [1, "other", True]
            out, err = running.communicate()
        assert running.returncode == 0, err[-5000:]
        assert "none.mp4 does not exist" in out
        assert MARK not in out + err
