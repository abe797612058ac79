"""The built-in embedder: hashed words and character n-grams in a fixed number of dimensions; no model, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import settings
from memvid_core.embedding.features import END, STOP, Terms, batches, signs, terms, terms_of_one
from memvid_core.embedding.fitting import Fit, fit_texts, weighted_counts
from memvid_core.errors import EmbeddingError, InvalidInputError, TextError
from memvid_core.system.threads import run_in_thread

__all__ = ["HashingEmbedder", "is_built_in"]

_SHORT = 1 << 15  # characters of a text that is embedded alone, without SciPy
_PRIOR = np.ones(4, dtype=np.float32)  # weight of each kind of feature without a fit
_PRIOR[STOP] = 0.1
_PRIOR[END] = 0.3  # the last bigram is often a particle, with little meaning
_LEAST = 256  # texts; fewer are not enough to fit
_LEARN_AT = 1_000  # records; from here on, a fit finds at least as much as plain hashing
_LEARN_AGAIN = 4  # times as many records
_LEARN_LAST = 20_000  # records; with more, embedding all of them again would delay the write that triggers it
_NAME = re.compile(r"memvid-hash-v\d+(:|$)")
_RANDOM = 0x6D76  # the seed of the signs; another seed would be another embedder


class HashingEmbedder:
    """Embed texts by hashed words and character n-grams; if fitted, by a latent semantic analysis of them.

    Unfitted, a vector depends only on the text and is identical on every machine, in every process and version. Fitted,
    weights and projection are learned from texts (Deerwester et al., JASIS 41, 1990), and ``dump`` returns them as
    bytes. A text without words and symbols gets the zero vector; all others have length 1.

    Args:
        dimension: The dimension of the vectors, 8 to 4096.

    Raises:
        InvalidInputError: If the dimension is out of range.

    Example:
        >>> embedder = HashingEmbedder()
        >>> near, far = embedder.embed_documents(["boundary layers in air", "대통령은 누구인가"])
        >>> query = embedder.embed_query("a boundary layer")
        >>> bool(near @ query > 0.5 > far @ query)
        True
    """

    kind = "memvid-hash-v1"

    def __init__(self, dimension: int = 384) -> None:
        if not 8 <= dimension <= 4096:
            raise InvalidInputError(
                f"a dimension of {dimension} is out of range: choose 8 to 4096 (the default is 384)"
            )
        self._dimension = dimension
        self._fit: Fit | None = None

    @classmethod
    def from_name(cls, name: str) -> HashingEmbedder:
        """Create the embedder with a recorded name, such as ``"memvid-hash-v1:384"``.

        Raises:
            InvalidInputError: If the name is not of a built-in embedder.
        """
        kind, _, dimension = name.partition(":")
        if kind != cls.kind or not (dimension.isascii() and dimension.isdigit()):
            newer = "; a newer version of memvid-core may have it" if is_built_in(name) else ""
            raise InvalidInputError(f"{name!r} is not a built-in embedder{newer}; write '{cls.kind}:<dimension>'")
        return cls(int(dimension))

    @property
    def name(self) -> str:
        """The name that a memory records. It does not depend on the fit, which is stored separately."""
        return f"{self.kind}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """The dimension of the vectors."""
        return self._dimension

    @property
    def fitted(self) -> bool:
        """Whether the embedder is fitted."""
        return self._fit is not None

    def __repr__(self) -> str:
        return f"HashingEmbedder(dimension={self._dimension}, fitted={self.fitted})"

    def clone(self) -> HashingEmbedder:
        """Return an unfitted embedder with the same settings. Each memory fits its own."""
        return type(self)(self._dimension)

    @property
    def min_texts_to_fit(self) -> int:
        """The minimum number of texts for ``fit``."""
        return _LEAST

    def should_learn(self, records: int, records_at_fit: int = 0) -> bool:
        """Return whether to fit the embedder to all records of a memory and embed them again.

        That is at 1,000 records, and then at four times the number of records of the last fit, up to 20,000.

        Args:
            records: The current number of records.
            records_at_fit: The number of records at the last fit; ignored if unfitted.

        Example:
            >>> [HashingEmbedder().should_learn(records) for records in (999, 1_000, 50_000)]
            [False, True, True]
        """
        if not self.fitted:
            return records >= _LEARN_AT
        again = _LEARN_AGAIN * max(records_at_fit, _LEARN_AT // _LEARN_AGAIN)
        return again <= records and again <= _LEARN_LAST

    def fit(self, texts: Sequence[str]) -> None:
        """Learn weights and a projection, replacing an earlier fit.

        Args:
            texts: Texts as they will be embedded. Fewer than 256 texts leave the embedder unfitted; of more than 20,000
                an even sample is used.
        """
        self._fit = fit_texts(texts, self._dimension) if len(texts) >= _LEAST else None

    def dump(self) -> bytes:
        """Return the fit as bytes, which ``load`` accepts on any machine.

        Raises:
            EmbeddingError: If the embedder is not fitted.
        """
        if self._fit is None:
            raise EmbeddingError(f"{self!r} is not fitted: fit it with {_LEAST} texts or more before dump()")
        return self._fit.dump()

    def load(self, data: bytes) -> None:
        """Load the fit of another instance.

        Raises:
            EmbeddingError: If the bytes are damaged or of another dimension; the embedder is unchanged.
        """
        self._fit = Fit.load(data, self._dimension)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts as float32 ``(len(texts), dimension)``, with rows of length 1 or 0.

        Raises:
            TextError: If a text is not a ``str``.
        """
        texts = list(texts)
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TextError(f"text {index} is of type {type(text).__name__}; pass a str")
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        fit = self._fit  # the same for all texts, even if another thread fits meanwhile
        for part in batches(texts, settings.DEFAULTS.embedded_texts):
            out[part] = self._embed(_terms(texts[part]), fit)
        return out

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a question in the same way as a text, as float32 ``(dimension,)``.

        Raises:
            TextError: If the text is not a ``str``.
        """
        vector: NDArray[np.float32] = self.embed_documents([text])[0]
        return vector

    async def aembed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Run ``embed_documents`` in a thread."""
        return await run_in_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> NDArray[np.float32]:
        """Run ``embed_query`` in a thread."""
        return await run_in_thread(self.embed_query, text)

    def _embed(self, found: Terms, fit: Fit | None) -> NDArray[np.float32]:
        vectors: NDArray[np.float32]
        if fit is None:
            vectors = weighted_counts(found, _PRIOR[found.kinds]) @ self._random(found.hashes)
        else:
            vectors = fit.project(found, self._random)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        lengths[lengths == 0] = 1
        unit: NDArray[np.float32] = (vectors / lengths[:, np.newaxis]).astype(np.float32)
        return unit

    def _random(self, hashes: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension), of length 1, that features have before anything is learned."""
        random = signs(hashes, self._dimension, _RANDOM)
        random /= np.float32(np.sqrt(self._dimension))
        return random


def is_built_in(name: str) -> bool:
    """Return whether a recorded name is of a built-in embedder of any version.

    The version is part of the name, so that a memory keeps its embedder when a version with another analysis comes.

    Example:
        >>> is_built_in("memvid-hash-v9:384"), is_built_in("all-MiniLM-L6-v2")
        (True, False)
    """
    return _NAME.match(name) is not None


def _terms(texts: Sequence[str]) -> Terms:
    """Count features; one text does not need SciPy, unless it is long: counting its words would block other threads."""
    return terms_of_one(texts[0]) if len(texts) == 1 and len(texts[0]) <= _SHORT else terms(texts)
