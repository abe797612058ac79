"""The viewer reads a changed or cut picture as Python does."""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

from memvid_core.errors import DamagedFrameError
from memvid_core.video import PcmCodec
from memvid_core.video.headed import Headed

ROOT = Path(__file__).resolve().parents[3]
READ = """
import { readFileSync } from "node:fs";
import { Damaged, payloadOf } from "%s";
for (const [picture, number] of JSON.parse(readFileSync("cases.json", "utf8"))) {
  try {
    console.log(Buffer.from(payloadOf(new Uint8Array(Buffer.from(picture, "hex")), number)).toString("hex"));
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    console.log("damaged");
  }
}
"""
CODEC = PcmCodec(4, 4)


def read(picture: bytes, number: int) -> str:
    try:
        return CODEC.decode(picture, number).hex()
    except DamagedFrameError:
        return "damaged"


def test_pictures_with_little_padding_are_read_as_python_reads_them(tmp_path: Path) -> None:
    chance, cases = random.Random(1), []
    for size in (0, 1, 60, 226, 373, 400, 804, 5_000):
        payload = bytes(size // 2) + chance.randbytes(size - size // 2)
        [(picture, _)] = CODEC.encode([Headed(payload)], 3)
        cases += [picture, *(picture[:cut] for cut in range(8, len(picture), len(picture) // 30))]
        for at in range(min(len(picture), 300)):
            cases.append(bytes([*picture[:at], picture[at] ^ 1 << chance.randrange(8), *picture[at + 1 :]]))
    (tmp_path / "cases.json").write_text(json.dumps([(picture.hex(), 3) for picture in cases]))
    (tmp_path / "read.mjs").write_text(READ % (ROOT / "viewer" / "frames.js").as_uri())
    node = runpy.run_path(str(ROOT / "scripts" / "viewer.py"))["_node"]
    assert node("node", "read.mjs", cwd=tmp_path).splitlines() == [read(picture, 3) for picture in cases]
