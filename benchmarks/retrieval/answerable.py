"""How well scores of a search tell questions with an answer from questions without one, at best.

    python -m benchmarks.retrieval.answerable [--data FOLDER] [--most QUESTIONS]

Each question is asked twice: of all texts, and with the answering texts left out. The table has the area under the ROC
curve (AUC) on the report half: of the best relevance; of the best single one of sixteen other features (scores of
words, vectors and MiniLM's vectors, the gaps below the first hit, how far it stands out of the first twenty, and how
many of the first hits both rankings share); of a logistic regression over all of them, fitted to the answers of the
tuning half; and of one fitted to the answers of the report half itself, which no real search knows. The last is a
bound for any weighted sum of these scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import add_data_option, minilm
from benchmarks.machine import describe
from benchmarks.retrieval.questions import Collection, asked, collections, without_sources
from memvid_core import Hit, Memory

DEPTH = 20
Rows = NDArray[np.float64]


def auc(answered: Rows, unanswered: Rows) -> float:
    """Return the share of pairs in which the answered question has the higher score; equal scores count half."""
    pairs = answered[:, None] - unanswered[None, :]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def shape(scores: list[float]) -> list[float]:
    """Return the best score, its distance to the second and to the next five, and how far it stands out."""
    padded = np.array([*scores, *[0.0] * DEPTH][:DEPTH])
    rest = padded[5:]
    return [
        padded[0],
        padded[0] - padded[1],
        padded[0] - padded[1:6].mean(),
        (padded[0] - rest.mean()) / max(float(rest.std()), 1e-6),
    ]


def features(memory: Memory, question: str, where: dict[str, Any], cosines: Rows | None) -> list[float]:
    """Return the features of one question; the first is the best relevance."""
    hybrid = memory.search(question, DEPTH, where, mode="hybrid")
    words = memory.search(question, DEPTH, where, mode="lexical")
    near = memory.search(question, DEPTH, where, mode="dense")
    by_word, by_vector = [hit.score for hit in words], [hit.score for hit in near]
    shared = len({hit.id for hit in words[:10]} & {hit.id for hit in near[:10]})
    same = bool(words) and bool(near) and words[0].id == near[0].id
    both = max((_of(words, hit) + hit.score for hit in near), default=0.0)
    model = [] if cosines is None else shape(np.sort(cosines)[::-1][:DEPTH].tolist())
    best = max((hit.relevance or 0.0 for hit in hybrid), default=0.0)
    return [best, *shape(by_word), *shape(by_vector), shared, float(same), both, len(question.split()), *model]


def _of(hits: list[Hit], wanted: Hit) -> float:
    return next((hit.score for hit in hits if hit.id == wanted.id), 0.0)


def measured(collection: Collection, most: int) -> list[float]:
    """Return the AUCs of the report half: relevance, the best feature, fitted to the tuning half, fitted to itself."""
    halves = asked(collection, most)
    texts = minilm(collection.texts)
    found: dict[str, tuple[Rows, Rows]] = {}
    with closing(Memory.create(":memory:")) as memory:
        numbers = [{"n": number} for number in range(len(collection.texts))]
        memory.add(collection.texts, numbers, ids=[str(number) for number in range(len(numbers))])
        for half, chosen in halves.items():
            vectors = None if texts is None else minilm([collection.questions[number] for number in chosen])
            sides: tuple[list[list[float]], list[list[float]]] = [], []
            for place, number in enumerate(chosen):
                left_out = collection.left_out[number] if collection.left_out else set()
                for side, omitted in zip(sides, (left_out, left_out | collection.relevant[number]), strict=True):
                    without = sorted(omitted)
                    near = None
                    if texts is not None and vectors is not None:
                        near = np.delete(texts @ vectors[place], without).astype(np.float64)
                    where = {"n": {"$nin": without}} if without else {}
                    side.append(features(memory, collection.questions[number], where, near))
            found[half] = np.array(sides[0]), np.array(sides[1])
    answered, unanswered = found["report"]
    single = [auc(one, other) for one, other in zip(answered.T[1:], unanswered.T[1:], strict=True)]
    fitted = [_logistic(*found[half]) for half in ("tuning", "report")]
    return [
        auc(answered[:, 0], unanswered[:, 0]),
        max(max(value, 1 - value) for value in single),
        *(auc(score(answered), score(unanswered)) for score in fitted),
    ]


def _logistic(answered: Rows, unanswered: Rows) -> Callable[[Rows], Rows]:
    """Fit a logistic regression; return its scores of rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.repeat([1, 0], [len(answered), len(unanswered)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    model.fit(np.concatenate([answered, unanswered]), known)
    scored: Callable[[Rows], Rows] = model.decision_function
    return scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--most", type=int, default=400, help="questions of a half, evenly chosen")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "scikit-learn"))
    print("\n| collection | relevance | best feature | fitted to the tuning half | fitted to the report half itself |")
    print("|---|---|---|---|---|")
    for collection in (*collections(arguments.data), without_sources(arguments.data / "cranfield")):
        cells = " | ".join(f"{value:.2f}" for value in measured(collection, arguments.most))
        print(f"| {collection.name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
