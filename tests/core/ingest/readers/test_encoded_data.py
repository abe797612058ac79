"""No record is ever a run of encoded data, in whatever encoding and format; texts that only look like one stay."""

from __future__ import annotations

import base64
import binascii
import csv
import html
import io
import json
import quopri
import random
import time
from collections.abc import Callable
from pathlib import Path

import docx
import fpdf
import openpyxl
import pytest

from memvid_core.ingest import load_chunks, read_document
from memvid_core.ingest.readers.encoded_data import without_encoded_data
from tests.core.cli.running import memvid

DATA = random.Random(7).randbytes(3000)


def lines(run: str, width: int) -> str:
    return "\n".join(run[start : start + width] for start in range(0, len(run), width))


def uuencoded(*, backtick: bool) -> str:
    coded = "".join(binascii.b2a_uu(DATA[i : i + 45], backtick=backtick).decode() for i in range(0, len(DATA), 45))
    return f"begin 644 wing.png\n{coded}`\nend"


def dump(width: int) -> str:
    rows = (DATA[start : start + 16] for start in range(0, len(DATA), 16))
    return "\n".join(
        f"{16 * number:08x}{':' if width == 2 else ' '} {row.hex(' ', -width)}  "
        f"|{''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in row)}|"
        for number, row in enumerate(rows)
    )


BASE64 = base64.b64encode(DATA).decode()
BASE85 = base64.b85encode(DATA).decode()
YENC = "".join(chr((byte + 42) % 256 or 1) for byte in DATA).translate(dict.fromkeys((10, 13, 61), "x"))
RUNS = {
    "base64": BASE64,
    "base64 in lines": lines(BASE64, 76),
    "base64 of a page": lines(BASE64, 130),
    "base64 for URLs": base64.urlsafe_b64encode(DATA).decode(),
    "base64 in quotes": "\n".join(f'    b"{line}"' for line in lines(BASE64, 72).split("\n")),
    "base64 in a quoted mail": "\n".join(f"> {line}" for line in lines(BASE64, 76).split("\n")),
    "base32": lines(base64.b32encode(DATA).decode(), 64),
    "base85": BASE85,
    "base85 in lines": lines(BASE85, 76),
    "ascii85": base64.a85encode(DATA, wrapcol=72).decode(),
    "ascii85 of Adobe": base64.a85encode(DATA, wrapcol=72, adobe=True).decode(),
    "a binary patch of Git": "GIT binary patch\nliteral 3000\n"
    + "\n".join(f"z{base64.b85encode(DATA[start : start + 52]).decode()}" for start in range(0, len(DATA), 52)),
    "hexadecimal digits": DATA.hex(),
    "bytes with spaces": DATA.hex(" "),
    "bytes with colons": DATA.hex(":"),
    "bytes in C": lines(", ".join(f"0x{byte:02x}" for byte in DATA), 72),
    "a dump of bytes": dump(1),
    "a dump of pairs": dump(2),
    "uuencode": uuencoded(backtick=True),
    "uuencode with spaces": uuencoded(backtick=False),
    "uuencode without its first line": uuencoded(backtick=True).partition("\n")[2],
    "a key": f"-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,1\n\n{lines(BASE64, 64)}"
    "\n-----END RSA PRIVATE KEY-----",
    "a short key": f"-----BEGIN PUBLIC KEY-----\n{BASE64[:60]}\n-----END PUBLIC KEY-----",
    "a picture in a URL": f"![wing](data:image/png;base64,{BASE64[:120]})",
}  # fmt: skip


def as_mail(path: Path, run: str) -> None:
    path.write_text(f"Subject: Of it\n\nBefore it.\n\n{run}\n\nAfter it.", encoding="utf-8")


def as_page(path: Path, run: str) -> None:
    path.write_text(f"<p>Before it.<p>{html.escape(run)}<p>After it.", encoding="utf-8")


def as_xml(path: Path, run: str) -> None:
    path.write_text(f"<a><b>Before it.</b><b>{html.escape(run)}</b><c>After it.</c></a>", encoding="utf-8")


def as_json(path: Path, run: str) -> None:
    path.write_text(json.dumps([{"text": "Before it.", "data": run}, {"text": "After it."}]), encoding="utf-8")


def as_table(path: Path, run: str) -> None:
    made = io.StringIO()
    csv.writer(made).writerows([("text", "data"), ("Before it.", run), ("After it.", "")])
    path.write_text(made.getvalue(), encoding="utf-8", newline="")


def as_captions(path: Path, run: str) -> None:
    cues = ("Before it.", run.replace("-->", "->").replace("\n\n", "\n"), "After it.")
    path.write_text("WEBVTT\n" + "".join(f"\n00:0{n}.000 --> 00:0{n + 1}.000\n{cue}\n" for n, cue in enumerate(cues)))


