"""Lexical engines at 100,000 chunks of 500 characters: build, size, five-word questions, one more row.

    python -m benchmarks.retrieval.scale [--rows 100000] [--data FOLDER]

Every engine is fed the tokens of our analyser, so that engines are compared and not how they cut words. ``words`` is
synthetic text with the word frequencies of English (Zipf) over 300,000 words; ``Korean`` is KorQuAD's, repeated. Each
engine runs in a process of its own; for one core, set its affinity (``taskset -c 0``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import CHUNK, DATA
from benchmarks.machine import describe

Search = Callable[[str], Any]


def zipfian(rows: int, vocabulary: int = 300_000) -> list[str]:
    """Chunks of words whose lengths and frequencies are those of English."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    chances = 1 / np.arange(1, len(letters) + 1) ** 0.6
    lengths = np.clip(rng.poisson(2 + np.log1p(np.arange(vocabulary)) / 2.2), 2, 14)
    drawn = rng.choice(letters, size=(vocabulary, 14), p=chances / chances.sum())
    words = np.array(["".join(row[:length]) for row, length in zip(drawn, lengths, strict=True)], dtype=object)
    frequency = np.cumsum(1 / (np.arange(vocabulary) + 2.7) ** 1.05)
    frequency /= frequency[-1]
    return [" ".join(words[np.searchsorted(frequency, rng.random(110))])[:CHUNK] for _ in range(rows)]


def korean(rows: int, data: Path) -> list[str]:
    """Chunks of KorQuAD's paragraphs, each starting somewhere else."""
    with open(data / "korquad" / "KorQuAD_v1.0_dev.json", encoding="utf-8") as file:
        text = "\n".join(p["context"] for article in json.load(file)["data"] for p in article["paragraphs"])
    rng = np.random.default_rng(0)
    return [text[at : at + CHUNK] for at in rng.integers(0, len(text) - CHUNK, rows).tolist()]


def _ours(folder: Path, texts: list[str]) -> tuple[Search, Callable[[str], None]]:
    from memvid_core.index.lexical import LexicalIndex

    index = LexicalIndex(folder)
    index.extend(0, texts)
    return lambda query: index.search(query, 10), lambda text: index.extend(index.rows, [text])


def _fts5(folder: Path, texts: list[str]) -> tuple[Search, Callable[[str], None]]:
    import sqlite3

    from memvid_core.index.tokens import parse, tokenize

    sqlite = sqlite3.connect(folder / "fts5.sqlite", isolation_level=None)
    sqlite.execute("PRAGMA journal_mode = WAL")
    sqlite.execute("PRAGMA synchronous = NORMAL")
    sqlite.execute("""CREATE VIRTUAL TABLE t USING fts5(x, content='', tokenize="unicode61 tokenchars '^'")""")

    def add(batch: list[str]) -> None:
        sqlite.execute("BEGIN")
        sqlite.executemany("INSERT INTO t(x) VALUES (?)", ((" ".join(tokenize(text)),) for text in batch))
        sqlite.execute("COMMIT")

    def search(query: str) -> Any:
        match = " OR ".join(f'"{term}"' for term in parse(query).terms)
        return sqlite.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT 10", (match,)).fetchall()

    add(texts)
    return search, lambda text: add([text])


def _bm25s(folder: Path, texts: list[str]) -> tuple[Search, None]:
    import bm25s

    from memvid_core.index.tokens import parse, tokenize

    index = bm25s.BM25()
    index.index([tokenize(text) for text in texts], show_progress=False)
    index.save(str(folder))
    return lambda query: index.retrieve([list(parse(query).terms)], k=10, show_progress=False), None


ENGINES: dict[str, Callable[[Path, list[str]], tuple[Search, Callable[[str], None] | None]]] = {
    "memvid": _ours,
    "SQLite FTS5, contentless": _fts5,
    "bm25s": _bm25s,
}


def _run(engine: str, texts: list[str]) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started, used = time.perf_counter(), time.process_time()
        search, add = ENGINES[engine](folder, texts)
        built, used = time.perf_counter() - started, time.process_time() - used
        size = sum(path.stat().st_size for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))
        rng = np.random.default_rng(1)
        queries = [" ".join(rng.choice(texts[rng.integers(len(texts))].split(), 5)) for _ in range(200)]
        asked = _times(search, queries)
        added = "cannot" if add is None else f"{np.median(_times(add, texts[:300])):.2f}"
        p50, p95 = np.percentile(asked, [50, 95])
        return f"{built:.1f} | {used:.1f} | {size / 1e6:.0f} | {p50:.1f} | {p95:.1f} | {added}"


def _times(call: Callable[[str], Any], items: list[str]) -> list[float]:
    times = []
    for item in items:
        started = time.perf_counter()
        call(item)
        times.append((time.perf_counter() - started) * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "bm25s"))
    for name, texts in (("words", zipfian(arguments.rows)), ("Korean", korean(arguments.rows, arguments.data))):
        print(f"\n## {name}: {len(texts):,} chunks, {sum(len(text.encode()) for text in texts) / 1e6:.0f} MB\n")
        print("| engine | build s | processor s | disk MB | query p50 ms | p95 ms | one more row ms |\n|" + "---|" * 7)
        for engine in arguments.engines:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(f"| {engine} | {pool.apply(_run, (engine, texts))} |", flush=True)


if __name__ == "__main__":
    main()
