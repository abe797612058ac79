"""A library of shards beside one memory of the same records: are the answers equal, and what do they cost?

For each collection, the texts are divided into shards at random and by topic (k-means over the vectors of the built-in
embedder). Each question is asked of the memory and of the library, in three modes; an answer differs if an id or the
order of the first ten does.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.data import add_data_option
from benchmarks.machine import describe
from benchmarks.retrieval.questions import DEPTH, Collection, collections, measure
from memvid_core import HashingEmbedder, Library, Memory, Record
from memvid_core.engine.search_request import Mode

_ROUNDS = 12


def topics(texts: list[str], count: int) -> list[int]:
    """Return the topic of each text: spherical k-means over the vectors of the built-in embedder."""
    embedder = HashingEmbedder()
    embedder.fit(texts)
    units = np.asarray(embedder.embed_documents(texts), np.float64)
    centers = units[np.random.default_rng(1).choice(len(units), count, replace=False)]
    found = np.zeros(len(units), np.int64)
    for _ in range(_ROUNDS):
        found = np.argmax(units @ centers.T, axis=1)
        for number in range(count):
            if (found == number).any():
                mean = units[found == number].mean(axis=0)
                centers[number] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    labels: list[int] = found.tolist()
    return labels


def divided(collection: Collection, split: str, shards: int) -> list[Record]:
    """Return the records in the order in which they are divided into shards."""
    records = [Record(str(number), text, {}) for number, text in enumerate(collection.texts) if text.strip()]
    random.Random(1).shuffle(records)
    if split == "random":
        return records
    labels = dict(zip(range(len(collection.texts)), topics(collection.texts, shards), strict=True))
    return sorted(records, key=lambda record: labels[int(record.id)])


def compare(collection: Collection, split: str, shards: int, limit: int | None) -> None:
    """Print a row for each mode."""
    records = divided(collection, split, shards)
    questions = collection.questions[:limit]
    relevant = collection.relevant[:limit]
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory.create(Path(folder, "one.mp4")) as memory,
        Library.create(Path(folder, "library")) as library,
    ):
        memory.add([r.text for r in records], [r.metadata for r in records], [r.id for r in records])
        memory.prepare()
        library.build(records, rows_per_shard=-(-len(records) // shards))
        for mode in get_args(Mode):
            differing = scores = 0
            spent = [0.0, 0.0]
            rankings: list[list[list[int]]] = [[], []]
            for question in questions:
                hits = []
                for number, search in enumerate((memory.search, library.search)):
                    started = time.process_time()
                    hits.append(search(question, DEPTH, mode=mode))
                    spent[number] += time.process_time() - started
                    rankings[number].append([int(hit.id) for hit in hits[-1]])
                differing += rankings[0][-1] != rankings[1][-1]
                scores += [hit.score for hit in hits[0]] != [hit.score for hit in hits[1]]
            one, many = (measure(ranking, relevant)["nDCG@10"] for ranking in rankings)
            milliseconds = [1000 * seconds / len(questions) for seconds in spent]
            print(
                f"| {collection.name} | {library.info().shards} {split} | {mode} "
                f"| {len(questions):,} | {differing} | {scores} | {one:.4f} | {many:.4f} "
                f"| {milliseconds[0]:.1f} | {milliseconds[1]:.1f} |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library", description=__doc__)
    add_data_option(parser)
    parser.add_argument("--shards", type=int, default=10, help="the number of shards (default: 10)")
    parser.add_argument("--questions", type=int, default=None, help="only the first N of each collection")
    given = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print("CPU time of a question, of all threads; other programs running at the same time make it longer.\n")
    print(
        "| collection | shards | mode | questions | other ids or order | other scores "
        "| nDCG@10, one memory | library | CPU ms, one memory | library |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for collection in collections(given.data):
        for split in ("random", "by topic"):
            compare(collection, split, given.shards, given.questions)


if __name__ == "__main__":
    main()