def as_word(path: Path, run: str) -> None:
    document = docx.Document()
    for line in ("Before it.", *run.split("\n"), "After it."):
        document.add_paragraph(line)
    document.save(str(path))


def as_sheet(path: Path, run: str) -> None:
    book = openpyxl.Workbook()
    for row in (("text", "data"), ("Before it.", run), ("After it.", "")):
        book.active.append(row)
    book.save(path)


def as_pdf(path: Path, run: str) -> None:
    page = fpdf.FPDF()
    page.add_page()
    page.set_font("Courier", size=7)
    for text in ("Before it.", run, "After it."):
        page.multi_cell(0, 3, text, new_x="LMARGIN", new_y="NEXT")
    page.output(str(path))


def as_text(path: Path, run: str) -> None:
    path.write_text(f"Before it.\n\n{run}\n\nAfter it.", encoding="utf-8")


def as_comment(path: Path, run: str) -> None:
    as_text(path, "\n".join(f"# {line}" for line in run.split("\n")))


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "txt": as_text, "md": as_text, "py": as_text, "rst": as_text, "adoc": as_text, "org": as_text,
    "tex": as_text, "eml": as_mail, "html": as_page, "xml": as_xml,
    "json": as_json, "csv": as_table, "vtt": as_captions, "docx": as_word, "xlsx": as_sheet, "pdf": as_pdf,
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["md", "py", "org"])
@pytest.mark.parametrize("name", ["base64 in lines", "base64", "base85 in lines", "hexadecimal digits"])
def test_runs_in_lines_that_look_like_headings_are_left_out(tmp_path: Path, suffix: str, name: str) -> None:
    file = tmp_path / f"a.{suffix}"
    as_comment(file, RUNS[name])
    assert sum(len(chunk.text) for chunk in load_chunks(file)) < 250


@pytest.mark.parametrize("suffix", WRITERS)
def test_runs_of_encoded_data_are_left_out(tmp_path: Path, suffix: str) -> None:
    for number, (name, run) in enumerate(RUNS.items()):
        file = tmp_path / f"{number}.{suffix}"
        WRITERS[suffix](file, run)
        text = "\n".join(chunk.text for chunk in load_chunks(file))
        assert "Before it." in text, name
        assert "After it." in text, name
        assert len(text) < 250, (name, text[:300])
        if (suffix, name) == ("md", "a picture in a URL"):  # a picture beside text, as in other formats
            assert ("[wing]" in text, read_document(file).warnings) == (True, [])
            continue
        assert any("encoded binary data" in warning for warning in read_document(file).warnings), name


@pytest.mark.parametrize("suffix", ["txt", "eml", "json", "csv"])
def test_yenc_is_left_out(tmp_path: Path, suffix: str) -> None:
    run = f"=ybegin line=128 size=3000 name=w.png\n{lines(YENC, 128)}\n=yend size=3000"
    WRITERS[suffix](tmp_path / f"a.{suffix}", run)
    text = "\n".join(chunk.text for chunk in load_chunks(tmp_path / f"a.{suffix}"))
    assert len(text.replace("Before it.", "").replace("After it.", "")) < 40


