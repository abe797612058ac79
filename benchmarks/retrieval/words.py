"""The words index, compared with tantivy and bm25s on Cranfield: indexing time, query time, retrieval quality.

    python -m benchmarks.retrieval.words [--data FOLDER]

All engines index the same texts in a folder and answer the same questions by lexical search alone. tantivy (a design
like Lucene's, in Rust) uses its English stemmer, bm25s its English stop words.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import add_data_option
from benchmarks.machine import describe
from benchmarks.retrieval.questions import DEPTH, MEASURES, Collection, collections, measure
from memvid_core.model import plain_query
from memvid_core.words.lexical_index import LexicalIndex

Search = Callable[[str], list[int]]
Build = Callable[[list[str], Path], Search]


def build_ours(texts: list[str], folder: Path) -> Search:
    index = LexicalIndex(folder)
    index.extend(0, texts)
    mask = np.ones(len(texts), np.bool_)

    def search(question: str) -> list[int]:
        found: list[int] = index.search(plain_query(question), DEPTH, mask)[0].tolist()
        return found

    return search


def build_tantivy(texts: list[str], folder: Path, tokenizer: str = "en_stem") -> Search:
    import tantivy

    folder.mkdir()
    schema = tantivy.SchemaBuilder().add_integer_field("row", stored=True)
    schema = schema.add_text_field("text", tokenizer_name=tokenizer).build()
    index = tantivy.Index(schema, path=str(folder))
    writer = index.writer()
    for row, text in enumerate(texts):
        writer.add_document(tantivy.Document(row=row, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher: Any = index.searcher()

    def search(question: str) -> list[int]:
        words = " ".join(re.findall(r"\w+", question.lower()))  # like plain_query: without query syntax
        query = index.parse_query(words, ["text"])
        return [searcher.doc(address)["row"][0] for _, address in searcher.search(query, DEPTH).hits]

    return search


def build_bm25s(texts: list[str], folder: Path) -> Search:
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    index.save(str(folder))

    def search(question: str) -> list[int]:
        tokens = bm25s.tokenize([question], stopwords="en", show_progress=False)
        numbers: list[int] = index.retrieve(tokens, k=DEPTH, show_progress=False)[0][0].tolist()
        return numbers

    return search


ENGINES: dict[str, Build] = {
    "memvid words": build_ours,
    "tantivy (en_stem)": build_tantivy,
    "bm25s": build_bm25s,
}
ROUNDS = 5


def compare(collection: Collection) -> None:
    """Print the table of one collection: the engines take turns, and the minimum time of each is reported."""
    texts, questions = collection.texts, collection.questions
    built: dict[str, list[float]] = {name: [] for name in ENGINES}
    medians: dict[str, list[float]] = {name: [] for name in ENGINES}
    disk: dict[str, float] = {}
    found: dict[str, list[list[int]]] = {}
    for _ in range(ROUNDS):
        for name, build in ENGINES.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                search = build(texts, Path(folder) / "index")
                built[name].append(time.perf_counter() - start)
                disk[name] = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
                search(questions[0])
                times: list[float] = []
                answers: list[list[int]] = []
                for question in questions:
                    start = time.perf_counter()
                    answers.append(search(question))
                    times.append(time.perf_counter() - start)
                found[name] = answers
                medians[name].append(float(np.median(times)))
    print(f"\n{collection.name}: {len(texts):,} texts, {len(questions):,} questions; the best of {ROUNDS} rounds\n")
    print(f"| engine | index s | disk MB | p50 ms | {' | '.join(MEASURES)} |\n|" + "---|" * (len(MEASURES) + 4))
    for name in ENGINES:
        right = measure(found[name], collection.relevant)
        cells = (f"{min(built[name]):.3f}", f"{disk[name]:.2f}", f"{1e3 * min(medians[name]):.3f}")
        print(f"| {name} | {' | '.join((*cells, *(f'{right[one]:.3f}' for one in MEASURES)))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    options = parser.parse_args()
    print(describe("memvid-core", "numpy", "tantivy", "bm25s"))
    compare(collections(options.data)[0])  # tantivy does not tokenize Korean


if __name__ == "__main__":
    main()
