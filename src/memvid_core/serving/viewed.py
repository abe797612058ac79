"""What the viewer shows: a memory, or a library, each with its earlier states, asked with the words of a URL."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from memvid_core.errors import (
    Action,
    ClosedError,
    IncompleteSearchError,
    InvalidInputError,
    RecordNotFoundError,
    worded,
)
from memvid_core.memory import Memory, memory_video, session_of
from memvid_core.model import Hit, MemoryInfo, Record

if TYPE_CHECKING:
    from memvid_core.library import Library

__all__ = ["Viewed", "viewed"]

_MOST_RECORDS: Final = 200  # of an answer
_MOST_PASTS: Final = 3  # earlier states that are open
_MOST_SHARDS: Final = 8  # of a library that are open for their videos
_PATIENCE: Final = 600.0  # seconds for the shards of a library, which may have to be fetched
_WORDS: Final = {Action.ALLOW_PARTIAL: "memvid library verify looks at every file"}

Given = Mapping[str, str]


class _Closing(Protocol):
    def close(self) -> None: ...


K = TypeVar("K", bound=Hashable)
C = TypeVar("C", bound=_Closing)


class _Recent(Generic[K, C]):
    """Keep what was opened last open.

    Args:
        opened: Opens what a key names.
        most: How many are kept open.
    """

    def __init__(self, opened: Callable[[K], C], most: int) -> None:
        self._opened, self._most = opened, most
        self._kept: OrderedDict[K, C] = OrderedDict()
        self._lock = threading.RLock()

    @contextmanager
    def leased(self, key: K) -> Iterator[C]:
        """Yield what a key names; one caller at a time."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._opened(key)
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)[1].close()
            self._kept.move_to_end(key)
            yield self._kept[key]

    def kept(self) -> list[C]:
        """Return what is open."""
        with self._lock:
            return list(self._kept.values())

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].close()


class Viewed(Protocol):
    """What answers the page. Each method but two takes the query of a URL and returns what becomes JSON."""

    def info(self, given: Given) -> dict[str, Any]:
        """Return what the page shows of the whole."""
        ...

    def history(self, given: Given) -> list[dict[str, Any]]:
        """Return the commits or versions, oldest first."""
        ...

    def records(self, given: Given) -> dict[str, Any]:
        """Return records that match a filter, in the order of addition, and the number of all of them."""
        ...

    def search(self, given: Given) -> dict[str, Any]:
        """Return the records that answer a question best."""
        ...

    def record(self, given: Given) -> dict[str, Any] | None:
        """Return the record with an id, or None."""
        ...

    def film(self, shard: str) -> str | None:
        """Return the path of the video; of a library, that of a shard. None if there is none with this name."""
        ...

    def close(self) -> None:
        """Close what was opened to answer."""
        ...


def viewed(memory: Memory | Library) -> Viewed:
    """Return what answers the page for an open memory or library."""
    return _ViewedMemory(memory) if isinstance(memory, Memory) else _ViewedLibrary(memory)


