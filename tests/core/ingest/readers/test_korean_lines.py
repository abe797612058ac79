"""Korean words that the end of a line divides are joined; in text whose lines keep their words, none are."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from benchmarks.documents.languages import SENTENCES
from memvid_core.ingest.readers.korean_lines import BREAK, KoreanLines
from memvid_core.ingest.readers.pdf_page import PageText

_TEXT = " ".join(SENTENCES["Korean"])


def wrapped(text: str, width: int, *, within_words: bool) -> str:
    """Break lines as a browser does: between any two signs, or at spaces alone."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 <= width or not within_words:
            fits = len(lines[-1]) + len(word) + 1 <= width
            if fits or not lines[-1]:
                lines[-1] += (" " if lines[-1] else "") + word
            else:
                lines.append(word)
            continue
        rest = (" " if lines[-1] else "") + word
        while rest:
            room = width - len(lines[-1])
            lines[-1] += rest[:room]
            rest = rest[room:].lstrip()
            if rest:
                lines.append("")
    return "\n".join(line.strip() for line in lines if line.strip())


@pytest.mark.parametrize("width", range(18, 40, 3))
def test_words_are_whole_again(width: int) -> None:
    rng = random.Random(width)
    text = " ".join(" ".join(rng.sample(SENTENCES["Korean"], 6)) for _ in range(12))
    shown = wrapped(text, width, within_words=True)
    lost = (Counter(text.split()) - Counter(shown.split())).total()
    found = KoreanLines([shown]).lines(shown)
    assert "".join(found.split()) == "".join(text.split())
    still = (Counter(text.split()) - Counter(found.split())).total()
    assert lost > 10
    assert still <= 0.2 * lost, (lost, still)


@pytest.mark.parametrize("width", range(18, 60, 3))
def test_lines_that_end_with_words_stay(width: int) -> None:
    rng = random.Random(width)
    text = " ".join(" ".join(rng.sample(SENTENCES["Korean"], 6)) for _ in range(12))
    shown = wrapped(text, width, within_words=False)
    assert KoreanLines([shown]).lines(shown) == shown


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("그는 아무것도 남기지 않\n았다. 끝.", "그는 아무것도 남기지 않았다. 끝."),  # no word ends so
        ("그는 편지\n를 썼다. 끝.", "그는 편지를 썼다. 끝."),  # no word begins so
        ("사과\n배\n포도\n감자\n고구마", "사과\n배\n포도\n감자\n고구마"),  # a list
        ("첫째 줄 \n둘째 줄을 보라.", "첫째 줄 \n둘째 줄을 보라."),  # the space at the end is on the page
        ("나는 12\n월에 왔다.", "나는 12\n월에 왔다."),  # nothing shows that lines divide words here
    ],
)
def test_what_is_known_without_other_breaks(text: str, joined: str) -> None:
    assert KoreanLines([text]).lines(text) == joined


def test_the_words_of_other_pages_count_and_numbers_keep_their_units() -> None:
    pages = [
        "오늘은 기술자들은 바늘로 글자를 썼다. 그리고 필름은 남았다.",
        "모두가 기다렸던 기술\n자들은 그날에도 글\n자를 모두 썼다 1979\n년에는 아무도 없었다",
    ]
    assert KoreanLines(pages).lines(pages[1]) == (
        "모두가 기다렸던 기술자들은 그날에도 글자를 모두 썼다 1979년에는 아무도 없었다"
    )
    assert KoreanLines(pages[1:]).lines(pages[1]) != KoreanLines(pages).lines(pages[1])


def test_rows_of_tables_are_not_joined_and_their_cells_are() -> None:
    table = f"이름 | 설명한 것{BREAK}을 쓴다\n드럼 | 낱말을 지켰{BREAK}다.\n필름 | 나는{BREAK}무엇"
    page = PageText(f"앞에 있는 글{BREAK}자\n\n{table}\n\n그는 않\n았다.", [table])
    korean = KoreanLines([page.text])
    found = page.rewritten(korean.lines, korean.line)
    assert found.tables == ["이름 | 설명한 것을 쓴다\n드럼 | 낱말을 지켰다.\n필름 | 나는 무엇"]
    assert found.tables[0] in found.text
    assert found.text.endswith("\n\n그는 않았다.")


def test_other_languages_are_left_alone_and_cost_nothing() -> None:
    text = "\n".join(sentence for name in SENTENCES if name != "Korean" for sentence in SENTENCES[name])
    assert KoreanLines([text]).lines(text) is text
