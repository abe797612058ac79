"""The analyzer: how texts are tokenized and queries parsed, and that no input makes it fail."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import InvalidInputError
from memvid_core.model import plain_query
from memvid_core.words.analyzer import (
    MAX_CLAUSES,
    MAX_RUN,
    MAX_TOKEN,
    ParsedQuery,
    inflected,
    normalize,
    parse,
    snippet,
    tokenize,
    words,
)
from memvid_core.words.stemmer import STOP_STEMS, stem

# From the examples in Porter's paper.
PORTER = """
caresses:caress ponies:poni ties:ti caress:caress cats:cat feed:feed agreed:agre plastered:plaster bled:bled
motoring:motor sing:sing conflated:conflat troubled:troubl sized:size hopping:hop tanned:tan falling:fall hissing:hiss
fizzed:fizz failing:fail filing:file happy:happi sky:sky relational:relat conditional:condit rational:ration
valenci:valenc hesitanci:hesit digitizer:digit conformabli:conform radicalli:radic differentli:differ vileli:vile
analogousli:analog vietnamization:vietnam predication:predic operator:oper feudalism:feudal decisiveness:decis
hopefulness:hope callousness:callous formaliti:formal sensitiviti:sensit sensibiliti:sensibl triplicate:triplic
formative:form formalize:formal electriciti:electr electrical:electr hopeful:hope goodness:good revival:reviv
allowance:allow inference:infer airliner:airlin gyroscopic:gyroscop adjustable:adjust defensible:defens
irritant:irrit replacement:replac adjustment:adjust dependent:depend adoption:adopt homologou:homolog
communism:commun activate:activ angulariti:angular homologous:homolog effective:effect bowdlerize:bowdler
probate:probat rate:rate cease:ceas controll:control roll:roll yes:ye youth:youth toying:toi
"""

# From version 3.0 of the package snowballstemmer.
RUSSIAN = """
вавиловка:вавиловк вагнера:вагнер вагон:вагон вагоны:вагон вагонах:вагон важная:важн важнейшие:важн важничал:важнича
важно:важн вазы:ваз валентина:валентин вальсишку:вальсишк ванька:ваньк падай:пада паденье:паден падшая:падш
пакет:пакет пакостная:пакостн павловна:павловн паутинка:паутинк переговорив:переговор переезжавшего:переезжа
сделавшись:сдела прочитав:прочита закрывшись:закр улыбающийся:улыба написанный:написа длинный:длин
странность:странност радость:радост глупости:глупост откройте:откройт настройте:настройт файлами:файл сайта:сайт
рабочего:рабоч столов:стол компьютере:компьютер пользователей:пользовател устройствами:устройств нажмите:нажм
выберите:выбер изменить:измен новейший:нов сильнейшая:сильн ходившими:ход говоримый:говорим бывающая:быва имя:им
мной:мно ночь:ноч день:ден люди:люд и:и все:все пы:пы ъ:ъ
"""


@pytest.mark.parametrize("pair", PORTER.split())
def test_stems_are_those_of_porters_paper(pair: str) -> None:
    word, expected = pair.split(":")
    assert stem(word) == expected


@pytest.mark.parametrize("pair", RUSSIAN.split())
def test_russian_stems_are_those_of_snowball(pair: str) -> None:
    word, expected = pair.split(":")
    assert stem(word) == expected


def test_the_letter_short_i_is_kept_and_yo_is_found_without_its_signs() -> None:
    assert normalize("Й ё Ă") == normalize(unicodedata.normalize("NFD", "й е a"))
    assert tokenize("новые файлы") == tokenize("новый файл")
    assert tokenize("сайт") != tokenize("саит")


@pytest.mark.parametrize("word", ["gpt4", "größe", "4032", "of", "s", "大気", "naïves"])
def test_what_is_not_english_letters_is_not_stemmed(word: str) -> None:
    assert stem(word) == word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t…—!?", []),
        ("The LAYERS, layered", ["the", "layer", "layer"]),
        ("ERR-4032: foo_running v1.2", ["err", "4032", "foo", "run", "v1", "2"]),
        ("Ｆｕｌｌ ﬁne Straße CAFÉ", ["full", "fine", "strass", "cafe"]),
        ("C++17, (C#) or F#m", ["c", "cplusplu", "17", "c", "csharp", "or", "f", "m"]),
        ("ab++ a++b #c c## C+", ["ab", "a", "b", "c", "c", "c"]),
        ("여의도에서 물을", ["^여의", "여의", "의도", "도에", "에서", "^물을", "물을"]),
        ("물", ["^물"]),
        ("1989년 GPT모델", ["1989", "^년", "gpt", "^모델", "모델"]),
        ("富士山", ["富士", "士山", "山"]),
        ("カメラ と", ["カメ", "メラ", "ラ", "と"]),
        ("ﾊﾟｿｺﾝ", tokenize("パソコン")),
        ("ไทย", ["ไท", "ทย", "ย"]),
        ("हिन्दी का", ["हिन्दी", "का"]),
        ("مُحَمَّد", ["محمد"]),
        ("שָׁלוֹם", ["שלום"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokenize(text) == expected


def test_forms_of_one_text_have_the_same_tokens() -> None:
    text = "Ångström 여의도에서 café ガギグ"
    forms = {tuple(tokenize(unicodedata.normalize(form, text))) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len(forms) == 1


def test_a_word_without_end_is_known_by_its_beginning() -> None:
    assert tokenize("x9" * 10_000) == tokenize("x9" * 5_000)
    assert all(len(token) <= MAX_TOKEN for token in tokenize("x9" * 10_000 + " _" + "é" * 10_000))


@given(st.text())
def test_tokens_are_kept_apart_by_a_space_and_survive_normalization(text: str) -> None:
    tokens = tokenize(text)
    assert not any(set(token) & set(' "*\0\n') or not token for token in tokens)
    assert tokenize(normalize(text)) == tokens
    "".join(tokens).encode()


@given(st.lists(st.sampled_from(["wing", "boundary_layers", "여의도에서", "富士山", "운영", "naïve", "GPT-4"])))
def test_a_text_has_the_tokens_of_its_words(parts: list[str]) -> None:
    assert tokenize(" ".join(parts)) == [token for part in parts for token in tokenize(part)]


@given(st.from_regex(r"[a-z]{1,20}(_[a-z]{1,9})?", fullmatch=True))
def test_spellings_lead_to_the_tokens_that_differ_from_them(word: str) -> None:
    spelt = dict(inflected(word))
    expected = [spelt.get(part, part) for part in word.split("_")]
    assert expected == tokenize(word)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ParsedQuery()),
        (' "" - * " -', ParsedQuery()),
        ("wings", ParsedQuery(("wing",))),
        ("wing wing lift", ParsedQuery(("wing", "wing", "lift"))),
        ("what is the lift of a wing", ParsedQuery(("lift", "wing"))),
        ("to be or not to be", ParsedQuery(("to", "be", "or", "not", "to", "be"))),
        ('"boundary layers" jet', ParsedQuery(("boundari", "layer", "jet"), (("boundari", "layer"),))),
        ('"lift of the wing"', ParsedQuery(("lift", "wing"), (("lift", "of", "the", "wing"),))),
        ("lift -jets", ParsedQuery(("lift",), (), (("jet",),))),
        ('lift -"the jets"', ParsedQuery(("lift",), (), (("the", "jet"),))),
        ("-jet", ParsedQuery((), (), (("jet",),))),
        ("boundary-layer - jet --help -5 a-b", ParsedQuery(("boundari", "layer", "jet", "help", "5", "b"))),
        ("aerodynamics*", ParsedQuery(("aerodynamics*",))),
        ("lift aero* **", ParsedQuery(("lift", "aero*"))),
        ('lift -aero* "swept win*"', ParsedQuery(("lift", "swept", "win*"), (("swept", "win*"),), (("aero*",),))),
        ('unclosed "quote here', ParsedQuery(("unclos", "quot"))),
        ("lift AND (wing OR jet) NOT title:x", ParsedQuery(("lift", "wing", "jet", "titl", "x"))),
        ("여의도에서", ParsedQuery(("^여의", "여의", "의도", "도에", "에서"))),
        ('"C++ books" -C#', ParsedQuery(("c", "cplusplu", "book"), (("c", "cplusplu", "book"),), (("c", "csharp"),))),
        ("물", ParsedQuery(("^물*",))),
        ("강 물", ParsedQuery(("^강", "^물"))),
        ('"여의도 농민"', ParsedQuery(("여의", "의도", "^농민", "농민"), (("여의", "의도", "^농민", "농민"),))),
        ('"찬 물"', ParsedQuery(("^찬", "^물*"), (("^찬", "^물*"),))),
        ("富士山", ParsedQuery(("富士", "士山"))),
        ('"富士山 頂上"', ParsedQuery(("富士", "士山", "山", "頂上"), (("富士", "士山", "山", "頂上"),))),
        ("山", ParsedQuery(("山*",))),
    ],
)
def test_queries(query: str, expected: ParsedQuery) -> None:
    assert parse(query) == expected


@given(st.text(alphabet=st.sampled_from('ab "-*()\0\n^~:여의도富山😀\u202e\ud800')) | st.text())
def test_every_query_can_be_read(query: str) -> None:
    asked = parse(query)
    for run in (asked.terms, *asked.phrases, *asked.excluded):
        assert all(token and token != "*" for token in run)
    assert all(asked.phrases)
    assert all(asked.excluded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lift "of the wing" -jets', ParsedQuery(("lift", "wing", "jet"))),
        ("aero* -5 a-b --help", ParsedQuery(("aero", "5", "b", "help"))),
        ('say "-jet', ParsedQuery(("sai", "jet"))),
        ("여의도에서", ParsedQuery(("^여의", "여의", "의도", "도에", "에서"))),
    ],
)
def test_plain_queries(text: str, expected: ParsedQuery) -> None:
    assert parse(plain_query(text)) == expected


@given(st.text(alphabet=st.sampled_from('ab5_ "-*()\0\n')) | st.text())
def test_a_plain_query_rules_nothing_out(text: str) -> None:
    plain = plain_query(text)
    assert not parse(plain).restricts
    assert "*" not in plain
    assert plain_query(plain) == plain
    assert words(plain) == words(text)


def test_a_query_is_bounded() -> None:
    asked = parse(" ".join(f'"{n} x" -w{n}' for n in range(1000)))
    assert len(asked.phrases) == len(asked.excluded) == MAX_CLAUSES
    assert max(map(len, parse('"' + "x y z " * 1000 + '"').phrases)) == MAX_RUN
    assert len(parse("w " * 100_000).terms) < 5000


def test_stop_words_are_stems() -> None:
    assert {stem(word) for word in ("was", "having", "this", "because")} & STOP_STEMS == {"wa", "have", "thi"}


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("the wings of a jet", "wing", "the **wings** of a jet"),
        ("the wings of a jet", "engine", "the wings of a jet"),
        ("the wings of a jet", "what of the jet", "the wings of a **jet**"),
        ("aerodynamics of it", "aerodynamic*", "**aerodynamics** of it"),
        ("나는 여의도에서 산다", "여의도", "나는 **여의도**에서 산다"),
        ("富士山頂の雪", "山頂", "富士**山頂**の雪"),
        ("国民的首都是北京", "国", "**国**民的首都是北京"),
        ("東京の塔です", "塔", "東京の**塔**です"),
        ("찬 물을 마신다", "물", "찬 **물**을 마신다"),
        ("die Größe und GRÖSSE", "größe", "die **Größe** und **GRÖSSE**"),
        ("lift and \u202eflow\0", "flow -lift", "lift and \u202e**flow**\0"),
        ("", "x", ""),
    ],
)
def test_snippets_mark_what_matches(text: str, query: str, expected: str) -> None:
    assert snippet(text, query) == expected


def test_a_snippet_shows_the_part_with_most_of_the_query() -> None:
    text = "wing " + "filler " * 100 + "the wing of a jet in flow " + "filler " * 100 + "jet"
    shown = snippet(text, "jet wing flow", width=40, marks=("<", ">"))
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "<wing> of a <jet> in <flow>" in shown


@given(
    st.text(alphabet=st.sampled_from("wing jet 여의도富山é\n")),
    st.text(alphabet=st.sampled_from('wing* jet"- 여의도富山é')),
    st.integers(1, 30),
)
def test_a_snippet_is_a_part_of_the_text(text: str, query: str, width: int) -> None:
    shown = snippet(text, query, width=width, marks=("\x01", "\x02"))
    plain = shown.translate({1: None, 2: None})
    body = plain.removeprefix("…").removesuffix("…")
    assert body in text
    assert len(body) <= width
    assert shown.count("\x01") == shown.count("\x02")
    assert (len(text) > width) or body == text


def test_a_snippet_needs_a_width() -> None:
    with pytest.raises(InvalidInputError, match="width"):
        snippet("text", "query", width=0)


def test_words_of_a_text() -> None:
    assert words("One, TWO") == ["one", "two"]


LETTERS = [chr(code) for code in (*range(0xAC00, 0xD7A4), *range(0x3041, 0x3097), *range(0x30A1, 0x30FD))]
SEPARATORS = [chr(code) for code in (*range(128), 0xB7, *range(0x2013, 0x201E), *range(0x3000, 0x3012))]


def test_texts_of_simple_characters_are_split_as_those_with_any_others() -> None:
    """A word with an accent sends a text the long way, by NFKC and by the patterns of words."""
    for letter in [*LETTERS, *map(chr, range(0x4E00, 0xA000)), *SEPARATORS]:
        text = f"날{letter}개 A{letter}B_1 {letter}"
        assert [*words(text), "e"] == words(f"{text} é"), ascii(letter)
    rng = random.Random(7)
    for _ in range(2_000):
        text = "".join(rng.choices([*LETTERS[::997], *SEPARATORS, "漢", "ｱ", "\u0301", "ﬁ", "C", "+", "#"], k=20))
        assert [*words(f"가 {text}"), "e"] == words(f"가 {text} é"), ascii(text)


def test_ascii_texts_are_split_at_everything_but_letters_and_digits() -> None:
    rng = random.Random(7)
    for _ in range(2_000):
        text = "".join(rng.choices([chr(code) for code in range(128) if chr(code) not in "+#"], k=40))
        assert words(text) == re.findall("[a-z0-9]+", text.lower()), ascii(text)
