"""Lexical search at 100,000 chunks of 500 characters: compared with other engines, in a memory, and under attack.

    python -m benchmarks.retrieval.scale [--rows 100000] [--data FOLDER]

- Engines are fed the tokens of our analyzer, so that engines are compared and not how they cut words. ``words`` is
  synthetic text with the word frequencies of English (Zipf) over 300,000 words; ``Korean`` is KorQuAD's, repeated.
- Then a memory of the same texts, with vectors: what the first question by words costs it, which builds its index, and
  what the modes cost, the vector of the question being given.
- Then 10,000 seeded questions of operators, quotes, null bytes, emoji, right-to-left text, lone surrogates and up to
  100 KB, to the same memory: none may raise, and the slowest is printed.

Each row is measured in a process of its own; for one core, set the affinity (``taskset -c 0``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import CHUNK, add_data_option
from benchmarks.machine import describe
from memvid_core import Memory, QueryError
from memvid_core.engine.search_request import Mode

Search = Callable[[str], Any]


def zipfian(rows: int, vocabulary: int = 300_000) -> list[str]:
    """Return chunks of words with the lengths and frequencies of English words."""
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
    """Return chunks of KorQuAD's paragraphs, each from a random position."""
    with open(data / "korquad" / "KorQuAD_v1.0_dev.json", encoding="utf-8") as file:
        text = "\n".join(p["context"] for article in json.load(file)["data"] for p in article["paragraphs"])
    rng = np.random.default_rng(0)
    return [text[at : at + CHUNK] for at in rng.integers(0, len(text) - CHUNK, rows).tolist()]


def _ours(folder: Path, texts: list[str]) -> tuple[Search, Callable[[str], None]]:
    from memvid_core.words.lexical_index import LexicalIndex

    index = LexicalIndex(folder)
    index.extend(0, texts)
    return lambda query: index.search(query, 10), lambda text: index.extend(index.rows, [text])


def _fts5(folder: Path, texts: list[str]) -> tuple[Search, Callable[[str], None]]:
    import sqlite3

    from memvid_core.words.analyzer import parse, tokenize

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

    from memvid_core.words.analyzer import parse, tokenize

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


def _filled(folder: Path, texts: list[str]) -> tuple[Memory, NDArray[np.float32]]:
    """Return a memory of the texts, and their vectors, each near one of 500 centers."""
    rng = np.random.default_rng(2)
    centers = rng.standard_normal((500, 384), np.float32)
    vectors = centers[rng.integers(0, 500, len(texts))] + 0.8 * rng.standard_normal((len(texts), 384), np.float32)
    memory = Memory.create(folder / "memory.mp4", "given")
    memory.add(texts, vectors=vectors)
    return memory, vectors


def _modes(texts: list[str]) -> str:
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as name:
        memory, vectors = _filled(Path(name), texts)
        with memory:
            started, used = time.perf_counter(), time.process_time()
            memory.search("anything", mode="lexical")
            built, used = time.perf_counter() - started, time.process_time() - used
            near = rng.integers(0, len(texts), 200)
            asked = [(" ".join(rng.choice(texts[row].split(), 5)), vectors[row]) for row in near.tolist()]
            modes: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
            times: dict[Mode, list[float]] = {mode: [] for mode in modes}
            for turn in range(6):  # by turns, so that what else the machine does meets all alike
                for question, vector in asked[turn % 2 :: 2]:
                    for mode in modes:
                        start = time.perf_counter()
                        memory.search(question, k=10, mode=mode, embedding=vector)
                        times[mode].append((time.perf_counter() - start) * 1e3)
    dense, lexical, hybrid = (float(np.median(times[mode])) for mode in modes)
    more = hybrid - dense - lexical
    return f"{built:.1f} | {used:.1f} | {dense:.2f} | {lexical:.2f} | {hybrid:.2f} | {more:+.2f}"


PIECES = (
    *('"', '""', "-", '-"', "*", "**", "(", ")", "AND", "OR", "NOT", "NEAR/3", "title:", "^", "~2", "{", "[", "\\"),
    *("%s", "$", "'; DROP TABLE postings; --", "\0", "\x1f", "\n", "\u200b", "\u200d", "\u202e", "\u2066", "\ufeff"),
    *("😀", "👩‍👩‍👧", "🇰🇷", "שלום", "مرحبا بالعالم", "\ud800", "\udfff", "\ufdfa", "ß", "ﬁ", "e\u0301", "İ", "½"),
    *(
        "여의도에서",
        "서울",
        "ㅋㅋㅋ",
        "富士山",
        "カメラ",
        "ﾊﾟｿｺﾝ",
        "ไทย",
        "कि",
        "여*",
        "a*",
        "the*",
        '"of the"',
        "-the",
        "INV-20417",
    ),
)


def hostile(rng: random.Random) -> str:
    """Return a random malformed query; one in five is long, up to 100 KB."""
    gap = rng.choice(["", " "])
    question = gap.join(rng.choices(PIECES, k=rng.randrange(1, 30)))
    if rng.random() < 0.2:
        question = (question + gap) * (100_000 // len(question.encode(errors="surrogatepass")) + 1)
        question = question.encode(errors="surrogatepass")[:100_000].decode(errors="ignore")
    return question


def _attacked(texts: list[str], questions: int) -> str:
    rng = random.Random(20)
    slowest, times, empty = "", [0.0], 0
    with tempfile.TemporaryDirectory() as name:
        memory, vectors = _filled(Path(name), texts)
        with memory:
            memory.search("anything", mode="lexical")
            for _ in range(questions):
                question = hostile(rng)
                start = time.perf_counter()
                try:
                    memory.search(question, k=10, mode="hybrid", embedding=vectors[0])
                except QueryError:  # nothing but blanks
                    empty += 1
                times.append((time.perf_counter() - start) * 1e3)
                if times[-1] == max(times):
                    slowest = question
    return (
        f"{questions:,} | {empty} | {np.median(times):.1f} | {np.quantile(times, 0.99):.0f} | {max(times):.0f} "
        f"| {len(slowest):,} characters, {slowest[:24]!a}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    add_data_option(parser)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--questions", type=int, default=10_000, help="of those that attack")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "bm25s"))
    kinds = {"words": zipfian(arguments.rows), "Korean": korean(arguments.rows, arguments.data)}
    for name, texts in kinds.items():
        print(f"\n## {name}: {len(texts):,} chunks, {sum(len(text.encode()) for text in texts) / 1e6:.0f} MB\n")
        print("| engine | build s | processor s | disk MB | query p50 ms | p95 ms | one more row ms |\n|" + "---|" * 7)
        for engine in arguments.engines:
            print(f"| {engine} | {_apart(_run, engine, texts)} |", flush=True)
    print("\n## In a memory, k = 10: the first question by words, then the median of a mode, in ms\n")
    print("| texts | first s | processor s | dense | lexical | hybrid | more than both |\n|" + "---|" * 7)
    for name, texts in kinds.items():
        print(f"| {name} | {_apart(_modes, texts)} |", flush=True)
    print("\n## Under attack, hybrid\n")
    print("| texts | questions | empty | p50 ms | p99 ms | slowest ms | which |\n|" + "---|" * 7)
    for name, texts in kinds.items():
        print(f"| {name} | {_apart(_attacked, texts, arguments.questions // 2)} |", flush=True)


def _apart(work: Callable[..., str], *arguments: Any) -> str:
    """Run in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


if __name__ == "__main__":
    main()
