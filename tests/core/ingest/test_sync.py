from __future__ import annotations

import shutil

import pytest
import xxhash

from memvid_core import Memory
from memvid_core.errors import IngestError, ReadOnlyError
from memvid_core.ingest import Chunker, load_chunks
from memvid_core.ingest import sync as sync_module
from tests.core.ingest import mixed


def sync(memory, paths, **options):
    """Sync with files that this process reads, which starts no other one."""
    return sync_module.sync(memory, paths, timeout=None, memory_limit=None, **options)


@pytest.fixture
def memory():
    with Memory.create(":memory:") as memory:
        yield memory


@pytest.fixture
def docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# Alpha\n\nThe first.")
    (folder / "b.txt").write_text("The second. " * 200)
    (folder / "sub" / "c.py").write_text("def third():\n    return 3\n")
    return folder


def contents(memory):
    return {record.id: record.text for record in memory}


def expected(*paths, chunker=None):
    return {f"{path}#{n}": chunk.text for path in paths for n, chunk in enumerate(load_chunks(path, chunker))}


ALL = ("docs/a.md", "docs/b.txt", "docs/sub/c.py")


@pytest.mark.parametrize("sync", [sync, sync_module.sync], ids=["in this process", "in another process"])
def test_a_folder_is_added_once(memory, docs, sync):
    report = sync(memory, "docs")
    assert report.added == list(ALL)
    assert contents(memory) == expected(*ALL)
    assert report.chunks == len(memory)
    commits = len(memory.history())
    report = sync(memory, "docs")
    assert (report.added, report.changed, report.removed, report.chunks) == ([], [], [], 0)
    assert report.unchanged == list(ALL)
    assert len(memory.history()) == commits


def test_records_say_where_they_are_from(memory, docs):
    sync(memory, "docs")
    record = memory.get("docs/a.md#0")
    assert record.metadata["source"] == "docs/a.md"
    assert record.metadata["heading"] == "Alpha"
    assert {record.metadata["language"] for record in memory.select({"source": "docs/sub/c.py"})} == {"python"}


@pytest.mark.parametrize("sentences", [0, 1, 50, 200, 400])
def test_what_changed_is_replaced_whole(memory, docs, sentences):
    sync(memory, "docs")
    (docs / "b.txt").write_text("Another text. " * sentences)
    report = sync(memory, "docs")
    assert (report.added, report.changed) == ([], ["docs/b.txt"])
    assert contents(memory) == expected(*ALL)


def test_files_without_text_are_told_and_added_never(memory, docs):
    (docs / "blank.md").write_text(" \n\n")
    (docs / "none.txt").write_bytes(b"")
    for _ in range(2):
        report = sync(memory, "docs")
        assert report.empty == ["docs/blank.md", "docs/none.txt"]
    assert (report.added, report.changed, report.unchanged) == ([], [], list(ALL))
    (docs / "blank.md").write_text("No longer.")
    assert sync(memory, "docs").added == ["docs/blank.md"]


def test_what_is_gone_is_dropped(memory, docs):
    memory.add(["by hand"], ids=["mine"], metadata=[{"source": "docs/hand.md", "chunk": 0}])
    sync(memory, "docs")
    shutil.rmtree(docs / "sub")
    report = sync(memory, "docs")
    assert report.removed == ["docs/sub/c.py"]
    assert contents(memory) == {**expected("docs/a.md", "docs/b.txt"), "mine": "by hand"}


def test_nothing_is_dropped_when_told_so_or_outside_the_paths(memory, docs):
    sync(memory, "docs")
    (docs / "a.md").unlink()
    (docs / "sub" / "c.py").unlink()
    assert sync(memory, "docs", drop=False).removed == []
    assert sync(memory, ["docs/sub"]).removed == ["docs/sub/c.py"]
    assert "docs/a.md#0" in memory


def test_files_left_out_are_dropped(memory, docs):
    sync(memory, "docs")
    assert sync(memory, "docs", exclude=["*.py"]).removed == ["docs/sub/c.py"]


def test_other_settings_cut_again(memory, docs):
    sync(memory, "docs")
    chunker = Chunker(100, 20)
    report = sync(memory, "docs", chunker=chunker)
    assert report.changed == list(ALL)
    assert contents(memory) == expected(*ALL, chunker=chunker)


def test_another_tokenizer_cuts_again(memory, docs):
    class Tokenizer:
        def __init__(self, name):
            self.name = name

        def encode(self, text):
            return text.split() if self.name == "words" else list(text)

    for name in ("words", "letters"):
        chunker = Chunker(50, unit="tokens", count=Tokenizer(name))
        report = sync(memory, "docs", chunker=chunker)
        assert contents(memory) == expected(*ALL, chunker=chunker)
    assert report.changed == list(ALL)
    assert sync(memory, "docs", chunker=chunker).unchanged == list(ALL)


