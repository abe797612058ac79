"""The fit of the built-in embedder: the rarity of each feature, and a latent semantic projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from memvid_core.embedding import settings
from memvid_core.embedding.features import STOP, OneRow, Terms, batches, signs, terms
from memvid_core.errors import EmbeddingError
from memvid_core.system.threads import one_native_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Fit", "fit_texts", "weighted_counts"]

_BUCKETS = 1 << 16  # of the rarity table
_TOP = 2_048  # features with their own row
_SHARED = 4_096  # the maximum number of rows shared by all other features
_UNSEEN = 0.3  # length of the vector of an unseen feature, compared with about 1 for a frequent one
_LEVELS = 4  # a component is one of -4 ... 4 steps, about 3 bits; twice as many add a sixth to the size
_BASE = 2 * _LEVELS + 1
_STEP = 0.6  # of a row's root mean square
_DEPENDENT = 1e-6  # of the longest column: a shorter column is linearly dependent, up to float32 rounding
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
    """Weights and a projection, learned from texts.

    Attributes:
        dimension: The dimension of the vectors.
        rarity: (65536,) uint8, the idf of each bucket of feature hashes in units of 1/16; 0 if no feature was seen.
        keys: (own,) uint32, the upper halves of the hashes with their own row, ascending.
        rows: (own + shared, rank) int8, small integers. All other features share the last rows, with a sign from their
            hash (feature hashing, Weinberger et al., ICML 2009).
        scales: (own + shared,) float16. The projection is ``rows`` times ``scales``.
    """

    dimension: int
    rarity: NDArray[np.uint8]
    keys: NDArray[np.uint32]
    rows: NDArray[np.int8]
    scales: NDArray[np.float16]

    def project(self, found: Terms, random: Callable[[NDArray[np.uint64]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return vectors (texts, dimension); ``random`` returns those of unseen features, (n, dimension), by hash."""
        rarity = self.rarity[_bucket(found.hashes)]
        unseen = rarity == 0
        weights = _idf(np.where(unseen, self.rarity.max(), rarity))
        columns, negative = _columns(found.hashes, self.keys, len(self.rows) - len(self.keys))
        scales = self.scales[columns].astype(np.float32)
        scales[negative] *= -1
        projection = np.zeros((len(columns), self.dimension), dtype=np.float32)
        np.multiply(self.rows[columns], scales[:, np.newaxis], out=projection[:, : self.rows.shape[1]])
        if unseen.any():
            projection[unseen] = random(found.hashes[unseen]) * np.float32(_UNSEEN)
        vectors: NDArray[np.float32] = weighted_counts(found, weights, repeats=found.kinds <= STOP) @ projection
        return vectors

    def dump(self) -> bytes:
        """Encode the fit for ``load``: a magic number, and a zstd frame with a msgpack header and the arrays."""
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
        """Decode the bytes of ``dump``.

        Raises:
            EmbeddingError: If the bytes are damaged, or of another dimension.
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
            raise ValueError(f"its header does not match its {len(body)} bytes")
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
) -> csr_matrix | OneRow:
    """Return weighted counts (texts, features): 1 + ln(count), or 1 for features not in ``repeats``, times a weight."""
    weighted = found.counts.copy()
    data = 1 + np.log(weighted.data)
    if repeats is not None:
        data[~repeats[weighted.indices]] = 1
    weighted.data = data.astype(np.float32) * weights[weighted.indices]
    return weighted


def fit_texts(texts: Sequence[str], dimension: int) -> Fit | None:
    """Fit to texts; return ``None`` if they have no features.

    The cost is bounded: of more than 20,000 texts an even sample is used.
    """
    sample = _even(texts, settings.DEFAULTS.fitted_texts)
    counted = [terms(sample[part]) for part in batches(sample, settings.DEFAULTS.counted_texts)]
    every = np.concatenate([batch.hashes for batch in counted])
    texts_with = np.concatenate([np.bincount(batch.counts.indices, minlength=len(batch.hashes)) for batch in counted])
    hashes, inverse = np.unique(every, return_inverse=True)
    if not len(hashes):
        return None
    frequency = np.bincount(inverse, weights=texts_with)
    idf = np.log((1 + len(sample)) / (1 + frequency)) + 1
    rarity = np.zeros(_BUCKETS, dtype=np.uint8)
    # a bucket has the idf of its most frequent feature
    commonest = np.full(_BUCKETS, np.inf)
    np.minimum.at(commonest, _bucket(hashes), idf)
    rarity[np.isfinite(commonest)] = np.rint(commonest[np.isfinite(commonest)] * 16)
    heaviest = np.argsort(-frequency * idf**2, kind="stable")[:_TOP]
    keys = np.unique((hashes[heaviest] >> np.uint64(32)).astype(np.uint32))
    shared = 1 << min(max(len(hashes) - len(keys) - 1, 255).bit_length(), _SHARED.bit_length() - 1)
    with one_native_thread("blas"):
        rows, scales = _quantize(_latent(_sketch(counted, rarity, keys, shared), dimension))
    return Fit(dimension, rarity, keys, rows, scales)


def _even(texts: Sequence[str], count: int) -> list[str]:
    """Return at most ``count`` texts, evenly spread."""
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
    """Return each feature's row of the projection, and whether to negate it; both use other bits than the bucket."""
    upper = (hashes >> np.uint64(32)).astype(np.uint32)
    place = np.searchsorted(keys, upper)
    own = np.append(keys, np.uint32(0))[place] == upper
    own &= place < len(keys)
    rest = len(keys) + ((hashes >> np.uint64(16)) & np.uint64(shared - 1)).astype(np.intp)
    return np.where(own, place, rest), ~own & ((hashes >> np.uint64(28)) & np.uint64(1)).astype(bool)


