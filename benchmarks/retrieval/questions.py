"""Two collections of questions with known answers, and the measures of a ranking."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["DEPTH", "MEASURES", "Collection", "collections", "measure"]

DEPTH = 10
MEASURES = ("nDCG@10", "R@1", "R@5", "R@10", "MRR@10")


class Collection(NamedTuple):
    """Texts, questions, and for each question the numbers of the texts that answer it."""

    name: str
    texts: list[str]
    questions: list[str]
    relevant: list[set[int]]


def collections(data: Path) -> list[Collection]:
    """Load Cranfield 1400 (English, many answers per question) and KorQuAD 1.0 dev (Korean, one answer)."""
    return [_cranfield(data / "cranfield"), _korquad(data / "korquad" / "KorQuAD_v1.0_dev.json")]


def _cranfield(folder: Path) -> Collection:
    with open(folder / "corpus.jsonl", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    with open(folder / "queries.jsonl", encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    number = {document["id"]: n for n, document in enumerate(documents)}
    relevant = [{number[i] for i, grade in q["relevant"].items() if grade > 0 and i in number} for q in questions]
    return Collection("Cranfield", [d["text"] for d in documents], [q["text"] for q in questions], relevant)


def _korquad(path: Path) -> Collection:
    with open(path, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    numbers: dict[str, int] = {}
    questions: list[str] = []
    relevant: list[set[int]] = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        number = numbers.setdefault(paragraph["context"], len(numbers))
        for question in paragraph["qas"]:
            questions.append(question["question"])
            relevant.append({number})
    return Collection("KorQuAD", list(numbers), questions, relevant)


def measure(found: Sequence[Sequence[int]], relevant: Sequence[set[int]]) -> Mapping[str, float]:
    """Average the measures over questions; R@k is the share of questions with an answer among the first k."""
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    rows = []
    for numbers, wanted in zip(found, relevant, strict=True):
        gains = np.array([number in wanted for number in numbers[:DEPTH]], float)
        ideal = discounts[: min(len(wanted), DEPTH)].sum()
        first = int(np.argmax(gains)) if gains.any() else DEPTH
        reached = [float(first < k) for k in (1, 5, 10)]
        rows.append([gains @ discounts[: len(gains)] / ideal, *reached, 1 / (first + 1) if first < DEPTH else 0])
    return dict(zip(MEASURES, np.mean(rows, axis=0).tolist(), strict=True))
