"""Forgotten: after ``compact``, no file has it in any form, also not compressed; before, nothing returns it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import zstandard

from langchain_memvid.agents import create_memory_tools
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService, export_markdown
from tests.core.cli.running import memvid

ME: dict[str, Any] = {"user_id": "me"}
SECRETS = ("Xanadupolis", "무릉도원동")
ZSTD = b"\x28\xb5\x2f\xfd"


def forms(secret):
    """How a text may lie in a file: in several encodings, escaped, in capitals, and its parts."""
    texts = {secret, secret.lower(), secret.upper(), secret[1:], json.dumps(secret)[1:-1]}
    return {text.encode(coding) for text in texts for coding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")}


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the samples of each frame as they were coded, read by libavcodec: 16 x 16 of Y, 8 x 8 of Cb and of Cr."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            height, width = frame.height, frame.width
            planes = frame.to_ndarray(format="yuvj420p" if frame.format.name == "yuvj420p" else "yuv420p")
            blocks = []
            flat = planes.reshape(-1)
            sizes = [(height, width, 16), (height // 2, width // 2, 8), (height // 2, width // 2, 8)]
            at = 0
            for high, wide, side in sizes:
                plane = flat[at : at + high * wide].reshape(high // side, side, wide // side, side)
                blocks.append(plane.transpose(0, 2, 1, 3).reshape(-1, side * side))
                at += high * wide
            yield np.concatenate(blocks, axis=1).tobytes()


def decompressed(data: bytes) -> Iterator[bytes]:
    """Yield what each zstd frame in some bytes decompresses to, wherever it begins."""
    for found in re.finditer(re.escape(ZSTD), data):
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[found.start() :])
        except zstandard.ZstdError:
            continue


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that a search of bytes can look at: files, frames, and what is compressed in either."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*.mp4"):
        found |= {f"{path} frame {number}": payload for number, payload in enumerate(payloads(path))}
    packed = {
        f"{name} zstd {number}": plain
        for name, data in found.items()
        for number, plain in enumerate(decompressed(data))
    }
    return found | packed


def where(folder: Path) -> list[str]:
    """Return where a secret is."""
    wanted = [form for secret in SECRETS for form in forms(secret)]
    return [name for name, data in contents(folder).items() if any(form in data for form in wanted)]


def shown(service: SyncMemoryService) -> str:
    """Return what a notebook shows of a memory: every listing, printed."""
    out = io.StringIO()
    with redirect_stdout(out):
        for question in ("Xanadu", "무릉도원", "Where do I live? 어디에 살아?", "tea"):
            answer = service.recall(question, **ME)
            print(answer, answer.text, service.search(question, **ME), service.retrieve(question, ME))
            print(service.recall(question, as_of="2026-06-01", **ME))
        items = service.list_memory_items(ME)
        print(items, service.list_memory_categories(ME), [service.history(item.id, **ME) for item in items])
        print(service.memory.select(), service.memory.info(), service.memory.history(), list(service.memory))
    return out.getvalue()


def filled(path: Path) -> tuple[SyncMemoryService, list[str]]:
    """Return a service that was told a secret in many ways, and the ids of what told it."""
    service = SyncMemoryService(Memory.create(path), memorize_config={"extract": "rules"})
    told: list[str] = []
    for number, text in enumerate(
        (
            f"I live in {SECRETS[0]}.",
            f"저는 {SECRETS[1]}에 살아요.",
            f"I no longer live in {SECRETS[0]}. Long {'x ' * 900}",
        )
    ):
        said = {"role": "user", "content": text, "created_at": f"2026-0{number + 1}-01"}
        told += [turn.id for turn in service.add([said], **ME, session_id="told").turns]
        service.add([{"role": "user", "content": f"I like tea number {number}."}], **ME, session_id="other")
    for number in range(30):
        service.add([f"We talked about {SECRETS[0]} {number}."], **ME, session_id="told")
    told += [turn for turn in service.memory.ids({"session_id": "told", "agent.kind": "turn"}) if turn not in told]
    item = service.create_memory_item(memory_content=f"{SECRETS[0]} is a town", memory_categories=["towns"], user=ME)
    service.update_memory_item(memory_id=item.id, memory_content=f"{SECRETS[1]} is a town", user=ME)
    exported = {"title": f"On {SECRETS[0]}", "uuid": "u", "chat_messages": [{"sender": "human", "text": SECRETS[0]}]}
    told += [turn.id for turn in service.add([exported], **ME).turns]
    return service, [*told, item.id]


@pytest.mark.parametrize("how", ["by id", "whole scope"])
def test_no_form_of_it_is_in_any_file_after_compact(tmp_path, how):
    service, told = filled(tmp_path / "memory.mp4")
    service.recall(SECRETS[0], **ME)
    export_markdown(service, tmp_path / "pages", **ME)
    before = where(tmp_path)
    assert any("zstd" in name for name in before), "the search looks into compressed frames"
    assert any(".index" in name for name in before) or any("memory.mp4" in name for name in before)
    receipt = service.forget(told, **ME) if how == "by id" else service.forget(**ME)
    assert receipt.unknown == []
    assert receipt.in_file
    assert not any(secret in shown(service) for secret in SECRETS)
    export_markdown(service, tmp_path / "pages", force=True, **ME)
    service.memory.compact()
    (tmp_path / "notebook.txt").write_text(shown(service), encoding="utf-8")
    assert where(tmp_path) == []
    service.memory.close()
    with Memory.open(tmp_path / "memory.mp4", "a") as memory:
        again = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        (tmp_path / "notebook.txt").write_text(shown(again), encoding="utf-8")
        assert len(again.list_memory_items(ME)) == (3 if how == "by id" else 0)
        for command in (["recall", SECRETS[0][:4]], ["list", "--kind", "turns"], ["stats"]):
            done = memvid("memory", command[0], tmp_path / "memory.mp4", *command[1:], "--user", "me", "--json")
            assert not any(secret in done.out + done.err for secret in SECRETS)
    assert where(tmp_path) == []


def test_with_a_whole_scope_go_the_notes_that_tools_saved_for_it(tmp_path: Path) -> None:
    other = {"user_id": "other"}
    with Memory.create(tmp_path / "m.mp4") as memory:
        service = SyncMemoryService(memory)
        for owner in (ME, {**ME, "agent_id": "bot"}, other):
            save = next(tool for tool in create_memory_tools(memory, scope=owner) if tool.name == "save_memory")
            save.invoke({"text": f"the key is under {SECRETS[0]} of {owner}"})
        memory.add(f"a document about {SECRETS[0]}", ids="document")
        service.add([{"role": "user", "content": "I drink tea."}], session_id="s", **ME)
        assert not service.forget(session_id="s", **ME).notes  # they are of no session
        receipt = service.clear_memory(ME)
        assert len(receipt.notes) == 2
        left = {record.id: record.metadata.get("user_id") for record in memory.select({})}
        assert left.pop("document", "") is None
        assert list(left.values()) == ["other"]
        done = memvid("memory", "forget", tmp_path / "m.mp4", "--all", "--user", "other")
        assert (done.code, "1 record forgotten" in done.out) == (0, True)
