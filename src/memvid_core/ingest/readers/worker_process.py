"""The main loop of a reader process, and its messages to and from `ReaderPool`."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO

import msgspec

from memvid_core.errors import IngestError, MemvidError, MissingExtraError, TextError
from memvid_core.ingest.readers import OutOfMemoryError, read_document, source_name
from memvid_core.ingest.readers.chunking import Chunker
from memvid_core.ingest.readers.document import Chunk, Document
from memvid_core.ingest.readers.limits import address_space, memory_limiter

__all__ = ["READY", "Answer", "Limits", "Request", "Settings", "error_of", "receive", "send", "serve"]

READY = b"ready"
_BROKEN = 70  # EX_SOFTWARE of sysexits.h
_LENGTH = 8
_GRACE = 10.0  # seconds
# A process that has grown by more than a quarter of its memory limit, in addition to the converters, is replaced.
_GROWN = 4
_CONVERTERS = 256 << 20


class Limits(msgspec.Struct, frozen=True):
    """Set the limits per file: seconds, and bytes of memory; None for no limit."""

    timeout: float | None = 300.0
    memory: int | None = 1 << 30


class Settings(msgspec.Struct, frozen=True):
    """Describe a chunker that another process can make: any without a tokenizer."""

    chunk_size: int
    overlap: int
    language: str


class Request(msgspec.Struct, frozen=True):
    """List files to read in order; with settings, also to split."""

    paths: list[bytes]
    chunker: Settings | None = None


class Answer(msgspec.Struct, frozen=True):
    """Hold the result of one file; ``last`` says that this process must be replaced."""

    chunks: list[Chunk] | None = None
    document: Document | None = None
    error: str = ""
    missing_extra: bool = False
    last: bool = False
    warnings: list[str] = []


def serve() -> None:
    """Answer requests on standard input until it ends. Arguments: sys.path and `Limits`, both as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _serve(msgspec.convert(json.loads(sys.argv[2]), Limits))
    except BaseException:
        os._exit(_BROKEN)


def _serve(limits: Limits) -> None:
    requests = sys.stdin.buffer
    # Output of converters must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    raise_limit = memory_limiter(limits.memory)
    start = address_space()
    send(answers, READY)
    while (received := receive(requests)) is not None:
        request = msgspec.msgpack.decode(received, type=Request)
        chunker = None
        if request.chunker is not None:
            chunker = Chunker(request.chunker.chunk_size, request.chunker.overlap, language=request.chunker.language)
        if limits.timeout is not None:
            # The parent ends this process if a file takes too long; this limit applies if the parent is gone.
            faulthandler.dump_traceback_later((limits.timeout + _GRACE) * len(request.paths), exit=True)
        for path in request.paths:
            raise_limit()  # the memory for importing converters does not count for the file
            answer, encoded = _answer(Path(os.fsdecode(path)), chunker, limits, start)
            send(answers, encoded)
            if answer.last:
                return
        faulthandler.cancel_dump_traceback_later()


def _answer(file: Path, chunker: Chunker | None, limits: Limits, start: int) -> tuple[Answer, bytes]:
    answer = _read(file, chunker)
    grown = False
    if limits.memory is not None:
        grown = address_space() - start > limits.memory // _GROWN + _CONVERTERS
    if grown:
        answer = msgspec.structs.replace(answer, last=True)
    try:
        return answer, msgspec.msgpack.encode(answer)
    except UnicodeEncodeError as exc:
        answer = Answer(error=f"{source_name(file)}: its text is not valid Unicode: {exc}", last=grown)
    except MemoryError:
        answer = Answer(error=str(OutOfMemoryError(source_name(file))), last=True)
    return answer, msgspec.msgpack.encode(answer)


def _read(file: Path, chunker: Chunker | None) -> Answer:
    source = source_name(file)
    try:
        document = read_document(file)
        if chunker is None:
            return Answer(document=document)
        return Answer(chunks=chunker.split_document(document), warnings=document.warnings)
    except TextError as exc:
        return Answer(error=f"{source}: {exc}")
    except MissingExtraError as exc:
        return Answer(error=str(exc), missing_extra=True)
    except OutOfMemoryError as exc:
        return Answer(error=str(exc), last=True)
    except MemoryError:
        return Answer(error=str(OutOfMemoryError(source)), last=True)
    except MemvidError as exc:
        return Answer(error=str(exc))


def error_of(answer: Answer) -> MemvidError | None:
    """Return the error in an answer, if any."""
    if answer.chunks is not None or answer.document is not None:
        return None
    return MissingExtraError(answer.error) if answer.missing_extra else IngestError(answer.error)


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write one message: its length, then its bytes."""
    pipe.write(len(message).to_bytes(_LENGTH, "little"))
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read one message; return None at the end of the pipe."""
    length = pipe.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    size = int.from_bytes(length, "little")
    message = pipe.read(size)
    return message if len(message) == size else None
