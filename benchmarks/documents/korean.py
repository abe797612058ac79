"""Korean paragraphs printed to PDF: how many of their words are read whole, in lines that divide words or keep them.

The paragraphs are those of KorQuAD 1.0, five of an article in each document, and eighty in one; Chromium prints them
with Debian's Noto fonts. ``divided`` counts the ends of lines within words, ``joined`` those of them that are joined,
and ``wrong`` the ends of lines between words that are joined.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pypdfium2

from benchmarks.data import add_data_option
from benchmarks.documents.pdf import print_pdf
from benchmarks.machine import describe
from memvid_core.ingest import read_document
from memvid_core.ingest.readers.korean_lines import KoreanLines

_STYLES = {"any syllable": "normal", "words only": "keep-all"}
_WORD = re.compile(r"\w+")
_PARAGRAPHS, _MANY = 5, 80


def main() -> None:
    """Print the documents, read them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, required=True, help="a folder with Debian's Noto fonts")
    add_data_option(parser)
    parser.add_argument("--documents", type=int, default=24)
    options = parser.parse_args()
    print(describe("memvid-core", "pypdfium2"))
    texts = _texts(options.data / "korquad" / "KorQuAD_v1.0_dev.json", options.documents)
    print("\n| lines break at | documents | words kept before | after | divided | joined | wrong |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, style in _STYLES.items():
            paths = [Path(folder, f"{style}{number}.pdf") for number in range(len(texts))]
            rows = [_read(path, text, style, options.fonts) for path, text in zip(paths, texts, strict=True)]
            before, after, *counts = (sum(column) for column in zip(*rows, strict=True))
            shares = f"{before / len(rows):.4f} | {after / len(rows):.4f}"
            print(
                f"| {name} | {len(rows)} | {shares} | {' | '.join(f'{count:,.0f}' for count in counts)} |", flush=True
            )


def _texts(path: Path, documents: int) -> list[list[str]]:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    found = [[" ".join(part["context"].split()) for part in article["paragraphs"]] for article in articles]
    rest = [text for texts in found[documents:] for text in texts]
    return [texts[:_PARAGRAPHS] for texts in found[:documents]] + [rest[:_MANY]]


def _read(path: Path, texts: list[str], style: str, fonts: Path) -> tuple[float, float, int, int, int]:
    body = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
    print_pdf(path, [("Korean", f"<div style='word-break: {style}'>{body}</div>")], fonts)
    with pypdfium2.PdfDocument(path) as document:
        pages = [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in document]
    korean = KoreanLines(pages)
    shown = "\n".join(pages)
    read = "\n".join(section.text for section in read_document(path).sections)
    wanted = " ".join(texts)
    ends, still = _ends(shown), _ends("\n".join(map(korean.lines, pages)))
    within = ends - _gaps(wanted)
    joined = ends - still
    return _kept(wanted, shown), _kept(wanted, read), len(within), len(within & joined), len(joined - within)


def _ends(text: str) -> set[int]:
    """Return how many signs are before each end of a line that stands between Korean syllables."""
    ends, place = set(), 0
    for line, after in pairwise(text.split("\n")):
        place += len("".join(line.split()))
        if re.search("[가-힣]$", line) and re.match("[가-힣]", after):
            ends.add(place)
    return ends


def _gaps(text: str) -> set[int]:
    places, place = set(), 0
    for word in text.split():
        place += len(word)
        places.add(place)
    return places


def _kept(wanted: str, read: str) -> float:
    there, found = Counter(_WORD.findall(wanted)), Counter(_WORD.findall(read))
    return (there & found).total() / there.total()


if __name__ == "__main__":
    main()
