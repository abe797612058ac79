"""Extract hashed features from texts: words and character n-grams, by integer arithmetic that is portable.

A feature is a 64-bit hash. Words of scripts with spaces are one feature each, without English endings. Words with
non-ASCII letters add their 4-grams, which replace a stemmer for other languages (McNamee and Mayfield, Information
Retrieval 7, 2004). Scripts without spaces, and Hangul, are split into the bigrams of each run, including its edges.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import settings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "END",
    "NGRAM",
    "STOP",
    "WORD",
    "OneRow",
    "Terms",
    "batches",
    "mix",
    "signs",
    "terms",
    "terms_of_one",
    "words",
]

WORD, STOP, NGRAM, END = range(4)  # kinds of features: a word, a function word, an n-gram, the n-gram that ends a word

# Letters and digits, and the marks that are part of words but not of Python's \w.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963"
_MARKS += "\u0966-\u0dff\u0e00-\u109f\u1780-\u17ff"
_TOKEN = re.compile(f"(?:[^\\W_]|[{_MARKS}])+|[\u2600-\u27bf\U0001f000-\U0001faff]")
# Thai to Tibetan, Myanmar, Khmer, Hangul, Kana, Han: scripts without spaces, or with particles attached to words.
_RUN = re.compile(
    "[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_CUT = re.compile(r"[\x00-/:-@\[-`{-\x7f。、，！？]")  # never inside a token, nor composed with the character before it
_LONGEST = 64  # characters of a token; a longer one, such as a run without spaces, is split
_STOP_WORDS = """a about above after again against all also am an and any are as at be because been before being below
between both but by can could did do does doing down during each few for from further had has have having he her here
hers him his how i if in into is it its itself just me more most my no nor not now of off on once only or other our out
over own per same she should so some such than that the their them then there these they this those through to too
under until up upon very was we were what when where which while who whom why will with would you your"""
_ENDINGS = (
    ("ational", "ate"), ("ization", "ize"), ("fulness", "ful"), ("iveness", "ive"), ("ements", "e"), ("ement", "e"),
    ("ments", ""), ("ment", ""), ("ings", ""), ("ing", ""), ("edly", ""), ("ies", "y"), ("ied", "y"), ("sses", "ss"),
    ("ed", ""), ("ly", ""), ("es", ""), ("s", ""),
)  # fmt: skip

_Features = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint8]]  # word number, hash, kind
_MASK = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, exponent, 1 << 64) for exponent in range(_LONGEST + 2)], dtype=np.uint64)


@dataclass
class OneRow:
    """A matrix of one row without zeros, in place of SciPy's, whose import takes a fifth of a second.

    Attributes:
        data: (n,) float32.
        indices: (n,) int64, the columns.
    """

    data: NDArray[np.float32]
    indices: NDArray[np.int64]

    def copy(self) -> OneRow:
        """Return a matrix with the same arrays."""
        return replace(self)

    def __matmul__(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """Multiply by a dense matrix, (columns, d): (1, d), summed in the order of the columns, as SciPy does."""
        product: NDArray[np.float32] = (self.data[:, np.newaxis] * dense[self.indices]).sum(axis=0, keepdims=True)
        return product


class Terms(NamedTuple):
    """The features of a batch of texts: counts (texts, features), and hash and kind of each feature."""

    counts: csr_matrix | OneRow
    hashes: NDArray[np.uint64]
    kinds: NDArray[np.uint8]


def mix(values: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Hash integers, so that each bit of the result depends on each bit of the input.

    Source: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

    Example:
        >>> [hex(int(h)) for h in mix(np.arange(2, dtype=np.uint64))]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = values * np.uint64(_BASE) + np.uint64((seed * 0xD1342543DE82EF95 + _BASE) & _MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def signs(hashes: NDArray[np.uint64], dimension: int, seed: int) -> NDArray[np.float32]:
    """Return pseudo-random signs for each hash: float32 ``(len(hashes), dimension)``, each 1 or -1."""
    blocks = -(-dimension // 64)
    bits = np.empty((len(hashes), blocks), dtype="<u8")  # little-endian on every machine
    for block in range(blocks):
        bits[:, block] = mix(hashes, seed + block)
    drawn = np.unpackbits(bits.view(np.uint8), axis=1, count=dimension, bitorder="little").astype(np.float32)
    drawn *= 2
    drawn -= 1
    return drawn


def words(text: str) -> list[str]:
    """Return the tokens of a text in NFKC and case-folded, split after 64 characters.

    Example:
        >>> words("Ｈello, Größe 대통령은 🙂!")
        ['hello', 'grösse', '대통령은', '🙂']
    """
    tokens: list[str] = []
    for piece in [text] if len(text) <= settings.DEFAULTS.piece else _pieces(text):
        normal = piece if piece.isascii() else unicodedata.normalize("NFKC", piece)
        tokens += _TOKEN.findall(normal.casefold())
    if any(len(token) > _LONGEST for token in tokens):
        tokens = [token[i : i + _LONGEST] for token in tokens for i in range(0, len(token), _LONGEST)]
    return tokens


def _pieces(text: str) -> Iterator[str]:
    """Split a long text into pieces without splitting tokens."""
    start, size = 0, settings.DEFAULTS.piece
    for end in range(size, len(text), size):
        cut = _CUT.search(text, end, end + size)
        if cut is not None:  # otherwise the piece continues, as in a run of letters
            yield text[start : cut.start()]
            start = cut.start()
    yield text[start:]


def batches(texts: Sequence[str], count: int, characters: int = 1 << 19) -> Iterator[slice]:
    """Yield slices of at most ``count`` texts and about ``characters`` characters; a longer text is a slice itself."""
    start = size = 0
    for place, text in enumerate(texts):
        if place > start and (place - start >= count or size + len(text) > characters):
            yield slice(start, place)
            start, size = place, 0
        size += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


def stem(word: str) -> str:
    """Return an English word without its ending.

    Example:
        >>> [stem(word) for word in ("layers", "heating", "boundary", "studied", "class")]
        ['layer', 'heat', 'boundary', 'study', 'class']
    """
    if len(word) > 4:
        for ending, replacement in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                if not (ending == "s" and word.endswith(("ss", "us", "is"))):
                    word = word[: len(word) - len(ending)] + replacement
                break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def terms(texts: Sequence[str]) -> Terms:
    """Count the features of texts."""
    from scipy.sparse import csr_matrix

    vocabulary: dict[str, int] = {}
    indices: list[int] = []
    pointers = [0]
    for text in texts:
        indices += [vocabulary.setdefault(word, len(vocabulary)) for word in words(text)]
        pointers.append(len(indices))
    owners, hashes, kinds = _features(list(vocabulary))
    unique, first, columns = np.unique(hashes, return_index=True, return_inverse=True)
    shape = len(vocabulary), len(unique)
    by_word = csr_matrix((np.ones(len(owners), np.float32), (owners, columns)), shape=shape)
    by_text = csr_matrix((np.ones(len(indices), np.float32), indices, pointers), shape=(len(texts), len(vocabulary)))
    counts = (by_text @ by_word).tocsr()
    counts.sort_indices()  # one order of summation
    return Terms(counts, unique, kinds[first])


def terms_of_one(text: str) -> Terms:
    """Count the features of one text, as :func:`terms` does, without importing SciPy.

    Example:
        >>> terms_of_one("a wing, a wing, a wing").counts.data
        array([3., 3.], dtype=float32)
    """
    count_of = Counter(words(text))
    owners, hashes, kinds = _features(list(count_of))
    unique, first, columns = np.unique(hashes, return_index=True, return_inverse=True)
    times = np.array(list(count_of.values()), np.float64)[owners]
    counts = np.bincount(columns, times, len(unique)).astype(np.float32)
    return Terms(OneRow(counts, np.arange(len(unique))), unique, kinds[first])


def _features(vocabulary: list[str]) -> _Features:
    """Return the features of all words: number of the word in the vocabulary, hash and kind."""
    whole: list[int] = []
    pairs: list[int] = []
    fours: list[int] = []
    for index, word in enumerate(vocabulary):
        if word.isascii():
            whole.append(index)
        elif _RUN.search(word):
            pairs.append(index)
        else:
            whole.append(index)
            fours.append(index)
    stems = [stem(vocabulary[index]) for index in whole]
    hashes = _whole(stems)
    stop = _stop_hashes()
    is_stop = stop[np.minimum(stop.searchsorted(hashes), len(stop) - 1)] == hashes
    kinds = np.where(is_stop, STOP, WORD).astype(np.uint8)
    parts = [(np.array(whole, dtype=np.int64), hashes, kinds)]
    parts += [_ngrams(vocabulary, pairs, 2), _ngrams(vocabulary, fours, 4)]
    owners, hashed, kind = zip(*parts, strict=True)
    return np.concatenate(owners), np.concatenate(hashed), np.concatenate(kind)


def _codes(strings: list[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the code points of all characters, and the length of each string."""
    joined = "".join(strings).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(joined, dtype="<u4").astype(np.uint64), np.array([len(s) for s in strings], dtype=np.int64)


