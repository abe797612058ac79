from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.errors import InvalidInputError, MemvidError, TextError
from memvid_core.ingest import Chunker
from memvid_core.ingest.readers.boundaries import Graphemes
from tests.core.ingest.mixed import paragraph

KINDS = ("prose", "markdown", "code", "rows")

ALPHABET = st.sampled_from(
    [
        *"aZ09 \t\n.?!,;:'\"()[]#`~-*_=|>/\\",
        "\n\n", "\r\n", " \n \n", ". ", "# ", "\n## ", "\n```\n", "\n- ", "\ndef f(): ", "Dr. ", "e.g. ",
        "한국어", "갔다. ", "그래요.", "文", "。", "「", "」", "、", "é", "e\u0301", "👨‍👩‍👧‍👦", "🇰🇷", "👍🏽",
        "\u200b", "\u200d", "\u00a0", "\u3000", "\x00", "\x1c", "\u2028", "क्षि", "\U0010ffff",
    ]
)  # fmt: skip
TEXTS = st.lists(ALPHABET, max_size=120).map("".join) | st.text(max_size=200)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 60))
    return size, draw(st.integers(0, size - 1))


def visible(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, sizes(), st.sampled_from(KINDS))
def test_chunks_are_slices_that_fit_and_lose_nothing(text, size_and_overlap, kind):
    size, overlap = size_and_overlap
    chunks = Chunker(size, overlap).chunk(text, kind=kind)
    covered = bytearray(len(text))
    reached = 0
    for number, chunk in enumerate(chunks):
        start = chunk.metadata["start"]
        assert chunk.metadata["chunk"] == number
        assert text[start : start + len(chunk.text)] == chunk.text
        assert 0 < len(chunk.text) <= size
        assert chunk.text == chunk.text.rstrip()
        assert start + len(chunk.text) > reached, "every chunk brings something new"
        assert reached - start <= overlap
        reached = start + len(chunk.text)
        covered[start:reached] = b"\1" * len(chunk.text)
    assert all(done or char.isspace() for done, char in zip(covered, text, strict=True))


@given(TEXTS, st.integers(1, 60), st.sampled_from(KINDS))
def test_without_overlap_the_chunks_joined_are_the_text(text, size, kind):
    chunks = Chunker(size).chunk(text, kind=kind)
    assert visible("".join(chunk.text for chunk in chunks)) == visible(text)


@given(TEXTS, sizes())
def test_the_same_text_gives_the_same_chunks(text, size_and_overlap):
    assert Chunker(*size_and_overlap).chunk(text) == Chunker(*size_and_overlap).chunk(text)


@given(TEXTS, sizes(), st.sampled_from(["words", "bytes", "pairs", "jagged"]))
def test_tokens_stay_within_the_limit_however_they_are_counted(text, size_and_overlap, how):
    size, overlap = size_and_overlap
    count = {
        "words": lambda t: len(t.split()),
        "bytes": lambda t: len(t.encode()),  # one character can be four: it cannot be cut
        "pairs": lambda t: (len(t) + 1) // 2,
        "jagged": lambda t: len(re.findall(r"a+|\w|\S", t)) + ("\n" in t),  # not monotone, as byte-pair tokens are
    }[how]
    chunks = Chunker(size, overlap, unit="tokens", count=count).chunk(text)
    for chunk in chunks:
        assert count(chunk.text) <= size or len(chunk.text) == 1
    if not overlap:
        assert visible("".join(chunk.text for chunk in chunks)) == visible(text)


def test_paragraphs_that_fit_are_never_cut():
    rng = random.Random(3)
    paragraphs = [paragraph(rng, rng.randint(1, 5)) for _ in range(60)]
    size = max(map(len, paragraphs))
    chunks = Chunker(size).chunk("\n\n".join(paragraphs))
    assert [part for chunk in chunks for part in chunk.text.split("\n\n")] == paragraphs
    # … and as many go into each as fit
    for one, other in pairwise(chunks):
        assert len(one.text) + 2 + len(other.text.split("\n\n")[0]) > size