class _ViewedMemory:
    """A memory, and its earlier commits."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pasts = _Recent(self._past, _MOST_PASTS)
        self._lock = threading.Lock()

    def _past(self, number: int) -> Memory:
        return Memory.open(self._path, embedder=self._memory.embedder, as_of=number)

    @property
    def _path(self) -> str:
        """The path of the file, or of the copy of a remote memory."""
        return session_of(self._memory).file

    def film(self, shard: str) -> str | None:
        return None if shard else self._path

    def close(self) -> None:
        self._pasts.close()

    def info(self, given: Given) -> dict[str, Any]:
        info = self._memory.info()
        return {
            **{name: getattr(info, name) for name in ("description", "embedder", "codec", "metric", "dimension")},
            **{name: getattr(info, name) for name in ("records", "deleted", "commits", "frames", "bytes", "lost")},
            "vectors": info.vector_dtype,
            "created": info.created.timestamp(),
            "characters": 0,
            "rate": memory_video.pictures(session_of(self._memory)).rate,
            "verified": False,
            **_damage(info),
        }

    def history(self, given: Given) -> list[dict[str, Any]]:
        return [
            {"number": each.number, "time": each.time.timestamp(), "added": each.added, "deleted": each.deleted}
            for each in self._memory.history()
        ]

    def records(self, given: Given) -> dict[str, Any]:
        where, limit, offset = _page(given)
        with self._at(given) as memory:
            found = memory.select(where, limit=limit, offset=offset)
            return {"total": len(memory.ids(where)), "records": self._shown(memory, found)}

    def search(self, given: Given) -> dict[str, Any]:
        with self._at(given) as memory:
            hits = memory.search(given.get("q", ""), _count(given, "k", 50), _object(given, "where"), explain=True)
            return {"total": len(hits), "records": self._shown(memory, hits)}

    def record(self, given: Given) -> dict[str, Any] | None:
        with self._at(given) as memory:
            try:
                return self._shown(memory, [memory.get(given.get("id", ""))])[0]
            except RecordNotFoundError:
                return None

    @contextmanager
    def _at(self, given: Given) -> Iterator[Memory]:
        """Yield the memory as of the commit that is asked for, for one request at a time."""
        with self._lock:
            if "as_of" not in given:
                yield self._memory
            else:
                with self._pasts.leased(_count(given, "as_of", 0, 1 << 48)) as past:
                    yield past

    @staticmethod
    def _shown(memory: Memory, found: Sequence[Record] | Sequence[Hit]) -> list[dict[str, Any]]:
        places = _places(memory, [each.id for each in found])
        return [_fields(each) | places[each.id] for each in found]


class _ViewedLibrary:
    """A library, in its newest version and in earlier ones, and the videos of its shards."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._pasts = _Recent(library.past, _MOST_PASTS)
        self._shards = _Recent(self._shard, _MOST_SHARDS)
        self._lock = threading.Lock()

    def _shard(self, file: str) -> Memory:
        """Open a shard of the newest version, or of an earlier one that is open.

        Raises:
            InvalidInputError: None of them has such a shard.
        """
        for library in (self._library, *self._pasts.kept()):
            with suppress(InvalidInputError, ClosedError):
                return library.open_shard(file)
        raise InvalidInputError(f"the library has no shard {file!r}")

    def film(self, shard: str) -> str | None:
        try:
            with self._shards.leased(f"shards/{shard}.mp4") as memory:
                return session_of(memory).file
        except InvalidInputError:
            return None

    def close(self) -> None:
        self._shards.close()
        self._pasts.close()

    def info(self, given: Given) -> dict[str, Any]:
        with self._at({}) as library:
            info, shards = library.info(), library.shards()
        return {
            **{
                name: getattr(info, name) for name in ("embedder", "metric", "dimension", "records", "deleted", "bytes")
            },
            "memory_id": info.id,
            "vectors": info.vector_dtype,
            "versions": info.version,
            "created": info.created.timestamp(),
            "partitions": ", ".join(info.partition_by),
            "shards": [
                {"shard": _name_of(each.file), "records": each.records, "deleted": each.deleted, "bytes": each.bytes}
                for each in shards
            ],
            "verified": False,
            "damage": [],
            "damages": 0,
            "torn": {"bytes": 0, "records": 0},
        }

    def history(self, given: Given) -> list[dict[str, Any]]:
        with self._at({}) as library:
            return [
                {
                    **{name: getattr(each, name) for name in ("number", "added", "deleted", "change")},
                    "time": each.time.timestamp(),
                }
                for each in library.history()
            ]

    def records(self, given: Given) -> dict[str, Any]:
        where, limit, offset = _page(given)
        with self._at(given) as library:
            found = library.select(where, limit=limit, offset=offset)
            total = len(library.ids(where)) if where else len(library)
            return {"total": total, "records": self._shown(library, found)}

    def search(self, given: Given) -> dict[str, Any]:
        asked = given.get("q", ""), _count(given, "k", 50), _object(given, "where")
        with self._at(given) as library:
            warning = ""
            try:
                hits: Sequence[Hit] = library.search(*asked, explain=True, timeout=_PATIENCE)
            except IncompleteSearchError as exc:
                hits, warning = exc.hits, worded(exc, _WORDS)
            return {"total": len(hits), "records": self._shown(library, hits), "warning": warning}

    def record(self, given: Given) -> dict[str, Any] | None:
        """Return the record with an id and its place in the video of its shard, or None."""
        with self._at(given) as library:
            try:
                [found] = self._shown(library, [library.get(given.get("id", ""))])
            except RecordNotFoundError:
                return None
        if "shard" not in found:
            return found
        with self._shards.leased(f"shards/{found['shard']}.mp4") as memory:
            return found | _places(memory, [found["id"]])[found["id"]]

    @contextmanager
    def _at(self, given: Given) -> Iterator[Library]:
        """Yield the newest version or the one that is asked for, for one request at a time."""
        with self._lock:
            if "as_of" not in given:
                self._library.refresh()
                yield self._library
            else:
                with self._pasts.leased(_count(given, "as_of", 0, 1 << 48)) as past:
                    yield past

    @staticmethod
    def _shown(library: Library, found: Sequence[Record] | Sequence[Hit]) -> list[dict[str, Any]]:
        """Return records with the shard that has each, and its number in the version, from 1."""
        numbers = {each.file: number for number, each in enumerate(library.shards(), 1)}
        files = library.shards_of([each.id for each in found])
        shown = []
        for each in found:
            file = files.get(each.id, "")
            place = {"shard": _name_of(file), "number": numbers[file]} if file in numbers else {}
            shown.append(_fields(each) | place)
        return shown


