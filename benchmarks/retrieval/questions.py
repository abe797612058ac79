"""Collections of questions with known answers, and the measures of a ranking."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.agent_memory.chats import Chat, beam, locomo
from benchmarks.retrieval.manuals import LANGUAGES, Pairs, gnome, libreoffice

__all__ = ["DEPTH", "HALVES", "MEASURES", "Collection", "asked", "collections", "every_collection", "measure"]

DEPTH = 10
HALVES = {"tuning": 0, "report": 1}
MEASURES = ("nDCG@10", "R@1", "R@5", "R@10", "MRR@10")


class Collection(NamedTuple):
    """Texts, questions, and for each question the numbers of the texts that answer it, and of texts to leave out."""

    name: str
    texts: list[str]
    questions: list[str]
    relevant: list[set[int]]
    left_out: Sequence[set[int]] = ()
    language: str = "en"


def asked(collection: Collection, most: int) -> dict[str, list[int]]:
    """Return the numbers of at most so many questions of each half: settings were chosen on the tuning half."""
    halves = {half: range(first, len(collection.questions), 2) for half, first in HALVES.items()}
    return {half: list(numbers[:: -(-len(numbers) // most)]) for half, numbers in halves.items()}


def collections(data: Path) -> list[Collection]:
    """Load Cranfield 1400 (English, many answers per question) and KorQuAD 1.0 dev (Korean, one answer)."""
    return [_cranfield(data / "cranfield"), _korquad(data / "korquad" / "KorQuAD_v1.0_dev.json")]


def every_collection(data: Path, packages: Path | None = None) -> list[Collection]:
    """Load every collection that is there.

    Cranfield 1400 (English, many answers per question), also without the paper that each question was written from,
    KorQuAD 1.0 dev (Korean, one answer) with its paragraphs and
    with passages of two sentences, LoCoMo and BEAM (messages as evidence), and manuals in five languages.

    Args:
        data: The folder with Cranfield and KorQuAD, and LoCoMo and BEAM if available.
        packages: The folder with packages of Debian, for :mod:`benchmarks.retrieval.manuals`.
    """
    found = [
        *collections(data),
        without_sources(data / "cranfield"),
        _passages(data / "korquad" / "KorQuAD_v1.0_dev.json"),
    ]
    if (data / "locomo").is_dir():
        found.append(_messages("LoCoMo", locomo(data)))
    if (data / "beam").is_dir():
        found.append(_messages("BEAM", beam(data)))
    for package in sorted(packages.glob("gnome-user-docs_*.deb")) if packages else []:
        found += [_pairs(f"GNOME Help, {LANGUAGES[name]}", gnome(package, name), name) for name in LANGUAGES]
    for package in sorted(packages.glob("libreoffice-help-ko_*.deb")) if packages else []:
        found.append(_pairs("LibreOffice Help, Korean", libreoffice(package, "ko"), "ko"))
    return found


def _pairs(name: str, pairs: Pairs, language: str) -> Collection:
    answered = [(question, {number}) for number, (questions, _) in enumerate(pairs) for question in questions]
    questions, relevant = [question for question, _ in answered], [numbers for _, numbers in answered]
    return Collection(name, [text for _, text in pairs], questions, relevant, (), "en" if language == "C" else language)


def _messages(name: str, chats: list[Chat]) -> Collection:
    texts: list[str] = []
    questions: list[str] = []
    relevant: list[set[int]] = []
    for chat in chats:
        first = len(texts)
        texts += [f"{message.speaker}: {message.text}" for part in chat.sessions for message in part]
        questions += [question.text for question in chat.questions]
        relevant += [{first + number for number in question.evidence} for question in chat.questions]
    return Collection(name, texts, questions, relevant)


def _passages(path: Path) -> Collection:
    """Cut the paragraphs of KorQuAD into passages of two sentences; the one with the answer's beginning is relevant."""
    with open(path, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    spans: dict[str, list[tuple[int, int, int]]] = {}
    texts: list[str] = []
    questions: list[str] = []
    relevant: list[set[int]] = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        text = paragraph["context"]
        if text not in spans:
            cuts = [0, *(end.end() for end in re.finditer(r"\.\s", text)), len(text)][::2]
            cuts = cuts if cuts[-1] == len(text) else [*cuts, len(text)]
            parts = [(a, b) for a, b in pairwise(cuts) if text[a:b].strip()]
            spans[text] = [(a, b, len(texts) + place) for place, (a, b) in enumerate(parts)]
            texts += [text[a:b].strip() for a, b in parts]
        for question in paragraph["qas"]:
            start = question["answers"][0]["answer_start"]
            questions.append(question["question"])
            relevant.append({number for a, b, number in spans[text] if a <= start < b})
    return Collection("KorQuAD passages", texts, questions, relevant, (), "ko")


def _cranfield(folder: Path) -> Collection:
    with open(folder / "corpus.jsonl", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    with open(folder / "queries.jsonl", encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    number = {document["id"]: n for n, document in enumerate(documents)}
    relevant = [{number[i] for i, grade in q["relevant"].items() if grade > 0 and i in number} for q in questions]
    return Collection("Cranfield", [d["text"] for d in documents], [q["text"] for q in questions], relevant)


def without_sources(folder: Path) -> Collection:
    """Load Cranfield, and leave out for each question its source: the paper that its author wrote it from.

    The judges gave it no grade, so that it counts as wrong, although it is the first hit of two questions in five.
    """
    every = _cranfield(folder)
    with open(folder / "corpus.jsonl", encoding="utf-8") as lines:
        number = {json.loads(line)["id"]: n for n, line in enumerate(lines)}
    with open(folder / "queries.jsonl", encoding="utf-8") as lines:
        judged = [json.loads(line)["relevant"] for line in lines]
    sources = [{number[name] for name, grade in grades.items() if grade <= 0 and name in number} for grades in judged]
    return every._replace(name="Cranfield without sources", left_out=sources)


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
    return Collection("KorQuAD", list(numbers), questions, relevant, (), "ko")


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
