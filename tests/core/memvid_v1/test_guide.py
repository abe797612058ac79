"""The blocks of the guide that Memvid is known by, each as a program that runs from its first line to its last."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core.memvid_v1 import LLMClient, MemvidChat, MemvidEncoder, MemvidRetriever, quick_chat
from tests.core.cli.running import memvid
from tests.core.ingest.mixed import write_docx, write_pdf
from tests.core.memvid_v1.openai_server import chat_server


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_quick_start() -> None:
    chunks = ["NASA was founded in 1958.", "Apollo 11 landed on the Moon in 1969.", "The Moon orbits the Earth."]
    encoder = MemvidEncoder()
    encoder.add_chunks(chunks)
    encoder.build_video("space.mp4", "space_index.json")
    retriever = MemvidRetriever("space.mp4", "space_index.json")
    chunk, score = retriever.search("When did Apollo 11 land?", top_k=3)[0]
    assert chunk == chunks[1]
    assert 0 < score <= 1
    retriever.close()
    assert Path("space_index.json").exists()


def test_pdf_chatbot() -> None:
    write_pdf(Path("manual.pdf"), ["Press the red button to start.", "Hold it for five seconds to stop the machine."])
    encoder = MemvidEncoder(chunk_size=512, overlap=50)
    encoder.add_pdf("manual.pdf", metadata={"title": "Manual"})
    encoder.build_video("manual.mp4", "manual_index.json")
    with chat_server(key="key") as server:
        chat = MemvidChat(
            "manual.mp4",
            "manual_index.json",
            llm_provider="openai",
            llm_model="gpt-4o",
            llm_api_key="key",
            llm_base_url=server.url,
        )
        chat.start_session()
        answer = chat.chat("How do I stop the machine?")
        assert "How do I stop the machine?" in answer
        assert "[1] manual.pdf, page 2 (manual.mp4, frame " in server.asked[0]["messages"][-1]["content"]
        assert chat.sources[0]["metadata"]["page"] == 2
        chat.close()


def test_folder_knowledge_base() -> None:
    folder = Path("docs")
    folder.mkdir()
    (folder / "a.txt").write_text("Opening hours are nine to five.", encoding="utf-8")
    (folder / "b.md").write_text("# Parking\n\nThere is a car park behind the house.", encoding="utf-8")
    write_pdf(folder / "c.pdf", ["Tickets cost twelve euros."])
    write_docx(folder / "d.docx", "Tours", ["Tours start at noon."])
    (folder / "e.docx").write_bytes(b"PK\x03\x04 broken")
    encoder = MemvidEncoder(n_workers=2)
    for pattern in ("*.txt", "*.md", "*.pdf", "*.docx"):
        encoder.add_folder(folder, include=[pattern])
    assert list(encoder.skipped) == ["docs/e.docx"]
    encoder.build_video("kb.mp4", "kb_index.json")
    with MemvidRetriever("kb.mp4", "kb_index.json") as retriever:
        wanted = {"opening hours": "a.txt", "car park": "b.md", "ticket euros": "c.pdf", "tours at noon": "d.docx"}
        for query, name in wanted.items():
            assert retriever.search_with_metadata(query, top_k=1)[0]["metadata"]["source"] == f"docs/{name}"


def test_dynamic_memory() -> None:
    class DynamicMemory:
        def __init__(self, name: str) -> None:
            self.video, self.index = f"{name}.mp4", f"{name}.json"

        def add(self, text: str) -> None:
            encoder = MemvidEncoder()
            if Path(self.video).exists():
                encoder.load_existing(self.video, self.index)
            encoder.add_text(text, metadata={"added": time.time()})
            encoder.build_video(self.video, self.index, show_progress=False)

        def search(self, query: str) -> list[tuple[str, float]]:
            with MemvidRetriever(self.video, self.index) as retriever:
                return retriever.search(query, top_k=1)

    memory = DynamicMemory("diary")
    sizes = []
    for day in ("Monday: planted tomatoes.", "Tuesday: it rained all day.", "Wednesday: painted the fence."):
        memory.add(day)
        sizes.append(Path("diary.mp4").stat().st_size)
    assert memory.search("when did I paint")[0][0] == "Wednesday: painted the fence."
    assert memory.search("tomatoes")[0][0] == "Monday: planted tomatoes."
    assert sizes[2] - sizes[1] <= 2 * (sizes[1] - sizes[0])


def test_custom_embedding_model() -> None:
    class Colours:
        """A model that knows three colours."""

        def encode(self, sentences: list[str]) -> Any:
            words = ("red", "green", "blue")
            return np.array([[text.lower().count(word) + 0.01 for word in words] for text in sentences], np.float32)

    encoder = MemvidEncoder(embedding_model=Colours())
    encoder.add_chunks(["The sky is blue.", "Grass is green.", "Blood is red."])
    encoder.build_video("colours.mp4", "colours.json")
    with MemvidRetriever("colours.mp4", "colours.json", embedding_model=Colours()) as retriever:
        assert [chunk for chunk, _ in retriever.search("green", top_k=1)] == ["Grass is green."]
        assert retriever.get_stats()["index_stats"]["dimension"] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"fps": 60, "frame_size": 256, "video_codec": "h264", "crf": 35},  # speed
        {"fps": 15, "frame_size": 1024, "video_codec": "h264", "crf": 18},  # quality
        {"fps": 30, "frame_size": 512, "video_codec": "h265", "crf": 28},  # storage
        {"video_codec": "av1", "preset": "compact"},
        {"video_codec": "pcm"},
    ],
    ids=["speed", "quality", "storage", "compact", "store"],
)
def test_speed_quality_and_storage(settings: dict[str, Any]) -> None:
    encoder = MemvidEncoder(chunk_size=256, overlap=32, n_workers=4)
    encoder.add_text("A sentence of the manual that stands for many others. " * 40)
    stats = encoder.build_video("m.mp4", "m.json", show_progress=False, **settings)
    assert stats["codec"] == settings["video_codec"]
    assert stats["fps"] == settings.get("fps", 2 if stats["codec"] == "pcm" else 30)
    with MemvidRetriever("m.mp4", "m.json") as retriever:
        assert len(retriever.search("manual", top_k=3)) == 3


def test_monitoring() -> None:
    encoder = MemvidEncoder()
    encoder.add_chunks([f"Reading {i} of the sensor in hall {i % 3}" for i in range(30)])
    waiting = encoder.get_stats()
    built = encoder.build_video("log.mp4", "log.json")
    assert waiting["total_chunks"] == built["total_chunks"] == 30
    assert built["build_seconds"] > 0
    with MemvidRetriever("log.mp4", "log.json") as retriever:
        for _ in range(2):
            hits = retriever.search_with_metadata("sensor in hall 2", top_k=5)
        retriever.prefetch_frames(hit["frame"] for hit in hits)
        stats = retriever.get_stats()
        assert stats["cache_hits"] > stats["cache_misses"] > 0
        assert stats["total_frames"] > max(hit["frame"] for hit in hits)
        retriever.clear_cache()
    with MemvidChat("log.mp4", "log.json") as chat:
        chat.chat("hall 2?")
        assert chat.get_stats()["messages_exchanged"] == 2


def test_customer_support_bot_with_a_threshold() -> None:
    class SupportBot:
        threshold = 0.15

        def __init__(self, video: str, index: str, llm: Any) -> None:
            self.retriever = MemvidRetriever(video, index)
            self.chat = MemvidChat(video, index, llm_model=llm)

        def answer(self, question: str) -> str:
            found = self.retriever.search(question, top_k=3)
            if not found or found[0][1] < self.threshold:
                return "I am passing this on to a colleague."
            return self.chat.chat(question)

    encoder = MemvidEncoder()
    encoder.add_chunks(
        [
            "Refunds are paid within five working days to the card you paid with.",
            "To reset your password, open the login page and choose 'Forgot password'.",
            "We ship to Korea, Japan and all countries of the European Union.",
        ]
    )
    encoder.build_video("support.mp4", "support.json")
    bot = SupportBot("support.mp4", "support.json", LLMClient(lambda messages: "From the passages.").chat)
    for question in ("How long does a refund take?", "I forgot my password", "Do you ship to Japan?"):
        assert bot.answer(question) == "From the passages."
    for question in ("Who won the World Cup in 1998?", "How do I bake bread?", "오늘 날씨 어때?"):
        assert bot.answer(question) == "I am passing this on to a colleague."
    bot.retriever.close()
    bot.chat.close()


def test_one_question() -> None:
    MemvidEncoder.from_documents(["Lunch is at noon."]).build_video("m.mp4", "m.json")
    assert "Lunch is at noon." in quick_chat("m.mp4", "m.json", "When is lunch?")


def test_file_chat() -> None:
    """What ``file_chat.py --input-dir docs/ --codec h265 --provider …`` does: the command does it."""
    Path("docs").mkdir()
    Path("docs/hours.md").write_text("# Hours\n\nThe shop opens at nine.", encoding="utf-8")
    write_docx(Path("docs/rules.docx"), "Rules", ["No dogs, please."])
    built = memvid("build", "docs/", "-o", "shop.mp4")
    shared = memvid("convert", "shop.mp4", "shared.mp4", "--codec", "qr", "--video-codec", "h265")
    assert (built.code, shared.code) == (0, 0), built.err + shared.err
    with chat_server(key="key") as server:
        settings = ("--provider", "openai", "--model", "gpt-4o", "--api-key", "key", "--base-url", server.url)
        done = memvid("chat", "shared.mp4", "May I bring my dog?", *settings)
    assert done.code == 0, done.err
    answer, _, first, *_ = done.out.splitlines()
    assert "May I bring my dog?" in answer
    assert first.startswith("[1] docs/rules.docx, heading Rules (shared.mp4, frame ")
