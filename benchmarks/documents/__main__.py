"""Documents in twelve scripts and fourteen formats, read by memvid, markitdown, LlamaIndex, LangChain and docling.

The content of every file is known. ``kept`` is the share of its words that are found again, ``twice`` the share that is
found more often than it is there, ``order`` the longest common subsequence of the words, ``rows`` the share of the rows
of tables that have all their cells, in order, on one line. Time is processor time of the process and its children;
memory is the most that they have at one time.

The other packages may be in an environment of their own (``--python``): markitdown[docx,pptx,xlsx,pdf],
llama-index-readers-file, langchain-community, unstructured[docx,pptx,xlsx], pypdf, docx2txt, beautifulsoup4, docling.
docling reads PDF with models, which are not downloaded: without them, its PDFs count as not read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.documents.corpus import FORMATS, Made, as_html, make, write
from benchmarks.documents.languages import SENTENCES
from benchmarks.documents.measures import Measured, measure
from benchmarks.documents.pdf import print_pdf
from benchmarks.documents.tools import TOOLS
from benchmarks.machine import describe

RESULTS = Path(__file__).parents[1] / "results"
_SAMPLE_SECONDS = 0.02


def main() -> None:
    """Write the documents, read them with each package, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, help="a folder with Debian's Noto fonts; without it there are no PDFs")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other packages")
    parser.add_argument("--copies", type=int, default=5, help="folders of a document in each language and format (5)")
    parser.add_argument("--tools", nargs="*", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--keep", type=Path, help="a folder for the documents, which are written once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the plot")
    parser.add_argument("--golden", type=Path, help="only print a PDF of all languages, and its content as JSON, here")
    options = parser.parse_args()
    if options.golden:
        golden(options.golden, options.fonts)
        return
    print(describe("memvid-core", "pypdfium2", "lxml"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        made = documents(folder, options.copies, options.fonts)
        size = sum(found.path.stat().st_size for found in made) / 1e6
        print(f"\n{len(made):,} documents in {options.copies} folders, {size:.1f} MB\n")
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
    if find_spec("matplotlib") is None:
        print("\nno plot: pip install matplotlib")
    else:
        draw(results, [found.format for found in made], options.results / "documents.png")
        print(f"\nplot: {options.results / 'documents.png'}")


def documents(folder: Path, copies: int, fonts: Path | None) -> list[Made]:
    """Write the documents, except for those that are already there: a folder with all languages for each copy."""
    made = []
    for seed in range(copies):
        place = folder / str(seed)
        place.mkdir(parents=True, exist_ok=True)
        for language in SENTENCES:
            text = make(language, seed)
            name = language.replace(" ", "-")
            for format_name in [*FORMATS, *(["pdf"] if fonts else [])]:
                path = place / f"{name}.{format_name}"
                there = Made(path, format_name, text) if path.exists() else None
                made.append(there or write(place, text, format_name, name, fonts))
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


def _memory(process: Any) -> int:
    try:
        return sum(found.memory_info().rss for found in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


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


def draw(results: dict[str, list[Measured]], groups: list[str], path: Path) -> None:
    """Draw what each reader kept of each format, and of the rows of its tables."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    formats = list(dict.fromkeys(groups))
    figure, axes = pyplot.subplots(2, 1, figsize=(10, 6), layout="constrained", sharex=True)
    axis: Any
    for axis, (column, title) in zip(axes, ((0, "words kept, %"), (3, "rows of tables right, %")), strict=True):
        for place, (name, of) in enumerate(results.items()):
            width = 0.8 / len(results)
            heights = []
            for group in formats:
                values = [value[column] for value, own in zip(of, groups, strict=True) if own == group]
                heights.append(100 * sum(values) / len(values))
            axis.bar([at + place * width - 0.4 for at in range(len(formats))], heights, width, align="edge", label=name)
        axis.set(ylabel=title, ylim=(0, 100))
        axis.set_xticks(range(len(formats)), formats)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(results), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def golden(path: Path, fonts: Path) -> None:
    """Print a page in each language into one PDF, and write what is on them."""
    texts = [make(language, 0, parts=1, rows=4) for language in SENTENCES]
    print_pdf(path.with_suffix(".pdf"), [(text.language, as_html(text)) for text in texts], fonts)
    content = [[text.language, [list(part) for part in text.parts]] for text in texts]
    path.with_suffix(".json").write_text(json.dumps(content, ensure_ascii=False))


if __name__ == "__main__":
    main()
