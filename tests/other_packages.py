"""Packages that the tests' environment cannot have, or should not, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests.upstream_tests import CACHE


def folder_with(*requirements: str) -> Path:
    """Return a folder with packages, which pip fetches once, to be the first of a process's ``PYTHONPATH``.

    It has what the tests' environment lacks or has in another version.
    """
    name = hashlib.blake2b(repr((sys.version_info[:2], requirements)).encode(), digest_size=8).hexdigest()
    folder = CACHE / "packages" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            report = json.loads(_pip("--dry-run", "--report", "-", *requirements))
            found = [f"{each['metadata']['name']}=={each['metadata']['version']}" for each in report["install"]]
            made = folder.with_suffix(".made")
            _pip("--no-deps", "--upgrade", "--target", str(made), *found)
            made.rename(folder)
    return folder


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
