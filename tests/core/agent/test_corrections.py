"""Changed facts: recall begins with the newer one, with a note of the older; ``as_of`` asks for the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agent_memory.chats import chat_sets
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.corrections import announces, corrected_by, fits
from memvid_core.agent.records import Turn, read_item
from memvid_core.agent.rules import facts_of, sentences
from tests.corrections import CORRECTIONS as NATURAL
from tests.corrections import FRESH, FRESH_OTHERS, LATER, LATER_OTHERS, OTHERS

ME: dict[str, Any] = {"user_id": "me"}


@pytest.fixture
def service():
    with Memory.create(":memory:") as memory:
        yield SyncMemoryService(memory, memorize_config={"extract": "rules"})


ENGLISH = [
    ("I live in Berlin.", "I moved to Lisbon.", "Where do I live?"),
    ("I work at Siemens.", "I work for Bosch now.", "Where do I work?"),
    ("My favorite color is green.", "My favorite color is blue.", "What is my favorite color?"),
    ("My phone number is 555-0100.", "My phone number is 555-0199.", "What is my phone number?"),
    ("My deadline is Monday.", "My deadline has changed to Friday.", "When is my deadline?"),
    ("I like jazz.", "I don't like jazz any more, now I like folk music.", "Do I like jazz?"),
    ("My boss is Mr. Kim.", "My boss is Ms. Lee since Monday.", "Who is my boss?"),
    ("My budget is 500 euros.", "My budget is 800 euros.", "How large is my budget?"),
    ("My dentist is Dr. Silva.", "My dentist is Dr. Costa.", "Who is my dentist?"),
    ("My seat is 12A.", "My seat is 21C.", "Which seat do I have?"),
    ("I work at the harbor on Sundays.", "I no longer work at the harbor, I paint.", "What do I do at the harbor?"),
    ("My manager is Tom.", "My manager is Julia now.", "Who is my manager?"),
    ("I am based in Oslo.", "I'm based in Bergen now.", "Where am I based?"),
    ("My favorite band is Blur.", "My favorite band is Pulp these days.", "What is my favorite band?"),
    ("My email is ada@old.example.", "My email has changed to ada@new.example.", "What is my email?"),
    ("My flight is LH 400.", "My flight was moved to LH 404.", "Which flight do I take?"),
    ("My gym is in Mitte.", "My gym is in Wedding now.", "Where is my gym?"),
    ("I drink coffee.", "I don't drink coffee any more, I drink tea.", "Do I drink coffee?"),
    (
        "I play chess on Tuesdays.",
        "I no longer play chess on Tuesdays, I sing.",
        "What do I do on Tuesdays? Do I play chess?",
    ),
    ("Call me Alexandra.", "Call me Alex.", "What should you call me?"),
]
KOREAN = [
    ("나는 부산에서 살아.", "나 서울로 이사했어.", "나는 어디에서 살지?"),
    ("제일 좋아하는 음식은 김밥이야.", "제일 좋아하는 음식은 냉면이야.", "제일 좋아하는 음식이 뭐지?"),
    ("내 생일은 3월 2일이야.", "내 생일은 3월 12일이야, 잘못 말했어.", "내 생일이 언제지?"),
    ("저는 병원에서 일하고 있어요.", "저는 학교에서 일하고 있어요.", "저는 어디에서 일하죠?"),
    ("우리 예산은 백만 원이야.", "우리 예산은 이백만 원이야.", "우리 예산이 얼마지?"),
    ("내 좌석은 3번이야.", "내 좌석은 8번이야.", "내 좌석이 몇 번이지?"),
    ("제 목표는 마라톤 완주예요.", "제 목표는 철인 삼종 완주예요.", "제 목표가 뭐죠?"),
    ("나는 재즈를 좋아해.", "나는 더 이상 재즈를 좋아하지 않아.", "내가 재즈를 좋아하나?"),
    ("우리 팀은 디자인 팀이야.", "우리 팀은 마케팅 팀이야.", "우리 팀이 뭐지?"),
    ("내 상사는 김 부장이야.", "내 상사는 이제 박 부장이야.", "내 상사가 누구지?"),
    ("제 이메일은 old@example.com이에요.", "제 이메일은 new@example.com으로 바뀌었어요.", "제 이메일이 뭐죠?"),
    ("내 항공편은 KE 901이야.", "내 항공편은 KE 905로 바뀌었어.", "내 항공편이 뭐지?"),
    ("저는 대전에 이사했어요.", "저는 광주로 이사했어요.", "저는 어디로 이사했죠?"),
    ("가장 좋아하는 색은 초록이야.", "가장 좋아하는 색은 파랑이야.", "가장 좋아하는 색이 뭐지?"),
    ("저는 삼성에 입사했어요.", "저는 네이버로 이직했어요.", "저는 어느 회사에 다니죠? 이직"),
    ("우리 마감은 월요일이야.", "우리 마감은 금요일로 미뤄졌어.", "우리 마감이 언제지?"),
    ("저는 고기를 먹어요.", "저는 이제 고기는 안 먹어요.", "저는 고기를 먹나요?"),
    ("내 차는 아반떼야.", "내 차는 이제 아이오닉이야.", "내 차가 뭐지?"),
    ("내 헬스장은 강남에 있어.", "내 헬스장은 잠실에 있어.", "내 헬스장이 어디 있지?"),
    ("제 이름은 김민지예요.", "제 이름은 이민지예요, 성을 바꿨어요.", "제 이름이 뭐죠?"),
]
CORRECTIONS = ENGLISH + KOREAN


@pytest.mark.parametrize(("old", "new", "question"), CORRECTIONS)
def test_a_newer_fact_takes_the_place_of_the_older(service, old, new, question):
    service.add([{"role": "user", "content": old, "created_at": "2026-01-01"}], **ME, session_id="1")
    service.add([{"role": "user", "content": new, "created_at": "2026-03-01"}], **ME, session_id="2")
    answer = service.recall(question, **ME)
    assert answer.hits[0].text == new
    assert old in answer.text.split("\n")[1]
    item = next(item for item in service.list_memory_items(ME) if item.summary == new)
    assert [each.summary for each in service.history(item.id, **ME)] == [old, new]
    past = service.recall(question, **ME, as_of="2026-02-01")
    assert past.hits[0].text == old
    assert new not in past.text


@pytest.mark.parametrize("place", range(20))
def test_an_update_keeps_the_id_and_the_past(place):
    old, new, question = CORRECTIONS[place]
    times = iter(datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13))
    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory, clock=lambda: next(times))
        item = service.create_memory_item(memory_content=old, memory_categories=["personal_info"], user=ME)
        newer = service.update_memory_item(memory_id=item.id, memory_content=new, user=ME)
        assert (newer.id, newer.version, newer.categories) == (item.id, 2, ["personal_info"])
        assert service.recall(question, **ME).hits[0].text == new
        assert service.recall(question, **ME, as_of="2026-01-15").hits[0].text == old
        assert [each.summary for each in service.history(item.id, **ME)] == [old, new]
        summary = service.list_memory_categories(ME)[0].summary
        assert new in summary
        assert old not in summary


@pytest.mark.parametrize(
    ("old", "new", "question"),
    [
        ("I use vim.", "I no longer use vim, I use emacs.", "Which editor do I use?"),
        ("I go to yoga on Mondays.", "I don't go to yoga anymore, now I swim.", "Do I go to yoga?"),
        ("I drink milk.", "Not milk any more, now oat milk.", "What milk do I drink?"),
        ("저는 담배를 피워요.", "이제 담배는 안 피워요.", "담배 피워?"),
        ("I use vim every day.", "I switched from vim to emacs.", "Which editor do I use?"),
        ("I am singing in a choir.", "I stopped singing in the choir.", "Do I sing in a choir?"),
        ("저는 커피를 마셔요.", "저 커피 끊었어요.", "커피 마셔?"),
    ],
)
def test_a_correction_of_what_no_rule_read(service, old, new, question):
    for text, day in ((old, "2026-01-05"), (new, "2026-03-05")):
        service.add([{"role": "user", "content": text, "created_at": day}], session_id=day, **ME)
    first = service.recall(question, **ME).hits[0]
    assert (first.text, first.note) == (new, f"(until 2026-03-05: {old})")
    assert service.recall(question, as_of="2026-02-01", **ME).hits[0].text == old
    (item,) = service.list_memory_items(ME)
    service.forget(service.history(item.id, **ME)[0].sources, **ME)
    assert old not in repr(service.memory.select())
    assert old not in service.recall(question, **ME).text


SETS = {
    "tuning half": (0, NATURAL, OTHERS),
    "report half": (1, NATURAL, OTHERS),
    "later": (None, LATER, LATER_OTHERS),
    "fresh": (None, FRESH, FRESH_OTHERS),
}


def facts(text):
    turn = Turn(id="s-0", session="s", position=0, role="user", who="Ada", text=text, created_at="2026-01-01")
    return list(facts_of(turn))


def corrects(new, old):
    """Whether rules take the newer of two sentences for a correction of the older."""
    slots = {fact.slot for fact in facts(old)} - {None}
    return any(
        fact.slot in slots or any(fits(each, sentence) for each in fact.corrects for sentence in sentences(old))
        for fact in facts(new)
    )


@pytest.mark.parametrize("language", ["English", "Korean"])
@pytest.mark.parametrize("name", SETS)
def test_what_people_say_is_read_and_what_only_sounds_like_it_is_not(language, name):
    half, natural, others = SETS[name]
    chosen = slice(half, None, None if half is None else 2)
    missed = [(old, new) for old, new in natural[language][chosen] if not corrects(new, old)]
    wrong = [(old, new) for old, new in others[language][chosen] if corrects(new, old)]
    assert (len(missed), wrong) == (1 if name == "later" else 0, [])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("우리 강아지 이름은 보리야.", "아니, 강아지 이름은 콩이야.", True),
        ("고양이 이름은 나비예요.", "고양이 이름은 이제 치즈예요.", True),
        ("아이 이름은 하늘이야.", "정정할게, 아이 이름은 바다야.", True),
        ("요가 수업 장소는 한강이야.", "미안, 요가 수업 장소는 남산이에요.", True),
        ("우리 강아지 이름은 보리야.", "우리 강아지 이름은 참 예쁜 이름이야.", False),
        ("우리 강아지 이름은 보리야.", "아니, 고양이 이름은 콩이야.", False),
        ("우리 강아지 이름은 보리야.", "사실 강아지 이름은 내가 지었어.", False),
        ("팀장은 김 부장이야.", "사실 팀장은 좋은 사람이야.", False),
    ],
)
def test_in_korean_what_has_one_name_is_corrected_by_another(old, new, expected):
    assert corrects(new, old) is expected


@pytest.mark.parametrize("said", ["The launch was moved to Friday.", "발표가 금요일로 바뀌었어요."])
@pytest.mark.parametrize("tail", ["a" * 1_000, "a.b-" * 300, "12-" * 400, "가 " * 500])
def test_what_is_longer_than_a_sentence_is_not_compared(said, tail):
    older = {"T": "The launch is on Monday.", "발": "발표가 월요일이에요."}[said[0]]
    assert next(fits(each, older) for each in corrected_by(said))
    assert not any(fits(each, f"{older} {tail}") for each in corrected_by(said))


def test_a_line_of_code_corrects_no_other():
    lines = ["cache.set('London', { humidity: 80, timestamp: Date.now() });", "const timestamp = Date.now();"]
    later = ["cache.set('Paris', { humidity: 70, timestamp: Date.now() });", "this.timestamp[key] = Date.now();"]
    assert not any(corrects(new, old) for new, old in zip(later, lines, strict=True))


def test_a_correction_without_words_to_look_for_is_read(service):
    """What is corrected within the same call is looked for among its items, too."""
    said = ["나는 여섯 시에 일어나.", "나 이제 일곱 시에 일어나."]
    (item,) = service.add([{"role": "user", "content": text} for text in said], **ME).items
    assert [each.summary for each in service.history(item.id, **ME)] == said


def test_a_month_is_no_doubt():
    assert corrects("The launch was moved to May 5.", "The launch is on April 2.")
    assert not corrects("The launch may be moved to June 5.", "The launch is on April 2.")


@pytest.mark.parametrize("language", ["English", "Korean"])
def test_what_people_say_takes_the_place_of_what_was_said(service, language):
    for number, (old, new) in enumerate(NATURAL[language][::4]):
        scope = {"user_id": str(number)}
        for text, day in ((old, "2026-01-05"), (new, "2026-01-07")):
            said = {"role": "user", "name": "Ada", "content": text, "created_at": day}
            service.add([said], session_id="s", **scope)
        (item,) = service.list_memory_items(scope)
        versions = [each.summary.removeprefix("Ada: ") for each in service.history(item.id, **scope)]
        assert versions == [old, new]


@pytest.mark.parametrize("language", ["English", "Korean"])
def test_a_fresh_correction_is_the_first_line_of_a_recall(language):
    """Each through the index; what only sounds like one corrects nothing."""
    for lists, corrected in ((FRESH, True), (FRESH_OTHERS, False)):
        for old, new in lists[language]:
            with Memory.create(":memory:") as memory:
                service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
                for text, day in ((old, "2026-01-05"), (new, "2026-03-05")):
                    service.add([{"role": "user", "content": text, "created_at": day}], session_id=day, **ME)
                first = service.recall(old, **ME).hits[0]
                assert ((first.text, first.note) == (new, f"(until 2026-03-05: {old})")) == corrected, (old, new)
                assert service.recall(old, as_of="2026-02-01", **ME).hits[0].text == old


def test_a_correction_that_names_nothing_is_of_what_was_said_just_before(service):
    def said(*texts, session, who="Ada"):
        messages = [{"role": "user", "name": who, "content": text, "created_at": "2026-01-05"} for text in texts]
        return [item.summary for item in service.add(messages, **ME, session_id=session).items]

    assert said("The party is at five. No, wait: it's at six.", session="1") == ["Ada: No, wait: it's at six."]
    assert said("The tour is at nine.", "Nice.", "Sorry. It's at ten.", session="2") == ["Ada: It's at ten."]
    assert said("Make that eleven.", session="2") == ["Ada: Make that eleven."]
    (item,) = [item for item in service.list_memory_items(ME) if "eleven" in item.summary]
    texts = [each.summary.removeprefix("Ada: ") for each in service.history(item.id, **ME)]
    assert texts == ["The tour is at nine.", "It's at ten.", "Make that eleven."]
    assert said("The talk is at two.", session="3") == []
    assert said("Actually it's at three.", session="3", who="Bob") == []
    assert said("Actually it's at three.", session="4") == []
    assert said("Actually it's a nice day.", session="3") == []


def test_what_corrects_what_was_corrected_continues_its_line(service):
    for number, text in enumerate(
        ["The meeting is on Monday.", "The meeting was moved to Tuesday.", "The meeting was moved to Friday."]
    ):
        said = {"role": "user", "content": text, "created_at": f"2026-01-0{number + 1}"}
        service.add([said], **ME, session_id=str(number))
    (item,) = service.list_memory_items(ME)
    assert [each.summary.rpartition(" ")[2] for each in service.history(item.id, **ME)] == [
        "Monday.",
        "Tuesday.",
        "Friday.",
    ]
    assert service.recall("When is the meeting?", **ME).hits[0].text == "The meeting was moved to Friday."


def test_a_turn_that_no_rule_reads_costs_nothing(service, monkeypatch):
    """Neither an item nor a second commit, and no search: also where it only looks like a correction."""
    monkeypatch.setattr(Memory, "search", None)
    for text in ("The party is at five.", "It is a nice day.", "날씨가 좋네요.", "That was not bad at all."):
        before = len(service.memory.history())
        assert service.add(text, **ME, session_id=text).items == []
        assert len(service.memory.history()) == before + 1


PIECES = [
    *"abc 12:,.!가나은는이안 ",
    *("not ", "but ", "에서 ", "으로 바꿨", "actually ", "아니, ", "정정합니다.", "이제", "지금은 ", "요즘 ", "나 "),
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_sentence_can_be_read(said):
    for correction in corrected_by(said, announces(said)):
        assert fits(correction, said) in (True, False)
        assert correction.words or correction.subjects or correction.near


@pytest.mark.parametrize(("language", "corrections"), [("English", ENGLISH), ("Korean", KOREAN)])
def test_the_newer_fact_is_the_first_line_among_ninety_messages(language, corrections):
    """A question may have the words of the older fact alone: "Where do I live?", "I live in Berlin", "I moved"."""
    (chat,) = chat_sets(Path("none"))[f"own, {language}"]
    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        noise = [message for messages in chat.sessions for message in messages]
        service.add(noise, **ME, session_id="noise")
        for old, new, question in corrections:
            turns = []
            for text, day in ((old, "2026-01-01"), (new, "2026-03-01")):
                said = [{"role": "user", "content": text, "created_at": day}]
                turns += service.add(said, **ME, session_id=day).turns
            for budget in (1_000, 250):
                answer = service.recall(question, budget=budget, **ME)
                first = answer.text.split("\n")[1]
                assert first.endswith(f"2026-03-01: {new} (until 2026-03-01: {old})")
            for budget in (80, 120):  # what has no room is not what corrects what is shown
                text = service.recall(question, budget=budget, **ME).text
                assert new in text or old not in text
            assert service.retrieve(question, ME).items[0].summary == new
            assert service.recall(question, as_of="2026-02-01", **ME).ranked[0].text == old
            service.forget([turn.id for turn in turns], **ME)


def test_any_older_version_leads_to_the_one_that_holds(service):
    """A chain longer than what a search returns, asked for with the words of its beginning."""
    days = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n)).isoformat() for n in range(40)]
    towns = ["I live in Berlin.", *(f"I moved to Town{n}." for n in range(1, 39)), "I relocated to Rome."]
    said = [{"role": "user", "content": text, "created_at": day} for text, day in zip(towns, days, strict=True)]
    service.add(said, **ME)
    assert service.recall("Do I live in Berlin?", **ME).hits[0].text == "I relocated to Rome."
    assert service.recall("Do I live in Berlin?", as_of=days[20], **ME).hits[0].text == "I moved to Town20."
    (item,) = service.retrieve("Do I live in Berlin?", ME).items
    service.forget(item.sources, **ME)
    assert service.recall("Do I live in Berlin?", **ME).hits[0].text == "I moved to Town38."


def test_a_line_of_facts_that_a_person_edits_is_one_line(service):
    """Said, corrected by what was said, edited twice, corrected again: each version leads to the others."""
    times = iter(datetime(2026, month, 10, tzinfo=UTC) for month in (3, 4))
    editing = SyncMemoryService(service.memory, clock=lambda: next(times))

    def say(text, day):
        return service.add([{"role": "user", "content": text, "created_at": day}], session_id=day, **ME).items[0].id

    say("I live in Berlin.", "2026-01-10")
    edited = say("I moved to Lisbon.", "2026-02-10")
    for text in ("I moved to Porto.", "I moved to Braga."):
        editing.update_memory_item(memory_id=edited, memory_content=text, user=ME)
    say("I moved to Rome.", "2026-05-10")
    towns = ["Berlin", "Lisbon", "Porto", "Braga", "Rome"]
    every = list(map(read_item, service.memory.select({"agent.kind": "item"})))
    for item in every:
        assert [each.summary.split()[-1].strip(".") for each in service.history(item.id, **ME)] == towns
    for month, town in enumerate(towns, 1):
        for question in ("Do I live in Berlin?", "Porto?", "Where do I live?", "Rome?"):
            assert town in service.recall(question, as_of=f"2026-0{month}-20", **ME).hits[0].text
    assert "Rome" in service.recall("Do I live in Berlin?", **ME).hits[0].text
    (porto,) = [item.id for item in every if "Porto" in item.summary]
    service.forget(porto, **ME)
    assert "Lisbon" in service.recall("Where do I live?", as_of="2026-03-20", **ME).hits[0].text
    assert "Porto" not in repr(service.memory.select())


def test_a_correction_that_makes_two_items_equal_shows_one(service):
    first, second = (
        service.create_memory_item(memory_content=f"The tram is {word}", user=ME) for word in ("red", "blue")
    )
    edited = service.update_memory_item(memory_id=second.id, memory_content="the tram is RED.", user=ME)
    assert edited.same_as == first.id
    assert len([hit for hit in service.recall("Which color has the tram?", **ME).hits if hit.kind == "item"]) == 1
    assert len(service.retrieve("Which color has the tram?", ME).items) == 1
    again = service.update_memory_item(memory_id=first.id, memory_content="The tram is red", user=ME)
    assert again.same_as is None
    assert service.update_memory_item(memory_id=second.id, memory_content="The tram is old", user=ME).same_as is None


@pytest.mark.parametrize("how", ["forgotten", "corrected"])
def test_items_that_were_equal_to_one_that_is_gone_stay_one(service, how):
    first, *others = (
        service.create_memory_item(memory_content=f"The tram is {word}", user=ME) for word in ("red", "blue", "old")
    )
    for item in others:
        edited = service.update_memory_item(memory_id=item.id, memory_content="The tram is red", user=ME)
        assert edited.same_as == first.id
    if how == "forgotten":
        service.forget(first.id, **ME)
    else:
        service.update_memory_item(memory_id=first.id, memory_content="My name is Ada", user=ME)
    equal = [item for item in service.list_memory_items(ME) if item.summary == "The tram is red"]
    assert sorted(item.same_as is None for item in equal) == [False, True]
    assert (
        len([item for item in service.retrieve("Which color has the tram?", ME).items if "tram" in item.summary]) == 1
    )


def test_an_update_of_an_older_version_is_one_of_what_holds_now(service):
    item = service.create_memory_item(memory_content="The tram is red", user=ME)
    for text in ("The tram is blue", "The tram is old"):
        first = service.history(item.id, **ME)[0]
        assert service.update_memory_item(memory_id=first.id, memory_content=text, user=ME).id == item.id
    versions = [(each.summary, each.version) for each in service.history(item.id, **ME)]
    assert versions == [("The tram is red", 1), ("The tram is blue", 2), ("The tram is old", 3)]
    assert [each.summary for each in service.list_memory_items(ME)] == ["The tram is old"]


def test_what_is_corrected_is_corrected_wherever_it_is_said(service):
    """Two items that a person has made equal: no one still says what was corrected, and both are back without it."""
    first, other = (
        service.create_memory_item(memory_content=f"I like {drink}", user=ME) for drink in ("tea leaves", "gin")
    )
    service.update_memory_item(memory_id=other.id, memory_content="I like tea leaves", user=ME)
    before = datetime.now(UTC) + timedelta(seconds=1)
    said = {"role": "user", "content": "I no longer like tea leaves.", "created_at": "2100-01-05"}
    (turn,) = service.add([said], **ME).turns
    assert [item.summary for item in service.list_memory_items(ME)] == ["I no longer like tea leaves."]
    assert service.recall("tea leaves", **ME).hits[0].text == "I no longer like tea leaves."
    assert service.recall("tea leaves", as_of=before, **ME).hits[0].text == "I like tea leaves"
    for item in (first, other):
        assert service.history(item.id, **ME)[-1].summary == "I no longer like tea leaves."
    service.forget(turn.id, **ME)
    held = {item.id: item for item in service.list_memory_items(ME)}
    assert {item.summary for item in held.values()} == {"I like tea leaves"}
    assert sorted(item.same_as is None for item in held.values()) == [False, True]


def test_what_says_nearly_what_was_corrected_stays_and_is_shown_once(service):
    words = ("", " sharp", " or so")
    text = "the office of the harbor master opens at nine"
    first, *others = (service.create_memory_item(memory_content=text + word, user=ME) for word in words)
    assert {item.same_as for item in others} == {first.id}
    said = {"role": "user", "content": "The office of the harbor master opens at ten now.", "created_at": "2100-01-05"}
    service.add([said], **ME)
    left = [item for item in service.list_memory_items(ME) if "nine" in item.summary]
    ids = {item.id for item in left}
    assert len(left) == 2
    assert [item.same_as in ids for item in left] == [False, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("My favourite colour is red.", "My favorite color is blue."),
        ("My email is a@x.example.", "My e-mail is b@x.example."),
        ("서울에 살고 있어요.", "부산으로 이사 왔어요."),
    ],
)
def test_two_spellings_are_one_fact(service, old, new):
    for text, day in ((old, "2026-01-05"), (new, "2026-03-05")):
        service.add([{"role": "user", "content": text, "created_at": day}], session_id=day, **ME)
    assert [item.summary for item in service.list_memory_items(ME)] == [new]


@pytest.mark.parametrize(
    "text",
    [
        *("I stopped by the store.", "We quit the meeting at six.", "전화를 끊었어요."),
        *("아니, 이제.", "정정할게요, 이제.", "미안, 지금은", "정정: 요즘"),  # nothing but when
    ],
)
def test_what_only_looks_like_a_correction_corrects_nothing(service, text):
    for fact in ("I work at a store.", "I like the meeting at six.", "저는 전화를 좋아해요."):
        service.add([{"role": "user", "content": fact, "created_at": "2026-01-05"}], session_id=fact, **ME)
    service.add([{"role": "user", "content": text, "created_at": "2026-03-05"}], session_id="s", **ME)
    assert [record.id for record in service.memory.select({"agent.superseded_at": {"$exists": True}})] == []


def test_nobody_corrects_what_another_said(service):
    """Two speakers of one memory: each has likes and habits of their own."""
    for name, text, day in (
        ("Ada", "I like tea.", "2026-01-01"),
        ("Bob", "I like tea.", "2026-01-02"),
        ("Eve", "I drink milk.", "2026-01-03"),
        ("Bob", "I don't like tea any more.", "2026-02-01"),
        ("Bob", "I no longer drink milk.", "2026-02-02"),
    ):
        service.add([{"role": "user", "name": name, "content": text, "created_at": day}], session_id=day, **ME)
    told = {item.summary: len(service.history(item.id, **ME)) for item in service.list_memory_items(ME)}
    assert told == {"Ada: I like tea.": 1, "Bob: I don't like tea any more.": 2, "Bob: I no longer drink milk.": 1}


def test_what_was_corrected_hundreds_of_times_crowds_nothing_out(service):
    """More versions than a search returns: the one that holds is found, and so are turns and other items."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    service.create_memory_item(memory_content="Seats are cleaned on Mondays", user=ME)
    said = [
        {"role": "user", "content": f"My seat is {n}.", "created_at": (begin + timedelta(hours=n)).isoformat()}
        for n in range(350)
    ]
    service.add(said, **ME, session_id="seats")
    answer = service.recall("Which seat is mine?", **ME)
    assert answer.hits[0].text == "My seat is 349."
    texts = {hit.text for hit in answer.ranked}
    assert {"Seats are cleaned on Mondays", "My seat is 349.", "My seat is 7."} <= texts
    assert {item.summary for item in service.retrieve("seat", ME).items} >= {"My seat is 349."}
    past = service.recall("Which seat is mine?", as_of=begin + timedelta(hours=300, minutes=1), **ME)
    assert past.hits[0].text == "My seat is 300."
