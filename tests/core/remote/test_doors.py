"""A remote memory at every door: the shell, LangChain, LlamaIndex, MCP, and following in threads and coroutines."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from llama_index_memvid import MemvidVectorStore as LlamaStore
from memvid_core import InvalidInputError, Memory, ReadOnlyError
from memvid_core.memory import session_of
from tests.core.cli.running import COMMAND, environment, memvid
from tests.core.remote.web import MARK, Web

Look = Callable[[Memory], int]
QUERY = f"?X-Amz-Signature={MARK}"


def test_commands_that_read_take_a_url_and_print_no_credential(root: Path, published: Path, tmp_path: Path) -> None:
    with Web(root) as web:
        url = web.url(query=QUERY)
        reading: list[tuple[str, ...]] = [
            ("search", url, "the engine"),
            ("get", url, "hum"),
            ("info", url),
            ("history", url),
            ("ls", url),
            ("verify", url),
            ("export", url),
            ("chat", url, "which engine hums?"),
        ]
        for arguments in reading:
            done = memvid(*arguments)
            assert done.code == 0, (arguments, done)
            assert done.out
            assert MARK not in done.out + done.err
        writing: list[tuple[str, ...]] = [
            ("add", url, str(tmp_path)),
            ("delete", url, "hum"),
            ("compact", url),
            ("sync", str(tmp_path), url),
            ("build", str(tmp_path), "-o", url),
            ("convert", url, str(tmp_path / "out.mp4")),
        ]
        for arguments in writing:
            done = memvid(*arguments)
            assert done.code, arguments
            assert "URL" in done.err
            assert MARK not in done.out + done.err
        listed = memvid("cache", "--json").json["copies"]
        assert [(copy["url"], copy["in_use"]) for copy in listed] == [(web.url(), False)]
        assert "1 copy" in memvid("cache").out
        assert len(memvid("cache", url, "--clear", "--json").json["deleted"]) == 1
        assert memvid("cache", "--json").json["copies"] == []


def test_follow_prints_commits_until_ctrl_c(root: Path, published: Path) -> None:
    with Web(root) as web:
        command = [*COMMAND, "follow", web.url(query=QUERY), "--since", "2", "--every", "0.1", "--json"]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, encoding="utf-8") as running:
            assert running.stdout is not None
            try:
                assert json.loads(running.stdout.readline())["number"] == 3
                with Memory.open(published, "a") as writer:
                    writer.add(["one more"])
                commit = json.loads(running.stdout.readline())
                assert (commit["number"], commit["added"], commit["records"]) == (4, 1, 39)
                other = root / "other.mp4"
                with Memory.create(other) as writer:
                    writer.add(["another memory"])
                os.replace(other, published)
                commit = json.loads(running.stdout.readline())
                assert (commit["number"], commit["records"]) == (1, 1)
                running.send_signal(signal.SIGINT)
                assert running.wait(30) == 130
            finally:
                running.kill()


def test_mcp_serves_a_url_for_reading(root: Path, published: Path) -> None:
    with Web(root) as web:
        config = json.loads(memvid("mcp", web.url(), "--read-only", "--print-config").out)
        assert web.url() in config["mcpServers"]["m"]["args"]
        assert memvid("mcp", web.url(query=QUERY)).err.startswith(f"error: {web.url()} is read-only")


def test_langchain_reads_a_url(root: Path, published: Path) -> None:
    with Web(root) as web:
        with pytest.raises(ReadOnlyError, match="mode='r'"):
            MemvidVectorStore(path=web.url())
        options = {"headers": {"X-Door": "1"}}
        with MemvidVectorStore(path=web.url(query=QUERY), mode="r", storage_options=options) as store:
            assert store.similarity_search("the engine", k=1)[0].page_content == "the engine hums"
            with pytest.raises(InvalidInputError, match="credentials"):
                pickle.dumps(store)
        with MemvidVectorStore.load(web.url(), mode="r") as store, pickle.loads(pickle.dumps(store)) as again:
            assert again.get_by_ids(["hum"])[0].page_content == "the engine hums"
        retriever = MemvidRetriever(path=web.url(), k=1)
        assert retriever.invoke("the engine")[0].id == "hum"
        retriever.vectorstore.close()
    fs = MemoryFileSystem()
    fs.pipe("/langchain/m.mp4", published.read_bytes())
    with MemvidVectorStore(path="/langchain/m.mp4", mode="r", fs=fs) as store:
        assert store.get_by_ids(["hum"])


def test_llama_index_reads_a_url(root: Path, published: Path) -> None:
    with Web(root) as web:
        with LlamaStore(web.url(query=QUERY), mode="r", storage_options={"headers": {"X-Door": "1"}}) as store:
            assert store.get_nodes(["hum"])[0].get_content() == "the engine hums"
            with pytest.raises(InvalidInputError, match="credentials"):
                pickle.dumps(store)
        with LlamaStore(web.url(), mode="r") as store, pickle.loads(pickle.dumps(store)) as again:
            assert again.get_nodes(["hum"])
    fs = MemoryFileSystem()
    fs.pipe("/llama/m.mp4", published.read_bytes())
    with LlamaStore.from_persist_path("/llama/m.mp4", fs) as store:
        assert store.get_nodes(["hum"])


def test_an_earlier_state_of_a_remote_memory_does_not_change(root: Path, published: Path, look: Look) -> None:
    with Web(root) as web, Memory.open(web.url(), as_of=1) as memory:
        with Memory.open(published, "a") as writer:
            writer.clear()
        assert look(memory) == 40
        with pytest.raises(InvalidInputError, match="as_of"):
            memory.follow()


def test_following_a_file(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4") as writer:
        writer.add(["first"])
        with Memory.open(tmp_path / "m.mp4") as reader:
            news = reader.follow(interval=0.001)
            all_of_them = reader.follow(since=0, interval=0.001)
            writer.add(["second", "third"])
            assert [(commit.number, commit.added) for commit in (next(news),)] == [(2, 2)]
            assert [next(all_of_them).number for _ in range(2)] == [1, 2]
            wrong: Any
            for wrong in (-1, 1.5, True):
                with pytest.raises(InvalidInputError, match="since"):
                    reader.follow(since=wrong)
            for wrong in (0, -1, float("nan"), "1"):
                with pytest.raises(InvalidInputError, match="interval"):
                    reader.follow(interval=wrong)
            assert [commit.number for commit in reader.follow(since=1, interval=None)] == [2]
        assert list(news) == []


async def test_following_in_a_coroutine(root: Path, published: Path) -> None:
    with Web(root) as web:
        async with await Memory.aopen(web.url()) as memory:
            numbers: list[int] = []

            async def follow() -> None:
                async for commit in memory.afollow(since=2, interval=0.001):
                    numbers.append(commit.number)
                    if commit.number == 4:
                        return

            task = asyncio.create_task(follow())
            async with await Memory.aopen(published, "a") as writer:
                await writer.aadd(["one more"])
            await asyncio.wait_for(task, 20)
            assert numbers == [3, 4]
            assert session_of(memory).newest.record_count == 39