def test_a_long_paragraph_is_cut_at_sentences_and_fills_its_chunks():
    rng = random.Random(4)
    text = paragraph(rng, 80)
    chunks = Chunker(500).chunk(text)
    assert all(chunk.text[-1] in ".?!" for chunk in chunks)
    assert all(len(chunk.text) > 350 for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Dr. Smith left, e.g. at 3.5 p.m. sharp.", "Was it him?", "“Yes!”", "It cost $3.50 in the U.S. then."]),
        ("en", ["나는 학교에 갔다.", "값은 3.5원이에요.", "정말요?", "네, 그렇습니다!"]),
        ("en", ["这是第一句。", "这是第二句！", "真的吗？", "是的。"]),
        ("en", ["これは文です。", "次の文！", "終わり？"]),
        ("fr", ["M. Dupont est là.", "Il dort."]),
    ],
)
def test_sentences_end_where_readers_see_them_end(language, sentences):
    text = ("" if sentences[0].endswith("。") else " ").join(sentences)
    for size in range(max(map(len, sentences)), len(text) + 1):
        chunks = Chunker(size, language=language).chunk(text)
        assert all(any(sentence in chunk.text for chunk in chunks) for sentence in sentences)


def test_hard_wrapped_lines_are_not_taken_for_sentences():
    text = "One fox ran over the\nhill to the dog. It slept\nthere for a day. Then\nit went."
    assert [chunk.text for chunk in Chunker(45).chunk(text)] == [
        "One fox ran over the\nhill to the dog.",
        "It slept\nthere for a day. Then\nit went.",
    ]


def test_words_are_cut_only_when_they_do_not_fit():
    chunks = Chunker(10).chunk("alpha beta gamma incomprehensibilities delta")
    assert [chunk.text for chunk in chunks] == ["alpha beta", "gamma", "incomprehe", "nsibilitie", "s delta"]


def test_overlap_repeats_whole_sentences():
    text = " ".join(f"Sentence number {number} is here." for number in range(40))
    chunks = Chunker(200, 60).chunk(text)
    for one, other in pairwise(chunks):
        shared = one.metadata["start"] + len(one.text) - other.metadata["start"]
        assert 20 < shared <= 60
        assert other.text.startswith("Sentence number ")
        assert other.text[: shared + 1].strip() in one.text


def test_overlap_repeats_whole_words_where_no_sentence_fits():
    text = " ".join(f"word{number}" for number in range(200))
    chunks = Chunker(100, 30).chunk(text)
    known = set(text.split())
    for one, other in pairwise(chunks):
        shared = set(one.text.split()) & set(other.text.split())
        assert len(shared) >= 3
        assert set(other.text.split()) <= known


def test_code_is_cut_between_definitions():
    functions = [f"@cache\ndef f{n}(x):\n    y = x * {n}\n\n    return y  # done" for n in range(20)]
    chunks = Chunker(200).chunk("import os\n\n\n" + "\n\n\n".join(functions), kind="code")
    assert all(chunk.text.startswith(("import os", "@cache\ndef")) for chunk in chunks)
    assert all(chunk.text.endswith("# done") for chunk in chunks)


def test_code_keeps_its_indentation():
    text = "class A:\n" + "".join(f"    def m{n}(self):\n        return {n}\n\n" for n in range(10))
    chunks = Chunker(120).chunk(text, kind="code")
    assert len(chunks) > 2
    assert all(chunk.text.startswith("    def m") for chunk in chunks[1:])


def test_rows_are_never_cut_where_they_fit():
    rows = [f"name: N{n}; city: C{n}" for n in range(50)]
    chunks = Chunker(100).chunk("\n".join(rows), kind="rows")
    assert [row for chunk in chunks for row in chunk.text.split("\n")] == rows


