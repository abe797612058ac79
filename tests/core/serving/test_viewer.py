"""The viewer in a real browser: it shows what Python reads, names damage, and runs nothing that a memory says."""

from __future__ import annotations

import base64
import http.server
import json
import os
import random
import re
import runpy
import shutil
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from memvid_core import Memory
from memvid_core.engine.memory_video import frames_of
from memvid_core.errors import DamageWarning, FilterError, TornTailWarning
from memvid_core.memory.memory import session_of
from memvid_core.serving.viewing import static_page
from memvid_core.video import mp4
from memvid_core.video.pcm import PcmCodec
from tests.core.cli.running import memvid
from tests.core.embedders import embed
from tests.core.serving.driving import Driven, driven
from tests.core.serving.running import ENVIRONMENT
from tests.upstream_tests import CACHE

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = sorted((ROOT / "tests" / "core" / "golden").glob("format-*.mp4"))
GOLDEN_MODEL, GOLDEN_QR = (GOLDEN[0].with_name(f"{name}-1.mp4") for name in ("embedder", "qr"))
PAGE = ROOT / "src" / "memvid_core" / "serving" / "viewer.html"
READY = """
const limit = performance.now() + 20000;
while (performance.now() < limit) {
  const refused = document.getElementById("refused").textContent;
  const shown = document.body.dataset.state === "open" && document.getElementById("count").textContent;
  if (refused || shown || document.querySelector("article")) return refused;
  await new Promise((resolve) => setTimeout(resolve, 5));
}
return "nothing was shown";
"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with driven(tmp_path_factory.mktemp("profile")) as made:
        yield made


def opened(window: Driven, path: Path) -> str:
    """Open a file in the static page; return why it was refused, or an empty text."""
    window.go(PAGE.as_uri())
    window.type("#file", str(path))
    return str(window.run(READY))


def asked(window: Driven, operation: str, **options: object) -> Any:
    return window.run("return memvid.engine.ask(...args)", operation, options)


Row = tuple[str, str, Any]


def in_page(window: Driven, **options: object) -> list[Row]:
    found = asked(window, "records", limit=1_000_000, **options)
    rows = [(each["id"], each["text"], json.loads(each["metadata"])) for each in found["records"]]
    assert found["total"] == len(rows)
    return rows


def in_python(memory: Memory) -> list[Row]:
    return [(record.id, record.text, record.metadata) for record in memory]


def exactly(rows: list[Row]) -> str:
    """The rows as Python writes them: 1, 1.0 and True differ."""
    return repr(rows)


def features(path: Path) -> None:
    """A memory with all that the format has: continued bodies, parity, deletions, listed vectors, odd values."""
    odd = {
        "__proto__": {"polluted": True},
        "constructor": "x",
        "big": 2**63 - 1,
        "small": -(2**63),
        "whole": 3.0,
        "tiny": 5e-324,
        "huge": 1e300,
        "negative": -0.0,
        "empty": {"": [], "none": None, "deep": [[[{}]]]},
        "한글": "값 🎞️",
    }
    with Memory.create(path, embed, codec_options={"columns": 8, "rows": 4}, vector_dtype="int8") as memory:
        memory.add([f"text {i} " * (i % 7) for i in range(300)], [{"i": i, "even": i % 2 == 0} for i in range(300)])
        memory.add(["x" * 200_000, "둘 " * 30_000, "", "\0\x00\x03" * 400], [odd, {}, {}, {}], ["a", "b", "c", "d"])
        memory.delete([f for i, f in enumerate(memory.ids()) if i % 3 == 0])
        memory.add("B again", {"v": 2}, "b")


def test_the_page_is_built_from_its_sources_and_is_small() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "viewer.py"))
    folder = CACHE / "viewer"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        lock = (script["SOURCES"] / "package-lock.json").read_text(encoding="utf-8")
        installed = folder / "package-lock.json"
        if not (folder / "node_modules").exists() or installed.read_text(encoding="utf-8") != lock:
            script["install"](folder)
    assert script["build"](folder) == PAGE.read_text(encoding="utf-8")
    assert PAGE.stat().st_size <= 64_000


def test_it_reads_every_record_of_every_version_and_commit_as_python_does(
    window: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [Path(shutil.copy(golden, tmp_path)) for golden in (*GOLDEN, GOLDEN_MODEL)]
    paths.append(tmp_path / "features.mp4")
    features(paths[-1])
    with monkeypatch.context() as patched:  # boxes as in commits beyond 4 GiB
        wide = "memvid_core.video.mp4.mdat_header"
        patched.setattr(wide, lambda size: (1).to_bytes(4, "big") + b"mdat" + (16 + size).to_bytes(8, "big"))
        paths.append(tmp_path / "wide.mp4")
        features(paths[-1])
        assert opened(window, paths[-1]) == ""
        with Memory.open(paths[-1], embedder=embed) as memory:
            assert exactly(in_page(window)) == exactly(in_python(memory))
    for path in paths[:-1]:
        assert opened(window, path) == ""
        assert asked(window, "info")["damages"] == 0
        model = None if path.name == GOLDEN_MODEL.name else embed
        with Memory.open(path, embedder=model) as memory:
            assert exactly(in_page(window)) == exactly(in_python(memory))
            history = memory.history()
            shown = asked(window, "history")
            assert [(c.number, c.added, c.deleted) for c in history] == [
                (c["number"], c["added"], c["deleted"]) for c in shown
            ]
            assert [c.time.timestamp() for c in history] == pytest.approx([c["time"] for c in shown])
        for commit in history:
            with Memory.open(path, embedder=model, as_of=commit.number) as past:
                assert exactly(in_page(window, as_of=commit.number)) == exactly(in_python(past))


FILTERS: list[dict[str, Any]] = [
    {"page": 1},
    {"page": 1.0},
    {"page": {"$gt": 1, "$lte": 3}},
    {"page": {"$ne": 1}},
    {"page": None},
    {"tags": "new"},
    {"tags": ["new", "long"]},
    {"tags": {"$all": ["new", "long"]}},
    {"tags": {"$any": ["old", "long"]}},
    {"tags": {"$in": ["old", None]}},
    {"tags": {"$nin": ["old"]}},
    {"author.name": "Ada"},
    {"author": {"name": "Ada", "born": 1815}},
    {"title": {"$like": "%École_"}},
    {"title": {"$ilike": "%ecole%"}},
    {"title": {"$contains": "."}},
    {"title": {"$icontains": "É"}},
    {"page": {"$exists": False}},
    {"tags": {"$empty": True}},
    {"page": {"$type": "integer"}},
    {"page": {"$type": ["float", "string"]}},
    {"page": {"$between": [1, 2]}},
    {"title": {"$gte": "a"}},
    {"$or": [{"page": 1}, {"title": {"$like": "b%"}}]},
    {"$nor": [{"page": 1}, {"tags": "old"}]},
    {"$not": {"page": {"$gte": 2}}},
    {"page": {"$not": {"$gte": 2}}},
    {"$id": {"$in": ["a", "d"]}},
    {"flag": True},
    {"flag": 1},
]


VALUES: list[Any] = [
    1,
    1.0,
    2.5,
    "1",
    "old",
    "École.",
    "b%",
    None,
    True,
    False,
    [],
    ["new"],
    {"name": "Ada"},
    "",
    2**60,
]
COMPARED = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"]


def random_filter(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """Return any filter that Python accepts, over the fields of ``RECORDS``."""
    kind = rng.randrange(8 if depth < 2 else 6)
    field = rng.choice(["page", "tags", "title", "author.name", "flag", "author"])
    if kind == 6:
        return {rng.choice(["$and", "$or", "$nor"]): [random_filter(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    if kind == 7:
        return {"$not": random_filter(rng, depth + 1)}
    if kind == 0:
        return {field: rng.choice(VALUES)}
    if kind == 1:
        return {field: {rng.choice(["$in", "$nin", "$all", "$any"]): rng.sample(VALUES, rng.randint(0, 3))}}
    if kind == 2:
        return {field: {rng.choice(["$exists", "$empty"]): rng.random() < 0.5}}
    if kind == 3:
        return {field: {rng.choice(["$like", "$ilike"]): rng.choice(["%o%", "École_", "e%", "_", "%", "b\\%"])}}
    if kind == 4:
        return {
            field: {"$type": rng.choice(["null", "boolean", "integer", "float", "number", "string", "list", "dict"])}
        }
    return {field: {rng.choice(COMPARED): rng.choice(VALUES)}}


def test_its_filters_choose_the_records_that_python_chooses(
    window: Driven, tmp_path: Path, effort: Callable[[int], int]
) -> None:
    path = tmp_path / "m.mp4"
    rng = random.Random(1)
    metadata: list[dict[str, Any]] = [
        {"page": 1, "tags": ["new"], "author": {"name": "Ada", "born": 1815}, "flag": True},
        {"page": 2.0, "tags": ["long", "new"], "title": "une École."},
        {"page": None, "tags": "old", "title": "b", "flag": 1},
        {"tags": [], "title": "ecole", "author": {"born": 1815, "name": "Ada"}},
        {"page": "1", "tags": [None, "old"], "title": "B%"},
        {"page": [1, 5], "tags": ["new", "long"], "flag": False},
        *({field: rng.choice(VALUES) for field in ("page", "tags", "title", "author", "flag")} for _ in range(30)),
    ]
    filters, wanted = list(FILTERS), []
    with Memory.create(path, embed) as memory:
        ids = memory.add([f"text {i}" for i in range(len(metadata))], metadata)
        wanted = [memory.ids(where) for where in FILTERS]
        while len(filters) < effort(200):
            where = random_filter(rng)
            with suppress(FilterError):
                wanted.append(memory.ids(where))
                filters.append(where)
    assert opened(window, path) == ""
    script = "return Promise.all(args[0].map(where => memvid.engine.ask('records', {where, limit: 1000})))"
    found = [[each["id"] for each in one["records"]] for one in window.run(script, filters)]
    wrong = [
        (where, [metadata[ids.index(each)] for each in {*one} ^ {*right}])
        for where, one, right in zip(filters, found, wanted, strict=True)
        if one != right
    ]
    assert not wrong


def flipped(path: Path, name: str) -> None:
    """Change a byte in the frame that holds a record."""
    with Memory.open(path, embedder=embed) as memory:
        place = session_of(memory).answer(lambda snapshot: snapshot.frames_of([name]))[name]
    data = bytearray(path.read_bytes())
    data[place.offset + 100] ^= 0x55
    path.write_bytes(data)
    shutil.rmtree(path.with_name(f"{path.name}.index"))


def one_frame(version: int = 1, flags: int = 0) -> bytes:
    """A file with nothing but a header's frame."""
    payload = struct.pack("<4sBBHIQQ", b"MVID", version, 1, flags, 0, 0, 0) + b"\x80"
    codec = PcmCodec(4, 4)
    return codec.init_segment() + b"".join(mp4.fragment(codec.encode([payload], 0), 1, 0, 0))


