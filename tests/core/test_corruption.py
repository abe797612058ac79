"""Corruption of the file: never a wrong answer, never a foreign error, and whatever is lost is counted and named."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from memvid_core import Memory, MemvidError
from memvid_core.errors import DamageWarning, TornTailWarning
from memvid_core.journal import Journal
from memvid_core.video.mp4 import FOOTER_BYTES, PARITY_BYTES, parse_parity
from soak.damage import damage
from soak.past import Past
from tests.core.images import image_file

CODECS: dict[str, dict[str, Any]] = {
    "pcm": {"columns": 4, "rows": 4},
    "pcm-film": {"columns": 8, "rows": 8},
    "qr": {"frame_size": 256, "preset": "compact"},
    "qr-robust": {"frame_size": 256, "hold": 1},
}
SECTOR = 512
Vector = tuple[float, ...]


class Version(NamedTuple):
    """A record as it was written once."""

    text: str
    metadata: dict[str, Any]
    vector: Vector


class Written(NamedTuple):
    """A memory's file, all versions of each record, and the ids that are live."""

    data: bytes
    versions: dict[str, list[Version]]
    live: frozenset[str]
    ends: frozenset[int]
    """Where commits end: a file that is cut there, or before the parity of a commit, shows no damage."""


@cache
def written(codec: str, folder: Path) -> Written:
    """A memory with adds, updates and deletions in many small commits and one of several frames."""
    path, rng = folder / f"{codec}.mp4", random.Random(1)
    versions: dict[str, list[Version]] = {}
    live: set[str] = set()
    ends: set[int] = set()
    film = codec == "pcm-film"
    with Memory.create(
        path, "given", codec.split("-")[0], "float32", codec_options=CODECS[codec], description="x", film=film
    ) as memory:
        for commit in range(10):
            ids = [f"r{commit}-{i}" for i in range(12 if commit == 4 else rng.randrange(1, 3))]
            if commit % 3 == 2:
                ids.append(rng.choice(sorted(live)))
            made = [
                Version(
                    f"{record_id} in {commit}: " + rng.randbytes(40).hex(),
                    {"commit": commit, "deep": [1, {"x": record_id}]},
                    (float(commit + 1), float(i), 1.0),
                )
                for i, record_id in enumerate(ids)
            ]
            memory.add(
                [version.text for version in made],
                [version.metadata for version in made],
                ids,
                vectors=[list(version.vector) for version in made],
                pictures=[image_file("#336699") if i % 3 == 0 else None for i in range(len(ids))] if film else None,
            )
            for record_id, version in zip(ids, made, strict=True):
                versions.setdefault(record_id, []).append(version)
            live.update(ids)
            ends.add(path.stat().st_size)
            if commit in (3, 7):
                gone = rng.choice(sorted(live))
                memory.delete(gone)
                live.discard(gone)
                ends.add(path.stat().st_size)
    return Written(path.read_bytes(), versions, frozenset(live), frozenset(ends))