def test_a_missing_folder_changes_nothing(memory, docs):
    sync(memory, "docs")
    shutil.rmtree(docs)
    with pytest.raises(IngestError, match="docs: no such file or folder"):
        sync(memory, "docs")
    assert len(memory) > 0


@pytest.mark.parametrize("sync", [sync, sync_module.sync], ids=["in this process", "in another process"])
def test_a_file_that_can_no_longer_be_read_keeps_its_records(memory, docs, sync):
    path = mixed.write_docx(docs / "d.docx", "Title", ["Words."])
    sync(memory, "docs")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    report = sync(memory, "docs")
    assert list(report.failed) == ["docs/d.docx"]
    assert report.removed == []
    assert "docs/d.docx#0" in memory
    path.write_bytes(whole)
    assert sync(memory, "docs").unchanged == ["docs/a.md", "docs/b.txt", "docs/d.docx", "docs/sub/c.py"]


def test_a_sync_stopped_anywhere_is_finished_by_the_next(docs, monkeypatch):
    (docs / "e.txt").write_text("More text here. " * 300)
    monkeypatch.setattr(sync_module, "_CHUNKS_A_COMMIT", 2)

    class StoppedError(Exception):
        pass

    for step in range(12):
        with Memory.create(":memory:") as memory:
            sync(memory, "docs")
            (docs / "b.txt").write_text(f"Changed {step}. " * (20 * step + 1))
            (docs / "e.txt").write_text("Short now.")
            left = step
            add, delete = memory.add, memory.delete

            def stopping(call):
                def wrapper(*args, **options):
                    nonlocal left
                    if not left:
                        raise StoppedError
                    left -= 1
                    return call(*args, **options)

                return wrapper

            with monkeypatch.context() as patch:
                patch.setattr(memory, "add", stopping(add))
                patch.setattr(memory, "delete", stopping(delete))
                try:
                    sync(memory, "docs")
                except StoppedError:
                    sources = {record.metadata["source"] for record in memory}
                    assert "docs/a.md" in sources
            sync(memory, "docs")
            assert contents(memory) == expected("docs/a.md", "docs/b.txt", "docs/e.txt", "docs/sub/c.py")
            (docs / "e.txt").write_text("More text here. " * 300)


def test_only_markdown_with_pictures_has_another_digest_than_at_first(tmp_path):
    for name, text in (("a.md", "The wing."), ("b.md", "The ![wing](w.png)."), ("c.txt", "The ![wing](w.png).")):
        (tmp_path / name).write_text(text)
        first = xxhash.xxh3_128(f"1 {Chunker()!r}".encode() + text.encode()).hexdigest()
        assert (sync_module._digest(tmp_path / name, Chunker()) == first) == (name != "b.md")


def test_commits_are_told_before_they_are_made(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.md").write_text(f"# One\n\nThe wing {number}.\n\n# Two\n\nThe tail.")
    told = []
    with Memory.create(":memory:") as memory:
        sync(memory, tmp_path, on_commit=lambda number: told.append((number, len(memory))))
        sync(memory, tmp_path, on_commit=lambda number: told.append((number, len(memory))))
    assert told == [(6, 0)]


def test_two_hundred_mixed_files(tmp_path):
    written = mixed.write_mixed(tmp_path / "mixed", 200, damaged=9)
    with Memory.create(":memory:", vector_dtype="none") as memory:
        read = []
        report = sync_module.sync(  # by other processes
            memory, tmp_path / "mixed", on_file=lambda result, done, total: read.append((done, total))
        )
        assert read == [(done, 200) for done in range(1, 201)]
        assert sorted(report.failed) == sorted(file.path.as_posix() for file in written if file.damaged)
        assert all(file in str(error) for file, error in report.failed.items())
        texts = [record.text for record in memory]
        for file in written:
            assert any(file.word in text for text in texts) != file.damaged
        again = sync(memory, tmp_path / "mixed")
        assert (again.added, again.changed, again.removed) == ([], [], [])
        assert len(again.unchanged) == 191


def test_a_memory_open_for_reading_is_refused(tmp_path, docs):
    with Memory.create(tmp_path / "m.mp4") as memory:
        sync(memory, "docs")
    (docs / "a.md").write_text("changed")
    with Memory.open(tmp_path / "m.mp4") as memory, pytest.raises(ReadOnlyError):
        sync(memory, "docs")
