"""The built-in embedder: hashed words and character n-grams in a fixed number of dimensions; no model, no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding.features import END, STOP, Terms, batches, signs, terms
from memvid_core.embedding.fitting import Fit, fit_texts, weighted_counts
from memvid_core.errors import EmbeddingError, InvalidInputError, TextError
from memvid_core.system.threads import run_in_thread

__all__ = ["HashingEmbedder"]

_BATCH = 1024  # texts projected at a time: their features' projection stays near 30 MB
_PRIOR = np.ones(4, dtype=np.float32)  # weight of each kind of feature before anything is learnt
_PRIOR[STOP] = 0.1
_PRIOR[END] = 0.3  # where words carry particles, their last bigram says little
_LEAST = 256  # texts; fewer cannot be learnt from
_LEARN_AT = 1_000  # records; from here on, what is learnt finds at least as much as the plain hashing
_LEARN_AGAIN = 4  # times as many records
_LEARN_LAST = 20_000  # records; above, embedding all of them again would hold up the write that brings it on
_RANDOM = 0x6D76  # the stream of signs; another number would be another embedder


class HashingEmbedder:
    """Hashed words and character n-grams, projected to a fixed dimension; fitted, a latent semantic analysis of them.

    Unfitted, a text's vector depends on nothing but the text: the same bits of randomness on every machine, in every
    process and version. Fitted, weights and projection come from texts seen before (Deerwester et al., JASIS 41, 1990),
    and ``dump`` gives them as bytes. A text without a word or symbol gets the zero vector; all others have length 1.

    Args:
        dimension: Components of each vector, 8 to 4096.

    Raises:
        InvalidInputError: A dimension out of range.

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
        """The embedder that a memory recorded, such as ``"memvid-hash-v1:384"``.

        Raises:
            InvalidInputError: Not such a name.
        """
        kind, _, dimension = name.partition(":")
        if kind != cls.kind or not (dimension.isascii() and dimension.isdigit()):
            raise InvalidInputError(f"{name!r} is no built-in embedder: its name is '{cls.kind}:<dimension>'")
        return cls(int(dimension))

    @property
    def name(self) -> str:
        """The identity that a memory records, fitted or not: what was learnt is kept beside it."""
        return f"{self.kind}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """Components of each vector."""
        return self._dimension

    @property
    def fitted(self) -> bool:
        """Whether vectors come from what was learnt."""
        return self._fit is not None

    def __repr__(self) -> str:
        return f"HashingEmbedder(dimension={self._dimension}, fitted={self.fitted})"

    def clone(self) -> HashingEmbedder:
        """An unfitted embedder of the same settings: each memory fits its own."""
        return type(self)(self._dimension)

    @property
    def min_texts_to_fit(self) -> int:
        """How many texts ``fit`` needs to learn anything at all."""
        return _LEAST

    def should_learn(self, records: int, records_at_fit: int = 0) -> bool:
        """Whether it is time to fit to all records of a memory and to embed them again.

        That is at 1,000 records, and again at four times as many as were there the last time, up to 20,000.

        Args:
            records: How many records there are now.
            records_at_fit: How many there were when it learnt what it knows; of no meaning while it is unfitted.

        Example:
            >>> [HashingEmbedder().should_learn(records) for records in (999, 1_000, 50_000)]
            [False, True, True]
        """
        if not self.fitted:
            return records >= _LEARN_AT
        again = _LEARN_AGAIN * max(records_at_fit, _LEARN_AT // _LEARN_AGAIN)
        return again <= records and again <= _LEARN_LAST

    def fit(self, texts: Sequence[str]) -> None:
        """Learn weights and a projection, replacing what was learnt before.

        Args:
            texts: Texts as they will be embedded. Fewer than 256 of them leave the embedder unfitted; of many, an even
                sample is taken.
        """
        self._fit = fit_texts(texts, self._dimension) if len(texts) >= _LEAST else None

    def dump(self) -> bytes:
        """What was learnt, as bytes that ``load`` takes on any machine.

        Raises:
            EmbeddingError: Nothing was learnt.
        """
        if self._fit is None:
            raise EmbeddingError(f"{self!r} has learnt nothing: fit it with {_LEAST} texts or more before dump()")
        return self._fit.dump()

    def load(self, data: bytes) -> None:
        """Take what another instance learnt.

        Raises:
            EmbeddingError: The bytes are damaged, or of another dimension; nothing is changed.
        """
        self._fit = Fit.load(data, self._dimension)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 ``(len(texts), dimension)``, rows of length 1 or 0.

        Raises:
            TextError: A text is no ``str``.
        """
        texts = list(texts)
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TextError(f"text {index} is of type {type(text).__name__}, not a str")
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        fit = self._fit  # one for all, whatever another thread fits meanwhile
        for part in batches(texts, _BATCH):
            out[part] = self._embed(terms(texts[part]), fit)
        return out

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a question as any text is embedded: float32 ``(dimension,)``.

        Raises:
            TextError: The text is no ``str``.
        """
        vector: NDArray[np.float32] = self.embed_documents([text])[0]
        return vector

    async def aembed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As ``embed_documents``, in a thread."""
        return await run_in_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> NDArray[np.float32]:
        """As ``embed_query``, in a thread."""
        return await run_in_thread(self.embed_query, text)

    def _embed(self, found: Terms, fit: Fit | None) -> NDArray[np.float32]:
        random = signs(found.hashes, self._dimension, _RANDOM)
        random /= np.float32(np.sqrt(self._dimension))
        vectors: NDArray[np.float32]
        vectors = weighted_counts(found, _PRIOR[found.kinds]) @ random if fit is None else fit.project(found, random)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        lengths[lengths == 0] = 1
        unit: NDArray[np.float32] = (vectors / lengths[:, np.newaxis]).astype(np.float32)
        return unit
