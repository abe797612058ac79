"""The interface of frame codecs, and their registry by name."""

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
    "recognize_codec",
    "register_codec",
    "seal",
    "sealed_for",
    "unseal",
    "unsealed",
]

_ENVELOPE = struct.Struct("<IQ")
ENVELOPE_BYTES = _ENVELOPE.size

Sample = tuple[bytes, bool]
"""One coded picture as the container stores it, and whether it is a key picture. A frame begins at a key picture."""


FoundFrame = tuple[int, int, int]
"""A frame found in coded pictures: its number, its offset, and its size in bytes."""


class SampleEntry(NamedTuple):
    """Describe the video track in the head of an MP4: coding, size in pixels, decoder configuration."""

    coding: bytes
    width: int
    height: int
    configuration: bytes


@runtime_checkable
class FrameCodec(Protocol):
    """Convert payloads to coded pictures and back.

    A frame carries one payload, coded as one picture or several: a key picture and all pictures before the next one.
        Implementations are thread-safe.
    """

    @property
    def name(self) -> str:
        """The name under which the codec is registered and recorded."""
        ...

    @property
    def capacity(self) -> int:
        """The size of the largest payload of one frame, in bytes."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the picture, in pixels."""
        ...

    @property
    def one_picture(self) -> bool:
        """Whether every frame is one picture, so that frame numbers equal picture numbers."""
        ...

    @property
    def single_nal(self) -> bool:
        """Whether each picture is one NAL unit after a four-byte length, so that it can be found without an index."""
        ...

    def init_segment(self) -> bytes:
        """Return the ``ftyp`` and ``moov`` boxes of a fragmented MP4 for this codec's stream."""
        ...

    def encode(self, payloads: Iterable[bytes], first: int) -> list[Sample]:
        """Code ``payloads`` as pictures of frames ``first``, ``first + 1``, ...

        Raises:
            CodecError: A payload is larger than ``capacity``.
        """
        ...

    def decode(self, coded: bytes, number: int) -> bytes:
        """Return the payload of frame ``number``, given its coded pictures, concatenated.

        Raises:
            DamagedFrameError: The pictures do not contain the written payload.
        """
        ...

    def decode_exactly(self, coded: bytes, number: int) -> tuple[bytes, bool]:
        """Return the same payload, and whether no byte of ``coded`` is known to differ from what was written.

        A codec whose pictures are the same on every system compares all bytes; another one only decodes.

        Raises:
            DamagedFrameError: The pictures do not contain the written payload.
        """
        ...

    def find(self, coded: bytes, first: int, stop: int) -> list[FoundFrame]:
        """Find frames ``first`` to ``stop - 1`` in ``coded``, in order, when the boxes around them are lost.

        The work is linear in the size of ``coded``, for any content.
        """
        ...


@runtime_checkable
class RepairingCodec(Protocol):
    """A codec that adds redundancy to a fragment and can rebuild frames that cannot be decoded."""

    def repair(self, frames: Sequence[bytes], first: int) -> dict[int, bytes]:
        """Return the readable payloads by frame number, including rebuilt ones.

        ``frames`` are the coded pictures of each frame of a fragment; its first frame is frame ``first``.
        """
        ...


def seal(payload: bytes, number: int) -> bytes:
    """Return a payload after its length and an XXH3-64 checksum, which is seeded with the frame number.

    Because of the seed, a frame that is read in place of another frame fails the check.
    """
    return _ENVELOPE.pack(len(payload), xxhash.xxh3_64_intdigest(payload, number)) + payload


