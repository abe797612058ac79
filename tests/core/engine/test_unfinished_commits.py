"""Commits whose last bytes are missing: a torn tail, of which nothing stays after the next commit."""

from __future__ import annotations

import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import DamageWarning, Memory
from memvid_core.video.mp4 import FOOTER_BYTES
from soak.model import embed

KINDS: dict[str, Callable[[Memory], object]] = {
    "a record": lambda memory: memory.add(["one more"], ids=["b"]),
    "records": lambda memory: memory.add([f"number {i} of six" for i in range(6)], ids=[f"b{i}" for i in range(6)]),
    "an update": lambda memory: memory.update("a1", text="another text"),
    "a deletion": lambda memory: memory.delete(["a1"]),
    "a replacement": lambda memory: memory.add(["one more"], ids=["b"], delete=["a0", "a2"]),
    "all deleted": lambda memory: memory.clear(),
}
CASES = [("pcm", kind) for kind in KINDS] + [("qr", "records"), ("qr", "a deletion")]


def state(memory: Memory) -> dict[str, str]:
    return {record.id: record.text for record in memory.select()}


@pytest.mark.parametrize("index", ["none", "of the commit before"])
@pytest.mark.parametrize(("codec", "kind"), CASES)
def test_a_commit_counts_from_its_last_byte_on(tmp_path: Path, codec: str, kind: str, index: str) -> None:
    path, folder = tmp_path / "m.mp4", tmp_path / "m.mp4.index"
    with Memory.create(path, embed, codec=codec) as memory:
        memory.add([f"text {i}" for i in range(4)], ids=[f"a{i}" for i in range(4)])
        before = state(memory)
    begin = path.stat().st_size
    shutil.copytree(folder, tmp_path / "kept")
    with Memory.open(path, "a", embedder=embed) as memory:
        KINDS[kind](memory)
        after = state(memory)
    data = path.read_bytes()
    ends = [len(data), data.rindex(b"mvpa") - 8] if codec != "qr" and b"mvpa" in data[begin:] else [len(data)]
    cuts = {*range(begin + 1, len(data), (len(data) - begin) // 3), *range(len(data) - 63, len(data), 9)}
    cuts |= {end + by for end in ends for by in (-29, -28, -1, 0, 1) if end + by <= len(data)}
    for cut in sorted(cuts):
        shutil.rmtree(folder, ignore_errors=True)
        if index != "none":
            shutil.copytree(tmp_path / "kept", folder)
        path.write_bytes(data[:cut])
        whole = cut >= ends[-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DamageWarning)
            with Memory.open(path, "a", embedder=embed) as memory:
                assert state(memory) == (after if whole else before), cut
                report = memory.verify()
                assert (report.damage, report.repaired) == ((), ()), (cut, report)
                assert report.torn_bytes == (0 if cut in ends else cut - (ends[-1] if whole else begin)), (cut, report)
                memory.add(["and then"], ids=["c"])
                assert state(memory) == {**(after if whole else before), "c": "and then"}, cut
                assert memory.verify().ok, (cut, memory.verify())
        for copy in tmp_path.glob("*.torn-*"):
            copy.unlink()


@pytest.mark.parametrize("codec", ["pcm", "qr"])
@pytest.mark.parametrize("index", ["in the folder", "in RAM"])
def test_a_reader_between_two_writes_of_a_commit_sees_no_damage(tmp_path: Path, codec: str, index: str) -> None:
    source, path = tmp_path / "source.mp4", tmp_path / "m.mp4"
    with Memory.create(source, embed, codec=codec) as memory:
        memory.add([f"text {i}" for i in range(4)])
        begin = source.stat().st_size
        memory.add([f"number {i} of six" for i in range(6)])
        end = source.stat().st_size
        memory.add(["one more"])
    data = source.read_bytes()
    parity = data.rindex(b"mvpa", begin, end) - 8
    near = {place + by for place in (begin, parity - 28, parity, parity + 28, end) for by in range(-3, 4)}
    for cut in sorted(cut for cut in near | {(begin + parity) // 2} if begin <= cut <= end):
        shutil.rmtree(tmp_path / "m.mp4.index", ignore_errors=True)
        if index == "in RAM":
            (tmp_path / "m.mp4.index").touch()  # in the way of the folder
        path.write_bytes(data[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DamageWarning)
            with Memory.open(path, "r", embedder=embed) as memory:
                assert len(memory) in ({4, 10} if parity <= cut else {4})
                with path.open("ab") as file:
                    file.write(data[cut:])
                assert len(memory) == 11, cut
                assert (memory.info().damage, memory.info().torn_bytes) == ((), 0), (cut, memory.info())
                assert memory.verify().ok
        if index == "in RAM":
            (tmp_path / "m.mp4.index").unlink()


@pytest.mark.parametrize("codec", ["pcm", "qr"])
@pytest.mark.parametrize("later", [False, True])
def test_a_doubled_footer_or_parity_is_named(tmp_path: Path, codec: str, later: bool) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed, codec=codec) as memory:
        memory.add([f"number {i} of six" for i in range(6)])
        end = path.stat().st_size
        if later:
            memory.add(["one more"])
    data = path.read_bytes()
    parity = data.rindex(b"mvpa", 0, end) - 8
    footer = data.rindex(b"mvid", 0, parity) - 8
    for begin, stop, at in ((footer, parity, parity), (parity, end, end), (footer, end, end), (footer, parity, end)):
        shutil.rmtree(tmp_path / "m.mp4.index", ignore_errors=True)
        path.write_bytes(data[:at] + data[begin:stop] + data[at:])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Memory.open(path, "r", embedder=embed) as memory:
                assert len(memory) == 6 + later
                assert not memory.verify().ok, (begin, stop, at)


@pytest.mark.parametrize("codec", ["pcm", "qr"])
def test_a_footer_that_claims_more_than_stands_before_it_is_damage_and_no_more(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "m.mp4"
    ends = []
    with Memory.create(path, embed, codec=codec) as memory:
        for number in range(3):
            memory.add([f"number {number}.{i}" for i in range(3)])
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    last = data.rindex(b"mvid", 0, data.rindex(b"mvpa")) - 8
    for claimed in (ends[1] + 1, ends[2], 1 << 23, 1 << 62, (1 << 64) - 1):
        forged = struct.pack(">I4s4sIQ", FOOTER_BYTES, b"free", b"mvid", 0, claimed)
        for at in (ends[1], ends[1] + 40, (ends[1] + ends[2]) // 2, last - FOOTER_BYTES, last):
            shutil.rmtree(tmp_path / "m.mp4.index", ignore_errors=True)
            path.write_bytes(data[:at] + forged + data[at + FOOTER_BYTES :])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Memory.open(path, "r", embedder=embed) as memory:
                    assert len(memory) >= 6
                    assert not memory.verify().ok, (claimed, at)
