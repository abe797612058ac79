"""What is built is what is meant to be shipped, and it works from there with nothing but what it declares."""

from __future__ import annotations

import email
import json
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"memvid_core", "langchain_memvid", "llama_index_memvid", "memvid_ray"}
FRAMEWORKS = {"langchain", "langchain_classic", "langchain_community", "langchain_core", "langgraph", "llama_index"}

# What the extras bring, by import name: none of it is there after a plain "pip install memvid-core".
OPTIONAL = FRAMEWORKS | {
    *("charset_normalizer", "lxml", "pypdfium2"),
    *("fastembed", "model2vec", "pyzbar", "qrcode", "sentence_transformers", "zxingcpp"),
    *("agents", "anthropic", "mcp", "ray", "starlette", "uvicorn"),
}

# Runs in a fresh interpreter, before anything is imported.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel built from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder holding nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    (path,) = dist.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(installed: Path, code: str, blocked: set[str]) -> Any:
    """Run code against the installed wheel with imports blocked; it prints one JSON value, which is returned."""
    head = f"BLOCKED = {sorted(blocked)!r}\n{BLOCKER}\nsys.path.insert(0, {str(installed)!r})\nimport json\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(code)],
        cwd=installed,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_the_three_packages_typed_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    roots = {name.partition("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_the_metadata_says_what_pyproject_says(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    (folder,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["Metadata-Version"] == "2.4"  # some validators refuse 2.5
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    assert "memvid = memvid_core.cli:app" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_no_link_of_the_package_page_is_dead(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(path))
    assert metadata["Description-Content-Type"] == "text/markdown"
    page = MarkdownIt().enable("table").parse(wheel.read(path).decode().partition("\n\n")[2])
    inline = [child for token in page for child in token.children or []]
    targets = [str(token.attrGet("href") or token.attrGet("src") or "") for token in inline]
    assert [target for target in targets if target and not target.startswith("https://")] == []
    assert any(token.type == "fence" and "MemvidVectorStore" in token.content for token in page)


def test_the_source_archive_can_be_tested(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "conftest.py", "scripts/dev.py"} <= names
    assert "tests/conftest.py" in names
    assert not [name for name in names if ".mp4.index" in name or "__pycache__" in name]


def test_the_core_stays_light_and_imports_no_framework(installed: Path) -> None:
    loaded = run(installed, "import memvid_core; print(json.dumps(sorted(sys.modules)))", FRAMEWORKS)
    roots = {name.partition(".")[0] for name in loaded}
    assert "memvid_core" in roots
    assert roots & {"av", "joblib", "rich", "scipy", "sklearn", "typer", *OPTIONAL} == set()


def test_every_module_of_the_core_imports_without_any_extra_or_names_the_one_it_needs(
    installed: Path, project: dict[str, Any]
) -> None:
    code = """
    import importlib, pathlib, pkgutil
    import memvid_core
    assert pathlib.Path(memvid_core.__file__).is_relative_to(pathlib.Path.cwd()), memvid_core.__file__
    outcome = {}
    for module in pkgutil.walk_packages(memvid_core.__path__, "memvid_core."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
            outcome[module.name] = None
        except memvid_core.MissingExtraError as error:
            outcome[module.name] = str(error)
    print(json.dumps(outcome))
    """
    outcome = run(installed, code, OPTIONAL)
    assert "memvid_core.errors" in outcome
    extras = set(project["optional-dependencies"])
    unnamed = {
        name: message
        for name, message in outcome.items()
        if message is not None and not any(f"memvid-core[{extra}]" in message for extra in extras)
    }
    assert unnamed == {}


@pytest.mark.parametrize(
    ("package", "extra", "framework"),
    [("langchain_memvid", "langchain", "langchain_core"), ("llama_index_memvid", "llama-index", "llama_index")],
)
def test_an_adapter_without_its_framework_names_its_extra(
    installed: Path, package: str, extra: str, framework: str
) -> None:
    code = f"""
    try:
        import {package}
    except ImportError as error:
        print(json.dumps([str(error), repr(error.__cause__)]))
    """
    message, cause = run(installed, code, FRAMEWORKS)
    assert f"memvid-core[{extra}]" in message
    assert framework in cause
