from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from memvid_core.ingest import Chunker
from memvid_core.ingest.readers.markdown import markdown_headings, markdown_sections

LINES = st.sampled_from(
    [
        "# One", "## Two ##", "### Three *bold* `code`", "#no", "####### seven", "#", "Setext", "===", "---", "----",
        "plain text", "more text", "", "", "```", "```python", "~~~", "`````", "# in a fence?",
        "<!-- comment", "end -->", "<div>", "</p>", "<b>lone</b>", "<br/>",
        "<!-- # one line -->", "> quote", "- item", "1. item", "***", "<pre>", "</pre>", "    # indented", "| a | b |",
        "[link](http://x)", "# [Link](u) end",
    ]
)  # fmt: skip


@given(st.lists(LINES, max_size=25))
def test_headings_are_those_of_a_commonmark_parser(lines):
    # Front matter is no part of CommonMark, and a lazy "---" under it is: start with a text line.
    text = "\n".join(["start", "", *lines])
    tokens = MarkdownIt("commonmark").parse(text)
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    expected = [
        (starts[token.map[0]], int(token.tag[1]))
        for token in tokens
        if token.type == "heading_open" and token.level == 0 and token.map
    ]
    assert [(start, level) for start, _, level, _ in markdown_headings(text)] == expected


@given(st.lists(LINES, max_size=25).map("\n".join))
def test_sections_joined_are_the_text(text):
    sections = markdown_sections(text)
    assert "".join(section.text for section in sections) == text
    assert all(text[section.offset :].startswith(section.text) for section in sections)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# Plain", "Plain"),
        ("# **Bold** and _emphasis_ and `code` ##", "Bold and emphasis and code"),
        ("# A [link](http://example.org) and ![picture](p.png)", "A link and picture"),
        ("# snake_case_name", "snake_case_name"),
        (r"# \*stars\*", "*stars*"),
        ("#   Much   space   ", "Much space"),
        ("# 한국어 제목", "한국어 제목"),
    ],
)
def test_titles_lose_their_markup(line, title):
    assert [found[3] for found in markdown_headings(line)] == [title]


def test_chunks_carry_the_path_of_headings():
    text = (
        "---\ntitle: x\n---\n\nPreface.\n\n# Guide\n\n## Install\n\nRun pip.\n\n```sh\n# not a heading\n```\n\n"
        "## Use\n\nImport it.\n\n### Deep\n\nDeeper.\n\nAppendix\n========\n\nEnd."
    )
    chunks = Chunker().chunk(text, kind="markdown", metadata={"lang": "en"})
    assert [chunk.metadata.get("heading") for chunk in chunks] == [
        None, "Guide > Install", "Guide > Use", "Guide > Use > Deep", "Appendix",
    ]  # fmt: skip
    assert chunks[1].text.startswith("# Guide\n\n## Install\n\nRun pip.")
    assert "# not a heading" in chunks[1].text
    assert all(text[chunk.metadata["start"] :].startswith(chunk.text) for chunk in chunks)
    assert all(chunk.metadata["lang"] == "en" for chunk in chunks)


def test_long_sections_keep_their_heading_in_every_chunk():
    text = "# Long\n\n" + "A sentence of some length stands here. " * 60
    chunks = Chunker(300).chunk(text, kind="markdown")
    assert len(chunks) > 5
    assert {chunk.metadata["heading"] for chunk in chunks} == {"Long"}
