"""A short round of each soak workload, and that the soak sees what it looks for."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from soak import servers
from soak.agent import check_whole
from soak.damage import damage
from soak.kills import SCENES
from soak.ledger import Ledger
from soak.log import Log
from soak.model import Change, WrongAnswer, put, text_of, versions_in
from soak.processes import start
from soak.questions import ask_everything
from soak.runner import WORKLOADS, Progress, soak, table
from tests import processes

SCALES = {
    "readers": 0.1,
    "writers": 0.2,
    "kills": 0.07,
    "agent": 0.1,
    "corruption": 0.15,
    "index": 0.2,
    "power": 0.3,
    "disks": 0.3,
    "limits": 0.2,
}
SEEDS = dict.fromkeys(SCALES, (0,)) | {"disks": (0, 1), "kills": (84, 1, 2, 5, 10)}


@pytest.mark.long
@pytest.mark.parametrize("name", SCALES)
def test_short_rounds_find_nothing_wrong(tmp_path: Path, name: str) -> None:
    counted = ""
    for seed in SEEDS[name]:
        scale = str(SCALES[name])
        done = command("--only", name, "--round", str(seed), "--scale", scale, "--folder", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list(tmp_path.iterdir()), "a round that found nothing leaves nothing"
        counted += done.stdout
    assert name != "kills" or all(f"kills, {scene}" in counted for scene in SCENES)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the soak in a process of its own, which has no threads and so may fork."""
    program = "import runpy; runpy.run_module('soak', run_name='__main__', alter_sys=True)"
    return processes.run(program, *arguments, modules=("soak.runner",))


def test_the_agent_workload_sees_half_of_a_conversation_and_what_is_counted_twice() -> None:
    said = [{"role": "user", "content": text} for text in ("I like tea.", "I like figs.")]
    for kind in ("turn", "item"):
        with Memory.create(":memory:") as memory:
            service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
            service.create_memory_item(memory_content="thing 0 is in edition 0", user={"user_id": "me"})
            service.add(said, user_id="me")
            check_whole(service)
            record = memory.select({"agent.kind": kind})[-1]
            if kind == "turn":
                memory.delete([record.id])
            else:
                about = {**record.metadata["agent"], "count": 2}
                memory.update(record.id, metadata={**record.metadata, "agent": about})
            with pytest.raises(WrongAnswer):
                check_whole(service)


class TestServers:
    @pytest.mark.skipif(sys.platform == "win32", reason="a socket is handed to the server by its descriptor")
    def test_four_workers_and_64_clients(self, tmp_path: Path) -> None:
        assert servers.web(tmp_path, requests=2)["requests"] == 256

    def test_two_graphs_of_one_process_on_one_file(self, tmp_path: Path) -> None:
        assert servers.graphs(tmp_path)["graph calls"] == 20

    def test_a_cell_that_is_run_three_times(self, tmp_path: Path) -> None:
        assert servers.notebook(tmp_path)["cells"] == 3


class TestLedger:
    """What the log of killed writers allows."""

    @staticmethod
    def of(*entries: list[object]) -> Ledger:
        ledger = Ledger()
        ledger.take(entries)
        return ledger

    def test_what_was_acknowledged_must_be_there(self) -> None:
        ledger = self.of(["begin", 0, 1, "private", {"a": 1}, []], ["done", 0, 1])
        with pytest.raises(WrongAnswer, match="a is None"):
            ledger.compare({})

    def test_what_was_deleted_must_not_be_there(self) -> None:
        put, gone = ["begin", 0, 1, "private", {"a": 1}, []], ["begin", 0, 2, "private", {}, ["a"]]
        ledger = self.of(put, ["done", 0, 1], gone, ["done", 0, 2])
        with pytest.raises(WrongAnswer, match="a is 1"):
            ledger.compare({"a": 1})

    @pytest.mark.parametrize("found", [{"a": 1, "b": 1}, {}])
    def test_what_was_begun_may_be_there_whole_or_not_at_all(self, found: dict[str, int]) -> None:
        self.of(["begin", 0, 1, "private", {"a": 1, "b": 1}, []]).compare(found)

    def test_half_of_a_commit_is_wrong(self) -> None:
        with pytest.raises(WrongAnswer, match="incomplete"):
            self.of(["begin", 0, 1, "private", {"a": 1, "b": 1}, []]).compare({"a": 1})

    def test_a_clear_takes_what_was_done_before_it_and_nothing_later(self) -> None:
        one, two = ["begin", 0, 1, "private", {"a": 1}, []], ["begin", 0, 2, "private", {"b": 1}, []]
        clear = [["begin", 1, 1, "clear", {}, []], ["done", 1, 1]]
        ledger = self.of(one, ["done", 0, 1], *clear, two, ["done", 0, 2])
        ledger.compare({"b": 1})
        with pytest.raises(WrongAnswer, match="a is 1"):
            self.of(one, ["done", 0, 1], *clear).compare({"a": 1})

    @pytest.mark.parametrize("found", [{"a": 1}, {}])
    def test_a_clear_beside_another_call_may_come_first_or_last(self, found: dict[str, int]) -> None:
        one = ["begin", 0, 1, "private", {"a": 1}, []]
        self.of(one, ["begin", 1, 1, "clear", {}, []], ["done", 0, 1], ["done", 1, 1]).compare(found)


