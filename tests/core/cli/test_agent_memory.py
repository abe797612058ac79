"""``memvid memory``: conversations in, exchanges out, corrected by Markdown, forgotten when asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.cli.failures import NOTHING, PARTLY
from tests.core.cli.running import memvid, process

ME = ("--user", "me")
TALK = "Ada: When is the office party?\nBob: At six, on Friday.\nAda: I like figs.\n"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("talk.txt").write_text(TALK, encoding="utf-8")
    assert memvid("memory", "add", "agent.mp4", "talk.txt", "--create", *ME).code == 0
    return Path("agent.mp4")


RUNS = {
    "add": ["add", "agent.mp4", "--text", "I live in Turin."],
    "recall": ["recall", "agent.mp4", "When is the party?"],
    "list": ["list", "agent.mp4"],
    "history": ["history", "agent.mp4", "ITEM"],
    "stats": ["stats", "agent.mp4"],
    "forget": ["forget", "agent.mp4", "ITEM"],
    "export": ["export", "agent.mp4", "out"],
    "import": ["import", "agent.mp4", "out"],
}


def item_id() -> str:
    return str(memvid("memory", "list", "agent.mp4", *ME, "--json").json["items"][0]["id"])


@pytest.mark.parametrize("command", list(RUNS))
def test_every_command_has_help_and_json(agent: Path, command: str) -> None:
    assert "--json" in memvid("memory", command, "--help").out
    memvid("memory", "export", agent, "out", *ME)
    done = memvid("memory", *[item_id() if word == "ITEM" else word for word in RUNS[command]], *ME, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["memory"] == "agent.mp4"


@pytest.mark.parametrize("command", list(RUNS))
def test_a_scope_without_an_owner_is_an_error(agent: Path, command: str) -> None:
    done = memvid("memory", *RUNS[command])
    assert done.code == 2
    assert "give --user or --agent" in done.err


@pytest.mark.parametrize("command", list(RUNS))
def test_another_user_sees_nothing(agent: Path, command: str) -> None:
    own = [item_id() if word == "ITEM" else word for word in RUNS[command]]
    Path("out").mkdir()
    done = memvid("memory", *own, "--user", "other", "--json")
    assert "figs" not in done.out
    assert "party" not in done.out.replace("When is the party?", "")


BAD = {
    "a message without a content": (["add", "agent.mp4", "bad.json"], 2, "bad.json: message 1 must have a content"),
    "no JSON": (["add", "agent.mp4", "cut.json"], 2, "cut.json: no valid JSON"),
    "no file": (["add", "agent.mp4", "none.json"], 2, "none.json cannot be read"),
    "a URL": (["add", "agent.mp4", "https://example.org/a.json"], 2, "download it first"),
    "no modality": (["add", "agent.mp4", "bad.json", "--modality", "vdeo"], 2, "did you mean 'video'"),
    "no question": (["recall", "agent.mp4", " "], 2, "the question is empty"),
    "less than no budget": (["recall", "agent.mp4", "figs?", "--budget", "-1"], 2, "'--budget'"),
    "no folder": (["import", "agent.mp4", "none"], 2, "none does not exist"),
    "no item": (["history", "agent.mp4", "none"], 1, "no item has the id 'none'"),
    "no memory": (["recall", "none.mp4", "figs?"], 4, "create it with: memvid memory add none.mp4 FILES --create"),
}


@pytest.mark.parametrize("bad", list(BAD))
def test_bad_input_is_named_and_changes_nothing(agent: Path, bad: str) -> None:
    Path("bad.json").write_text('[{"role": "user", "content": "hi"}, {"role": "user"}]', encoding="utf-8")
    Path("cut.json").write_text('[{"role": "user", "content": "hi"},', encoding="utf-8")
    before = agent.read_bytes()
    command, code, told = BAD[bad]
    done = memvid("memory", *command, *ME)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err
    assert agent.read_bytes() == before


def test_no_budget_shows_nothing(agent: Path) -> None:
    done = memvid("memory", "recall", agent, "When is the party?", "--budget", "0", *ME, "--json")
    assert (done.code, done.json["text"], done.json["hits"]) == (NOTHING, "", [])


def test_the_help_names_the_commands() -> None:
    done = memvid("memory", "--help")
    assert done.code == 0
    for command in RUNS:
        assert f"\n  {command}\n" in done.out


def test_add_says_what_is_new(agent: Path) -> None:
    done = memvid("memory", "add", agent, "talk.txt", *ME, "--json")
    assert (len(done.json["turns"]), len(done.json["items"])) == (0, 0)
    done = memvid("memory", "add", agent, "-", *ME, input="I live in Turin.")
    assert done.out == "agent.mp4: 1 turn and 1 item from 1 source\n"
    assert memvid("memory", "add", agent, *ME).code == 2


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_in(agent: Path) -> None:
    Path("bad.json").write_text('[{"role": "user", "content": "x"}, {"content": 7, "role": "user"}]', encoding="utf-8")
    Path("more.txt").write_text("I moved to Seoul.", encoding="utf-8")
    done = memvid("memory", "add", agent, "bad.json", "more.txt", "none.txt", *ME, "--json")
    assert (done.code, len(done.json["turns"])) == (3, 1)
    assert [each["source"] for each in done.json["failed"]] == ["bad.json", "none.txt"]
    assert "message 1" in done.json["failed"][0]["message"]
    alone = memvid("memory", "add", agent, "bad.json", *ME)
    assert (alone.code, alone.err.count("\n")) == (2, 1)
    assert memvid("memory", "add", agent, "more.txt", "--modality", "conversion", *ME).code == 2


def test_recall_shows_the_exchange(agent: Path) -> None:
    done = memvid("memory", "recall", agent, "When is the office party?", *ME)
    assert done.code == 0
    assert [line.partition(" ")[2][11:] for line in done.out.splitlines()[1:3]] == [
        "Ada: When is the office party?",
        "Bob: At six, on Friday.",
    ]
    assert memvid("memory", "recall", agent, "", *ME).code == 2
    assert memvid("memory", "recall", agent, "party", "--as-of", "yesterday-ish", *ME).code == 2
    assert memvid("memory", "recall", agent, "party", "--user", "other").code == 1


def test_list_stats_and_forget(agent: Path) -> None:
    assert memvid("memory", "list", agent, *ME).out.endswith("  Ada: I like figs.\n")
    assert "preferences" in memvid("memory", "list", agent, "--kind", "categories", *ME).out
    assert memvid("memory", "list", agent, "--kind", "turns", *ME).out.count("\n") == 3
    told = memvid("memory", "stats", agent, *ME, "--json").json
    assert {name: told[name] for name in ("resources", "turns", "items", "categories")} == {
        "resources": 1, "turns": 3, "items": 1, "categories": 1,
    }  # fmt: skip
    assert "turns" in memvid("memory", "stats", agent, *ME).out
    done = memvid("memory", "forget", agent, item_id(), "nothing", *ME, "--json")
    assert (done.code, done.json["receipt"]["unknown"]) == (1, ["nothing"])
    assert memvid("memory", "forget", agent, *ME).code == 2
    done = memvid("memory", "forget", agent, "--all", *ME)
    assert (done.code, "memvid compact agent.mp4" in done.err) == (0, True)
    assert memvid("memory", "stats", agent, *ME, "--json").json["turns"] == 0


def test_an_edited_export_is_a_correction(agent: Path) -> None:
    assert memvid("memory", "export", agent, "out", *ME).out == "out: 1 item in 2 files\n"
    page = Path("out/preferences.md")
    page.write_text(page.read_text("utf-8").replace("figs", "dates"), encoding="utf-8")
    refused = memvid("memory", "export", agent, "out", *ME)
    assert (refused.code, "--force" in refused.err) == (2, True)
    done = memvid("memory", "import", agent, "out", *ME)
    assert done.out == "agent.mp4: 1 corrected, 0 added, 0 forgotten, 0 notes\n"
    assert memvid("memory", "history", agent, item_id(), *ME).out.count("\n") == 2
    page.unlink()
    done = memvid("memory", "import", agent, "out", *ME)
    assert (done.code, "--forget-missing" in done.err) == (0, True)
    assert len(memvid("memory", "import", agent, "out", "--forget-missing", *ME, "--json").json["forgotten"]) == 1
    assert memvid("memory", "list", agent, *ME).out == ""


def test_a_folder_of_notes_makes_a_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes/AGENTS.md").write_text("Run the linter before each commit.", encoding="utf-8")
    done = memvid("memory", "import", "new.mp4", "notes", "--create", "--agent", "coder")
    assert (done.code, done.out) == (0, "new.mp4: 0 corrected, 0 added, 0 forgotten, 1 note\n")
    done = memvid("memory", "recall", "new.mp4", "What runs before a commit?", "--agent", "coder")
    assert "Run the linter" in done.out
    assert memvid("memory", "import", "new.mp4", "none", "--agent", "coder").code == 2


def test_the_user_may_come_from_the_environment(agent: Path) -> None:
    done = process("memory", "stats", "agent.mp4", "--json", MEMVID_USER="me")
    assert json.loads(done.out)["turns"] == 3


def test_errors_of_the_memory_have_their_codes(agent: Path) -> None:
    assert memvid("memory", "stats", "none.mp4", *ME).code == 4
    assert memvid("memory", "stats", "talk.txt", *ME).code == 6
    assert memvid("memory", "history", agent, "nothing", *ME).code == 1
    with Memory.open(agent, "a") as memory, memory.exclusive():
        done = process("memory", "add", "agent.mp4", "--text", "x", *ME, "--timeout", "0")
    assert done.code == 8


def test_items_by_a_model(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_models = pytest.importorskip("langchain.chat_models")
    asked: list[str] = []

    def scripted(name: str) -> object:
        answers = iter(
            ['{"items": [{"text": "Ada likes figs.", "turns": [2], "categories": ["preferences"]}]}', "Figs."]
        )

        def answer(prompt: str) -> str:
            asked.append(f"{name}: {prompt}")
            return next(answers)

        return answer

    monkeypatch.setattr(chat_models, "init_chat_model", scripted)
    done = memvid("memory", "add", "agent.mp4", "talk.txt", "--model", "openai:x", "--user", "eve", "--json")
    assert (done.code, [item["summary"] for item in done.json["items"]]) == (0, ["Ada likes figs."])
    assert (done.json["model_calls"], len(asked)) == (2, 2)
    monkeypatch.setattr(chat_models, "init_chat_model", lambda name: lambda prompt: "junk")
    done = memvid("memory", "add", "agent.mp4", "--text", "I like tea.", "-m", "openai:x", "--user", "eve", "--json")
    assert (done.code, len(done.json["failures"]), len(done.json["turns"])) == (PARTLY, 1, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--model", "gpt"], "provider:model"),
        (["--model", "nobody:gpt"], "nobody"),
        (["--extract", "llm"], "--model PROVIDER:MODEL"),
    ],
)
def test_a_model_that_cannot_be_used_makes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = memvid("memory", "add", "new.mp4", "--create", "--text", "I like figs.", *given, *ME)
    assert done.code != 0
    assert told in done.err
    assert not Path("new.mp4").exists()


def test_a_model_without_langchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    done = memvid("memory", "add", "new.mp4", "--create", "--text", "I like figs.", "--model", "openai:x", *ME)
    assert done.code != 0
    assert "memvid-core[agents]" in done.err
