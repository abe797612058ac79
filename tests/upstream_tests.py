"""The tests of other packages, from their source archives, run with our classes in the place of theirs.

Each plugin of ours is a ``*_plugin.py`` in a folder ``upstream`` next to the test that names it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("MEMVID_TEST_CACHE", Path(tempfile.gettempdir(), "memvid-core-test-cache")))


def source_of(package: str) -> Path:
    """Return the unpacked source archive of the installed release of a package, which pip fetches once."""
    release = version(package)
    folder = CACHE / f"{package.replace('-', '_')}-{release}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as made:
                pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", package]
                pip += ["--dest", made, f"{package}=={release}"]
                done = subprocess.run(pip, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                (archive,) = Path(made).glob("*.tar.gz")
                with tarfile.open(archive) as packed:
                    packed.extractall(made, filter="data")
                Path(made, folder.name).rename(folder)
    return folder


def passed(
    source: Path,
    plugin: Path,
    files: Sequence[str],
    *options: str,
    leave_out: Sequence[str] = (),
    plugins: Sequence[str] = ("asyncio",),
) -> int:
    """Run test files of a source archive with a plugin of ours; all must pass, and return their number.

    Of the plugins that are installed, they get those that they use: to import all takes a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        for name in (*plugins, plugin.stem):
            command += ["-p", name]
        command += ["-c", str(source / "pyproject.toml"), "-o", "addopts=", f"--junitxml={report}"]
        command += ["-k", " and ".join(f"not {name}" for name in leave_out), *options, *files]
        paths = [str(plugin.parent), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
        (suite,) = ElementTree.parse(report).getroot()
    assert (suite.attrib["errors"], suite.attrib["failures"], suite.attrib["skipped"]) == ("0", "0", "0")
    return int(suite.attrib["tests"])
