"""Text of pictures, read by what is installed: the program tesseract, or the package rapidocr-onnxruntime.

The environment variable ``MEMVID_OCR`` chooses ``tesseract``, ``rapidocr`` or ``off``; ``MEMVID_OCR_LANGUAGES`` names
the languages of tesseract, such as ``kor+eng``. By default it uses those that are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest.readers.document import Section

__all__ = ["HOW_TO_GET", "extra_memory", "read_gray", "read_picture", "recognizer"]

HOW_TO_GET = "install the program tesseract, or pip install 'memvid-core[ocr]'"
_MODULE = "rapidocr_onnxruntime"
_MODELS = 1 << 30  # bytes
_SECONDS = 120.0  # for a page
_LONGEST_SIDE = 1280  # pixels of the picture in which RapidOCR looks for lines
_MOST_LANGUAGES = 4
_LAST = "eng"  # its letters are found in all languages
_NO_LANGUAGES = frozenset(("osd", "equ"))


def read_picture(path: Path) -> list[Section]:
    """Read the text in a picture, such as a photograph of a page.

    Raises:
        MissingExtraError: No OCR is installed, or it is switched off.
        IngestError: The picture cannot be read.
    """
    recognize = recognizer()
    if recognize is None:
        raise MissingExtraError(f"its text can only be read by OCR: {HOW_TO_GET}")
    return [Section(recognize(path), {"ocr": True})]


def read_gray(width: int, height: int, pixels: bytes) -> str:
    """Return the text in a gray picture.

    Args:
        width: Pixels in a row.
        height: Rows.
        pixels: A byte for each, 0 for black, row by row.

    Raises:
        MissingExtraError: As `read_picture`.
        IngestError: As `read_picture`.
    """
    recognize = recognizer()
    if recognize is None:
        raise MissingExtraError(f"its text can only be read by OCR: {HOW_TO_GET}")
    return recognize(b"P5\n%d %d\n255\n" % (width, height) + pixels)


def recognizer() -> Callable[[Path | bytes], str] | None:
    """Return the function that reads a picture, a file or the bytes of one; None if no OCR is installed."""
    wanted = os.environ.get("MEMVID_OCR", "").strip().lower()
    if wanted in ("", "tesseract"):
        program = shutil.which("tesseract")
        if program is not None:
            return lambda picture: _by_tesseract(program, picture)
    if wanted in ("", "rapidocr") and _is_there(_MODULE):
        return _by_rapidocr
    return None


def extra_memory() -> int:
    """Return the bytes that a reader process needs in addition for RapidOCR; tesseract has its own process."""
    return _MODELS if recognizer() is _by_rapidocr else 0


def _by_tesseract(program: str, picture: Path | bytes) -> str:
    source = "stdin" if isinstance(picture, bytes) else str(picture.resolve())
    return _run(
        [program, source, "stdout", "-l", _languages(program)], picture if isinstance(picture, bytes) else b""
    ).replace("\f", "")


@cache
def _languages(program: str) -> str:
    chosen = os.environ.get("MEMVID_OCR_LANGUAGES", "")
    if chosen:
        return chosen
    lines = _run([program, "--list-langs"], b"").splitlines()[1:]
    # Others than languages are scripts, in a folder of their own.
    found = sorted(
        (name for name in lines if name not in _NO_LANGUAGES and "/" not in name), key=lambda name: name == _LAST
    )
    return "+".join(found[: _MOST_LANGUAGES - 1] + found[-1:] if len(found) > _MOST_LANGUAGES else found) or _LAST


def _run(command: list[str], data: bytes) -> str:
    # Readers run in several processes, so that each gets one thread.
    variables = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, env=variables, check=False)
    except subprocess.TimeoutExpired as exc:
        raise IngestError(f"tesseract took more than {_SECONDS:.0f} seconds for one page") from exc
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise IngestError(f"tesseract cannot read it: {why[-1] if why else f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")


def _by_rapidocr(picture: Path | bytes) -> str:
    import numpy as np

    shown: Any = picture if isinstance(picture, bytes) else picture.read_bytes()
    try:
        if isinstance(picture, bytes) and picture.startswith(b"P5\n"):
            _, size, _, pixels = picture.split(b"\n", 3)
            width, height = map(int, size.split())
            shown = np.repeat(np.frombuffer(pixels, np.uint8).reshape(height, width, 1), 3, axis=2)
        found, _ = _rapidocr()(shown)
    except Exception as exc:  # it raises many types for files that are not pictures
        why = (str(exc).strip() or type(exc).__name__).splitlines()[-1]
        if "bad_alloc" in why:
            raise MemoryError(why) from exc
        raise IngestError(f"RapidOCR cannot read it: {why}") from exc
    return "\n".join(str(line[1]) for line in found or ())


@cache
def _rapidocr() -> Any:
    from importlib import import_module

    # Whole pages in full size take twice the memory that a reader process may use.
    return import_module(_MODULE).RapidOCR(
        det_limit_type="max", det_limit_side_len=_LONGEST_SIDE, intra_op_num_threads=1, inter_op_num_threads=1
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # of a module that is blocked
        return False
