"""What a hybrid search costs, compared with its halves: processor time of the same questions in all modes, in turns.

    python -m benchmarks.retrieval.cost [--data FOLDER] [--rows ROWS] [--questions QUESTIONS] [--rounds ROUNDS]

The texts are chunks of 500 characters, English or Korean, with the built-in embedder. A question is asked in all modes
one after the other, and again in each round; its time in a mode is the least of the rounds, because other work on the
machine makes single ones longer. A ratio compares the sums over the questions. "both halves" is what words and vectors
take together; what a hybrid search takes beyond that is fusion, feedback, and reading the first texts.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import CHUNK, add_data_option, chunks
from benchmarks.machine import describe
from benchmarks.retrieval.questions import collections
from memvid_core import Memory

Mode = Literal["lexical", "dense", "hybrid"]
MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid")
HITS = (10, 4)


def texts_of(data: Path, rows: int, *, ascii_only: bool) -> Iterator[str]:
    """Yield chunks of one language; repeated ones end in different numbers."""
    some = [chunk for chunk in chunks(data) if chunk.isascii() == ascii_only]
    for number, chunk in enumerate(islice(cycle(some), rows)):
        yield f"{chunk[: CHUNK - 10]} {number:09d}"


def times(memory: Memory, questions: list[str], hits: int, rounds: int) -> NDArray[np.float64]:
    """Return the least processor time (modes, questions) of each question, in seconds."""
    taken = np.full((rounds, len(MODES), len(questions)), np.inf)
    gc.disable()  # a collection would count for the mode in which it happens
    try:
        for turn in range(rounds):
            for number, question in enumerate(questions):
                for place in range(len(MODES)):
                    mode = (turn + place) % len(MODES)
                    start = time.process_time_ns()
                    memory.search(question, hits, mode=MODES[mode])
                    taken[turn, mode, number] = (time.process_time_ns() - start) / 1e9
            gc.collect()
    finally:
        gc.enable()
    least: NDArray[np.float64] = taken.min(axis=0)
    return least


def compare(data: Path, rows: int, count: int, rounds: int) -> None:
    """Print the table."""
    print("| texts | hits | words ms | vectors ms | hybrid ms | / words | / vectors | / both halves |\n|" + "---|" * 8)
    for collection in collections(data):
        language = {"en": "English", "ko": "Korean"}[collection.language]
        questions = collection.questions[:: max(1, len(collection.questions) // count)][:count]
        with tempfile.TemporaryDirectory() as folder, closing(Memory.create(Path(folder) / "memory.mp4")) as memory:
            memory.add(list(texts_of(data, rows, ascii_only=collection.language == "en")))
            times(memory, questions, max(HITS), 1)  # the first search of a memory learns its evidence
            for hits in HITS:
                words, vectors, hybrid = times(memory, questions, hits, rounds).sum(axis=1).tolist()
                each = " | ".join(f"{1e3 * part / len(questions):.3f}" for part in (words, vectors, hybrid))
                ratios = " | ".join(f"{hybrid / part:.2f}" for part in (words, vectors, words + vectors))
                print(f"| {language} | {hits} | {each} | {ratios} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    load = f", at a load of {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{options.rows:,} chunks, {options.questions} questions, the least of {options.rounds} rounds{load}\n")
    compare(options.data, options.rows, options.questions, options.rounds)


if __name__ == "__main__":
    main()