def _whole(strings: list[str]) -> NDArray[np.uint64]:
    if not strings:
        return np.zeros(0, dtype=np.uint64)
    codes, lengths = _codes(strings)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    return mix(np.add.reduceat(codes * _POWERS[places], starts), seed=1)


def _ngrams(vocabulary: list[str], chosen: list[int], n: int) -> _Features:
    """Return the n-grams of the chosen words, with an edge before and after each word."""
    codes, lengths = _codes([f"\0{vocabulary[index]}\0" for index in chosen])
    if not len(codes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint8)
    ends = np.repeat(np.cumsum(lengths), lengths)[: len(codes)]
    starts = np.flatnonzero(np.arange(len(codes)) + n <= ends)
    hashes = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(n):
        hashes += codes[starts + offset] * _POWERS[offset]
    owners = np.repeat(np.array(chosen, dtype=np.int64), lengths)[starts]
    kinds = np.where(codes[starts + n - 1] == 0, END, NGRAM).astype(np.uint8)
    return owners, mix(hashes, seed=n), kinds


_stop: NDArray[np.uint64] | None = None


def _stop_hashes() -> NDArray[np.uint64]:
    global _stop
    if _stop is None:
        stop = _whole([stem(word) for word in _STOP_WORDS.split()])
        _stop = np.unique(stop, return_counts=True)[0]  # as in engine/fusion
    return _stop