def flips(data: bytes, rng: random.Random) -> bytes:
    """One to four bytes changed."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """One or two sectors of zeros."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 2])):
        size = rng.choice([64, SECTOR, SECTOR, 8 * SECTOR])
        start = rng.randrange(-(-len(data) // SECTOR)) * SECTOR
        stop = min(start + size, len(data))
        broken[start:stop] = bytes(stop - start)
    return bytes(broken)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def stray(data: bytes, rng: random.Random) -> bytes:
    """Bytes that do not belong there: noise, zeros, or a part of the file itself."""
    at = rng.randrange(len(data))
    size = rng.choice([1, 5, 20, 24, 100, 3000])
    start = rng.randrange(len(data))
    return data[:at] + rng.choice([rng.randbytes(size), bytes(size), data[start : start + size]]) + data[at:]


def missing(data: bytes, rng: random.Random) -> bytes:
    """Bytes from the middle are missing."""
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice([1, 7, SECTOR, 2000, 6000]) :]


def swapped(data: bytes, rng: random.Random) -> bytes:
    """Two sectors have changed places, or one stands for the other, too."""
    size = rng.choice([SECTOR, 8 * SECTOR])
    places = range(0, max(len(data) - size, 1), SECTOR)
    one, other = rng.choice(places), rng.choice(places)
    broken = bytearray(data)
    broken[one : one + size] = data[other : other + size]
    if rng.random() < 0.5:
        broken[other : other + size] = data[one : one + size]
    return bytes(broken)


HOW: list[Callable[[bytes, random.Random], bytes]] = [flips, zeroed, cut, stray, missing, swapped]


def check(path: Path, of: Written, what: object) -> str:
    """Open what is left and compare it with what was written; say how it went."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTailWarning)
        warnings.simplefilter("ignore", DamageWarning)
        try:
            memory = Memory.open(path, embedder="given")
        except MemvidError:
            return "refused"
        with memory:
            found = list(memory)
            vectors = memory.get_vectors([record.id for record in found])
            report = memory.verify()
    size = path.stat().st_size
    if report.ok and (size in of.ends or parse_parity(of.data[size : size + PARITY_BYTES]) is not None):
        return "cut"
    ids = [record.id for record in found]
    current = 0
    old = set()
    for record in found:
        matching = [
            version
            for version in of.versions[record.id]
            if (version.text, version.metadata) == (record.text, record.metadata)
        ]
        assert matching, (what, record)
        if record.id in vectors:
            assert tuple(np.asarray(vectors[record.id], float).tolist()) in [v.vector for v in matching], what
        if record.id in of.live and matching[-1] == of.versions[record.id][-1]:
            current += 1
        else:
            old.add(record.id)
    lost = len(of.live) - len(set(ids) & of.live)
    named = sum(item.records for item in report.damage)
    without = len(found) - len(vectors)
    assert (current == len(of.live) and not old and not without) or not report.ok, (what, lost, old)
    # Where nothing behind the damage tells, nobody knows how much there was.
    untold = any(item.commit is None or "the file ends" in item.reason for item in report.damage)
    if not report.torn_bytes and not untold:
        assert lost <= named, (what, lost, report)
        assert without <= sum(item.vectors for item in report.damage), (what, report)
        backs = named + sum(item.deletions for item in report.damage)
        assert not old or backs or any(item.reason for item in report.damage), (what, report)
    return "whole" if report.ok else "damaged"


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_wrong_is_ever_read_out_of_a_corrupted_file(
    codec: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    effort: Callable[[int], int],
    sized: Callable[[int, int], int],
) -> None:
    of = written(codec, tmp_path_factory.getbasetemp())
    path = tmp_path / "m.mp4"
    Path(f"{path}.index").touch()  # in the way of the folder: the index is made anew in RAM each time
    counts: dict[str, int] = {}
    for seed in range(effort(sized(*{"pcm": (60, 150), "pcm-film": (24, 60)}.get(codec, (8, 20))))):
        rng = random.Random(f"{codec} {seed}")
        how = HOW[seed % len(HOW)]
        path.write_bytes(how(of.data, rng))
        said = check(path, of, (codec, how.__name__, seed))
        counts[said] = counts.get(said, 0) + 1
    assert counts["damaged"] > sum(counts.values()) // 2


def forty(path: Path, codec: str) -> None:
    """Forty commits of one record."""
    with Memory.create(
        path, "given", codec, "float32", codec_options=CODECS[codec] if codec == "qr" else None
    ) as memory:
        for i in range(40):
            text = f"text number {i} " + f"word{i} " * (2 if codec == "qr" else 20)
            memory.add([text], [{"n": i}], [f"r{i}"], vectors=[[float(i + 1), 1.0, i % 7]])


def sectors(data: bytes, size: int, step: int) -> Iterator[tuple[int, bytes]]:
    """The file with a sector of zeros at each place."""
    for start in range(0, len(data), step):
        stop = min(start + size, len(data))
        yield start, data[:start] + bytes(stop - start) + data[stop:]


@pytest.mark.parametrize("size", [SECTOR, 8 * SECTOR])
@pytest.mark.parametrize("codec", ["pcm", "qr"])
def test_a_zeroed_sector_costs_the_records_that_lie_in_it(
    codec: str, size: int, tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    path = tmp_path / "m.mp4"
    forty(path, codec)
    data = path.read_bytes()
    with Memory.open(path, embedder="given") as memory, closing(memory._indexed.journal_copy()) as journal:
        entries = list(journal.replay(journal.start))
    spans = [(entry.start, entry.cursor.offset) for entry in entries]
    path = tmp_path / "broken.mp4"
    Path(f"{path}.index").touch()
    step = SECTOR * max(1, (12 if codec == "pcm" else sized(54, 24)) // effort(1))
    for start, broken in sectors(data, size, step):
        path.write_bytes(broken)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Memory.open(path, embedder="given") as memory:
                found = {record.id for record in memory}
                report = memory.verify()
        touched = sum(begin < start + size and end > start for begin, end in spans)
        lost = 40 - len(found)
        assert lost <= touched, (start, lost, touched)
        assert not report.ok or not lost
        # Nothing behind it tells how many there were.
        if not report.torn_bytes and not any(item.commit is None for item in report.damage):
            assert lost <= sum(item.records for item in report.damage), (start, report)


def test_a_replay_in_two_parts_finds_the_same_commits(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    data, path = written("pcm", tmp_path_factory.getbasetemp()).data, tmp_path / "m.mp4"
    size, different = 4 * SECTOR, []
    for one in range(SECTOR, len(data) - size, SECTOR):
        for other in range(len(data) // SECTOR * SECTOR - size, max(one + size, len(data) - 4 * size), -SECTOR):
            broken = bytearray(data)
            broken[one : one + size], broken[other : other + size] = (
                data[other : other + size],
                data[one : one + size],
            )
            path.write_bytes(broken)
            with closing(Journal.open(path, "r")) as journal:
                *_, last = journal.replay(journal.start)
                whole = journal.cursor
            with closing(Journal.open(path, "r")) as journal:
                list(journal.replay(last.cursor))
                if (journal.cursor.commit, journal.cursor.row) != (whole.commit, whole.row):
                    different.append((one, other))
    assert not different


@pytest.mark.parametrize("codec", ["pcm", "qr"])
def test_a_cut_in_the_last_bytes_of_a_commit_is_reported(codec: str, tmp_path: Path) -> None:
    path, ends = tmp_path / "m.mp4", []
    with Memory.create(path, "given", codec, "float32", codec_options=CODECS[codec]) as memory:
        for number, count in enumerate((1, 12, 1)):
            ids = [f"r{number}-{i}" for i in range(count)]
            memory.add(ids, ids=ids, vectors=[[1.0, float(i), float(number)] for i in range(count)])
            ends.append(path.stat().st_size)
        memory.delete("r0-0")
        ends.append(path.stat().st_size)
    data, cut_off = path.read_bytes(), tmp_path / "cut.mp4"
    Path(f"{cut_off}.index").touch()
    unreported = []
    for size in (end - missing for end in ends for missing in range(1, FOOTER_BYTES + 8)):
        cut_off.write_bytes(data[:size])
        with warnings.catch_warnings(record=True) as reported:
            warnings.simplefilter("always")
            Memory.open(cut_off, embedder="given").close()
        if not any("later commits" in str(item.message) or "never finished" in str(item.message) for item in reported):
            unreported.append((size, [str(item.message) for item in reported]))
    assert not unreported


def test_copies_of_other_frames_among_moved_bytes_do_not_hide_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memvid_core.journal.frames.FORMAT_VERSION", 1)  # in which the bytes were found
    rng = random.Random(301000228)
    rng.random()  # the codec
    past = Past(tmp_path, 301000228, codec="pcm", vector_dtype=rng.choice(["float16", "float32"]))
    for _ in range(31):
        made = damage(past.data, rng)
        rng.random(), rng.random()
    assert made.what == "swapped: blocks 8704 and 4096+3576 swapped"
    with closing(Journal.open(io.BytesIO(made.data))) as journal:
        first, second = journal.replay(journal.start)
        assert (first.number, second.number) == (1, 2)
        assert [entry.number for entry in journal.replay(first.cursor)] == [2]