def test_damage_is_named_and_what_is_no_memory_is_refused(
    window: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(GOLDEN[0], tmp_path / "m.mp4"))
    whole = path.read_bytes()
    flipped(path, "plain")
    assert opened(window, path) == ""
    info = asked(window, "info")
    assert (info["lost"], info["torn"]["bytes"]) == (1, 0)
    assert "checksum does not match" in window.run("return document.getElementById('health').textContent")
    with pytest.warns(DamageWarning):
        memory = Memory.open(path, embedder=embed)
    with memory:
        assert exactly(in_page(window)) == exactly(in_python(memory))
        assert memory.info().lost == 1

    several = tmp_path / "several.mp4"  # its commit has parity
    with Memory.create(several, embed) as memory:
        memory.add(["plain", "b"], ids=["plain", "b"])
    flipped(several, "plain")
    for damaged, restored in ((path, False), (several, True)):
        assert opened(window, damaged) == ""
        named = window.run("return document.getElementById('health').textContent")
        assert ("parity may restore it" in named) is restored
    with pytest.warns(DamageWarning), Memory.open(several, embedder=embed) as memory:
        assert memory.get("plain").text == "plain"

    torn = tmp_path / "torn.mp4"
    torn.write_bytes(whole[:-300])
    assert opened(window, torn) == ""
    lost = asked(window, "info")["torn"]
    assert "unfinished write" in window.run("return document.getElementById('health').textContent")
    with pytest.warns(TornTailWarning, match="1 records"):
        memory = Memory.open(torn, embedder=embed)
    with memory:
        assert exactly(in_page(window)) == exactly(in_python(memory))
        assert lost == {"bytes": memory.info().torn_bytes, "records": 1}

    head = whole[: whole.index(b"moof") - 4]
    (tmp_path / "foreign.mp4").write_bytes(head + mp4.mdat_header(1000) + bytes(1000))
    (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "newer.mp4").write_bytes(one_frame(version=4))
    (tmp_path / "encrypted.mp4").write_bytes(one_frame(flags=2))
    with monkeypatch.context() as patched:  # a block that claims a gigabyte: refused before memory is taken
        claim = b"\x28\xb5\x2f\xfd\xe0" + (1 << 30).to_bytes(8, "little") + b"\x01\0\0"
        patched.setattr("memvid_core.journal.compression.compress", lambda data: claim)
        with Memory.create(tmp_path / "bomb.mp4", embed) as memory:
            memory.add("text")
    with Memory.create(tmp_path / "qr.mp4", embed, codec="qr") as memory:
        memory.add("text")
    refusals = {"newer": "newer viewer", "encrypted": "encrypted", "qr": "memvid view"}
    refusals |= dict.fromkeys(("junk", "empty", "foreign"), "no memory")
    shutil.copy(GOLDEN_QR, tmp_path / "golden.mp4")
    refusals["golden"] = "memvid view"
    for name, said in refusals.items():
        assert said in opened(window, tmp_path / f"{name}.mp4"), name
    assert opened(window, tmp_path / "bomb.mp4") == ""
    assert "claims 1073741824 bytes" in window.run("return document.getElementById('health').textContent")


