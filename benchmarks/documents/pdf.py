"""PDF files in twelve scripts, printed by Chromium with the Noto fonts of Debian: no download but ``apt-get``.

apt-get download fonts-noto-core fonts-noto-cjk && for f in fonts-noto-*.deb; do dpkg-deb -x $f fonts; done
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.documents.languages import RIGHT_TO_LEFT

__all__ = ["print_pdf"]

_FONTS = {
    "Arabic": "NotoSansArabic", "Hebrew": "NotoSansHebrew", "Hindi": "NotoSansDevanagari", "Persian": "NotoSansArabic",
    "Thai": "NotoSansThai",
}  # fmt: skip
_CJK = frozenset(("Chinese (simplified)", "Chinese (traditional)", "Japanese", "Korean"))
_STYLE = "td, th {border: 1px solid; width: 30%} table {width: 100%} section {break-after: page}"
_LATIN = "NotoSans-Regular.ttf"
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--no-pdf-header-footer")
_SECONDS = 120


def print_pdf(path: Path, bodies: list[tuple[str, str]], fonts: Path) -> None:
    """Print pages of HTML to a PDF.

    Args:
        path: The file.
        bodies: The language and the HTML of each page.
        fonts: A folder with the Noto fonts.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium is not None, "Chromium is not installed"
    faces, sections = [_face("latin", fonts, _LATIN)], []
    for number, (language, body) in enumerate(bodies):
        name = _FONTS.get(language, "NotoSans")
        faces.append(
            _face(f"f{number}", fonts, "NotoSansCJK-Regular.ttc" if language in _CJK else f"{name}-Regular.ttf")
        )
        direction = "rtl" if language in RIGHT_TO_LEFT else "ltr"
        sections.append(f"<section dir={direction} style='font-family: f{number}, latin'>{body}</section>")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        style = f"<style>{''.join(faces)}{_STYLE}</style>"
        page.write_text(f"<!doctype html><html><meta charset=utf-8>{style}{''.join(sections)}</html>", encoding="utf-8")
        command = [chromium, *_OPTIONS, f"--print-to-pdf={path}", f"--user-data-dir={folder}/profile", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)


def _face(name: str, fonts: Path, file: str) -> str:
    found = next(fonts.rglob(file)).resolve()
    return f"@font-face {{font-family: {name}; src: url({found.as_uri()})}}"
