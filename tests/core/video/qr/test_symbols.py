"""Each pair of symbol writer and reader reads what the other wrote; base45 and the capacities are the standards'."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.errors import CodecError, MissingExtraError
from memvid_core.video.qr import symbols

PAIRS = ("zxing", "zbar")


@given(st.binary(max_size=300))
def test_base45_round_trip(data: bytes) -> None:
    text = symbols.to_base45(data)
    assert symbols.from_base45(text) == data
    assert len(text) == len(data) // 2 * 3 + len(data) % 2 * 2


@pytest.mark.parametrize(("data", "text"), [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581")])
def test_base45_examples_of_rfc_9285(data: bytes, text: str) -> None:
    assert symbols.to_base45(data) == text
    assert symbols.from_base45(text) == data


@given(st.text(max_size=40))
def test_any_text_is_base45_or_none(text: str) -> None:
    data = symbols.from_base45(text)
    assert data is None or symbols.to_base45(data) == text


@pytest.mark.parametrize("text", ["GGW", ":::", "ab", "A", "A A A", "ÄÖÜ"])
def test_what_is_no_base45_is_refused(text: str) -> None:
    assert symbols.from_base45(text) is None


@pytest.mark.parametrize("level", symbols.ERROR_CORRECTION)
@pytest.mark.parametrize("version", [1, 2, 6, 7, 9, 10, 14, 21, 26, 27, 32, 40])
def test_capacities_are_the_writers(version: int, level: str) -> None:
    pair = symbols.get_pair("zxing")
    full = bytes(range(256)) * 12
    most = symbols.byte_capacity(version, level)
    assert len(pair.write(symbols.to_base45(full[:most]), level)) == symbols.side_of(version)
    if version < 40:
        assert len(pair.write(symbols.to_base45(full[: most + 1]), level)) > symbols.side_of(version)


@pytest.mark.parametrize("size", [1, 150, 1200])
@pytest.mark.parametrize("reader", PAIRS)
@pytest.mark.parametrize("writer", PAIRS)
def test_each_pair_reads_what_the_other_wrote(writer: str, reader: str, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    text = symbols.to_base45(data)
    modules = symbols.get_pair(writer).write(text, "L", mask=size % 8 if size > 1 else None)
    picture = symbols.draw(modules, 512, 4)
    assert symbols.get_pair(reader).read_clean(modules) == text
    assert symbols.get_pair(reader).read(picture) == [text]


@pytest.mark.parametrize("module", [2, 3, 4, 5, 8])
def test_a_drawn_symbol_is_read_from_its_corners(module: int) -> None:
    modules = symbols.get_pair("zxing").write(symbols.to_base45(bytes(60)), "M")
    picture = symbols.draw(modules, 512, module)
    found = symbols.read_drawn(picture)
    assert found is not None
    assert (found == modules).all()
    assert picture[: symbols.QUIET * module].min() == 255


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_no_picture_confuses_the_reader(seed: int, height: int, width: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 2, (height, width), dtype=np.uint8) * 255
    found = symbols.read_drawn(picture)
    assert found is None or found.shape[0] == found.shape[1]


def test_missing_libraries_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zxingcpp", None)
    monkeypatch.setitem(sys.modules, "pyzbar", None)
    for pair in PAIRS:
        with pytest.raises(MissingExtraError, match=r"memvid-core\[qr\]"):
            symbols.get_pair(pair)


def test_an_unknown_pair_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match="zxing, zbar"):
        symbols.get_pair("other")