class TestThatItSees:
    """Answers that are wrong on purpose."""

    @pytest.fixture
    def memory(self) -> Memory:
        memory = Memory.create(":memory:", "given")
        put(memory, {"r-1": 1, "r-2": 1})
        return memory

    def test_a_right_memory_passes(self, memory: Memory) -> None:
        assert ask_everything(memory, {"r-1": 1, "r-2": 1}, given=True) > 20

    @pytest.mark.parametrize("state", [{"r-1": 1}, {"r-2": 1, "r-1": 1}, {"r-1": 1, "r-2": 2}, {}])
    def test_another_state_does_not(self, memory: Memory, state: dict[str, int]) -> None:
        with pytest.raises(WrongAnswer):
            ask_everything(memory, state, given=True)

    def test_a_wrong_vector_does_not(self, memory: Memory) -> None:
        text, metadata = text_of("r-2", 1), memory.get("r-2").metadata
        memory.add([text], [metadata], ["r-2"], [[1.0] * 16])
        with pytest.raises(WrongAnswer, match=r"nearest|vectors"):
            ask_everything(memory, {"r-1": 1, "r-2": 1}, given=True)

    def test_another_text_does_not(self, memory: Memory) -> None:
        memory.update("r-1", metadata={**memory.get("r-1").metadata, "version": 2})
        with pytest.raises(WrongAnswer, match="text"):
            versions_in(memory)

    def test_a_process_that_dies_or_hangs_is_told(self) -> None:
        with pytest.raises(WrongAnswer, match="exit code 3"):
            start(_die).result(30)
        with pytest.raises(WrongAnswer, match="a hang"):
            start(_hang).result(0.05)


def _die() -> None:
    os._exit(3)


def _hang() -> None:
    threading.Event().wait(60)


def test_changes_are_what_a_memory_does_with_them() -> None:
    state = Change({"a": 2, "c": 2}, ["b"]).apply({"a": 1, "b": 1})
    assert list(state.items()) == [("a", 2), ("c", 2)]
    assert Change.from_json(Change({"a": 1}, ["b"]).to_json()) == Change({"a": 1}, ["b"])


def test_damage_always_changes_the_file() -> None:
    data = random.Random(0).randbytes(5000)
    for seed in range(300):
        made = damage(data, random.Random(seed))
        assert made.data != data
        assert made == damage(data, random.Random(seed))


class TestRunner:
    def test_a_second_call_goes_on_with_the_next_seeds(self, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        first = Progress(state, 7)
        assert first.next_seed("kills") == 7_000_000
        first.add("kills", 1.5, Counter({"kills": 30}))
        second = Progress(state, 7)
        assert second.next_seed("kills") == 7_000_001
        assert Progress(state, 8).next_seed("kills") == 8_000_000
        second.add("kills", 1.5, Counter({"kills": 30, "wrong": 1}))
        assert "| kills | 2 | 3 | 1 | kills 60 |" in table(Progress(state, 7).counts)

    def test_a_wrong_answer_ends_the_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(WORKLOADS, "power", WORKLOADS["power"]._replace(run=_wrong))
        progress = Progress(None, 1)
        failures = soak(["power"], 1, progress, scale=1, root=tmp_path, go_on=False)
        assert [(failure.workload, failure.seed) for failure in failures] == [("power", 1_000_000)]
        assert "two and two" in failures[0].message
        assert progress.counts["power"]["wrong"] == 1

    def test_the_command(self, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        arguments = ["--only", "limits", "--minutes", "0.0001", "--scale", "0.1", "--seed", "4"]
        done = command(*arguments, "--state", str(state), "--folder", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "| limits | 1 |" in done.stdout
        assert json.loads(state.read_text())["4"]["limits"]["rounds"] == 1


def _wrong(folder: Path, seed: int, scale: float) -> Counter[str]:
    Log(folder / "left").close()
    raise WrongAnswer("two and two is five")
