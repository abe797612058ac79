"""Messages of Outlook and documents of Hangul, which are OLE files."""

from __future__ import annotations

import random
import struct
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import hwp_converter_ai
import pytest
from aspose.email_foss import msg

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest import Document, read_document
from tests.core.ingest import mixed
from tests.core.ingest.ole_files import cells, control, outlook, packed, paragraph, record, write_hwp, write_ole


def text_of(path: Path) -> str:
    return "\n\n".join(section.text for section in read_document(path).sections)


def mail(text: str = "A wing lifts.") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Cc"] = "Ada Lovelace <ada@example.org>", "grace@example.org", "김 <kim@example.org>"
    made["Subject"] = "Flügel und 날개"
    made["Date"] = "Mon, 2 Mar 2026 10:00:00 +0000"
    made.set_content(text)
    return made


class TestMessages:
    def test_a_message_is_what_it_would_be_as_mail(self, tmp_path: Path) -> None:
        made = mail("A wing lifts. 날개는 양력을 낸다.")
        made.add_alternative("<p>A wing <b>lifts</b>. 날개는 양력을 낸다.</p>", subtype="html")
        pdf = mixed.write_pdf(tmp_path / "a.pdf", ["Words of the attachment."]).read_bytes()
        made.add_attachment(pdf, maintype="application", subtype="pdf", filename="wing.pdf")
        made.add_attachment(b"PNG", maintype="image", subtype="png", filename="wing.png")
        (tmp_path / "a.eml").write_bytes(made.as_bytes())
        theirs, ours = read_document(tmp_path / "a.eml"), read_document(outlook(made, tmp_path / "a.msg"))
        first = ours.sections[0]
        assert first.text == (
            "From: Ada Lovelace <ada@example.org>\nTo: grace@example.org\nCc: 김 <kim@example.org>\n"
            "Date: Mon, 02 Mar 2026 10:00:00 +0000\nSubject: Flügel und 날개\n\nA wing lifts. 날개는 양력을 낸다."
        )
        assert first.metadata == theirs.sections[0].metadata
        assert ours.sections[1:] == theirs.sections[1:] != []
        assert ours.warnings == theirs.warnings == ["the attachment wing.png was left out: image/png"]

    @pytest.mark.parametrize("note", ["", "See the HTML part."])
    def test_the_page_counts_if_the_plain_text_is_a_note(self, tmp_path: Path, note: str) -> None:
        made = mail(note)
        made.add_alternative("<h1>Wings</h1><p>날개는 " + "lift " * 20 + "</p>", subtype="html")
        text = text_of(outlook(made, tmp_path / "a.msg"))
        assert text.split("\n\n")[1:] == ["Wings", "날개는 " + ("lift " * 20).strip()]

    @pytest.mark.parametrize(
        ("packed_text", "shown"),
        [  # the examples of MS-OXRTFCP 4.1 and 4.2
            (
                "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0",
                "hello world",
            ),
            ("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0", "WXYZWXYZWXYZWXYZWXYZ"),
        ],
    )
    def test_compressed_rtf_is_the_text_if_there_is_no_other(
        self, tmp_path: Path, packed_text: str, shown: str
    ) -> None:
        made = msg.MapiMessage.create("Wings", "")
        made.set_property(0x1009, 0x0102, bytes.fromhex(packed_text))
        made.save(tmp_path / "a.msg")
        assert text_of(tmp_path / "a.msg") == f"Subject: Wings\n\n{shown}"

    def test_texts_in_a_code_page(self, tmp_path: Path) -> None:
        made = msg.MapiMessage.create("x", "y", unicode_strings=False)
        for name, text in ((0x0037, "날개"), (0x1000, "날개는 양력을 낸다.")):
            made.set_property(name, 0x001E, text.encode("cp949"))
        made.set_property(0x3FFD, 0x0003, 949)
        made.save(tmp_path / "a.msg")
        assert text_of(tmp_path / "a.msg") == "Subject: 날개\n\n날개는 양력을 낸다."

    def test_messages_in_messages(self, tmp_path: Path) -> None:
        inner = msg.MapiMessage.create("0", "Message 0 lifts.")
        for number in range(1, 15):
            outer = msg.MapiMessage.create(str(number), f"Message {number} lifts.")
            outer.add_embedded_message_attachment(inner, filename=f"message {number - 1}")
            inner = outer
        inner.add_attachment("notes.txt", b"Words of a file.")
        inner.save(tmp_path / "a.msg")
        document = read_document(tmp_path / "a.msg")
        text = "\n".join(section.text for section in document.sections)
        assert [f"Message {number} lifts." in text for number in range(15)] == [False] * 4 + [True] * 11
        assert document.sections[-1].metadata == {"attachment": "notes.txt"}
        assert document.warnings == ["message 3 was left out: nested more than 10 deep"]

    def test_addresses_within_a_server_are_not_shown(self, tmp_path: Path) -> None:
        made = msg.MapiMessage.create("Wings", "A wing lifts.")
        made.set_property(0x0C1A, 0x001F, "Ada Lovelace")
        made.set_property(0x0C1F, 0x001F, "/O=EXAMPLE/OU=FIRST/CN=RECIPIENTS/CN=ADA")
        made.set_property(0x0E06, 0x0040, datetime(2026, 3, 2, 10, tzinfo=UTC))
        made.save(tmp_path / "a.msg")
        assert text_of(tmp_path / "a.msg").startswith("From: Ada Lovelace\nDate: Mon, 02 Mar 2026 10:00:00 +0000\n")


