"""The contract of a frame codec, and the registry of codecs by name."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import xxhash

from memvid_core.errors import CodecError, DamagedFrameError

__all__ = [
    "ENVELOPE_BYTES",
    "CodedPictures",
    "FoundFrame",
    "FrameCodec",
    "RepairingCodec",
    "Sample",
    "SampleEntry",
    "codec_names",
    "get_codec",
    "guess_codec",
    "recognise_codec",
    "register_codec",
    "seal",
    "sealed_for",
    "unseal",
    "unsealed",
]

_ENVELOPE = struct.Struct("<IQ")
ENVELOPE_BYTES = _ENVELOPE.size

Sample = tuple[bytes, bool]
"""One coded picture as the container stores it, and whether it is a key picture, at which a frame begins."""


FoundFrame = tuple[int, int, int]
"""A frame found in coded pictures: its number, where it begins, and its size in bytes."""


class SampleEntry(NamedTuple):
    """What the head of an MP4 says of its video track: the coding, the size in pixels, the decoder's configuration."""

    coding: bytes
    width: int
    height: int
    configuration: bytes


@runtime_checkable
class FrameCodec(Protocol):
    """Payload bytes to coded pictures and back.

    A frame carries one payload, coded as one picture or as several: a key picture and those up to the next.
    Implementations are safe to use from several threads.
    """

    @property
    def name(self) -> str:
        """The name it is registered and recorded under."""
        ...

    @property
    def capacity(self) -> int:
        """The largest payload of one frame, in bytes."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, in pixels."""
        ...

    @property
    def one_picture(self) -> bool:
        """Whether every frame is one picture, so that frame and picture numbers are the same."""
        ...

    @property
    def single_nal(self) -> bool:
        """Whether each picture is one NAL unit behind a four-byte length, so that it can be found without an index."""
        ...

    def init_segment(self) -> bytes:
        """The ``ftyp`` and ``moov`` boxes of a fragmented MP4 for this codec's stream."""
        ...

    def encode(self, payloads: Iterable[bytes], first: int) -> list[Sample]:
        """The coded pictures of ``payloads``, frames ``first``, ``first + 1``, ...

        Raises:
            CodecError: A payload is larger than ``capacity``.
        """
        ...

    def decode(self, coded: bytes, number: int) -> bytes:
        """The payload of frame ``number`` from its coded pictures, one after the other.

        Raises:
            DamagedFrameError: The pictures do not carry what was written.
        """
        ...

    def find(self, coded: bytes, first: int, stop: int) -> list[FoundFrame]:
        """The frames ``first`` to ``stop - 1`` that lie in ``coded``, in order, where the boxes around them are lost.

        The work grows with the size of ``coded``, whatever it holds.
        """
        ...


@runtime_checkable
class RepairingCodec(Protocol):
    """A codec that codes redundancy into a fragment, and can rebuild frames that cannot be decoded."""

    def repair(self, frames: Sequence[bytes], first: int) -> dict[int, bytes]:
        """The payloads by frame number that can be had, some of them rebuilt.

        ``frames`` are the coded pictures of each frame of a fragment whose first is frame ``first``.
        """
        ...


def seal(payload: bytes, number: int) -> bytes:
    """A payload behind its length and an XXH3-64 checksum seeded with its frame number.

    The seed makes a frame that is read from another frame's place fail, too.
    """
    return _ENVELOPE.pack(len(payload), xxhash.xxh3_64_intdigest(payload, number)) + payload


def unseal(sealed: bytes | memoryview, number: int) -> bytes:
    """The payload inside ``sealed``, which may be followed by padding.

    Raises:
        DamagedFrameError: Length or checksum is not that of frame ``number``.
    """
    if len(sealed) < ENVELOPE_BYTES:
        raise DamagedFrameError(number, "too short to carry a payload")
    length, checksum = _ENVELOPE.unpack_from(sealed)
    if length > len(sealed) - ENVELOPE_BYTES:
        raise DamagedFrameError(
            number, f"it says it carries {length} bytes, and there are {len(sealed) - ENVELOPE_BYTES}"
        )
    payload = bytes(sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length])
    if xxhash.xxh3_64_intdigest(payload, number) != checksum:
        raise DamagedFrameError(number, "its checksum does not match its bytes")
    return payload


def unsealed(sealed: bytes, number: int) -> bytes | None:
    """The payload inside ``sealed``, or None where it is not that of frame ``number``."""
    if len(sealed) < ENVELOPE_BYTES:
        return None
    length, checksum = _ENVELOPE.unpack_from(sealed)
    payload = sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length]
    return payload if len(payload) == length and xxhash.xxh3_64_intdigest(payload, number) == checksum else None


def sealed_for(sealed: bytes, numbers: Iterable[int]) -> int | None:
    """The first of some frame numbers whose frame ``sealed`` is, or None."""
    length, checksum = _ENVELOPE.unpack_from(sealed)
    payload = sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length]
    return next((number for number in numbers if xxhash.xxh3_64_intdigest(payload, number) == checksum), None)


class CodedPictures(NamedTuple):
    """Pictures of a fragment whose file has lost its head.

    ``coded`` are the last pictures of the fragment, the first of them picture ``first``; ``key_only`` says whether
    every picture of the fragment is a key picture; ``all_bytes()`` reads all pictures, one after the other.
    """

    coded: list[bytes]
    first: int
    key_only: bool
    all_bytes: Callable[[], bytes]


class _Registered(NamedTuple):
    make: Callable[..., FrameCodec]
    recognise: Callable[[SampleEntry], FrameCodec | None]
    guess: Callable[[CodedPictures], FrameCodec | None]


_registry: dict[str, _Registered] = {}


def register_codec(
    name: str,
    make: Callable[..., FrameCodec],
    recognise: Callable[[SampleEntry], FrameCodec | None],
    guess: Callable[[CodedPictures], FrameCodec | None],
) -> None:
    """Register a codec.

    Args:
        name: What it is called in a memory's header.
        make: Called with the settings as keyword arguments.
        recognise: Return the codec of a stream with this sample entry, None if it is another codec's.
        guess: Return the codec that wrote these pictures, None if it did not.
    """
    _registry[name] = _Registered(make, recognise, guess)


def codec_names() -> list[str]:
    """The names of all registered codecs, sorted."""
    return sorted(_registry)


def get_codec(name: str, **options: Any) -> FrameCodec:
    """The codec called ``name``.

    Raises:
        CodecError: No codec has that name, or it does not take these options.

    Example:
        >>> import memvid_core.video
        >>> get_codec("pcm").size
        (256, 256)
    """
    try:
        registered = _registry[name]
    except KeyError:
        known = ", ".join(codec_names())
        raise CodecError(f"there is no codec called {name!r}; the codecs are: {known}") from None
    try:
        return registered.make(**options)
    except TypeError as exc:
        raise CodecError(f"the codec {name!r} does not take these settings: {exc}") from exc


def recognise_codec(entry: SampleEntry) -> FrameCodec | None:
    """The codec that wrote a stream, told from its sample entry, or None if it is none of ours."""
    for registered in _registry.values():
        codec = registered.recognise(entry)
        if codec is not None:
            return codec
    return None


def guess_codec(pictures: CodedPictures) -> FrameCodec | None:
    """Return the codec that wrote some pictures, or None if it is none of ours."""
    return next(filter(None, (registered.guess(pictures) for registered in _registry.values())), None)
