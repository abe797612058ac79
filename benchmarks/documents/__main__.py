"""Documents in twelve scripts and eleven formats, read by memvid, markitdown, LlamaIndex and LangChain.

The content of every file is known. ``kept`` is the share of its words that are found again, ``twice`` the share that is
found more often than it is there, ``order`` the longest common subsequence of the words, ``rows`` the share of the rows
of tables that have all their cells, in order, on one line. Time is processor time of the process and its children;
memory is the most that they have at one time.

The other packages may be in an environment of their own (``--python``): markitdown[docx,pptx,xlsx,pdf],
llama-index-readers-file, langchain-community, unstructured[docx,pptx,xlsx], pypdf, docx2txt, beautifulsoup4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.documents.corpus import FORMATS, TABLES_ALONE, Made, Text, as_html, make, tokens, write
from benchmarks.documents.languages import SENTENCES
from benchmarks.documents.pdf import print_pdf
from benchmarks.documents.tools import TOOLS
from benchmarks.machine import describe

_SAMPLE_SECONDS = 0.02


class Measured(NamedTuple):
    """Hold what a reader made of one file, each a share of 1."""

    kept: float
    twice: float
    order: float
    rows: float


def main() -> None:
    """Write the documents, read them with each package, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, help="a folder with Debian's Noto fonts; without it there are no PDFs")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other packages")
    parser.add_argument("--copies", type=int, default=5, help="documents of each language and format (5)")
    parser.add_argument("--tools", nargs="*", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--keep", type=Path, help="a folder for the documents, which are written once")
    parser.add_argument("--plot", type=Path, help="draw the results into this file")
    parser.add_argument("--golden", type=Path, help="only print a PDF of all languages, and its content as JSON, here")
    options = parser.parse_args()
    if options.golden:
        golden(options.golden, options.fonts)
        return
    print(describe("memvid-core", "pypdfium2", "lxml"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        made = documents(folder, options.copies, options.fonts)
        print(f"\n{len(made):,} documents, {sum(found.path.stat().st_size for found in made) / 1e6:.1f} MB\n")
        results: dict[str, list[Measured]] = {}
        print("| reader | files read | kept | twice | order | rows | processor s | memory MB |")
        print("|---|---|---|---|---|---|---|---|")
        for name in options.tools:
            interpreter = sys.executable if name == "memvid" else options.python
            texts, seconds, memory = run(name, interpreter, made, Path(temporary))
            results[name] = [measure(found, texts.get(str(found.path), "")) for found in made]
            read = sum(bool(text.strip()) for text in texts.values())
            print(f"| {name} | {read:,} | {_line(results[name])} | {seconds:.1f} | {memory:.0f} |", flush=True)
    _by(results, "format", [found.format for found in made])
    _by(results, "language", [found.text.language for found in made])
    if options.plot:
        from benchmarks.documents.plot import draw

        draw(results, options.plot)


def documents(folder: Path, copies: int, fonts: Path | None) -> list[Made]:
    """Write the documents, except for those that are already there."""
    made = []
    for language in SENTENCES:
        place = folder / language.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        for seed in range(copies):
            text = make(language, seed)
            for format_name in [*FORMATS, *(["pdf"] if fonts else [])]:
                path = place / f"{seed}.{format_name}"
                there = Made(path, format_name, text) if path.exists() else None
                made.append(there or write(place, text, format_name, str(seed), fonts))
    return made


def run(name: str, interpreter: str, made: list[Made], folder: Path) -> tuple[dict[str, str], float, float]:
    """Read the documents with a package; return the texts by path, the processor time, and the memory in MB."""
    listed, output = folder / "list.json", folder / f"{name}.json"
    listed.write_text(json.dumps([str(found.path) for found in made]))
    command = [interpreter, "-m", "benchmarks.documents.tools", name, str(listed), str(output)]
    before = os.times()
    with open(folder / f"{name}.log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as child:
        most = 0
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            most = max(most, _memory(watched))
            time.sleep(_SAMPLE_SECONDS)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    if child.returncode:
        raise SystemExit(f"{name} failed:\n{(folder / f'{name}.log').read_text()[-2000:]}")
    return json.loads(output.read_text()), seconds, most / 1e6


def _memory(process: psutil.Process) -> int:
    try:
        return sum(found.memory_info().rss for found in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def measure(made: Made, read: str) -> Measured:
    """Compare a text that was read with the content of the document."""
    language = made.text.language
    wanted, found = tokens("\n".join(made.text.blocks(made.format)), language), tokens(read, language)
    there, got = Counter(wanted), Counter(found)
    lines = [tokens(line, language) for line in read.split("\n")]
    rows = [tokens(" ".join(row), language) for row in made.text.rows(made.format)]
    # Lines of records repeat the names of columns between the cells.
    right = sum(any(common(row, line) == len(row) for line in lines if len(line) >= len(row)) for row in rows)
    names = Counter(tokens(" ".join(made.text.names(made.format)), language))
    # Records repeat the names of columns, so their order is that of the values.
    values = [word for word in wanted if word not in names] if made.format in TABLES_ALONE else wanted
    return Measured(
        (there & got).total() / there.total(),
        Counter({word: count for word, count in (got - there).items() if word not in names}).total() / there.total(),
        common(values, found) / len(values),
        right / len(rows),
    )


def common(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence (Hyyrö 2004: bits of one large number).

    Example:
        >>> common(list("abcbdab"), list("bdcaba"))
        4
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    all_ones = (1 << len(first)) - 1
    row = all_ones
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & all_ones
    return len(first) - row.bit_count()


def _line(measured: list[Measured]) -> str:
    return " | ".join(f"{sum(column) / len(measured):.3f}" for column in zip(*measured, strict=True))


def _by(results: dict[str, list[Measured]], name: str, groups: list[str]) -> None:
    print(f"\n| {name} | {' | '.join(f'{tool}: kept, order, rows' for tool in results)} |")
    print("|---|" + "---|" * len(results))
    for group in dict.fromkeys(groups):
        cells = []
        for of in results.values():
            measured = [value for value, own in zip(of, groups, strict=True) if own == group]
            kept, _, order, rows = (sum(column) / len(measured) for column in zip(*measured, strict=True))
            cells.append(f"{kept:.3f}, {order:.3f}, {rows:.2f}")
        print(f"| {group} | {' | '.join(cells)} |")


def golden(path: Path, fonts: Path) -> None:
    """Print a page in each language into one PDF, and write what is on them."""
    texts = [make(language, 0, parts=1, rows=4) for language in SENTENCES]
    print_pdf(path.with_suffix(".pdf"), [(text.language, as_html(text)) for text in texts], fonts)
    content = [[text.language, [list(part) for part in text.parts]] for text in texts]
    path.with_suffix(".json").write_text(json.dumps(content, ensure_ascii=False))


def golden_texts(content: str) -> list[Text]:
    """Return the texts that `golden` wrote."""
    from benchmarks.documents.corpus import Part

    return [Text(language, [Part(*part) for part in parts]) for language, parts in json.loads(content)]


if __name__ == "__main__":
    main()
