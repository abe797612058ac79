"""``memvid mcp`` in processes of its own: both transports, its protocol on standard output, its refusals, its end."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from memvid_core import InvalidInputError, Memory, StorageError
from memvid_core.cli import app
from memvid_core.serving.http import Address, bound, parse_address, read_token
from tests.core.cli.running import memvid
from tests.core.serving.running import ENVIRONMENT, command, http_server, server

TOKEN = "a-token-of-enough-characters"
POST = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a client of the tests", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "notes.mp4"
    with Memory.create(path) as memory:
        memory.add(["the wing lifts", "the engine hums"], ids=["wing", "engine"])
    return path


@pytest.fixture(scope="module")
def token_file(path: Path) -> Path:
    file = path.with_name("token")
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def url(path: Path, token_file: Path) -> Iterator[str]:
    with http_server(path, "--http", "0", "--token-file", token_file) as (url, _):
        yield url


def spawned(*arguments: object) -> StdioServerParameters:
    first, *rest = command(*arguments)
    return StdioServerParameters(command=first, args=rest, env=ENVIRONMENT)


async def texts(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return str(result.content[0].text)  # type: ignore[union-attr]


async def test_the_sdk_speaks_with_it_over_stdio(path: Path) -> None:
    async with Client(spawned(path, "--read-only")) as client:
        assert "[wing] the wing lifts" in await texts(client, "search_memory", query="wing")
        assert "save_memories" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_the_sdk_speaks_with_it_over_http(url: str) -> None:
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        assert "[wing] the wing lifts" in await texts(client, "search_memory", query="wing")
        assert "Saved as [note-" in await texts(client, "save_memories", texts=["the tail steers"])
        assert "the tail steers" in await texts(client, "search_memory", query="tail", k=1)


def headers(url: str, **given: str) -> dict[str, str]:
    return {**POST, "Authorization": f"Bearer {TOKEN}", **{name.title(): value for name, value in given.items()}}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1"}, 421),  # without its port
        ({"host": "127.0.0.1:1"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"host": "evil.example", "origin": "https://evil.example", "authorization": ""}, 421),
    ],
)
def test_http_refuses_foreign_hosts_and_origins_and_missing_tokens(
    url: str, changed: dict[str, str], status: int
) -> None:
    sent = headers(url, **changed)
    answer = httpx.post(url, json=INITIALIZE, headers={name: value for name, value in sent.items() if value})
    assert answer.status_code == status
    assert TOKEN not in answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_http_answers_its_own_origin_and_refuses_large_bodies_and_other_paths(url: str) -> None:
    own = url.removesuffix("/mcp")
    assert httpx.post(url, json=INITIALIZE, headers=headers(url, origin=own)).status_code == 200
    assert httpx.post(url, content=b"x" * (4 << 20 | 1), headers=headers(url)).status_code == 413
    assert httpx.get(f"{own}/", headers=headers(url)).status_code == 404
    assert httpx.get(f"{own}/").status_code == 401
    answer = httpx.options(url, headers={**headers(url), "Origin": own})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


class ConnectsAtOnce(io.StringIO):
    """Standard error that connects to the address in what is written to it, before the write returns."""

    connected = False

    def write(self, text: str) -> int:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/mcp", text):
            socket.create_connection(("127.0.0.1", int(found[1])), timeout=30).close()
            self.connected = True
            raise KeyboardInterrupt  # ends the server before it serves
        return super().write(text)


def test_a_client_can_connect_when_it_sees_the_address(path: Path) -> None:
    with redirect_stderr(ConnectsAtOnce()) as errors, pytest.raises(SystemExit) as ended:
        app(["mcp", str(path), "--http", "0"], prog_name="memvid")
    assert errors.connected, errors.getvalue()
    assert ended.value.code == 130


async def test_answers_over_http_do_not_wait_for_acknowledgments() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: socket.socket = writer.get_extra_info("socket")
        accepted.set_result(there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with bound(parse_address("0")) as listener:
        async with await asyncio.start_server(seen, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await accepted
            writer.close()


def test_nothing_but_json_rpc_is_on_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "torn.mp4"
    with Memory.create(path) as memory:
        memory.add([f"text {number} of the wing" for number in range(300)])
        memory.add("a last one")
    os.truncate(path, path.stat().st_size - 100)  # a torn tail: a warning at every opening
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
    wrong = {**call, "id": 3, "params": {"name": "search_memory", "arguments": {"query": "x", "where": {"$no": 1}}}}
    calls = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {**call, "params": {"name": "search_memory", "arguments": {"query": "wing"}}},
        wrong,
    ]
    process = subprocess.Popen(
        command(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "FORCE_COLOR": "1", "PYTHONWARNINGS": "always"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers: dict[int, Any] = {}
    for sent in calls:
        process.stdin.write(json.dumps(sent) + "\n")
        process.stdin.flush()
    while answers.keys() < {1, 2, 3}:
        answer = json.loads(process.stdout.readline())
        answers[answer["id"]] = answer
    rest, errors = process.communicate()
    assert rest == ""
    assert process.returncode == 0
    assert "warning" in errors
    assert "Traceback" not in errors
    assert answers[3]["result"]["isError"] is True
    assert "text" in answers[2]["result"]["content"][0]["text"]


def test_a_server_starts_without_what_only_conversations_and_libraries_need(path: Path) -> None:
    code = """
import sys
from memvid_core.cli.mcp import mcp
from memvid_core.serving import server
def started(made, *arguments, **settings):
    print(*sys.modules)
    sys.exit()
