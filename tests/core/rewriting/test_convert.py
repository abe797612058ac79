"""Convert: the same memory in other pictures, its past included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core import (
    CodecError,
    EmbedderMismatchError,
    EmbeddingError,
    HashingEmbedder,
    InvalidInputError,
    Memory,
    MemoryExistsError,
    MemoryFileError,
    MemoryNotFoundError,
    NotAMemoryError,
    VectorError,
    as_embedder,
)
from memvid_core.journal import Journal
from memvid_core.rewriting.convert import convert
from tests.core.embedders import embed
from tests.core.memories import SMALL, assert_same, lived
from tests.core.parity_boxes import without_parity


class TestConvert:
    @pytest.mark.parametrize("seed", range(3))
    def test_to_symbols_and_back_is_the_same_memory_with_the_same_past(self, tmp_path: Path, seed: int) -> None:
        source = lived(tmp_path / "store.mp4", seed)
        shared, back = tmp_path / "shared.mp4", tmp_path / "back.mp4"
        there = convert(source, shared, codec="qr", codec_options=SMALL)
        again = convert(shared, back, codec="pcm")
        assert (there.lost, again.lost) == (0, 0)
        assert (there.codec, there.vector_dtype, again.codec, again.vector_dtype) == ("qr", "int8", "pcm", "int8")
        with Memory.open(source) as memory:
            assert there.records == again.records == sum(commit.added for commit in memory.history())
        assert there.bytes == shared.stat().st_size == again.source_bytes
        assert_same(source, shared)
        assert_same(source, back)

    def test_the_target_can_be_written_on(self, tmp_path: Path) -> None:
        source = lived(tmp_path / "store.mp4")
        convert(source, tmp_path / "shared.mp4", codec="qr", codec_options=SMALL)
        with Memory.open(tmp_path / "shared.mp4", "a") as memory:
            before = len(memory.history())
            memory.add("one more", ids="more")
            assert memory.get("more").text == "one more"
            assert [commit.number for commit in memory.history()][-1] == before + 1

    @pytest.mark.parametrize("vectors", ["float16", "float32", "float64"])
    def test_vectors_that_are_kept_are_the_same_numbers(self, tmp_path: Path, vectors: Any) -> None:
        source = lived(tmp_path / "a.mp4", embedder=embed, vector_dtype=vectors)
        assert convert(source, tmp_path / "b.mp4", codec="pcm").vector_dtype == vectors
        with Memory.open(source, embedder=embed) as one, Memory.open(tmp_path / "b.mp4", embedder=embed) as other:
            ids = [record.id for record in one]
            first, second = one.get_vectors(ids), other.get_vectors(ids)
            assert all(np.array_equal(first[key], second[key]) for key in ids)

    def test_int8_is_near_and_stays_what_it_is(self, tmp_path: Path) -> None:
        source = lived(tmp_path / "a.mp4", embedder=embed, vector_dtype="float32")
        convert(source, tmp_path / "b.mp4", codec="pcm", vector_dtype="int8")
        convert(tmp_path / "b.mp4", tmp_path / "c.mp4", codec="pcm")
        found = []
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            with Memory.open(tmp_path / name, embedder=embed) as memory:
                vectors = memory.get_vectors([record.id for record in memory])
                found.append(np.stack([vectors[key] for key in sorted(vectors)]))
        assert np.abs(found[1] - found[0]).max() <= np.abs(found[0]).max() / 127
        assert np.allclose(found[2], found[1], rtol=1e-6)

    def test_vectors_are_left_out_and_made_again(self, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "a.mp4") as memory:  # enough texts for the embedder to learn from them
            memory.add([f"text {i} about wings and engines {i % 7}" for i in range(300)], ids=map(str, range(300)))
            wanted = memory.get_vectors(["7"])["7"]
        convert(tmp_path / "a.mp4", tmp_path / "bare.mp4", codec="qr", vector_dtype="none")
        convert(tmp_path / "bare.mp4", tmp_path / "full.mp4", codec="pcm", vector_dtype="float16")
        for name in ("bare.mp4", "full.mp4"):
            with Memory.open(tmp_path / name) as memory:
                assert memory.search("text 7", k=1, mode="dense")[0].score > 0
                assert np.allclose(memory.get_vectors(["7"])["7"], wanted, atol=2e-3)

    def test_without_history_only_what_is_live_is_left(self, tmp_path: Path) -> None:
        source = lived(tmp_path / "a.mp4")
        done = convert(source, tmp_path / "b.mp4", codec="pcm", keep_history=False)
        with Memory.open(source) as one, Memory.open(tmp_path / "b.mp4") as other:
            assert list(one) == list(other)
            assert (done.commits, done.records, done.lost) == (1, len(one), 0)
            assert other.info().deleted == 0
            last = one.history()[-1].number
        with pytest.raises(InvalidInputError, match="removed the history"):
            Memory.open(tmp_path / "b.mp4", as_of=last - 1)

    def test_a_memory_without_records(self, tmp_path: Path) -> None:
        Memory.create(tmp_path / "a.mp4").close()
        for keep in (True, False):
            target = tmp_path / f"{keep}.mp4"
            assert convert(tmp_path / "a.mp4", target, codec="pcm", keep_history=keep).records == 0
            with Memory.open(target) as memory:
                assert len(memory) == 0

    def test_given_vectors_of_some_records(self, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "a.mp4", "given", vector_dtype="float32") as memory:
            memory.add(["a", "b", "c"], ids=["a", "b", "c"], vectors=[[1.0, 0.0], None, [0.0, 1.0]])
        convert(tmp_path / "a.mp4", tmp_path / "b.mp4", codec="qr", codec_options=SMALL, vector_dtype="float32")
        with Memory.open(tmp_path / "b.mp4") as memory:
            found = memory.get_vectors(["a", "b", "c"])
            assert {key: value.tolist() for key, value in found.items()} == {"a": [1, 0], "c": [0, 1]}


def damaged(path: Path, text: bytes) -> None:
    data = path.read_bytes()
    at = data.rindex(text)
    path.write_bytes(without_parity(data[: at + 4] + bytes([data[at + 4] ^ 255]) + data[at + 5 :], at))


class TestDamage:
    def source(self, tmp_path: Path) -> Path:
        """Three commits; the records of the second are damaged, and the third replaces one of them."""
        path = tmp_path / "a.mp4"
        with Memory.create(path, embedder=embed, vector_dtype="float32") as memory:
            memory.add(["one", "two"], ids=["a", "b"])
            memory.add(["three", "QQQQQQQQ"], ids=["c", "a"])
            memory.add(["four", "five"], ids=["c", "d"])
        damaged(path, b"QQQQQQQQ"[:4])
        return path

    def test_it_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        source = self.source(tmp_path)
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(MemoryFileError, match=r"commit 2 is damaged.*drop_damaged=True"):
            convert(source, tmp_path / "b.mp4", codec="pcm")
        with pytest.raises(MemoryFileError, match="commit 2 is damaged"):
            convert(source, tmp_path / "b.mp4", codec="pcm", keep_history=False)
        left = {path.name for path in tmp_path.iterdir()} - set(before)
        assert left <= {"b.mp4.lock"}

    def test_what_is_left_is_converted_and_each_id_is_there_once(self, tmp_path: Path) -> None:
        done = convert(self.source(tmp_path), tmp_path / "b.mp4", codec="pcm", drop_damaged=True)
        assert (done.records, done.lost, done.commits) == (4, 2, 3)
        assert {item.commit for item in done.damage} == {2}
        with Memory.open(tmp_path / "b.mp4", embedder=embed) as memory:
            assert {record.id: record.text for record in memory} == {"b": "two", "c": "four", "d": "five"}
            assert memory.verify().ok
            found = memory.get_vectors(["b", "c", "d"])
            assert all(np.allclose(found[record.id], embed([record.text])[0]) for record in memory)

    def test_folded_too(self, tmp_path: Path) -> None:
        done = convert(self.source(tmp_path), tmp_path / "b.mp4", codec="pcm", drop_damaged=True, keep_history=False)
        with Memory.open(tmp_path / "b.mp4", embedder=embed) as memory:
            assert {record.id: record.text for record in memory} == {"b": "two", "c": "four", "d": "five"}
        assert done.records == 3


class Broken(HashingEmbedder):
    """An embedder that is gone, under the name of the one that wrote the memory."""

    name = as_embedder(embed).name

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise EmbeddingError("no model")


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crf": 99}, "crf 99 is out of range"),
            ({"frame_size": 96}, "frame_size 180 or more"),
            ({"video_codec": "h266"}, "h264, h265, av1"),
            ({"colour": "red"}, "no option 'colour'"),
        ],
    )
    def test_settings(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        source = lived(tmp_path / "a.mp4", commits=1)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(CodecError, match=message):
            convert(source, tmp_path / "b.mp4", codec="qr", codec_options=options)
        assert sorted(tmp_path.iterdir()) == before

    def test_paths(self, tmp_path: Path) -> None:
        source = lived(tmp_path / "a.mp4", commits=1)
        with pytest.raises(MemoryExistsError, match="give another name"):
            convert(source, source, codec="qr")
        with pytest.raises(MemoryNotFoundError, match="does not exist"):
            convert(source, tmp_path / "no" / "b.mp4", codec="pcm")
        with pytest.raises(MemoryNotFoundError):
            convert(tmp_path / "none.mp4", tmp_path / "b.mp4", codec="pcm")
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(NotAMemoryError):
            convert(tmp_path / "text.mp4", tmp_path / "b.mp4", codec="pcm")
        with pytest.raises(CodecError, match="unknown codec"):
            convert(source, tmp_path / "b.mp4", codec="gif")
        assert not (tmp_path / "b.mp4").exists()

    def test_vectors_that_cannot_be_had(self, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "given.mp4", "given", vector_dtype="float32") as memory:
            memory.add("a", vectors=[[1e6, 0.0]])
        with pytest.raises(InvalidInputError, match="were given"):
            convert(tmp_path / "given.mp4", tmp_path / "b.mp4", codec="pcm", vector_dtype="none")
        with pytest.raises(VectorError, match="65504"):
            convert(tmp_path / "given.mp4", tmp_path / "b.mp4", codec="pcm", vector_dtype="float16")
        with pytest.raises(InvalidInputError, match="one of float16"):
            convert(tmp_path / "given.mp4", tmp_path / "b.mp4", codec="pcm", vector_dtype="float8")  # type: ignore[arg-type]
        lived(tmp_path / "none.mp4", commits=1, embedder=embed, vector_dtype="none")
        with pytest.raises(EmbedderMismatchError, match="pass that embedder"):
            convert(tmp_path / "none.mp4", tmp_path / "b.mp4", codec="pcm", vector_dtype="float16")
        with pytest.raises(EmbeddingError, match="no model"):
            convert(tmp_path / "none.mp4", tmp_path / "b.mp4", codec="pcm", vector_dtype="float16", embedder=Broken())
        assert not (tmp_path / "b.mp4").exists()
        assert not list(tmp_path.glob("*.converting"))


@pytest.mark.parametrize("moment", ["open", "create_with"])
@pytest.mark.parametrize("change", ["compact", "add", "delete", "refit"])
def test_what_others_change_between_the_passes_of_a_conversion_does_not_mix_two_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, moment: str
) -> None:
    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    with Memory.create(source) as memory:
        for number in range(6):
            memory.add([f"text of number {number}"], ids=[f"{number}"])
        memory.delete(["0", "3"])
        memory.add(["another text of number 4"], ids=["4"])
    wanted = ["1", "2", "5", "4"]
    changes: dict[str, Callable[[Memory], Any]] = {
        "compact": lambda memory: memory.compact(),
        "add": lambda memory: memory.add(["later"], ids=["5"]),
        "delete": lambda memory: memory.delete(["1", "5"]),
        "refit": lambda memory: memory.refit(),
    }
    call = getattr(Journal, moment).__func__

    def then_changed(cls: type[Journal], *arguments: Any) -> Journal:
        monkeypatch.undo()
        journal: Journal = call(cls, *arguments)
        with Memory.open(source, "a") as memory:
            changes[change](memory)
        return journal

    monkeypatch.setattr(Journal, moment, classmethod(then_changed))
    convert(source, target, codec="pcm", keep_history=False)
    later = {"add": ["1", "2", "4", "5"], "delete": ["2", "4"]} if moment == "open" else {}
    with Memory.open(target) as memory:
        assert memory.ids() in (wanted, later.get(change, wanted))  # one state: after the first pass, the one it read
        assert moment == "open" or memory.history()[-1].number == 8  # and says that it is this one
        assert memory.verify().ok
        for record in memory:
            assert memory.search(record.text, k=1, mode="dense")[0].id == record.id


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
@pytest.mark.parametrize("keep_history", [True, False])
def test_a_last_commit_that_cannot_be_read_is_refused(tmp_path: Path, keep_history: bool) -> None:
    source = tmp_path / "source.mp4"
    with Memory.create(source, embed) as memory:
        memory.add(["a text", "another"], ids=["1", "2"])
        start = source.stat().st_size
        memory.delete(["1"])
    data = source.read_bytes()
    source.write_bytes(data[: start + 100] + bytes(512) + data[start + 612 :])
    with pytest.raises(MemoryFileError, match="no frame can be read"):
        convert(source, tmp_path / "target.mp4", codec="pcm", keep_history=keep_history)
    assert not (tmp_path / "target.mp4").exists()


def test_a_conversion_keeps_the_version_of_the_format(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "new.mp4", embed) as memory:
        memory.add(["a text", "another"])
    convert(tmp_path / "new.mp4", tmp_path / "shared.mp4", codec="qr", codec_options=SMALL)
    convert(tmp_path / "shared.mp4", tmp_path / "back.mp4", codec="pcm")
    for name in ("new.mp4", "shared.mp4", "back.mp4"):
        with Memory.open(tmp_path / name, embedder=embed) as memory:
            assert memory.info().format_version == 3
            assert memory.verify().ok
    assert b"memvid payload 1" in (tmp_path / "back.mp4").read_bytes()
