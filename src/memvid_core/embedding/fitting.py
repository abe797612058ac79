"""What the built-in embedder learns from texts: how rare each feature is, and which features mean the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from memvid_core.embedding.features import STOP, Terms, batches, signs, terms
from memvid_core.errors import EmbeddingError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Fit", "fit_texts", "weighted_counts"]

_BATCH = 2_048  # texts whose features are counted at a time
_SAMPLE = 20_000  # texts that are learnt from, at most
_BUCKETS = 1 << 16  # of the table of rarities
_TOP = 2_048  # features with a row of their own
_SHARED = 4_096  # rows, at most, that all other features share
_UNSEEN = 0.3  # length of a feature's vector that no text showed, beside about 1 of one that many did
_LEVELS = 4  # a component is one of -4 ... 4 steps, some 3 bits; twice as many add a sixth of the state's size
_BASE = 2 * _LEVELS + 1
_STEP = 0.6  # of a row's root mean square
_DEPENDENT = 1e-6  # of the longest: shorter than this, a column is what float32 has left of a sum of others
_OVERSAMPLING, _ITERATIONS, _START = 16, 3, 0x7376
_MAGIC = b"mvfit1\0\0"
_LARGEST = 64 << 20


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 16)]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    dimension: _Count
    keys: _Count
    rows: _Count
    rank: _Count


@dataclass(frozen=True)
class Fit:
    """Weights and a projection, learnt from texts.

    ``rarity`` holds an idf for each of 65,536 buckets of feature hashes, in 1/16, 0 where no feature was seen. ``keys``
    are the upper halves of the hashes that have a row of their own, ascending; ``rows`` are small integers
    ``(len(keys) + shared, rank)``, which times ``scales`` give the projection. The rest share the last rows, with a
    sign from their hash (feature hashing, Weinberger et al., ICML 2009).
    """

    dimension: int
    rarity: NDArray[np.uint8]
    keys: NDArray[np.uint32]
    rows: NDArray[np.int8]
    scales: NDArray[np.float16]

    def project(self, found: Terms, random: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors ``(texts, dimension)``; ``random`` has the vector of each feature that the fit has not seen."""
        rarity = self.rarity[_bucket(found.hashes)]
        unseen = rarity == 0
        weights = _idf(np.where(unseen, self.rarity.max(), rarity))
        columns, negative = _columns(found.hashes, self.keys, len(self.rows) - len(self.keys))
        scales = self.scales[columns].astype(np.float32)
        scales[negative] *= -1
        projection = np.zeros((len(columns), self.dimension), dtype=np.float32)
        np.multiply(self.rows[columns], scales[:, np.newaxis], out=projection[:, : self.rows.shape[1]])
        projection[unseen] = random[unseen] * np.float32(_UNSEEN)
        vectors: NDArray[np.float32] = weighted_counts(found, weights, repeats=found.kinds <= STOP) @ projection
        return vectors

    def dump(self) -> bytes:
        """Bytes for ``load``: a magic, and a zstd block of a msgpack header and the arrays."""
        digits = (self.rows + _LEVELS).astype(np.uint8).ravel()
        pairs = np.append(digits, np.zeros(len(digits) % 2, np.uint8)).reshape(-1, 2)
        header = msgspec.msgpack.encode(_Header(self.dimension, len(self.keys), len(self.rows), self.rows.shape[1]))
        body = b"".join(
            (
                len(header).to_bytes(4, "little"),
                header,
                self.rarity.tobytes(),
                self.keys.astype("<u4").tobytes(),
                self.scales.astype("<f2").tobytes(),
                (pairs[:, 0] * _BASE + pairs[:, 1]).astype(np.uint8).tobytes(),
            )
        )
        return _MAGIC + zstandard.ZstdCompressor(level=9, write_checksum=True).compress(body)

    @classmethod
    def load(cls, data: bytes, dimension: int) -> Fit:
        """Read what ``dump`` wrote.

        Raises:
            EmbeddingError: The bytes are damaged, or of another dimension.
        """
        try:
            body = _body(data)
            size = int.from_bytes(body[:4], "little")
            header = msgspec.msgpack.decode(body[4 : 4 + size], type=_Header)
            if header.dimension != dimension:
                raise EmbeddingError(f"the fitted state has dimension {header.dimension}, the embedder {dimension}")
            return cls._from_body(header, memoryview(body)[4 + size :])
        except (ValueError, msgspec.MsgspecError, zstandard.ZstdError) as error:
            raise EmbeddingError(
                f"the fitted state of the embedder is damaged ({error}): refit the memory, or restore the file"
            ) from error

    @classmethod
    def _from_body(cls, header: _Header, body: memoryview) -> Fit:
        cells = header.rows * header.rank
        sizes = (_BUCKETS, 4 * header.keys, 2 * header.rows, (cells + 1) // 2)
        shared = header.rows - header.keys
        if sum(sizes) != len(body) or not 0 < header.rank <= header.dimension or shared < 1 or shared & (shared - 1):
            raise ValueError(f"its header and its {len(body)} bytes do not fit together")
        rarity, keys, scales, packed = (
            np.frombuffer(body[sum(sizes[:i]) : sum(sizes[: i + 1])], dtype=dtype)
            for i, dtype in enumerate(("u1", "<u4", "<f2", "u1"))
        )
        if len(packed) and int(packed.max()) >= _BASE**2:
            raise ValueError("a component is out of range")
        if not np.isfinite(scales).all() or np.any(np.diff(keys.astype(np.int64)) <= 0):
            raise ValueError("its keys or scales are out of order")
        pairs = np.stack(np.divmod(packed, _BASE), axis=1).ravel()[:cells]
        rows = (pairs.astype(np.int8) - _LEVELS).reshape(header.rows, header.rank)
        return cls(header.dimension, rarity.copy(), keys.astype(np.uint32), rows, scales.astype(np.float16))


def weighted_counts(
    found: Terms, weights: NDArray[np.float32], *, repeats: NDArray[np.bool_] | None = None
) -> csr_matrix:
    """Counts to weights: 1 + ln(count) for features whose ``repeats`` count, 1 for the others; times their weight."""
    weighted = found.counts.copy()
    data = 1 + np.log(weighted.data)
    if repeats is not None:
        data[~repeats[weighted.indices]] = 1
    weighted.data = data.astype(np.float32) * weights[weighted.indices]
    return weighted


def fit_texts(texts: Sequence[str], dimension: int) -> Fit | None:
    """Learn from texts; ``None`` where they hold nothing to learn from.

    Cost is bounded: of more than 20,000 texts an even sample is taken.
    """
    sample = _even(texts, _SAMPLE)
    counted = [terms(sample[part]) for part in batches(sample, _BATCH)]
    every = np.concatenate([batch.hashes for batch in counted])
    texts_with = np.concatenate([batch.counts.getnnz(axis=0) for batch in counted])
    hashes, inverse = np.unique(every, return_inverse=True)
    if not len(hashes):
        return None
    frequency = np.bincount(inverse, weights=texts_with)
    idf = np.log((1 + len(sample)) / (1 + frequency)) + 1
    rarity = np.zeros(_BUCKETS, dtype=np.uint8)
    # of features in one bucket the most frequent decides: it is met most often
    commonest = np.full(_BUCKETS, np.inf)
    np.minimum.at(commonest, _bucket(hashes), idf)
    rarity[np.isfinite(commonest)] = np.rint(commonest[np.isfinite(commonest)] * 16)
    heaviest = np.argsort(-frequency * idf**2, kind="stable")[:_TOP]
    keys = np.unique((hashes[heaviest] >> np.uint64(32)).astype(np.uint32))
    shared = 1 << min(max(len(hashes) - len(keys) - 1, 255).bit_length(), _SHARED.bit_length() - 1)
    with _one_blas_thread():
        rows, scales = _quantise(_latent(_sketch(counted, rarity, keys, shared), dimension))
    return Fit(dimension, rarity, keys, rows, scales)


def _even(texts: Sequence[str], count: int) -> list[str]:
    """At most ``count`` texts, evenly spread."""
    if len(texts) <= count:
        return list(texts)
    return [texts[index] for index in np.linspace(0, len(texts) - 1, count).astype(int)]


def _idf(rarity: NDArray[np.uint8]) -> NDArray[np.float32]:
    return rarity.astype(np.float32) / np.float32(16)


def _bucket(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
    return (hashes & np.uint64(_BUCKETS - 1)).astype(np.intp)


def _columns(
    hashes: NDArray[np.uint64], keys: NDArray[np.uint32], shared: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Each feature's row of the projection, and whether it is taken negative; other bits than the bucket's are used."""
    upper = (hashes >> np.uint64(32)).astype(np.uint32)
    place = np.searchsorted(keys, upper)
    own = np.append(keys, np.uint32(0))[place] == upper
    own &= place < len(keys)
    rest = len(keys) + ((hashes >> np.uint64(16)) & np.uint64(shared - 1)).astype(np.intp)
    return np.where(own, place, rest), ~own & ((hashes >> np.uint64(28)) & np.uint64(1)).astype(bool)


def _sketch(counted: list[Terms], rarity: NDArray[np.uint8], keys: NDArray[np.uint32], shared: int) -> csr_matrix:
    """The weighted texts, of length 1, in the columns that the projection has rows for."""
    from scipy.sparse import csr_matrix, diags, vstack

    parts = []
    for batch in counted:
        columns, negative = _columns(batch.hashes, keys, shared)
        fold = csr_matrix(
            (np.where(negative, -1, 1).astype(np.float32), columns, np.arange(len(columns) + 1)),
            shape=(len(columns), len(keys) + shared),
        )
        weights = _idf(rarity[_bucket(batch.hashes)])
        # once weights are learnt, n-grams count once: they overlap, so that their repeats mislead
        folded = weighted_counts(batch, weights, repeats=batch.kinds <= STOP) @ fold
        lengths = np.sqrt(np.asarray(folded.power(2).sum(axis=1))).ravel()
        lengths[lengths == 0] = 1
        parts.append(diags((1 / lengths).astype(np.float32)) @ folded)
    return vstack(parts).tocsr()


def _latent(sketch: csr_matrix, dimension: int) -> NDArray[np.float32]:
    """The right singular vectors ``(columns, rank)`` of the largest singular values, each with its sign fixed.

    A randomised subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53, 2011) from fixed signs; one iteration
    more than none is what the retrieval could tell apart.
    """
    width = min(dimension + _OVERSAMPLING, *sketch.shape)
    transposed = sketch.T.tocsr()
    basis = signs(np.arange(sketch.shape[1], dtype=np.uint64), width, _START)
    for _ in range(_ITERATIONS):
        basis = _orthonormal(transposed @ (sketch @ basis))
    image = sketch @ basis
    values, vectors = np.linalg.eigh((image.T @ image).astype(np.float64))
    kept = np.flatnonzero(values > 1e-6 * values[-1])[::-1][:dimension]
    right = basis @ vectors[:, kept].astype(np.float32)
    peaks = np.argmax(np.abs(right), axis=0)
    fixed: NDArray[np.float32] = right * np.where(right[peaks, np.arange(right.shape[1])] < 0, -1, 1).astype(np.float32)
    return fixed


def _orthonormal(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """An orthonormal basis of the span of a matrix's columns, which are far fewer than its rows.

    Cholesky QR twice (Yamamoto et al., ETNA 44, 2015), in a third of the time of a Householder QR. That of NumPy also
    holds the interpreter's lock all the time, so that an event loop in another thread would stand still for seconds.
    """
    basis = matrix
    for precision in ("f8", "f4"):  # once the columns are nearly orthonormal, single precision will do
        wide: NDArray[Any] = basis.astype(precision, copy=False)
        basis = basis @ _inverse_root((wide.T @ wide).astype(np.float64)).astype(np.float32)
    return basis


def _inverse_root(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """What turns columns that have these inner products into orthonormal ones; dependent columns are left out."""
    with suppress(np.linalg.LinAlgError):
        factor = np.linalg.cholesky(gram)
        lengths = np.diagonal(factor)
        if lengths.min() > _DEPENDENT * lengths.max():
            inverse: NDArray[np.float64] = np.linalg.inv(factor).T
            return inverse
    values, vectors = np.linalg.eigh(gram)
    kept = values > _DEPENDENT**2 * values[-1]
    root: NDArray[np.float64] = vectors[:, kept] / np.sqrt(values[kept])
    return root


_one_fit = threading.Lock()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread meanwhile: a second gains these products little, and spins where cores are busy.

    The limit is the process's, and threadpoolctl lets one thread at a time set it: fits wait for each other here.
    """
    from threadpoolctl import threadpool_limits

    with _one_fit, threadpool_limits(1, user_api="blas"):
        yield


def _after_fork() -> None:
    """Take a lock that no thread of the parent holds."""
    global _one_fit
    _one_fit = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _quantise(projection: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Each row in small integer steps of its own size."""
    scales = (np.sqrt(np.mean(np.square(projection, dtype=np.float64), axis=1)) * _STEP).astype(np.float16)
    steps = np.where(scales > 0, scales, 1).astype(np.float32)[:, np.newaxis]
    return np.clip(np.rint(projection / steps), -_LEVELS, _LEVELS).astype(np.int8), scales


def _body(data: bytes) -> bytes:
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it does not begin as one")
    block = data[len(_MAGIC) :]
    size = zstandard.frame_content_size(block)
    if not 4 < size <= _LARGEST:
        raise ValueError(f"it says that it unpacks to {size} bytes")
    body = zstandard.ZstdDecompressor().decompress(block, max_output_size=_LARGEST)
    if len(body) != size:
        raise ValueError(f"it says that it unpacks to {size} bytes, and has {len(body)}")
    return body
