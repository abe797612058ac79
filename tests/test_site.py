"""The documentation site is built with every warning as an error."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memvid_core import Memory

pytestmark = pytest.mark.long  # the last tests of all are divided among the workers, and each would build the site

ROOT = Path(__file__).resolve().parent.parent
MKDOCS = "import gc; gc.disable(); from mkdocs.__main__ import cli; cli()"  # a tenth faster than with the collector


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", MKDOCS, "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def words_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


def test_every_page_is_there(site: Path) -> None:
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        path = page.relative_to(docs).with_suffix("")
        folder = path.parent if path.name in {"index", "README"} else path
        assert (site / folder / "index.html").is_file(), page


@pytest.mark.parametrize("package", ["memvid_core", "langchain_memvid", "llama_index_memvid"])
def test_the_reference_describes_the_public_names(site: Path, package: str) -> None:
    shown = (site / "reference" / package / "index.html").read_text("utf-8")
    page = (ROOT / f"docs/reference/{package}.md").read_text("utf-8")
    names = re.findall(rf"^::: ({package}\S+)$", page, re.MULTILINE)
    assert names
    assert [name for name in names if f'id="{name}"' not in shown] == []


def test_examples_of_the_reference_are_code(site: Path) -> None:
    text = words_of(site / "reference" / "memvid_core" / "index.html")
    assert ">>> " in text
    assert ":class:`" not in text
    assert "```" not in text


def test_every_block_of_code_is_one(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix("")
        shown = words_of(site / (path.parent if path.name in {"index", "README"} else path) / "index.html")
        assert " no-run: " not in shown, page
        for heading in re.findall(r"^## ([\w ]+)$", page.read_text("utf-8"), re.MULTILINE):
            assert f"\n## {heading}" not in shown, page


def test_the_site_asks_no_other_server_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        tags = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*>', page.read_text("utf-8"))
        assert [tag for tag in tags if re.search(r'(?:src|href)="(?:https?:)?//', tag)] == [], page


def test_the_reference_lists_every_method_of_memory() -> None:
    page = (ROOT / "docs" / "reference" / "memvid_core.md").read_text(encoding="utf-8")
    listed = re.findall(r"^        - (\w+)$", page, re.M)
    assert sorted(listed) == sorted(name for name in dir(Memory) if not name.startswith("_"))