def unseal(sealed: bytes | memoryview, number: int) -> bytes:
    """Return the payload inside ``sealed``, which may be followed by padding.

    Raises:
        DamagedFrameError: The length or the checksum does not match frame ``number``.
    """
    if len(sealed) < ENVELOPE_BYTES:
        raise DamagedFrameError(number, "too short for a payload")
    length, checksum = _ENVELOPE.unpack_from(sealed)
    if length > len(sealed) - ENVELOPE_BYTES:
        raise DamagedFrameError(number, f"its length says {length} bytes, but it has {len(sealed) - ENVELOPE_BYTES}")
    payload = bytes(sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length])
    if xxhash.xxh3_64_intdigest(payload, number) != checksum:
        raise DamagedFrameError(number, "its checksum does not match its bytes")
    return payload


def unsealed(sealed: bytes | memoryview, number: int) -> bytes | None:
    """Return the payload inside ``sealed``, or None if it does not match frame ``number``."""
    if len(sealed) < ENVELOPE_BYTES:
        return None
    length, checksum = _ENVELOPE.unpack_from(sealed)
    if length > len(sealed) - ENVELOPE_BYTES:
        return None
    payload = bytes(sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length])  # first: a signal handler may read another frame
    return payload if xxhash.xxh3_64_intdigest(payload, number) == checksum else None


def sealed_for(sealed: bytes, numbers: Iterable[int]) -> int | None:
    """Return the first of the given frame numbers that matches the checksum of ``sealed``, or None."""
    length, checksum = _ENVELOPE.unpack_from(sealed)
    payload = sealed[ENVELOPE_BYTES : ENVELOPE_BYTES + length]
    return next((number for number in numbers if xxhash.xxh3_64_intdigest(payload, number) == checksum), None)


class CodedPictures(NamedTuple):
    """Hold the pictures of a fragment in a file that has lost its head.

    ``coded`` are the last pictures of the fragment, beginning with picture ``first``; ``key_only`` says whether every
    picture of the fragment is a key picture; ``all_bytes()`` reads all pictures, concatenated.
    """

    coded: list[bytes]
    first: int
    key_only: bool
    all_bytes: Callable[[], bytes]


class _Registered(NamedTuple):
    make: Callable[..., FrameCodec]
    recognize: Callable[[SampleEntry], FrameCodec | None]
    guess: Callable[[CodedPictures], FrameCodec | None]


_registry: dict[str, _Registered] = {}


def register_codec(
    name: str,
    make: Callable[..., FrameCodec],
    recognize: Callable[[SampleEntry], FrameCodec | None],
    guess: Callable[[CodedPictures], FrameCodec | None],
) -> None:
    """Register a codec.

    Args:
        name: The codec's name in a memory's header.
        make: The constructor; it gets the settings as keyword arguments.
        recognize: Return the codec of a stream with this sample entry, or None if another codec wrote it.
        guess: Return the codec that wrote these pictures, or None if another codec did.
    """
    _registry[name] = _Registered(make, recognize, guess)


def codec_names() -> list[str]:
    """Return the names of all registered codecs, sorted."""
    return sorted(_registry)


def get_codec(name: str, **options: Any) -> FrameCodec:
    """Return the codec with this name.

    Raises:
        CodecError: The name is unknown, or the codec does not take these options.

    Example:
        >>> import memvid_core.video
        >>> get_codec("pcm").size
        (256, 256)
    """
    try:
        registered = _registry[name]
    except KeyError:
        known = ", ".join(codec_names())
        raise CodecError(f"unknown codec {name!r}; the codecs are: {known}") from None
    try:
        return registered.make(**options)
    except TypeError as exc:
        raise CodecError(f"the codec {name!r} does not take these settings: {exc}") from exc


def recognize_codec(entry: SampleEntry) -> FrameCodec | None:
    """Return the codec that wrote a stream, determined from its sample entry, or None if it is unknown."""
    for registered in _registry.values():
        codec = registered.recognize(entry)
        if codec is not None:
            return codec
    return None


def guess_codec(pictures: CodedPictures) -> FrameCodec | None:
    """Return the codec that wrote the given pictures, or None if it is unknown."""
    return next(filter(None, (registered.guess(pictures) for registered in _registry.values())), None)