class TestHangul:
    def test_what_another_package_writes(self, tmp_path: Path) -> None:
        rows = "| 항목 | 상태 |\n|---|---|\n| 변환 | 완료 |\n| 교정 | 진행 |"
        text = f"# 업무 보고서\n\n날개는 **양력**을 낸다.\n\n{rows}\n\n끝."
        hwp_converter_ai.HwpWriter().from_markdown(text, tmp_path / "a.hwp")
        (section,) = read_document(tmp_path / "a.hwp").sections
        table = "항목 | 상태\n변환 | 완료\n교정 | 진행"
        assert section.text == f"업무 보고서\n\n날개는 양력을 낸다.\n\n{table}\n\n끝."
        ((start, header, end),) = section.tables
        assert (section.text[start:header], section.text[start:end]) == ("항목 | 상태", table)

    def test_what_hangul_itself_wrote(self) -> None:
        text = text_of(Path(hwp_converter_ai.__file__).with_name("hwp_template.hwp"))
        assert text.startswith("한글 2005 예제 파일입니다.\n\n머리말입니다\n\n본문 내용입니다.")
        assert "A0 | B0\nA1 | B10 B11\n\ntable2\n\n표 3 2x2짜리표\n가나다\n\n다음 문단" in text
        assert text.endswith("미주입니다.\n\n이건 각주이지요.\n\n다음 페이지")

    def test_what_stands_beside_the_text(self, tmp_path: Path) -> None:
        box = record(76, 2, b"") + record(72, 3, b"\0" * 8) + paragraph("상자 안", level=3)
        note = record(72, 2, b"\0" * 8) + paragraph("각주의 글", level=2)
        head = record(72, 2, b"\0" * 8) + paragraph("머리말", level=2)
        ruby = struct.pack("<H", 2) + "漢字".encode("utf-16-le") + struct.pack("<H", 2) + "한자".encode("utf-16-le")
        formula = record(88, 2, b"\0" * 4 + struct.pack("<H", 8) + "a over b".encode("utf-16-le"))
        section = (
            paragraph("제목", shape=1)
            + paragraph("글#과#\t상자#와😀 식 #.", control("fn  ", note), control("tdut", data=ruby),
                        control("gso ", box), control("eqed", formula))
            + paragraph("#", control("head", head))
            + paragraph("#", control("head", head))
        )  # fmt: skip
        path = write_hwp(tmp_path / "a.hwp", section, paragraph("둘째 구역"), shapes=(0, 1 << 23))
        document = read_document(path)
        assert [(found.text, found.metadata) for found in document.sections] == [
            ("제목\n\n글과漢字(한자)\t상자와😀 식 a over b.\n\n각주의 글\n\n상자 안\n\n둘째 구역", {"heading": "제목"}),
            ("머리말", {"heading": "Headers and footers"}),
        ]

    def test_cells_over_rows_stand_in_each_and_tables_in_cells_are_part_of_them(self, tmp_path: Path) -> None:
        inner = control("tbl ", cells((0, 0, 1, "안 1"), (0, 1, 1, "안 2"), level=4), level=3)
        table = cells((0, 0, 2, "지역"), (0, 1, 1, "서울"), (1, 1, 1, "부산 #")) + inner
        path = write_hwp(tmp_path / "a.hwp", paragraph("#", control("tbl ", table)))
        assert text_of(path) == "지역 | 서울\n지역 | 부산 안 1 안 2"

    @pytest.mark.parametrize(
        ("flags", "why"), [(3, "encrypted"), (5, "for distribution"), (0x101, "encrypted"), (0x401, "encrypted")]
    )
    def test_what_is_encrypted_is_refused_by_name(self, tmp_path: Path, flags: int, why: str) -> None:
        with pytest.raises(IngestError, match=rf"a\.hwp: .*{why}"):
            read_document(write_hwp(tmp_path / "a.hwp", paragraph("글"), flags=flags))

    def test_other_forms(self, tmp_path: Path) -> None:
        (tmp_path / "old.hwp").write_bytes(b"HWP Document File V3.00 \x1a\1\2\3\4\5" + b"\0" * 200)
        with pytest.raises(IngestError, match="before version 5"):
            read_document(tmp_path / "old.hwp")
        plain = write_hwp(tmp_path / "a.hwp", paragraph("글"), flags=0)
        with pytest.raises(IngestError, match="damaged"):  # it says that it is not compressed
            read_document(plain)


