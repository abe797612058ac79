"""A browser that does what a test says, through chromedriver."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.core.video.browsing import QUIETLY, browser


class Driven:
    """A window of the browser."""

    def __init__(self, root: str, folder: Path) -> None:
        self._root, self.folder = root, folder
        options = {
            "binary": shutil.which(browser()),
            "args": [*QUIETLY, "--window-size=1200,900", f"--user-data-dir={folder}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._root + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(json.loads(exc.read())["value"]["message"]) from exc

    def go(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of an async function returns."""
        body = (
            "const args = [...arguments], done = args.pop();"
            f"(async () => {{{script}}})().then(value => done({{value}}), error => done({{error: `${{error}}`}}));"
        )
        out = self._call("POST", "/execute/async", {"script": body, "args": arguments})
        assert "error" not in out, out["error"]
        return out.get("value")

    def type(self, selector: str, text: str) -> None:
        """Type into an element, or choose a file."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"/element/{element}/value", {"text": text})

    def resize(self, width: int, height: int) -> None:
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": sizes})

    def errors(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def picture(self) -> bytes:
        return base64.b64decode(self._call("GET", "/screenshot"))


@contextmanager
def driven(folder: Path) -> Iterator[Driven]:
    """A browser with a new profile in ``folder``; it ends with all its processes."""
    driver = shutil.which("chromedriver")
    assert driver, "this test needs chromedriver"
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=os.name == "posix"
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if b"started successfully on port" in line:
                port = int(line.split()[-1].strip(b"."))
                yield Driven(f"http://127.0.0.1:{port}", folder)
                break
        else:
            raise AssertionError("chromedriver did not start")
    finally:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate()