def test_what_claims_to_be_large_takes_no_memory_and_hides_no_record(window: Driven, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(["plain", "b"])
    whole, picture = path.read_bytes(), bytes(20 << 20)
    frame = b"".join(mp4.fragment([(picture, True)], 3, 4, 4))
    table = (100 << 20).to_bytes(4, "big") + b"moof"
    for name, more in {"frame": frame, "table": table + bytes(1000)}.items():
        large = tmp_path / f"{name}.mp4"
        large.write_bytes(whole + more)
        if name == "table":
            os.truncate(large, len(whole) + (100 << 20))
        assert opened(window, large) == ""
        assert [text for _, text, _ in in_page(window)] == ["plain", "b"]
        info = asked(window, "info")
        assert info["damages"] or info["torn"]["bytes"] == large.stat().st_size - len(whole)


EDITED = """
const [encoded, edits] = args;
const whole = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
const opened = async (data) => {
  const given = new DataTransfer();
  given.items.add(new File([data], "m.mp4"));
  const input = document.getElementById("file");
  input.files = given.files;
  input.dispatchEvent(new Event("change"));
  while (document.body.dataset.state === "reading") await new Promise((resolve) => setTimeout(resolve, 1));
  if (document.body.dataset.state === "closed") return document.getElementById("refused").textContent;
  const {records} = await memvid.engine.ask("records", {limit: 1e6});
  return new Map(records.map(({row, id, text, metadata}) => [row, `${id}${text}${metadata}`]));
};
const right = await opened(whole);
const wrong = [];
for (const [index, [cut, at, bytes]] of edits.entries()) {
  const data = whole.slice(0, cut);
  data.set(bytes.slice(0, Math.max(0, cut - at)), Math.min(at, cut));
  const found = await opened(data);
  if (typeof found === "string") continue;
  const {damages, torn} = memvid.info;
  const same = found.size === right.size && [...right.keys()].every((row) => found.has(row));
  const invented = [...found].some(([row, record]) => right.has(row) && right.get(row) !== record);
  if (invented || !(same || damages || torn.bytes)) wrong.push([index, cut, at, found.size]);
}
return wrong;
"""


def test_no_damage_is_silent(
    window: Driven, tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    path = tmp_path / "m.mp4"
    features(path)
    whole = path.read_bytes()
    rng = random.Random(2)
    ends = {found.start() - 4 for found in re.finditer(b"moof", whole)}  # a copy that ends there is a whole memory
    edits: list[tuple[int, int, list[int]]] = []
    for _ in range(effort(sized(20, 30))):
        at = rng.randrange(700, len(whole))
        kind = rng.randrange(3)
        if kind == 0 and at not in ends:
            edits.append((at, 0, []))
        elif kind == 1:
            edits.append((len(whole), at, [whole[at] ^ rng.randrange(1, 256)]))
        else:
            edits.append((len(whole), at, [0] * min(512, len(whole) - at)))
    window.go(PAGE.as_uri())
    assert window.run(EDITED, base64.b64encode(whole).decode(), edits) == []


HOSTILE = [
    "<script>document.body.dataset.ran = 1</script>",
    "<img src=x onerror='document.body.dataset.ran = 1'>",
    "javascript:document.body.dataset.ran=1",
    "</script><svg onload=document.body.dataset.ran=1>",
    "\u202e\u0000\x1b[31m",
]


def test_hostile_texts_are_shown_and_never_run(window: Driven, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    more = {"__proto__": {"ran": "yes"}, "url": "https://example.org/a"}
    metadata = [{text: text, "link": text, **more} for text in HOSTILE]
    with Memory.create(path, embed, description=HOSTILE[1]) as memory:
        memory.add(HOSTILE, metadata, [f"{text}{i}" for i, text in enumerate(HOSTILE)])
    window.errors()
    assert opened(window, path) == ""
    seen = window.run("""
      document.getElementById("query").value = "document";
      await new Promise((resolve) => setTimeout(resolve, 0));
      document.getElementById("form").requestSubmit();
      await new Promise((resolve) => setTimeout(resolve, 200));
      const texts = [...document.querySelectorAll(".text")].map((text) => text.textContent);
      const links = [...document.querySelectorAll("article .metadata a")].map((link) => link.href);
      const made = document.querySelectorAll("main img, main svg, main script").length;
      return {texts, links, made, ran: document.body.dataset.ran ?? null, polluted: ({}).ran ?? null};
    """)
    assert len(seen["texts"]) == 4
    assert set(seen["texts"]) <= set(HOSTILE)
    assert set(seen["links"]) == {"https://example.org/a"}
    assert (seen["made"], seen["ran"], seen["polluted"]) == (0, None, None)
    refused = window.run("""
      const script = document.createElement("script");
      script.textContent = "document.body.dataset.ran = 2";
      document.body.append(script);
      const image = document.createElement("img");
      image.setAttribute("onerror", "document.body.dataset.ran = 3");
      image.src = "x";
      document.body.append(image);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return document.body.dataset.ran ?? null;
    """)
    assert refused is None


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serves the page, and files by ranges; ``whole`` ones are sent without, and ``huge`` ones claim to be long."""

    folder = Path()
    asked: list[str]

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        page = name == "viewer.html"
        data = static_page().encode() if page else (self.folder / name.split("-")[-1]).read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None or name.startswith("whole-"):
            self.send_response(200)
            part = data
        else:
            begin, end = int(wanted[1]), int(wanted[2] or len(data) - 1) + 1
            part = data[begin:end]
            total = 600 << 20 if name.startswith("huge-") else len(data)
            self.asked.append(f"{begin}-{end}")
            self.send_response(206 if part else 416)
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{total}")
        self.send_header("Content-Type", "text/html" if page else "video/mp4")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def ranges(folder: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Ranges,), {"folder": folder, "asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_address_is_read_by_ranges_and_a_link_opens_a_record(window: Driven, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    rng = np.random.default_rng(1)
    with Memory.create(path, embed) as memory:
        memory.add([rng.bytes(3000).hex() for _ in range(1000)], ids=[f"r {i}" for i in range(1000)])
        memory.delete("r 7")
        frame = frames_of(session_of(memory), ["r 900"])["r 900"]
    with ranges(tmp_path) as (root, ranged):
        window.go(f"{root}/viewer.html?src=m.mp4#id=r+900")
        assert window.run(READY) == ""
        seen = window.run("""
          const film = document.getElementById("film");
          await new Promise((resolve) => film.readyState && !film.seeking ? resolve() : film.onseeked = resolve);
          const [card] = document.querySelectorAll("article");
          const cards = document.querySelectorAll("article").length;
          return [card.dataset.id, film.currentTime, film.error?.message ?? null, cards];
        """)
        assert seen == ["r 900", pytest.approx((frame + 0.25) / 2), None, 1]
        assert len(ranged) >= 2
        assert asked(window, "info")["records"] == 999
        gone = "location.hash = '#id=r+7'; await new Promise(resolve => setTimeout(resolve, 100));"
        window.run(gone)
        assert "r 7" in window.run("return document.getElementById('count').textContent")
        window.run("location.hash = '#id=r+7&as_of=1'; await new Promise(resolve => setTimeout(resolve, 100));")
        assert window.run("return document.querySelector('article').dataset.id") == "r 7"
        refusals = {"whole-m.mp4": "whole files only", "huge-m.mp4": "512 MB", "http://example.org/m.mp4": "https:"}
        for source, said in {**refusals, "https://127.0.0.1:9/m.mp4": "Access-Control"}.items():
            window.go(f"{root}/viewer.html?src={source}")
            assert said in window.run(READY), source


def test_keys_and_languages(window: Driven, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(["서울의 봄은 짧다", "Wings make lift", "부산의 여름"], ids=["a", "b", "c"])
    assert opened(window, path) == ""
    for query, wanted in [("서울은", ["a"]), ("wing", ["b"]), ("lifts", ["b"]), ("nothing", [])]:
        found = asked(window, "search", q=query)
        assert [each["id"] for each in found["records"]] == wanted, query
    keys = """
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
      document.activeElement.blur();
      const seen = [];
      for (const key of ["j", "j", "k", "Enter", "/", "Escape"]) {
        press(key);
        seen.push(document.activeElement.dataset.id ?? document.activeElement.id);
      }
      document.getElementById("language").click();
      return [seen, document.querySelector("article[aria-current]")?.dataset.id ?? null, document.documentElement.lang,
        document.querySelector("#form button").textContent];
    """
    seen, current, language, label = window.run(keys)
    assert seen == ["a", "b", "a", "a", "query", "query"]
    assert (current, language, label) == ("a", "ko", "검색")
    for width in (320, 800, 1280):
        window.resize(width, 900)
        assert window.run("return document.documentElement.scrollWidth") <= width


# --- served ---


@contextmanager
def served(*arguments: object, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The address that ``memvid view`` prints."""
    command = [sys.executable, "-m", "memvid_core.cli", "view", "--no-open", *map(str, arguments)]
    started = ENVIRONMENT | (environment or {})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=started)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def fetched(address: str, **headers: str) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(address, headers={key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read(), exc.headers


def test_the_served_page_is_answered_by_the_memory_and_by_nobody_else(window: Driven, tmp_path: Path) -> None:
    path, other = tmp_path / "notes.mp4", tmp_path / "other.mp4"
    with Memory.create(path, description="of wings") as memory:
        texts = ["a wing makes lift", "an engine gives thrust", "날개는 양력을 만든다"]
        memory.add(texts, [{"n": 2**60}, {"n": 1.0}, {}], ["a", "b", "c"])
        memory.delete("b")
        found = memory.search("what lifts a wing", 50)
    with Memory.open(path, as_of=1) as past:
        before = past.search("engine", 50)
    shutil.copy(GOLDEN[0], other)
    with served(path, other) as address:
        root, _, token = address.partition("#token=")
        assert fetched(root)[0] == 200
        for name in ("", "api/memories"):
            headers = fetched(root + name)[2]
            assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert not [given for given in headers if given.lower().startswith("access-control")]
        for name in ("api/memories", "api/search?name=notes&q=wing", "memory/notes.mp4", "nothing"):
            assert fetched(root + name)[0] == 401, name
            assert fetched(root + name, Cookie="memvid=wrong", Authorization=f"Bearer {token}")[0] == 401, name
        for name in ("", "api/memories"):
            assert fetched(root + name, Host="evil.example")[0] == 421
            assert fetched(root + name, Origin="https://evil.example")[0] == 403
        assert fetched(f"{root}api/enter", Authorization="Bearer wrong")[0] == 401

        window.go(address)
        assert window.run(READY) == ""
        assert "token" not in window.run("return location.href")
        assert window.run("return memvid.names") == ["notes", "other"]
        assert fetched(f"{root}api/enter", Authorization=f"Bearer {token}")[0] == 401  # it works once
        shown = window.run("return memvid.engine.ask('search', {q: 'what lifts a wing'})")
        assert [(each["id"], each["score"]) for each in shown["records"]] == [(hit.id, hit.score) for hit in found]
        shown = window.run("return memvid.engine.ask('search', {q: 'engine', as_of: 1})")
        assert [(each["id"], each["score"]) for each in shown["records"]] == [(hit.id, hit.score) for hit in before]
        assert window.run("return (await memvid.engine.ask('record', {id: 'a'})).metadata") == f'{{"n":{2**60}}}'
        assert "unknown operator" in window.run(
            "return memvid.engine.ask('records', {where: {n: {$bad: 1}}}).then(() => '', error => error.message)"
        )
        film = window.run("""
          document.querySelector("button.frame").click();
          const film = document.getElementById("film");
          await new Promise((resolve) => film.readyState && !film.seeking ? resolve() : film.onseeked = resolve);
          return [film.error?.message ?? null, film.currentTime];
        """)
        assert film[0] is None
        assert film[1] > 0
        status = window.run("""
          const get = async (path, headers) => {
            const answer = await fetch(path, {headers});
            return [answer.status, (await answer.arrayBuffer()).byteLength];
          };
          return [await get("memory/notes.mp4", {Range: "bytes=4-11"}), await get("memory/..%2fother.mp4", {}),
            await get("memory/gone.mp4", {}), await get("api/records?name=notes&limit=100000", {}),
            (await fetch("api/records?name=notes", {method: "POST"})).status];
        """)
        assert status[0] == [206, 8]
        assert [each[0] for each in status[1:4]] == [404, 404, 400]
        assert status[4] == 405


def test_the_command_writes_the_page_and_names_what_is_missing(tmp_path: Path) -> None:
    assert memvid("view", "--page", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    gone = memvid("view", "--no-open", tmp_path / "gone.mp4")
    assert (gone.code, gone.out) == (4, "")
    assert "gone.mp4" in gone.err
    assert memvid("view").code == 2
