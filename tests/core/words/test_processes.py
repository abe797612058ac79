"""Several processes and threads feed and search one lexical.sqlite: no row is lost, moved or found elsewhere."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from memvid_core.errors import IndexStaleError
from memvid_core.words import posting_block as block
from memvid_core.words import postings
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.postings import PostingStore
from tests.processes import start

# Row n says "row<n>", so that each row can be asked for; all say "common".
WORKER = """
import random, sys
from pathlib import Path
from memvid_core.words.lexical_index import LexicalIndex
folder, rows, seed, searches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rng, wrong, done = random.Random(seed), 0, 0
print("ready", flush=True)
sys.stdin.readline()
index = LexicalIndex(folder)
while done < searches or index.rows < rows:
    if rng.random() < 0.4:
        index.sync()
    if index.rows < rows and rng.random() < 0.6:
        first = rng.randrange(max(0, index.rows - 5), index.rows + 1)
        size = rng.choice([1, 1, 2, 7, 40])
        index.extend(first, [f"row{n} common" for n in range(first, min(rows, first + size))])
    if index.rows:
        for row in rng.choices(range(index.rows), k=5):
            wrong += index.search(f"row{row}", 3)[0].tolist() != [row]
        wrong += len(index.search("common", rows)[0]) != index.rows
        done += 6
print(wrong, done, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_processes_that_start_at_once(tmp_path: Path, seed: int) -> None:
    rows, count, searches = 400, 5, 600
    workers = [start(WORKER, tmp_path, rows, seed * count + n, searches) for n in range(count)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        output, _ = worker.communicate(timeout=120)
        wrong, done = map(int, output.split())
        assert worker.returncode == 0
        assert wrong == 0
        assert done >= searches
    index = LexicalIndex(tmp_path)
    assert index.rows == rows
    assert [index.search(f"row{row}", 3)[0].tolist() for row in range(rows)] == [[row] for row in range(rows)]


def test_threads_with_an_index_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TAIL_ROWS", 3), ("MERGE_COUNT", 2), ("MERGE_TOKENS", 64), ("BLOCK_ROWS", 64)):
        monkeypatch.setattr(postings, name, value)
    monkeypatch.setattr(block, "BLOCK_ROWS", 5)
    begin, failures = threading.Barrier(4), list[str]()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        begin.wait()
        with_own = LexicalIndex(tmp_path)
        while with_own.rows < 150:
            first = rng.randrange(max(0, with_own.rows - 3), with_own.rows + 1)
            with_own.extend(first, [f"row{n} common" for n in range(first, min(150, first + rng.choice([1, 2, 9])))])
            row = rng.randrange(with_own.rows)
            if with_own.search(f"row{row}", 3)[0].tolist() != [row]:
                failures.append(f"row {row}")
        with_own.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(LexicalIndex(tmp_path).search("common", 999)[0]) == 150


def test_every_order_of_two_stores(tmp_path: Path) -> None:
    """A model of what was fed, and random steps of stores that open, feed, look and close in any order."""
    for seed in range(60):
        rng, path = random.Random(seed), tmp_path / f"{seed}.sqlite"
        stores: list[PostingStore] = [PostingStore(path)]
        rows = 0
        for _ in range(40):
            step = rng.choice(["open", "append", "append", "find", "close"])
            store = rng.choice(stores)
            if step == "open" and len(stores) < 4:
                stores.append(PostingStore(path))
            elif step == "close" and len(stores) > 1:
                stores.remove(store)
                store.close()
            elif step == "append":
                first = rng.randrange(store.rows + 1)  # what it knows may be old
                store.append(first, [f"row{n}" for n in range(first, first + rng.choice([1, 3, 600]))])
                rows = max(rows, store.rows)
                assert store.rows == rows
            elif rows:
                row = rng.randrange(rows)
                with store.snapshot():
                    assert store.find(f"row{row}", limit=9)[0].rows.tolist() == [row], (seed, step)
        for store in stores:
            store.close()


def test_a_store_that_opens_late_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find an empty file; the second comes to its transaction after the first has made the tables and fed rows."""
    path, prepare, entered, go_on = tmp_path / "l.sqlite", PostingStore._prepare, threading.Event(), threading.Event()

    def late(store: PostingStore, writable: bool) -> None:
        entered.set()
        go_on.wait(60)
        prepare(store, writable)

    monkeypatch.setattr(PostingStore, "_prepare", late)
    opened: list[PostingStore] = []
    thread = threading.Thread(target=lambda: opened.append(PostingStore(path)))
    thread.start()
    assert entered.wait(60)
    monkeypatch.setattr(PostingStore, "_prepare", prepare)
    first = PostingStore(path)
    first.append(0, ["wing", "jet", "heat"])
    go_on.set()
    thread.join(60)
    assert opened[0].rows == 3
    first.append(3, ["engine four"])
    opened[0].append(2, ["heat", "engine four", "five"])
    for store in (first, opened[0]):
        store.sync()
        assert [store.find(word, limit=9)[0].rows.tolist() for word in ("wing", "heat", "engin", "five")] == [
            [0],
            [2],
            [3],
            [4],
        ]
        store.close()


def test_rows_that_a_file_rebuilt_lacks_are_asked_for_again(tmp_path: Path) -> None:
    one, other = LexicalIndex(tmp_path), LexicalIndex(tmp_path)
    one.extend(0, ["wing", "jet", "heat"])
    other.sync()
    other._rebuild()
    assert other.rows == 0
    other.extend(0, ["wing"])
    one.sync()
    assert one.rows == 1
    with pytest.raises(IndexStaleError):
        one._stores[0].append(3, ["engine"])
    assert one.search("wing", 9)[0].tolist() == [0]
    one.extend(1, ["jet", "heat", "engine"])
    other.sync()
    assert other.search("engine", 9)[0].tolist() == [3]
    assert np.array_equal(one.search("heat", 9)[0], other.search("heat", 9)[0])
