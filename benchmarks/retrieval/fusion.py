"""Whether a hybrid search is at least as good as its better half, and whether its relevance tells answers from none.

    python -m benchmarks.retrieval.fusion [--data FOLDER] [--packages FOLDER] [--only NAME ...] [--most QUESTIONS]

For each half, collection and embedder: words, vectors and hybrid, then the area under the ROC curve (AUC)
of the best relevance for questions with their answers and with the answering texts left out. One threshold, 0.5, is
compared with the best threshold of the collection. ``--packages`` is a folder with packages of Debian, for manuals in
five languages:
``apt-get download gnome-user-docs libreoffice-help-ko``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import KEPT, add_data_option, minilm
from benchmarks.machine import describe
from benchmarks.retrieval.questions import DEPTH, HALVES, Collection, asked, every_collection, measure
from memvid_core import CallableEmbedder, Hit, Memory

Mode = Literal["lexical", "dense", "hybrid"]
SHOWN = ("R@1", "R@5", "nDCG@10")


class Row(NamedTuple):
    """The measures of one collection with one embedder, and how well relevance separates."""

    words: list[float]
    vectors: list[float]
    hybrid: list[float]
    auc: float
    at_half: float
    at_best: float


def rows(collection: Collection, chosen: list[int]) -> Iterator[tuple[str, Row]]:
    """Yield the row of each embedder, for the questions of these numbers."""
    yield "built-in", _row(collection, chosen, None)
    texts = minilm(collection.texts)
    questions = None if texts is None else minilm([collection.questions[number] for number in chosen])
    if texts is not None and questions is not None:
        yield "MiniLM", _row(collection, chosen, (texts, questions))


def _row(
    collection: Collection, chosen: list[int], given: tuple[NDArray[np.float32], NDArray[np.float32]] | None
) -> Row:
    embedder = None if given is None else CallableEmbedder(_not_asked, name="model", dimension=given[0].shape[1])
    relevant = [collection.relevant[number] for number in chosen]
    found: dict[Mode, list[list[int]]] = {"lexical": [], "dense": [], "hybrid": []}
    answered, unanswered = [], []
    with closing(Memory.create(":memory:", embedder)) as memory:
        ids = [str(number) for number in range(len(collection.texts))]
        memory.add(
            collection.texts,
            [{"n": number} for number in range(len(ids))],
            ids=ids,
            vectors=None if given is None else given[0],
        )
        for place, number in enumerate(chosen):
            question = collection.questions[number]
            left_out = collection.left_out[number] if collection.left_out else set()
            where = {"n": {"$nin": sorted(left_out)}} if left_out else None
            vector = None if given is None else given[1][place]
            for mode, numbers in found.items():
                known = None if mode == "lexical" else vector
                hits = memory.search(question, DEPTH, where, mode=mode, embedding=known)
                numbers.append([int(hit.id) for hit in hits])
            others = {"n": {"$nin": sorted(relevant[place] | left_out)}}
            answered.append(_best(memory.search(question, DEPTH, where, embedding=vector, mode="hybrid")))
            unanswered.append(_best(memory.search(question, DEPTH, others, embedding=vector, mode="hybrid")))
    words, vectors, hybrid = ([measure(part, relevant)[name] for name in SHOWN] for part in found.values())
    return Row(words, vectors, hybrid, *_separation(np.array(answered), np.array(unanswered)))


def _not_asked(texts: list[str]) -> NDArray[np.float32]:
    raise RuntimeError(f"{len(texts)} texts have no vector")


def _best(hits: list[Hit]) -> float:
    return max((hit.relevance or 0.0 for hit in hits), default=0.0)


def _separation(answered: NDArray[np.float64], unanswered: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the AUC, and the accuracy at 0.5 and at the best threshold."""
    pairs = answered[:, None] - unanswered[None, :]
    auc = float((pairs > 0).mean() + (pairs == 0).mean() / 2)

    def accuracy(least: float) -> float:
        return float(((answered >= least).mean() + (unanswered < least).mean()) / 2)

    return auc, accuracy(0.5), max(map(accuracy, np.unique([*answered, *unanswered]).tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--packages", type=Path, default=KEPT)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--halves", nargs="*", choices=list(HALVES), default=list(HALVES))
    parser.add_argument("--most", type=int, default=400, help="questions of a half, evenly chosen")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    found = [
        collection
        for collection in every_collection(arguments.data, arguments.packages)
        if not arguments.only or collection.name in arguments.only
    ]
    for half in arguments.halves:
        print(f"\n## The {half} half\n")
        compare(found, half, arguments.most)


def compare(found: list[Collection], half: str, most: int) -> None:
    """Print the table of one half, each cell R@1, R@5, nDCG@10, and what the hybrid gains by embedder."""
    header = "| collection | texts | questions | vectors of | words | vectors | hybrid | AUC | at 0.5 / best |\n|"
    print(header + "---|" * 9)
    gains: dict[str, list[NDArray[np.float64]]] = {}
    for collection in found:
        chosen = asked(collection, most)[half]
        for name, row in rows(collection, chosen):
            cells = [" ".join(f"{value:.3f}" for value in part) for part in row[:3]]
            print(
                f"| {collection.name} | {len(collection.texts):,} | {len(chosen):,} | {name} | "
                f"{' | '.join(cells)} | {row.auc:.2f} | {row.at_half:.2f} / {row.at_best:.2f} |",
                flush=True,
            )
            gains.setdefault(name, []).append(np.array(row.hybrid) - np.maximum(row.words, row.vectors))
    for name, gained in gains.items():
        means, least = np.mean(gained, axis=0).tolist(), np.min(gained, axis=0).tolist()
        cells = [
            f"{shown} mean {mean:+.3f}, least {worst:+.3f}"
            for shown, mean, worst in zip(SHOWN, means, least, strict=True)
        ]
        print(f"\n{'; '.join(cells)}: hybrid minus the better half, {name} ({len(gained)} rows)")


if __name__ == "__main__":
    main()