server.MCPServer.run = started
from memvid_core.cli import app
app(["mcp", sys.argv[1]])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"mcp.server", "memvid_core.engine.session"} <= loaded
    late = ("memvid_core.agent.service", "memvid_core.library", "memvid_core.ingest", "av", "sklearn", "scipy")
    assert not [name for name in loaded if name.startswith(late)]


def test_a_signal_ends_a_server_that_waits_for_its_client(path: Path) -> None:
    process = server(path)
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    try:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == (1 if os.name == "nt" else 143)
    finally:
        process.kill()
        process.communicate()


def test_what_cannot_be_served_is_one_line_and_an_exit_code(path: Path, token_file: Path) -> None:
    none = path.with_name("none.mp4")
    done = memvid("mcp", none)
    assert (done.code, done.out) == (4, "")
    assert done.err == f"error: {none} does not exist; --create makes it, or: memvid build PATHS -o none.mp4\n"
    wrong: list[tuple[int, str, list[object]]] = [
        (2, "--token-file", [path, "--http", "0.0.0.0:0", "--allow-host", "notes.example"]),
        (2, "--allow-host", [path, "--http", "0.0.0.0:0", "--token-file", token_file]),
        (2, "such as user_id=ada", [path, "--scope", "ada"]),
        (2, "2 memories need as many names", [path, path, "--name", "one"]),
        (2, "same name", [path, path, "--name", "one", "--name", "one"]),
        (2, "go with --http", [path, "--token-file", token_file]),
        (6, "is a folder", [path.parent]),
    ]
    for code, words, arguments in wrong:
        done = memvid("mcp", *arguments)
        assert (done.code, done.out) == (code, "")
        assert words in " ".join(done.err.replace("│", "").split())


def test_print_config_is_what_a_client_starts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    server = memvid("mcp", "notes.mp4", "--read-only", "--scope", "user_id=ada", "--print-config").json["mcpServers"]
    assert server == {
        "notes": {
            "command": command()[0],
            "args": command(path, "--read-only", "--scope", "user_id=ada")[1:],
        }
    }


def test_addresses() -> None:
    assert parse_address("80").hosts(80) == ["127.0.0.1:80", "localhost:80", "[::1]:80"]
    assert Address("10.0.0.1", 80).hosts(80) == ["10.0.0.1:80"]
    assert Address("0.0.0.0", 80, ["notes.example"]).hosts(80) == ["notes.example:80", "notes.example"]
    assert Address("::", 80, ["[fe80::1]:90"]).hosts(80) == ["[fe80::1]:90", "[fe80::1]:90"]
    assert parse_address("[::1]:0").local
    for wrong in ("", "x", "host:", "1:2:x", "99999", "-1", "٣", ":80", "0.0.0.0:80"):
        with pytest.raises(InvalidInputError):
            parse_address(wrong)
    for name in ("*", "a b", "http://x", ""):
        with pytest.raises(InvalidInputError, match="not the name of a host"):
            Address("127.0.0.1", 80, [name])


def test_a_token_is_long_visible_and_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(StorageError):
        read_token(file)
    for text in ("short", "", "a token with spaces in it", "tökentökentökentöken"):
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        with pytest.raises(InvalidInputError, match="visible ASCII"):
            read_token(file)
    file.write_text(TOKEN, encoding="utf-8")
    assert read_token(file) == TOKEN
    file.chmod(0o640)
    if os.name != "nt" and stat.S_IMODE(file.stat().st_mode) == 0o640:
        with pytest.raises(InvalidInputError, match="chmod 600"):
            read_token(file)


async def test_three_servers_and_a_writer_share_a_file_and_one_is_killed_while_it_writes(tmp_path: Path) -> None:
    """300 additions; what the killed server did not acknowledge is sent to another one, and stored once."""
    path = tmp_path / "shared.mp4"
    with Memory.create(path):
        pass
    acknowledged: set[str] = set()
    at_once = 10
    for_the_killed = [f"fact {number} of the killed one" for number in range(50)]
    begun = asyncio.Event()

    async def save(client: Client, given: list[str]) -> None:
        async def each(first: int) -> None:
            for text in given[first::at_once]:
                await texts(client, "save_memories", texts=[text])
                acknowledged.add(text)
                if text == for_the_killed[20]:
                    begun.set()

        async with asyncio.TaskGroup() as group:
            for first in range(at_once):
                group.create_task(each(first))

    async def write() -> None:
        with Memory.open(path, "a") as memory:
            for number in range(100):
                await memory.aadd(f"fact {number} of the writer")
                acknowledged.add(f"fact {number} of the writer")

    with http_server(path, "--http", "0") as (url, victim), http_server(path, "--http", "0") as (other, _):

        async def kill() -> None:
            await begun.wait()
            victim.kill()

        async def be_killed() -> None:
            async with Client(url, read_timeout_seconds=20) as client:
                await save(client, for_the_killed)

        async def stay(client: Client, name: str) -> None:
            await save(client, [f"fact {number} of {name}" for number in range(75)])
            await texts(client, "search_memory", query="fact")

        async with Client(spawned(path)) as one, Client(other) as two:
            ended, *results = await asyncio.gather(
                be_killed(), kill(), stay(one, "one"), stay(two, "two"), write(), return_exceptions=True
            )
            assert results == [None] * 4
            assert isinstance(ended, BaseException)
            lost = [text for text in for_the_killed if text not in acknowledged]
            assert lost
            await save(one, lost)
    with Memory.open(path) as memory:
        stored = [record.text for record in memory]
        assert memory.verify().ok
    assert set(stored) == acknowledged
    assert len(stored) == 300
