"""Limits on time and memory hold for every file, and no text or table takes time that grows faster than it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from memvid_core.errors import InvalidInputError
from memvid_core.ingest import Chunker, read_many
from memvid_core.ingest.readers import limits
from memvid_core.ingest.readers.tables import read_csv
from tests.core.ingest import mixed
from tests.core.ingest.readers import hostile

MIB = 1 << 20


def read(*paths, **options):
    return list(read_many(paths, **{"timeout": 30, "memory_limit": 256 * MIB, **options}))


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.txt"
    path.write_text("All is well.")
    return path


def test_circular_and_endless_styles_are_read(tmp_path):
    circle = hostile.with_styles(tmp_path / "circle.docx", [("C1", "C2"), ("C2", "C1"), ("C3", "C3"), ("C4", "gone")])
    chain = hostile.with_styles(tmp_path / "chain.docx", [(f"D{i}", f"D{i + 1}") for i in range(20_000)])
    assert [[chunk.text for chunk in result.chunks] for result in read(circle, chain)] == [["Words."], ["Words."]]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("bomb.pdf", lambda path: hostile.pdf_bomb(path, 600 * MIB)),
        ("bomb.docx", lambda path: hostile.docx_bomb(path, 500_000)),
        ("long.txt", lambda path: path.write_bytes(b"a" * (150 * MIB)) and path),
    ],
)
def test_a_file_that_takes_too_much_memory_is_named_and_the_next_is_read(tmp_path, good, name, write):
    file = write(tmp_path / name)
    bad, after = read(file, good, memory_limit=128 * MIB)
    assert name in str(bad.error)
    assert after.chunks[0].text == "All is well."


def test_a_file_that_takes_too_long_is_named_whatever_its_format(tmp_path, good):
    wide = hostile.wide_xlsx(tmp_path / "wide.xlsx", 60_000)
    text = tmp_path / "much.md"
    text.write_bytes(b"# Much\n\nOf the same. It goes on.\n\n" * 400_000)
    began = time.monotonic()
    results = read(wide, text, good, timeout=0.2)
    for name, result in zip(("wide.xlsx", "much.md"), results, strict=False):
        assert f"{name}: took more than 0.2 seconds" in str(result.error)
    assert results[2].ok
    assert time.monotonic() - began < 20


if sys.platform != "win32":

    def test_a_group_that_cannot_be_signaled_does_not_end_the_watch(tmp_path, monkeypatch):
        kill_group = os.killpg

        def kill_and_fail(group, number):
            kill_group(group, number)
            raise PermissionError("as on macOS, for a group that has ended")

        monkeypatch.setattr(os, "killpg", kill_and_fail)
        files = [tmp_path / "a.md", tmp_path / "b.md"]
        for file in files:
            file.write_bytes(b"# Much\n\nOf the same. It goes on.\n\n" * 400_000)
        results = read(*files, timeout=0.2, workers=1)
        assert ["took more than 0.2 seconds" in str(result.error) for result in results] == [True, True]


def test_a_book_that_repeats_its_chapter_is_named(tmp_path):
    (many,) = read(hostile.repeated_epub(tmp_path / "many.epub", 100_000))
    assert "its spine lists 100,000 chapters, of which 1 are different" in str(many.error)
    (few,) = read(hostile.repeated_epub(tmp_path / "few.epub", 3))
    assert [chunk.text for chunk in few.chunks] == ["The only chapter."]


def test_a_table_without_end_is_named(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("\n".join(",".join(f"c{i}" for i in range(200_000)) for _ in range(3)))
    assert "a row of 200,000 columns" in str(read(path)[0].error)


def test_a_cell_in_the_last_corner_is_read(tmp_path):
    (result,) = read(hostile.wide_xlsx(tmp_path / "corner.xlsx", 3))
    assert [chunk.text for chunk in result.chunks] == ["1\n2\n3"]


@pytest.mark.parametrize(
    "text", [',"a",' + '"' * 497 + "x", '"' * 503, '",\'"\r\n' * 84, "\"',;|\t" * 400, '"a";' * 2000, ",;" * 5_000]
)
def test_delimiters_are_told_in_bounded_time(tmp_path, text):
    path = tmp_path / "quotes.csv"
    path.write_text(text)
    assert read(path, timeout=10)[0].error is None


@pytest.mark.parametrize("row", ["{},a", "2020,a\n{},b", "a,b\n{},c"])
def test_a_cell_of_many_digits_is_told_from_a_name_in_linear_time(tmp_path, row):
    path = tmp_path / "digits.csv"
    path.write_text(row.format("1" * 200_000 + "x"))
    began = time.process_time()
    assert len(read_csv(path)[0].text) > 200_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("name", "text", "first"),
    [
        ("a.tsv", "name\tplace\nAda, Lady\tLondon\nBob, Mr\tRome\n", "name: Ada, Lady; place: London"),
        ("a.tsv", "a,b\tc,d\n1,2\t3,4\n5,6\t7,8\n", "a,b: 1,2; c,d: 3,4"),
        ("a.csv", "name;weight\nAda;1,5\nBob;2,5\n", "name: Ada; weight: 1,5"),
        ("a.csv", "name,words\nAda,a;b;c\nBob,d;e;f\n", "name: Ada; words: a;b;c"),
        ("a.csv", "name|born\nAda|1815\n", "name: Ada; born: 1815"),
        ("a.csv", "only\none\ntwo\n", "only: one"),
        ("a.csv", 'a,b\n"x\ny",2\n', "a: x y; b: 2"),
        ("a.csv", "a,b\nx\u2028y,2\n", "a: x y; b: 2"),
    ],
)
def test_delimiters_are_told(tmp_path, name, text, first):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_csv(path)[0].text.split("\n")[0] == first


HOSTILE = {
    "blank lines, then an indent": "def f():\n" + "\n" * 200_000 + "  x",
    "a heading of spaces": "# a" + " " * 200_000 + "b",
    "a heading of marks": "# a " + "# " * 100_000 + "b",
    "keywords without an end": "\nstatic " * 50_000,
    "brackets": "[" * 200_000,
    "links": "# " + "![a](" * 40_000,
    "tags": "<a " * 70_000,
    "quotes": '"' * 200_000,
    "a fence": "`" * 100_000 + "x" + "`",
    "marks": "e" + "\u0301" * 200_000,
}


@pytest.mark.parametrize("suffix", [".md", ".py", ".txt", ".csv", ".html"])
def test_no_text_takes_long(tmp_path, suffix):
    for name, text in HOSTILE.items():
        (tmp_path / f"{name}{suffix}").write_text(text, encoding="utf-8")
    files = sorted(tmp_path.iterdir())
    results = read(*files, timeout=20, workers=1)  # one process: to start it takes longer than to read them
    assert [result.path for result in results] == files
    assert [result.source for result in results if "seconds" in str(result.error)] == []


def test_one_process_reads_many_files_and_only_one_that_ended_is_replaced(tmp_path, monkeypatch, good):
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            started.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    files = [mixed.write_docx(tmp_path / f"{i}.docx", "Title", ["Words."]) for i in range(40)]
    assert all(result.ok for result in read(*files, workers=1))
    assert len(started) == 1
    bomb = hostile.pdf_bomb(tmp_path / "bomb.pdf", 600 * MIB)
    results = read(*files[:3], bomb, good, *files, workers=1, memory_limit=128 * MIB)
    assert [result.path for result in results if not result.ok] == [bomb]
    assert len(started) == 3


def test_a_tokenizer_stays_in_this_process(tmp_path, good):
    chunker = Chunker(2, unit="tokens", count=lambda text: len(text.split()))
    (result,) = read_many([good], chunker)
    assert [chunk.text for chunk in result.chunks] == ["All is", "well."]


def test_memory_limits_that_cannot_work_are_refused(good):
    with pytest.raises(InvalidInputError, match="memory_limit must be at least"):
        read_many([good], memory_limit=1000)


WATCHED = """
from memvid_core.ingest.readers.limits import watch_peak
watch_peak(64 << 20)
held = []
while True:
    held.append(bytearray(b"x" * (1 << 20)))
"""

if sys.platform != "win32":  # there a job object does it

    def test_where_the_system_has_no_limit_a_watchdog_ends_the_process():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run([sys.executable, "-c", WATCHED], env=environment, timeout=60, check=False)
        assert done.returncode == limits.OVER_MEMORY