@pytest.mark.parametrize(
    "count", [lambda text: len(text.split()), type("T", (), {"encode": lambda self, t: t.split()})()]
)
def test_tokens_are_counted_by_functions_and_tokenizers(count):
    chunks = Chunker(10, 2, unit="tokens", count=count).chunk("word " * 95)
    assert [len(chunk.text.split()) for chunk in chunks] == [10] * 11 + [7]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"chunk_size": 0}, "chunk_size must be at least 1 of characters, not 0"),
        ({"chunk_size": -5}, "chunk_size must be at least 1 of characters, not -5"),
        ({"chunk_size": 10, "overlap": 10}, "overlap 10 must be below chunk_size 10"),
        ({"chunk_size": 10, "overlap": 11}, "overlap 11"),
        ({"overlap": -1}, "overlap must be 0 or a positive number below chunk_size, not -1"),
        ({"chunk_size": 10.5}, "chunk_size must be an integer number of characters, not 10.5"),
        ({"chunk_size": True}, "chunk_size must be an integer number of characters, not True"),
        ({"unit": "pages"}, "unit must be 'characters' or 'tokens', not 'pages'"),
        ({"unit": "tokens"}, "needs count"),
        ({"count": len}, "needs count"),
        ({"unit": "tokens", "count": 5}, "count must be a function or a tokenizer with .encode, not int"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments, named):
    with pytest.raises(InvalidInputError, match=re.escape(named)) as caught:
        Chunker(**arguments)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("text", "error"), [(5, TextError), (None, TextError), (b"x", TextError), ("a\ud800", TextError)]
)
def test_texts_that_are_none_are_refused(text, error):
    with pytest.raises(error):
        Chunker().chunk(text)


def test_a_count_that_is_none_is_named():
    with pytest.raises(InvalidInputError, match="count must return the number of tokens"):
        Chunker(5, unit="tokens", count=lambda text: "x").chunk("text")  # type: ignore[arg-type, return-value]
    with pytest.raises(MemvidError, match="kind must be 'prose'"):
        Chunker().chunk("x", kind="poem")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t \u3000"])
@pytest.mark.parametrize("kind", KINDS)
def test_blank_texts_have_no_chunks(text, kind):
    assert Chunker().chunk(text, kind=kind) == []


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000, "文" * 300_000, "文。" * 100_000, "“a. b" * 40_000, "a " * 100_000, "🇰🇷" * 50_000,
        "e" + "\u0301" * 200_000, "\n" * 200_000 + "a", "a\n\n" * 60_000, "[" * 200_000, "# " * 50_000,
        "`" * 100_000, "- " * 100_000, "a\n" * 50_000 + " " * 200_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["prose", "markdown", "code"])
def test_input_made_to_be_slow_is_not(text, kind):
    chunks = Chunker(1000, 100).chunk(text, kind=kind)
    assert visible(chunks[-1].text)[-1] == visible(text)[-1]
    assert max(len(chunk.text) for chunk in chunks) <= 1000


@given(
    st.lists(st.sampled_from([*"aक्षिสำ각각각é\u0301🇰🇷👍🏽👨\u200d👩\u0600\r\n\u200c1\u20e3"]), max_size=12).map("".join)
)
def test_graphemes_are_never_cut_where_unicode_says_not_to(text):
    ends = {match.end() for match in regex.finditer(r"\X", text)} | {0}
    graphemes = Graphemes(text)
    assert {place for place in range(len(text) + 1) if graphemes.parts(place)} <= ends


def test_ordinary_graphemes_are_all_found():
    text = "a각각e\u0301🇰🇷🇫🇷👍🏽👨‍👩‍👧‍👦文\r\nb"
    graphemes = Graphemes(text)
    found = [place for place in range(1, len(text) + 1) if graphemes.parts(place)]
    assert found == [match.end() for match in regex.finditer(r"\X", text)]


def test_families_and_flags_stay_whole():
    chunks = Chunker(8).chunk("👨‍👩‍👧‍👦🇰🇷" * 5)
    assert {chunk.text for chunk in chunks} == {"👨‍👩‍👧‍👦", "🇰🇷"}