def test_what_is_in_the_file_counts_and_not_its_name(tmp_path: Path) -> None:
    path = write_hwp(tmp_path / "notes.txt", paragraph("글"))
    assert read_document(path).format == "hwp"
    assert read_document(outlook(mail(), tmp_path / "letter.doc")).format == "msg"
    with pytest.raises(IngestError, match=r"save it as \.docx"):
        read_document(write_ole(tmp_path / "a.msg", {"WordDocument": b"x" * 5000}))
    with pytest.raises(IngestError, match="encrypted"):
        read_document(write_ole(tmp_path / "a.docx", {"EncryptedPackage": b"x" * 5000}))


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_hwp(tmp_path / "a.hwp", paragraph("글"))
    monkeypatch.setitem(__import__("sys").modules, "olefile", None)
    with pytest.raises(MissingExtraError, match=r"a\.hwp: olefile .*memvid-core\[documents\]"):
        read_document(path)


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="refused: it would unpack"):
        read_document(write_hwp(tmp_path / "a.hwp", b"\0" * (20 << 20)))
    deep = b"".join(record(66, level, b"\0" * 12) for level in range(500))
    with pytest.raises(IngestError, match="refused: its parts"):
        read_document(write_hwp(tmp_path / "b.hwp", deep))
    assert len(packed(b"\0" * (20 << 20))) < 30_000


def read_or_refused(path: Path) -> Document | str:
    """The document, or what the error says; any other exception is a fault."""
    try:
        return read_document(path)
    except IngestError as exc:
        return str(exc)


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    made = mail("A wing lifts. " * 300)
    made.add_attachment(b"words " * 2000, maintype="text", subtype="plain", filename="a.txt")
    section = paragraph("글" * 3000 + "#", control("tbl ", cells((0, 0, 1, "가"), (0, 1, 1, "나"))))
    rng = random.Random(1)
    for path in (outlook(made, tmp_path / "a.msg"), write_hwp(tmp_path / "a.hwp", section, section)):
        whole = path.read_bytes()
        for cut in rng.sample(range(len(whole)), 20):
            path.write_bytes(whole[:cut])
            assert isinstance(read_or_refused(path), str), f"cut at {cut} of {len(whole)}"
        for _ in range(80):
            data = bytearray(whole)
            for _ in range(rng.choice((1, 10))):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 255, rng.randrange(256)))
            path.write_bytes(data)
            read_or_refused(path)
