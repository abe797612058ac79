"""MemvidEncoder: every argument of the guide, on one memory; what is written is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from memvid_core import (
    CodecError,
    EmbedderMismatchError,
    IngestError,
    InvalidInputError,
    Memory,
    MemoryNotFoundError,
    MetadataError,
    NotAMemoryError,
    TextError,
)
from memvid_core.memvid_v1 import MemvidEncoder, MemvidRetriever
from tests.core.embedders import embed
from tests.core.ingest.mixed import write_docx, write_epub, write_html, write_pdf

PROSE = "The wing lifts the aircraft. The engine gives thrust. The tail keeps it straight. " * 6
KOREAN = "날개는 양력을 만든다. 엔진은 추력을 낸다. 꼬리날개는 방향을 잡아 준다. " * 6


class Encoding:
    """What a SentenceTransformer looks like from outside."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, sentences: list[str]) -> Any:
        self.calls += 1
        return embed(sentences)


class TestArguments:
    @pytest.mark.parametrize(("size", "overlap"), [(100, 100), (100, 200), (1, 1)])
    def test_an_overlap_that_is_not_below_chunk_size_is_a_value_error(self, size: int, overlap: int) -> None:
        with pytest.raises(ValueError, match="must be below chunk_size"):
            MemvidEncoder(chunk_size=size, overlap=overlap)
        encoder = MemvidEncoder()
        with pytest.raises(ValueError, match="must be below chunk_size"):
            encoder.add_text(PROSE, chunk_size=size, overlap=overlap)
        with pytest.raises(ValueError, match="must be below chunk_size"):
            MemvidEncoder.from_documents([PROSE], chunk_size=size, overlap=overlap)
        assert encoder.chunks == []

    @pytest.mark.parametrize("workers", [0, -1, 1.5, True])
    def test_n_workers(self, workers: Any) -> None:
        with pytest.raises(InvalidInputError, match="n_workers"):
            MemvidEncoder(n_workers=workers)

    def test_chunk_size_and_overlap_are_kept_to(self) -> None:
        encoder = MemvidEncoder(chunk_size=90, overlap=35)
        assert encoder.add_text(PROSE) == len(encoder.chunks) > 5
        assert all(len(chunk) <= 90 for chunk in encoder.chunks)
        assert all(chunk.endswith(".") for chunk in encoder.chunks)  # at the ends of sentences
        pairs = list(zip(encoder.chunks, encoder.chunks[1:], strict=False))
        assert sum(after.startswith(before.split(". ")[-1]) for before, after in pairs) >= len(pairs) // 2
        encoder.clear()
        encoder.add_text(KOREAN, chunk_size=40, overlap=0)
        assert all(chunk.endswith("다.") for chunk in encoder.chunks)

    @pytest.mark.parametrize(
        "model", [Encoding(), embed, "memvid-hash-v1:64", None], ids=["encode", "function", "name", "built-in"]
    )
    def test_embedding_model(self, tmp_path: Path, model: Any) -> None:
        encoder = MemvidEncoder(embedding_model=model)
        encoder.add_chunks(["alpha", "beta"])
        encoder.build_video(tmp_path / "m.mp4")
        with MemvidRetriever(tmp_path / "m.mp4", embedding_model=model) as retriever:
            assert retriever.search("beta", top_k=1)[0][0] == "beta"
            assert retriever.get_stats()["index_stats"]["embedding_model"] == encoder.get_stats()["embedding_model"]

    def test_models_of_the_frameworks(self, tmp_path: Path) -> None:
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from llama_index.core.embeddings import MockEmbedding

        for number, model in enumerate((DeterministicFakeEmbedding(size=8), MockEmbedding(embed_dim=8))):
            encoder = MemvidEncoder(embedding_model=model)
            encoder.add_chunks(["alpha", "beta"])
            assert encoder.build_video(tmp_path / f"{number}.mp4")["index_stats"]["dimension"] == 8


