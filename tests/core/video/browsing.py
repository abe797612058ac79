"""A real browser, headless, looking at a page that is served from this machine."""

from __future__ import annotations

import functools
import http.server
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
QUIETLY = (
    "--headless",
    "--no-sandbox",
    "--no-zygote",  # fewer processes, and none that outlives its browser
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser() -> str:
    """The program to run; MEMVID_BROWSER names one that is not found by itself."""
    found = os.environ.get("MEMVID_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    found = found or next((place for place in PLACES if Path(place).exists()), None)
    assert found, "this test needs Chromium, Chrome or Edge; MEMVID_BROWSER names one elsewhere"
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and keeps what a page posts."""

    posted: queue.Queue[str] = queue.Queue()

    def do_POST(self) -> None:
        """Keep the body."""
        self.posted.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the files in ``folder``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def started(address: str, profile: Path, options: Sequence[str], printed: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The browser with a new profile at ``address``; what it prints goes to a file. It ends with all its processes.

    They would keep a pipe open, and a core busy, when the one that started them is gone.
    """
    command = [browser(), *QUIETLY, f"--user-data-dir={profile}", *options, address]
    with printed.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, start_new_session=os.name == "posix")
    try:
        yield running
    finally:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        running.kill()
        running.wait()


def look(address: str, profile: Path, *options: str) -> str:
    """What the browser prints when it opens ``address`` with a new profile."""
    printed = profile.with_name(f"{profile.name}.txt")
    with started(address, profile, options, printed) as running:
        assert running.wait(timeout=120) == 0
    return printed.read_text(encoding="utf-8")


def told(address: str, profile: Path) -> str:
    """What the page at ``address`` posts to its own server, within a minute."""
    options = ("--remote-debugging-port=0", "--autoplay-policy=no-user-gesture-required")
    with started(address, profile, options, profile.with_name(f"{profile.name}.txt")):
        return Quiet.posted.get(timeout=60)
