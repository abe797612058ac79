"""langchain-core's own tests of its vector store and of ``index()``, from its source archive, on our store.

The archive of the installed version is fetched with pip and unpacked in a cache folder; nothing of it is kept here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("MEMVID_TEST_CACHE", Path(tempfile.gettempdir(), "memvid-core-test-cache")))
STORE, INDEX = "tests/unit_tests/vectorstores/test_in_memory.py", "tests/unit_tests/indexing/test_indexing.py"


@pytest.fixture(scope="module")
def source() -> Path:
    """The unpacked source archive of the langchain-core that is installed."""
    release = version("langchain-core")
    folder = CACHE / f"langchain_core-{release}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as made:
                pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
                pip += ["--no-build-isolation", "--dest", made, f"langchain-core=={release}"]
                done = subprocess.run(pip, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                (archive,) = Path(made).glob("*.tar.gz")
                with tarfile.open(archive) as packed:
                    packed.extractall(made, filter="data")
                Path(made, folder.name).rename(folder)
    return folder


@pytest.mark.parametrize(("stores", "files", "least"), [("ram", [STORE, INDEX], 80), ("file", [STORE], 33)])
def test_langchain_cores_own_tests_pass_on_our_store(
    source: Path, tmp_path: Path, stores: str, files: list[str], least: int
) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "upstream_plugin"]
    command += ["-c", str(source / "pyproject.toml"), "-o", "addopts=", f"--junitxml={report}", *files]
    paths = [str(Path(__file__).parent), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "MEMVID_STORES": stores}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    (suite,) = ElementTree.parse(report).getroot()
    counts = {name: int(suite.attrib[name]) for name in ("tests", "errors", "failures", "skipped")}
    assert counts == {"tests": counts["tests"], "errors": 0, "failures": 0, "skipped": 0}
    assert counts["tests"] >= least