def _name_of(file: str) -> str:
    """Return the name of a shard, by which the page asks for its video."""
    return file.removeprefix("shards/").removesuffix(".mp4")


def _fields(each: Record | Hit) -> dict[str, Any]:
    found: dict[str, Any] = {"id": each.id, "text": each.text}
    found["metadata"] = msgspec.json.encode(each.metadata).decode()  # a text: in JavaScript, 1.0 would become 1
    if isinstance(each, Hit):
        found |= {"score": each.score, "relevance": each.relevance, "explain": each.explain}
    return found


def _places(memory: Memory, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return where records are in the video of a memory: the frame with each, and the picture that shows it."""
    session = session_of(memory)
    pictures = memory_video.pictures(session)
    frames = memory_video.frames_of(session, ids) if pictures.coding == "pcm" else {}
    shown = memory_video.pictured_frames(session, ids)
    return {each: {"frame": frames.get(each), "shown": shown.get(each), "rate": pictures.rate} for each in ids}


def _damage(info: MemoryInfo) -> dict[str, Any]:
    return {
        "damage": [{"frame": each.frame, "commit": each.commit, "reason": each.reason} for each in info.damage[:200]],
        "damages": len(info.damage),
        "torn": {"bytes": info.torn_bytes, "records": 0},
    }


def _page(given: Given) -> tuple[dict[str, Any] | None, int, int]:
    return _object(given, "where"), _count(given, "limit", 50), _count(given, "offset", 0, 1 << 40)


def _count(given: Given, name: str, default: int, most: int = _MOST_RECORDS) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) <= most):
        raise InvalidInputError(f"{name} is a number from 0 to {most}")
    return int(text)


def _object(given: Given, name: str) -> dict[str, Any] | None:
    try:
        value = json.loads(given.get(name, "null"))
    except (ValueError, RecursionError) as exc:
        raise InvalidInputError(f"{name} is not JSON: {exc}") from exc
    if value is not None and not isinstance(value, dict):
        raise InvalidInputError(f"{name} is a JSON object")
    return value
