"""``memvid chat``: one question or a conversation, with a provider or without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid
from tests.core.memvid_v1.openai_server import chat_server


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MEMVID_PROVIDER"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_provider_the_passages_and_a_line_that_says_so(notes: Path) -> None:
    done = memvid("chat", notes, "how does a wing lift?", "-k", "1")
    assert done.code == 0, done.err
    assert done.out.startswith("[1] A wing turns the flow of air into lift.\n    docs/wings.md, page 1, heading Wings")
    assert "These are passages of the memory, not an answer" in done.out


@pytest.mark.parametrize(
    ("metadata", "cited"),
    [
        ({"sheet": "Q1", "row": 40}, "sheet Q1, row 40"),
        ({"slide": 3, "page": 3, "heading": "Lift"}, "slide 3, heading Lift"),
        ({"time_start": 62.5, "time_end": 70.0}, "1:02–1:10"),
        ({"message": 2, "attachment": "wing.pdf", "page": 5}, "page 5, message 2, attachment wing.pdf"),
        ({"entry": "a/b.md", "part": 2}, "entry a/b.md, part 2"),
    ],
)
def test_a_passage_is_cited_with_its_place(tmp_path: Path, metadata: dict[str, object], cited: str) -> None:
    with Memory.create(tmp_path / "a.mp4") as memory:
        memory.add("The wing lifts.", {"source": "a.x", **metadata})
    done = memvid("chat", tmp_path / "a.mp4", "wing")
    assert f"\n    a.x, {cited} (a.mp4, frame " in done.out


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_with_a_provider_the_answer_and_its_sources(notes: Path, stream: str) -> None:
    with chat_server() as server:
        settings = ("--provider", "openai", "--model", "tiny", "--base-url", server.url)
        done = memvid("chat", notes, "how does a wing lift?", "-k", "2", *settings, stream)
        assert [bool(asked.get("stream")) for asked in server.asked] == [stream == "--stream"]
    assert done.code == 0, done.err
    answer, empty, *sources = done.out.splitlines()
    assert answer == "2 messages. You asked: how does a wing lift? [1]"
    assert (empty, len(sources)) == ("", 2)
    assert sources[0].startswith("[1] docs/wings.md, page 1, heading Wings (notes.mp4, frame ")


def test_json(notes: Path) -> None:
    with chat_server() as server:
        settings = ("-p", "ollama", "-m", "tiny", "--base-url", server.url, "--system", "Be brief.")
        told = memvid("chat", notes, "flaps?", *settings, "--json").json
        assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert told.items() >= {"question": "flaps?", "provider": "ollama", "model": "ollama:tiny"}.items()
    assert told["answer"].endswith("[1]")
    assert {"number", "text", "frame", "video", "metadata"} <= told["sources"][0].keys()


def test_a_conversation_from_a_pipe_kept_and_gone_on_with(notes: Path) -> None:
    with chat_server() as server:
        settings = ("-p", "vllm", "-m", "tiny", "--base-url", server.url, "--export", "talk.json")
        done = memvid("chat", notes, *settings, input="flaps?\n\nand thrust?\n/sources\n/quit\nnot asked\n")
        assert done.code == 0, done.err
        assert "2 messages. You asked: flaps? [1]" in done.out
        assert "4 messages. You asked: and thrust? [1]" in done.out
        assert "not asked" not in done.out
        kept = json.loads(Path("talk.json").read_text(encoding="utf-8"))["conversation"]
        assert [turn["content"] for turn in kept if turn["role"] == "user"] == ["flaps?", "and thrust?"]
        more = memvid("chat", notes, "anything else?", *settings, "--session", "talk.json")
        assert more.out.startswith("6 messages. You asked: anything else? [1]")
        again = memvid("chat", notes, *settings, "--session", "talk.json", input="/clear\nlast?\n")
        assert again.out.startswith("2 messages. You asked: last? [1]")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("q", "--provider", "skynet"), 2, "unknown provider 'skynet'"),
        (("q", "--provider", "openai"), 2, "set OPENAI_API_KEY"),
        (("q", "--model", "tiny"), 2, "give a --provider"),
        (("q", "--provider", "ollama"), 2, "has no default model"),
        ((" ",), 2, "the question is empty"),
        (("--json",), 2, "needs a question"),
        (("q", "--session", "none.json"), 4, "none.json does not exist"),
    ],
)
def test_wrong_use(notes: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = memvid("chat", notes, *arguments)
    assert done.code == code
    assert said in " ".join(done.err.replace("│", " ").split())


def test_a_model_that_fails_is_one_line(notes: Path) -> None:
    with chat_server() as server:
        done = memvid(
            "chat", notes, "q", "-p", "openai", "-m", "broken", "--base-url", server.url, "--export", "t.json"
        )
    assert done.code == 11
    assert done.err.startswith("error: openai:broken failed to answer")
    assert not Path("t.json").exists()
    assert memvid("chat", "none.mp4", "q").code == 4