def _sketch(counted: list[Terms], rarity: NDArray[np.uint8], keys: NDArray[np.uint32], shared: int) -> csr_matrix:
    """Return the weighted texts, of length 1, with one column per row of the projection."""
    from scipy.sparse import csr_matrix, diags, vstack

    parts = []
    for batch in counted:
        columns, negative = _columns(batch.hashes, keys, shared)
        hashing = csr_matrix(
            (np.where(negative, -1, 1).astype(np.float32), columns, np.arange(len(columns) + 1)),
            shape=(len(columns), len(keys) + shared),
        )
        weights = _idf(rarity[_bucket(batch.hashes)])
        # with learned weights, n-grams count once: they overlap, so their repetitions are misleading
        weighted = weighted_counts(batch, weights, repeats=batch.kinds <= STOP) @ hashing
        lengths = np.sqrt(np.asarray(weighted.power(2).sum(axis=1))).ravel()
        lengths[lengths == 0] = 1
        parts.append(diags((1 / lengths).astype(np.float32)) @ weighted)
    return vstack(parts).tocsr()


def _latent(sketch: csr_matrix, dimension: int) -> NDArray[np.float32]:
    """Return the right singular vectors (columns, rank) of the largest singular values, with fixed signs.

    Uses randomized subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53, 2011), starting from fixed signs.
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
    """Return an orthonormal basis of the column space of a tall matrix.

    Uses Cholesky QR twice (Yamamoto et al., ETNA 44, 2015), which takes a third of the time of a Householder QR.
    NumPy's QR also holds the interpreter lock, which would block an event loop in another thread for seconds.
    """
    basis = matrix
    for precision in ("f8", "f4"):  # single precision is enough once the columns are nearly orthonormal
        wide: NDArray[Any] = basis.astype(precision, copy=False)
        basis = basis @ _inverse_root((wide.T @ wide).astype(np.float64)).astype(np.float32)
    return basis


def _inverse_root(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that orthonormalizes columns with this Gram matrix; dependent columns are dropped."""
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


def _quantize(projection: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Quantize each row to small integers, with one scale per row."""
    scales = (np.sqrt(np.mean(np.square(projection, dtype=np.float64), axis=1)) * _STEP).astype(np.float16)
    steps = np.where(scales > 0, scales, 1).astype(np.float32)[:, np.newaxis]
    return np.clip(np.rint(projection / steps), -_LEVELS, _LEVELS).astype(np.int8), scales


def _body(data: bytes) -> bytes:
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("its magic number is wrong")
    block = data[len(_MAGIC) :]
    size = zstandard.frame_content_size(block)
    if not 4 < size <= _LARGEST:
        raise ValueError(f"its decompressed size of {size} bytes is out of range")
    body = zstandard.ZstdDecompressor().decompress(block, max_output_size=_LARGEST)
    if len(body) != size:
        raise ValueError(f"it decompresses to {len(body)} bytes instead of {size}")
    return body