RNG = random.Random(3)
TEXTS = {
    "Korean": "날개는공기의흐름으로양력을만들고조종사는기체의자세를바꾼다" * 20,
    "Thai": "ปีกเปลี่ยนการไหลของอากาศให้เป็นแรงยก" * 20,
    "DNA": lines("".join(RNG.choices("ACGT", k=3000)), 70),
    "a protein": lines("".join(RNG.choices("ACDEFGHIKLMNPQRSTVWY", k=1200)), 60),
    "digits of a number": "".join(RNG.choices("0123456789", k=1000)),
    "a table of numbers": "\n".join(" ".join(f"{RNG.randrange(100):02}" for _ in range(30)) for _ in range(30)),
    "a table by days": "\n".join(
        f"202401{day:02} " + " ".join(f"{RNG.randrange(1000):3}" for _ in range(12)) for day in range(10, 31)
    ),
    "a minified program": "!function(e,t){var n=e[0],r=t.x||{};for(i=0;i<n.length;i++)r[n[i]]=e.call(this,n[i])}" * 9,
    "names in a path": '"/properties/S3DestinationConfiguration/StorageConfiguration/ErrorOutput/Wings",\n' * 8,
    "addresses": "\n".join(f"https://example.org/w/{RNG.randbytes(24).hex()}?from=Flaps&page={n}" for n in range(9)),
    "hashes": "\n".join(f"{RNG.randbytes(32).hex()}  wing-{number}.txt" for number in range(20)),
    "integrity": "\n".join(f'"of": "sha512-{base64.b64encode(RNG.randbytes(64)).decode()}"\n"b": 1' for _ in range(9)),
    "a key of SSH": f"ssh-ed25519 {base64.b64encode(RNG.randbytes(51)).decode()} ada@example.org",
    "capitals": "MUSIC AND WINGS ARE WHAT MATTERS MOST TO THOSE WHO FLY (1903).\n" * 6,
    "a rule": "=" * 300 + "\n" + "-" * 300,
    "an equation": "a=C3 and b=D4, =E5; x=C3=D4\n" * 5,
    "MAC addresses": "\n".join(RNG.randbytes(6).hex(":") for _ in range(12)),
    "fingerprints": "\n".join(RNG.randbytes(32).hex(":").upper() for _ in range(5)),
    "fingerprints by SHA-1": "\n".join(RNG.randbytes(20).hex(":") for _ in range(9)),
    "names with _ and -": "\n".join(
        f"backups/2026-11-{day}/2026-11-30T10-00-00Z_{day:08}_of_00000128_host-{day}" for day in range(10, 14)
    ),
    "a word below literal": "literal 12\nFoobarbaz\nSomeword\n",
    "a word of six letters below literal": "literal 12\nFoobar\nMore.",
    "a mode": "To begin 644 is a mode\nMUST WE GO ON? IT IS WRITTEN IN CAPITALS, FOR ONCE\nIT GOES ON\nend of it",
    "prose in <~": "<~ It is said that the signs of this kind stand around a part of it, and no end is seen ~>",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("code", [False, True])
def test_texts_that_look_like_data_stay(name: str, code: bool) -> None:
    assert without_encoded_data(TEXTS[name], code=code) == TEXTS[name]


def test_what_is_still_quoted_printable_is_decoded(tmp_path: Path) -> None:
    for text in ("Die Flügel heben über Köln und Düsseldorf ab.", "날개는 공기의 흐름으로 양력을 만든다. " * 5):
        left = quopri.encodestring(text.encode()).decode()
        (tmp_path / "a.txt").write_text(f"Before it.\n\n{left}\n", encoding="utf-8")
        document = read_document(tmp_path / "a.txt")
        assert document.sections[0].text.split("\n")[2].strip() == text.strip()
        assert document.warnings == ["text that was still quoted-printable was decoded"]
        assert without_encoded_data(left, code=True) == left


def test_quoted_spaces_at_the_ends_of_lines_are_decoded() -> None:
    lines = [
        "Dear Ada,=20",
        "the wing lifts the plane,=20",
        "and the price is =3D 5, as we wrote in the=",
        " mail.=20",
        "",
    ]
    assert without_encoded_data("\n".join(lines)).split("\n") == [
        "Dear Ada, ",
        "the wing lifts the plane, ",
        "and the price is = 5, as we wrote in the mail. ",
        "",
    ]
    for kept in ("width=20\nheight=20\nsize of=20\n", "of a=20\nof b=20\nof c=x\n", "a b=20\n" * 9):
        assert without_encoded_data(kept) == kept


def test_what_is_not_quoted_printable_stays_beside_encoded_letters() -> None:
    kept = "\n\nHeading\n=======\n\nx=20 apples, a?limit=20&b=0A, y=\n3"
    assert without_encoded_data(f"=C3=BC, =C3=A4 and =C3=B6.{kept}") == f"ü, ä and ö.{kept}"


@pytest.mark.parametrize("line", ["https://example.com/Page1", "MP3s", "https://example.com/w?Page=1&of=Wings"])
def test_the_line_after_data_stays(line: str) -> None:
    run = "\n".join(BASE85[start : start + 76] for start in range(0, 76 * 20, 76))
    assert without_encoded_data(f"Before it.\n\n{run}\n{line}\n") == f"Before it.\n\n\n{line}\n"


def test_standard_input_has_none_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = memvid("build", "-", "-o", "a.mp4", input=f"Before it.\n\n{BASE64}\n")
    assert done.err == "  standard input: 4,000 characters of encoded binary data were left out\n"
    told = memvid("add", "a.mp4", "-", "--json", input=f"After it.\n\n{lines(BASE85, 76)}\n").json
    assert list(told["warnings"]) == ["standard input"]
    assert "".join(memvid("export", "a.mp4").out.split()).count("Beforeit.") == 1
    assert len(memvid("export", "a.mp4").out) < 400


def test_no_text_takes_long() -> None:
    for text in (
        "begin 644 a " * 20_000,
        ("M" + "A1#" * 20 + "\n") * 5_000 + "a",
        "<~" * 50_000,
        "=ybegin line=1 " * 20_000,
        "-----BEGIN A-----\n" * 10_000,
        "0x12, " * 50_000 + "g",
        ("0000000a 1a 2b 3c 4d 5e 6f " + "aa " * 40) * 2_000,
        "deadbeef " * 30_000,
        "=C3=BC" * 50_000 + "=C3",
        '"' + 'aB3+"' * 50_000,
        ("aB3$" * 20 + "\n") * 5_000,
    ):
        began = time.process_time()
        without_encoded_data(text)
        assert time.process_time() - began < 1, text[:20]