class TestGathering:
    def test_metadata_goes_with_the_text(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder(chunk_size=90, overlap=0)
        encoder.add_chunks(["one", "two"], [{"n": 1}, None])
        encoder.add_chunks(["three"], {"n": 3})
        encoder.add_text(PROSE, metadata={"source": "prose.txt"})
        encoder.build_video(tmp_path / "m.mp4")
        with Memory.open(tmp_path / "m.mp4") as memory:
            found = list(memory)
            assert [record.metadata for record in found[:3]] == [{"n": 1}, {}, {"n": 3}]
            assert [record.metadata["chunk"] for record in found[3:]] == list(range(len(found) - 3))
            assert {record.metadata["source"] for record in found[3:]} == {"prose.txt"}

    def test_what_cannot_be_stored_is_refused_at_once(self) -> None:
        encoder = MemvidEncoder()
        with pytest.raises(TextError):
            encoder.add_chunks(["fine", 7])  # type: ignore[list-item]
        with pytest.raises(MetadataError, match="when"):
            encoder.add_chunks(["fine"], [{"when": object()}])
        with pytest.raises(InvalidInputError, match="as many as texts"):
            encoder.add_chunks(["a", "b"], [{}])
        assert encoder.chunks == []

    def test_documents(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder(chunk_size=200, overlap=0)
        pdf = write_pdf(tmp_path / "wings.pdf", ["The first page tells of wings.", "The second tells of engines."])
        epub = write_epub(tmp_path / "book.epub", "Book", [("One", "A chapter on tails.")])
        docx = write_docx(tmp_path / "report.docx", "Report", ["A word on rudders."])
        assert encoder.add_pdf(pdf, metadata={"shelf": 3}) == 2
        assert encoder.add_epub(epub) == 1
        assert encoder.add_docx(docx) >= 1
        encoder.build_video(tmp_path / "m.mp4")
        with MemvidRetriever(tmp_path / "m.mp4") as retriever:
            hit = retriever.search_with_metadata("engines", top_k=1)[0]
            assert (hit["metadata"]["page"], hit["metadata"]["shelf"]) == (2, 3)
            assert hit["metadata"]["source"] == pdf.as_posix()
            assert "tails" in retriever.search("tails", top_k=1)[0][0]
            assert "rudders" in retriever.search("rudders", top_k=1)[0][0]

    def test_a_document_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        page = write_html(tmp_path / "page.html", "Page", ["text"])
        encoder = MemvidEncoder()
        with pytest.raises(IngestError, match="not PDF but html"):
            encoder.add_pdf(page)
        with pytest.raises(IngestError, match="no such file"):
            encoder.add_pdf(tmp_path / "none.pdf")
        locked = write_pdf(tmp_path / "locked.pdf", ["secret"], password="pw")
        with pytest.raises(IngestError, match="encrypted"):
            encoder.add_pdf(locked)
        assert encoder.chunks == []

    @pytest.mark.parametrize("workers", [None, 2])
    def test_a_folder_is_read_and_what_cannot_be_is_named(self, tmp_path: Path, workers: int | None) -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.txt").write_text("A text on wings.", encoding="utf-8")
        (folder / "b.md").write_text("# Engines\n\nThey give thrust.", encoding="utf-8")
        write_pdf(folder / "c.pdf", ["A page on tails."])
        write_docx(folder / "d.docx", "Rudders", ["They steer."])
        (folder / "e.pdf").write_bytes(b"%PDF-1.7 cut")
        (folder / "f.log").write_text("left out", encoding="utf-8")
        encoder = MemvidEncoder(n_workers=workers)
        added = encoder.add_folder(folder, metadata={"kb": 1}, exclude=["*.log"])
        assert added == len(encoder.chunks) == 4
        assert [Path(source).name for source in encoder.skipped] == ["e.pdf"]
        assert list(encoder.get_stats()["skipped_files"]) == list(encoder.skipped)
        encoder.build_video(tmp_path / "m.mp4")
        with Memory.open(tmp_path / "m.mp4") as memory:
            assert len(memory.select({"kb": 1})) == 4

    def test_from_file_and_from_documents(self, tmp_path: Path) -> None:
        (tmp_path / "a.md").write_text("# One\n\nfirst\n\n# Two\n\nsecond", encoding="utf-8")
        assert MemvidEncoder.from_file(tmp_path / "a.md", chunk_size=100, overlap=0).chunks == [
            "# One\n\nfirst",
            "# Two\n\nsecond",
        ]
        encoder = MemvidEncoder.from_documents(["first", "second"], metadata=[{"a": 1}, None], n_workers=2)
        encoder.build_video(tmp_path / "m.mp4")
        with Memory.open(tmp_path / "m.mp4") as memory:
            assert [record.metadata for record in memory] == [
                {"document": 0, "a": 1, "chunk": 0, "start": 0},
                {"document": 1, "chunk": 0, "start": 0},
            ]

    def test_stats_and_clear(self) -> None:
        encoder = MemvidEncoder(chunk_size=64, overlap=8, n_workers=3)
        assert encoder.get_stats()["avg_chunk_size"] == 0
        encoder.add_chunks(["ab", "abcd"])
        stats = encoder.get_stats()
        told = {"total_chunks": 2, "waiting_chunks": 2, "total_characters": 6, "avg_chunk_size": 3.0, "n_workers": 3}
        assert stats.items() >= told.items()
        assert {"pcm", "h264", "h265", "hevc", "av1"} <= set(stats["supported_codecs"])
        encoder.clear()
        assert encoder.get_stats()["total_chunks"] == 0


class TestBuilding:
    def test_the_default_is_the_store_and_the_index_a_pointer(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks(["one", "two"])
        stats = encoder.build_video(tmp_path / "out" / "m.mp4", tmp_path / "out" / "m_index.json", show_progress=False)
        told = {"total_chunks": 2, "new_chunks": 2, "codec": "pcm", "fps": 2, "unused_settings": []}
        assert stats.items() >= told.items()
        assert stats["total_frames"] == stats["total_pictures"]
        assert stats["duration_seconds"] == stats["total_pictures"] / 2
        assert stats["video_size_mb"] * 1e6 == (tmp_path / "out" / "m.mp4").stat().st_size
        pointer = json.loads((tmp_path / "out" / "m_index.json").read_text(encoding="utf-8"))
        assert pointer == {"format": "memvid-core", "video": "m.mp4", "chunks": 2}

    def test_an_index_that_is_no_json_is_the_index_folder(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks(["one"])
        encoder.build_video(tmp_path / "m.mp4", tmp_path / "index")
        assert (tmp_path / "index").is_dir()
        assert not (tmp_path / "m.mp4.index").exists()
        with MemvidRetriever(tmp_path / "m.mp4", tmp_path / "index") as retriever:
            assert retriever.get_chunk_by_id(0) == "one"
        assert not (tmp_path / "m.mp4.index").exists()

    @pytest.mark.parametrize(
        ("codec", "coded"), [("h264", "h264"), ("h265", "hevc"), ("hevc", "hevc"), ("av1", "av1"), ("avc", "h264")]
    )
    def test_video_codecs(self, tmp_path: Path, codec: str, coded: str) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks([f"chunk {i}" for i in range(20)])
        stats = encoder.build_video(
            tmp_path / "m.mp4", tmp_path / "m.json", fps=24, frame_size=320, video_codec=codec, crf=28
        )
        assert (stats["fps"], stats["unused_settings"]) == (24, [])
        with av.open(str(tmp_path / "m.mp4")) as container:
            video = container.streams.video[0]
            assert (video.codec_context.name.replace("libdav1d", "av1"), video.width, video.height) == (coded, 320, 320)
            assert sum(1 for packet in container.demux(video) if packet.size) == stats["total_pictures"]
        (tmp_path / "m.mp4").rename(tmp_path / "alone.mp4")  # no index, no JSON: the frames hold everything
        with MemvidRetriever(tmp_path / "alone.mp4") as retriever:
            assert [retriever.get_chunk_by_id(i) for i in range(20)] == [f"chunk {i}" for i in range(20)]

    def test_settings_that_mean_nothing_to_the_store_are_checked_and_told(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks(["one"])
        assert encoder.build_video(tmp_path / "m.mp4", crf=28, fps=30)["unused_settings"] == ["fps", "crf"]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"crf": 52, "video_codec": "h265"}, "crf 52 is out of range: h265 takes 0 to 51"),
            ({"crf": -1, "video_codec": "av1"}, "av1 takes 0 to 63"),
            ({"crf": 99}, "crf 99 is out of range"),
            ({"frame_size": 96, "video_codec": "h264"}, "frame_size 180 or more"),
            ({"frame_size": 8, "video_codec": "h264"}, "an even number from 64"),
            ({"fps": 0, "video_codec": "h264"}, "fps 0 is out of range"),
            ({"video_codec": "mp4v"}, "unknown video_codec 'mp4v'; use one of pcm"),
            ({"codec": "xvid"}, "unknown video_codec 'xvid'"),
            ({"preset": "tiny", "video_codec": "h264"}, "unknown preset 'tiny'"),
        ],
    )
    def test_settings_that_cannot_work_are_refused_and_nothing_is_written(
        self, tmp_path: Path, settings: dict[str, Any], message: str
    ) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks(["one"])
        with pytest.raises(CodecError, match=message):
            encoder.build_video(tmp_path / "new" / "m.mp4", tmp_path / "new" / "m.json", **settings)
        assert list(tmp_path.iterdir()) == []
        assert encoder.chunks == ["one"]

    def test_nothing_to_write(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="no chunks to write"):
            MemvidEncoder().build_video(tmp_path / "m.mp4")
        assert list(tmp_path.iterdir()) == []

    def test_a_failing_model_leaves_nothing(self, tmp_path: Path) -> None:
        def broken(texts: list[str]) -> list[list[float]]:
            raise RuntimeError("out of memory")

        encoder = MemvidEncoder(embedding_model=broken)
        encoder.add_chunks(["one"])
        with pytest.raises(RuntimeError, match="out of memory"):
            encoder.build_video(tmp_path / "m.mp4", tmp_path / "m.json")
        assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
        assert encoder.chunks == ["one"]

    def test_a_memory_is_replaced_whole_and_no_other_file_ever(self, tmp_path: Path) -> None:
        for text in ("old", "new"):
            encoder = MemvidEncoder()
            encoder.add_chunks([text])
            encoder.build_video(tmp_path / "m.mp4", tmp_path / "m.json")
        with MemvidRetriever(tmp_path / "m.mp4") as retriever:
            assert (len(retriever), retriever.get_chunk_by_id(0)) == (1, "new")
        folder, owner, second = sorted(path.name for path in (tmp_path / "m.mp4.index").iterdir())
        assert owner == f"owner-{folder.partition('-')[0]}"  # the index of the old memory is gone
        assert second == f"second-{owner}"
        (tmp_path / "film.mp4").write_bytes(b"a film")
        with pytest.raises(NotAMemoryError, match="is not a memory and is not replaced"):
            encoder.build_video(tmp_path / "film.mp4")
        assert (tmp_path / "film.mp4").read_bytes() == b"a film"

    def test_index_paths_that_cannot_be(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder()
        encoder.add_chunks(["one"])
        (tmp_path / "folder.json").mkdir()
        (tmp_path / "file").write_text("")
        for name in ("folder.json", "file"):
            with pytest.raises(InvalidInputError, match=name):
                encoder.build_video(tmp_path / "m.mp4", tmp_path / name)
        assert not (tmp_path / "m.mp4").exists()


class TestAppending:
    def built(self, path: Path, count: int, **settings: Any) -> MemvidEncoder:
        encoder = MemvidEncoder()
        encoder.add_chunks([f"chunk {i}" for i in range(count)])
        encoder.build_video(path, path.with_suffix(".json"), **settings)
        return encoder

    @pytest.mark.parametrize("settings", [{}, {"video_codec": "h264", "frame_size": 256}], ids=["pcm", "qr"])
    def test_load_existing_appends_what_is_new_and_nothing_else(self, tmp_path: Path, settings: Any) -> None:
        path = tmp_path / "m.mp4"
        self.built(path, 50, **settings)
        before = path.read_bytes()
        encoder = MemvidEncoder()
        assert encoder.load_existing(path, tmp_path / "m.json") == 50
        encoder.add_chunks(["new 0", "new 1"])
        assert encoder.get_stats()["total_chunks"] == 52
        stats = encoder.build_video(path, tmp_path / "m.json", **settings)
        assert (stats["total_chunks"], stats["new_chunks"]) == (52, 2)
        assert path.read_bytes().startswith(before)  # the old bytes are not touched
        with MemvidRetriever(path) as retriever:
            assert [retriever.get_chunk_by_id(i) for i in (0, 49, 50, 51, 52)] == [
                "chunk 0", "chunk 49", "new 0", "new 1", None,
            ]  # fmt: skip
            assert [commit.added for commit in retriever.memory.history()] == [50, 2]

    def test_the_memory_keeps_its_settings_and_what_was_asked_in_vain_is_told(self, tmp_path: Path) -> None:
        encoder = self.built(tmp_path / "m.mp4", 2, video_codec="h264", frame_size=256, fps=24)
        encoder.add_chunks(["more"])
        stats = encoder.build_video(tmp_path / "m.mp4", fps=24, frame_size=512, crf=20)
        assert (stats["fps"], stats["frame_size"]) == (24, 256)
        assert stats["unused_settings"] == ["frame_size", "crf"]

    def test_the_same_encoder_goes_on(self, tmp_path: Path) -> None:
        encoder = self.built(tmp_path / "m.mp4", 3)
        assert encoder.chunks == []
        assert encoder.build_video(tmp_path / "m.mp4")["new_chunks"] == 0
        encoder.add_chunks(["more"])
        assert encoder.build_video(tmp_path / "m.mp4")["total_chunks"] == 4

    def test_another_path_gets_everything(self, tmp_path: Path) -> None:
        encoder = self.built(tmp_path / "m.mp4", 3)
        encoder.add_chunks(["more"])
        stats = encoder.build_video(tmp_path / "shared.mp4", video_codec="h264", frame_size=256)
        assert (stats["codec"], stats["total_chunks"]) == ("h264", 4)
        with MemvidRetriever(tmp_path / "m.mp4") as old, MemvidRetriever(tmp_path / "shared.mp4") as new:
            assert (len(old), len(new)) == (3, 4)
            assert new.get_chunk_by_id(3) == "more"

    def test_numbers_that_were_given_are_not_given_again(self, tmp_path: Path) -> None:
        encoder = self.built(tmp_path / "m.mp4", 6)
        with Memory.open(tmp_path / "m.mp4", "a") as memory:
            memory.delete(["1", "2", "4"])
            memory.compact()
        encoder.add_chunks(["x", "y", "z"])
        encoder.build_video(tmp_path / "m.mp4")
        with Memory.open(tmp_path / "m.mp4") as memory:
            texts = {record.id: record.text for record in memory}
        assert len(texts) == 6
        assert {"0": "chunk 0", "3": "chunk 3", "5": "chunk 5"}.items() <= texts.items()

    def test_another_coding_is_refused(self, tmp_path: Path) -> None:
        encoder = self.built(tmp_path / "m.mp4", 1)
        encoder.add_chunks(["more"])
        with pytest.raises(CodecError, match="is pcm and cannot be extended as h265"):
            encoder.build_video(tmp_path / "m.mp4", video_codec="hevc")
        assert encoder.chunks == ["more"]

    def test_what_cannot_be_loaded(self, tmp_path: Path) -> None:
        with pytest.raises(MemoryNotFoundError):
            MemvidEncoder().load_existing(tmp_path / "none.mp4", tmp_path / "none.json")
        (tmp_path / "old.mp4").write_bytes(b"a film")
        (tmp_path / "old.json").write_text('{"metadata": [{"id": 0, "text": "a", "frame": 0}]}')
        with pytest.raises(NotAMemoryError, match="memvid import"):
            MemvidEncoder().load_existing(tmp_path / "old.mp4", tmp_path / "old.json")
        self.built(tmp_path / "m.mp4", 1)
        with pytest.raises(EmbedderMismatchError):
            MemvidEncoder(embedding_model=embed).load_existing(tmp_path / "m.mp4")


def test_vectors_of_a_qr_memory_are_small(tmp_path: Path) -> None:
    encoder = MemvidEncoder(embedding_model=embed)
    encoder.add_chunks(["a", "b"])
    assert encoder.build_video(tmp_path / "m.mp4", video_codec="h264")["index_stats"]["vector_dtype"] == "int8"
    with Memory.open(tmp_path / "m.mp4", embedder=embed) as memory:
        assert np.allclose(memory.get_vectors(["0"])["0"], embed(["a"])[0], atol=1)
