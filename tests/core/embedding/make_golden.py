"""Write the golden files of the built-in embedder: ``python -m tests.core.embedding.make_golden``.

Only ever for a new version of it, under a new name: memories that were written with this one have to stay readable.
"""

from __future__ import annotations

import json
from pathlib import Path

from memvid_core.embedding import HashingEmbedder
from tests.core.embedding.corpus import texts

FOLDER = Path(__file__).parent / "golden"
SAMPLES = [
    "The boundary layer of a heated wing, layers 1-3.",
    "대통령은 국회에서 선출된다.",
    "東京タワーは高い",
    "Größe naïve привет мир",
    "🙂 rocket 🚀",
    " \n\t ...",
]


def main() -> None:
    plain = HashingEmbedder()
    (FOLDER / "hash-v1.json").write_text(
        json.dumps(
            {text: [round(float(x), 7) for x in plain.embed_query(text)] for text in SAMPLES}, ensure_ascii=False
        ),
        encoding="utf-8",
    )
    fitted = HashingEmbedder(24)
    fitted.fit(texts())
    (FOLDER / "fit-v1.bin").write_bytes(fitted.dump())
    (FOLDER / "fit-v1.json").write_text(
        json.dumps(
            {text: [round(float(x), 7) for x in fitted.embed_query(text)] for text in SAMPLES}, ensure_ascii=False
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
