"""QR symbols (ISO/IEC 18004): bytes to a matrix of modules and back, with two independent writers and readers.

Bytes are stored as base45 (RFC 9285) in alphanumeric mode: readers guess a character set for binary content and convert
it. Base45 costs three percent and is read correctly by all readers and phones.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import CodecError, MissingExtraError

__all__ = [
    "ERROR_CORRECTION",
    "QUIET",
    "SymbolPair",
    "ZbarPair",
    "ZxingPair",
    "byte_capacity",
    "draw",
    "from_base45",
    "get_pair",
    "read_drawn",
    "side_of",
    "text_capacity",
    "to_base45",
    "utf8_capacity",
    "version_that_fits",
]

QUIET = 4
"""The white modules that the standard requires around a symbol (6.3.8)."""

ERROR_CORRECTION = "LMQH"

Gray = NDArray[np.uint8]

_ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", np.uint8)
_VALUES = np.full(256, 255, np.uint8)
_VALUES[_ALPHABET] = np.arange(45)

# Error-correction codewords per block and number of blocks, by level and version 1 to 40 (ISO/IEC 18004, table 9).
_PER_BLOCK = {
    "L": "7 10 15 20 26 18 20 24 30 18 20 24 26 30 22 24 28 30 28 28 "
    "28 28 30 30 26 28 30 30 30 30 30 30 30 30 30 30 30 30 30 30",
    "M": "10 16 26 18 24 16 18 22 22 26 30 22 22 24 24 28 28 26 26 26 "
    "26 28 28 28 28 28 28 28 28 28 28 28 28 28 28 28 28 28 28 28",
    "Q": "13 22 18 26 18 24 18 22 20 24 28 26 24 20 30 24 28 28 26 30 "
    "28 30 30 30 30 28 30 30 30 30 30 30 30 30 30 30 30 30 30 30",
    "H": "17 28 22 16 22 28 26 26 24 28 24 28 22 24 24 30 28 28 26 28 "
    "30 24 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30",
}
_BLOCKS = {
    "L": "1 1 1 1 1 2 2 2 2 4 4 4 4 4 6 6 6 6 7 8 8 9 9 10 12 12 12 13 14 15 16 17 18 19 19 20 21 22 24 25",
    "M": "1 1 1 2 2 4 4 4 5 5 5 8 9 9 10 10 11 13 14 16 17 17 18 20 21 23 25 26 28 29 31 33 35 37 38 40 43 45 47 49",
    "Q": "1 1 2 2 4 4 6 6 8 8 8 10 12 16 12 17 16 18 21 20 23 23 25 27 29 34 34 35 38 40 43 45 48 51 53 56 59 62 65 68",
    "H": "1 1 2 4 4 4 5 6 8 8 11 11 16 16 18 16 19 21 25 25 "
    "25 34 30 32 35 37 40 42 45 48 51 54 57 60 63 66 70 74 77 81",
}


def side_of(version: int) -> int:
    """Return the number of modules on a side of a symbol of ``version`` 1 to 40."""
    return 17 + 4 * version


def _data_bits(version: int, level: str) -> int:
    """Return the bits that a symbol carries: its modules without function patterns (7.1) and error correction."""
    modules = (16 * version + 128) * version + 64
    if version >= 2:
        alignment = version // 7 + 2
        modules -= (25 * alignment - 10) * alignment - 55
        if version >= 7:
            modules -= 36
    correction = int(_PER_BLOCK[level].split()[version - 1]) * int(_BLOCKS[level].split()[version - 1])
    return 8 * (modules // 8 - correction)


def text_capacity(version: int, level: str = "L") -> int:
    """Return the maximum number of base45 characters in a symbol.

    Example:
        >>> text_capacity(40, "L"), text_capacity(25, "L")
        (4296, 1853)
    """
    bits = _data_bits(version, level) - 4 - (9 if version < 10 else 11 if version < 27 else 13)
    return bits // 11 * 2 + (bits % 11 >= 6)


def byte_capacity(version: int, level: str = "L") -> int:
    """Return the maximum number of bytes in a symbol as base45: three characters for two bytes."""
    characters = text_capacity(version, level)
    return characters // 3 * 2 + (characters % 3 == 2)


def utf8_capacity(version: int, level: str = "L") -> int:
    """Return the maximum number of bytes of text in a symbol in byte mode."""
    return (_data_bits(version, level) - 4 - (8 if version < 10 else 16)) // 8


def version_that_fits(pixels: int, module: int) -> int:
    """Return the largest version that fits ``pixels`` with its quiet zone at ``module`` pixels per module, or 0."""
    return max(0, min(40, (pixels // module - 2 * QUIET - 17) // 4))


def to_base45(data: bytes) -> str:
    """Encode ``data`` in base45 (RFC 9285).

    Example:
        >>> to_base45(b"Hello!!")
        '%69 VD92EX0'
    """
    pairs = np.frombuffer(data[: len(data) & ~1], ">u2").astype(np.int64)
    digits = np.empty((len(pairs), 3), np.uint8)
    digits[:, 0], rest = pairs % 45, pairs // 45
    digits[:, 1], digits[:, 2] = rest % 45, rest // 45
    text: bytes = _ALPHABET[digits.reshape(-1)].tobytes()
    if len(data) & 1:
        text += bytes((int(_ALPHABET[data[-1] % 45]), int(_ALPHABET[data[-1] // 45])))
    return text.decode("ascii")


def from_base45(text: str) -> bytes | None:
    """Decode base45; return None if the text is not base45.

    Example:
        >>> from_base45("%69 VD92EX0")
        b'Hello!!'
    """
    raw = text.encode("utf-8", "replace")
    values = _VALUES[np.frombuffer(raw, np.uint8)].astype(np.int64)
    if len(values) % 3 == 1 or (values == 255).any():
        return None
    whole = values[: len(values) // 3 * 3].reshape(-1, 3) @ np.array([1, 45, 2025])
    out: bytes = whole.astype(">u2").tobytes()
    if (whole > 0xFFFF).any():
        return None
    if len(values) % 3:
        last = int(values[-2] + 45 * values[-1])
        if last > 0xFF:
            return None
        out += bytes((last,))
    return out


def draw(modules: Gray, side: int, module: int) -> Gray:
    """Draw a white picture of ``side`` x ``side`` pixels with a symbol in its center, ``module`` pixels per module.

    If possible, the symbol begins at a multiple of 16 pixels, so that modules of 4 pixels fill transform blocks.
    """
    pixels = len(modules) * module
    start = max(QUIET * module, (side - pixels) // 2 // 16 * 16)
    picture = np.full((side, side), 255, np.uint8)
    picture[start : start + pixels, start : start + pixels] = modules.repeat(module, 0).repeat(module, 1)
    return picture


def read_drawn(picture: Gray) -> Gray | None:
    """Return the modules of a symbol that :func:`draw` drew, located by its corners; None if the picture differs.

    This is ten times faster than a search and tolerates coding artifacts between modules. A picture with anything else
    next to the symbol, such as another symbol, needs a search.
    """
    dark = np.flatnonzero(picture.diagonal() < 128)
    if not len(dark):
        return None
    start = int(dark[0])  # the corner of a finder pattern, whose outer ring is seven modules long (6.3.3.1)
    if start + 21 > min(picture.shape):
        return None
    ring = np.flatnonzero(picture[start + 1, start:] >= 128)
    module, rest = divmod(int(ring[0]) if len(ring) else 0, 7)
    if module < 1 or rest:
        return None
    column = np.flatnonzero(picture[start:, start + module // 2] < 128)
    count, rest = divmod(int(column[-1]) + 1 if len(column) else 0, module)
    if rest or count % 4 != 1 or not 21 <= count <= 177:
        return None
    end = start + count * module
    around = (picture[:start], picture[end:], picture[:, :start], picture[:, end:])
    if any(strip.size and strip.min() < 128 for strip in around):
        return None
    center = slice(start + module // 2, end, module)
    modules = picture[center, center]
    if modules.shape != (count, count):
        return None
    return np.where(modules < 128, 0, 255).astype(np.uint8)


class SymbolPair(Protocol):
    """Combine a writer of symbols with a reader. Each reader reads the symbols of every writer."""

    name: str

    def write(self, text: str, level: str, mask: int | None = None) -> Gray:
        """Return the smallest symbol with ``text``: one pixel per module, 0 dark and 255 light, no quiet zone.

        ``mask`` 0 to 7 avoids trying all eight (7.8.3), most of a writer's work; for random content, any mask works.
        """
        ...

    def read(self, picture: Gray, *, thorough: bool = False) -> list[str]:
        """Return the texts of the symbols in a grayscale picture; ``thorough`` also rotates and inverts it."""
        ...

    def read_clean(self, modules: Gray) -> str | None:
        """Return the text of one symbol, given at one pixel per module without margins."""
        ...


class ZxingPair:
    """Write and read symbols with zxing-cpp, which is fast and whose wheel has no dependencies."""

    name = "zxing"

    def __init__(self) -> None:
        try:
            import zxingcpp
        except ImportError as exc:
            raise _missing("zxing-cpp") from exc
        self._library: Any = zxingcpp

    def write(self, text: str, level: str, mask: int | None = None) -> Gray:
        """Write a symbol with ``create_barcode``."""
        library = self._library
        options = {} if mask is None else {"data_mask": mask}
        barcode = library.create_barcode(text, library.BarcodeFormat.QRCode, ec_level=level, **options)
        return np.array(library.write_barcode_to_image(barcode, scale=1, add_quiet_zones=False))

    def read(self, picture: Gray, *, thorough: bool = False) -> list[str]:
        """Read symbols with ``read_barcodes`` and a local threshold; if thorough, then with a global one."""
        for binarizer in ("LocalAverage", "GlobalHistogram") if thorough else ("LocalAverage",):
            found = self._read(picture, thorough, getattr(self._library.Binarizer, binarizer), False)
            if found:
                return found
        return []

    def read_clean(self, modules: Gray) -> str | None:
        """Read a symbol with ``read_barcodes`` in pure mode."""
        found = self._read(modules, False, self._library.Binarizer.FixedThreshold, True)
        return found[0] if found else None

    def _read(self, picture: Gray, thorough: bool, binarizer: Any, pure: bool) -> list[str]:
        found = self._library.read_barcodes(
            np.ascontiguousarray(picture),
            formats=self._library.BarcodeFormat.QRCode,
            try_rotate=thorough,
            try_downscale=thorough,
            try_invert=thorough,
            text_mode=self._library.TextMode.Plain,
            binarizer=binarizer,
            is_pure=pure,
        )
        return [barcode.text for barcode in found]


class ZbarPair:
    """Write symbols with ``qrcode`` and read them with zbar through ``pyzbar``: slower, and independent of zxing."""

    name = "zbar"

    def __init__(self) -> None:
        try:
            import qrcode
            from pyzbar import pyzbar
        except ImportError as exc:  # pyzbar's message names a missing libzbar
            raise _missing(f"qrcode, pyzbar and the system's libzbar ({exc})") from exc
        self._writer: Any = qrcode
        self._reader: Any = pyzbar

    def write(self, text: str, level: str, mask: int | None = None) -> Gray:
        """Write a symbol with ``qrcode``, in alphanumeric mode if the text allows it."""
        correction = getattr(self._writer.constants, f"ERROR_CORRECT_{level}")
        symbol = self._writer.QRCode(error_correction=correction, border=0, mask_pattern=mask)
        symbol.add_data(text, optimize=0)
        symbol.make(fit=True)
        return np.where(np.array(symbol.modules, bool), 0, 255).astype(np.uint8)

    def read(self, picture: Gray, *, thorough: bool = False) -> list[str]:
        """Read symbols with zbar's scanner, which always searches in all directions."""
        picture = np.ascontiguousarray(picture)
        data = (picture.tobytes(), picture.shape[1], picture.shape[0])
        found = self._reader.decode(data, symbols=[self._reader.ZBarSymbol.QRCODE])
        return [symbol.data.decode("utf-8", "replace") for symbol in found]

    def read_clean(self, modules: Gray) -> str | None:
        """Read a symbol with ``read``, enlarged for the scanner."""
        found = self.read(np.pad(modules.repeat(4, 0).repeat(4, 1), 4 * QUIET, constant_values=255))
        return found[0] if found else None


def _missing(what: str) -> MissingExtraError:
    return MissingExtraError(f"QR symbols need {what}; install them with: pip install 'memvid-core[qr]'")


_PAIRS: dict[str, type[ZxingPair | ZbarPair]] = {"zxing": ZxingPair, "zbar": ZbarPair}


def get_pair(name: str) -> SymbolPair:
    """Return the pair called ``zxing`` or ``zbar``.

    Raises:
        CodecError: The name is unknown.
        MissingExtraError: Its libraries are not installed.
    """
    if name not in _PAIRS:
        raise CodecError(f"unknown symbol writer and reader {name!r}; use one of {', '.join(_PAIRS)}")
    return _PAIRS[name]()
