"""Write the golden memory of the built-in embedder: ``python -m tests.core.golden.searched``, in a checkout.

Only ever for a new version of the embedder, under a new name: memories that were written with this one must stay
searchable. It holds paragraphs of the documentation as it was then, in English and Korean.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from memvid_core import HashingEmbedder, Memory

PATH = Path(__file__).with_name("embedder-1.mp4")
DIMENSION = 32
QUESTIONS = [
    "what happens to readers during a compaction",
    "keys of model providers",
    "how can damaged frames be reported",
    "벡터 저장소로 쓰려면 무엇을 설치해야 하나요",
    "filter by metadata, e.g. a year",
]
LEAST_GAP = 1e-3


def answers(memory: Memory) -> dict[str, list[tuple[str, float]]]:
    """Return ids and scores of the first five records of each question by vectors."""
    return {
        question: [(hit.id, round(hit.score, 6)) for hit in memory.search(question, 5, mode="dense")]
        for question in QUESTIONS
    }


def _paragraphs() -> list[str]:
    root = Path(__file__).parents[3]
    pages = [root / "README.ko.md", *sorted((root / "docs").glob("*.md"))]
    parts = [part.strip() for page in pages for part in page.read_text("utf-8").split("\n\n")]
    prose = [part for part in dict.fromkeys(parts) if 80 < len(part) < 400 and not part.startswith(("```", "|"))]
    return prose[:: max(1, len(prose) // 300)]


def main() -> None:
    texts = _paragraphs()
    with Memory.create(PATH, HashingEmbedder(DIMENSION)) as memory:
        memory.add(texts, ids=[f"r{number}" for number in range(len(texts))])
        found = answers(memory)
    gaps = [one[1] - two[1] for hits in found.values() for one, two in pairwise(hits)]
    assert min(gaps) > LEAST_GAP, gaps
    PATH.with_suffix(".json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(len(texts), "texts, smallest gap", min(gaps))


if __name__ == "__main__":
    main()
