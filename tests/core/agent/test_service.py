"""The service: memorized once, corrected and not lost, forgotten wholly; errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memvid_core import InvalidInputError, Memory, RecordNotFoundError
from memvid_core.agent import Item, MemoryService, SyncMemoryService, export_markdown
from memvid_core.agent.records import changed, item_draft

ME: dict[str, Any] = {"user_id": "me"}
NO_CLOCK: dict[str, Any] = {"clock": lambda: "now"}
WRONG_CLOCK: dict[str, Any] = {"clock": 5}
WRONG_READER: dict[str, Any] = {"readers": {"image": 5}}
TALK = [
    {"role": "user", "content": "I live in Berlin. I love hiking."},
    {"role": "assistant", "content": "Which mountains do you like best?"},
    {"role": "user", "content": "The Alps. My favorite color is green."},
]


@pytest.fixture
def service():
    with Memory.create(":memory:") as memory:
        yield SyncMemoryService(memory, memorize_config={"extract": "rules"})


def contents(memory):
    return sorted((record.id, record.text) for record in memory.select())


def test_the_same_conversation_twice_adds_nothing(service):
    first = service.add(TALK, **ME)
    there, commits = contents(service.memory), len(service.memory.history())
    again = service.add(TALK, **ME)
    assert (len(first.turns), len(again.turns), again.items) == (3, 0, [])
    assert contents(service.memory) == there
    assert len(service.memory.history()) == commits


@pytest.mark.parametrize("session", [{}, {"session_id": "s"}])
def test_a_conversation_that_grew_adds_what_is_new(service, session):
    for end in (1, 2, 2, 3, 3):
        service.add(TALK[:end], **ME, **session)
    positions = [record.metadata["agent"]["at"] for record in service.memory.select({"agent.kind": "turn"})]
    assert positions == [0, 1, 2]


def test_a_session_takes_parts_windows_and_repeats(service):
    texts = [f"message number {n}" for n in range(8)]
    said = [{"role": "user", "content": text} for text in texts]
    for part in (said[:2], said[2:3], said[1:5], said[2:4], said[4:8], said[:8], said[5:6]):
        service.add(part, **ME, session_id="s")
    turns = service.memory.select({"agent.kind": "turn"}, order_by="agent.at")
    assert [record.text.partition(": ")[2] for record in turns] == texts


def test_conversations_that_begin_alike_are_two(service):
    one, two = ([{"role": "user", "content": "Hi"}, {"role": "user", "content": text}] for text in ("tea", "coffee"))
    for said in (one, two, one, two):
        service.add(said, **ME)
    assert len(service.memory.select({"agent.kind": "resource"})) == 2
    assert len(service.memory.select({"agent.kind": "turn"})) == 4


def test_any_number_of_conversations_begin_alike(service):
    for _ in range(2):
        for number in range(20):
            service.add([{"role": "user", "content": "Hi"}, {"role": "user", "content": f"number {number}"}], **ME)
    assert len(service.memory.select({"agent.kind": "turn"})) == 40


def test_one_call_is_one_commit_when_nothing_is_extracted():
    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory)
        before = len(memory.history())
        service.add(TALK, **ME)
        assert len(memory.history()) == before + 1


def test_a_line_said_a_thousand_times_is_one_item(service):
    forms = ("I like tea.", "I  LIKE tea", "\uff29 like \uff54ea.", "i like tea!")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    said = [
        {"role": "user", "content": forms[n % 4], "created_at": (begin + timedelta(hours=n)).isoformat()}
        for n in range(1_000)
    ]
    for first in range(0, 960, 80):
        service.add(said[first : first + 80], **ME, session_id=f"{first}")
    for message in said[960:]:
        service.add([message], **ME, session_id="one by one")
    (item,) = service.list_memory_items(ME)
    assert (item.summary, item.count) == ("I like tea.", 1_000)
    turns = {record.id for record in service.memory.select({"agent.kind": "turn"})}
    for whole in (service.get(item.id, **ME), *service.history(item.id, **ME)):
        assert len(whole.sources) == 1_000
        assert set(whole.sources) == turns


def test_numbers_tell_items_apart_and_forms_do_not(service):
    def made(text):
        return service.create_memory_item(memory_content=text, user=ME)

    first, other, again = made("PR 260 merged"), made("PR 480 merged"), made("PR 260  MERGED.")
    assert first.id == again.id != other.id
    assert other.same_as is None
    assert made("커피를 좋아한다").id == made("커피를  좋아한다.").id
    assert len(service.list_memory_items(ME)) == 3


def test_what_says_nearly_the_same_is_linked_and_shown_once(service):
    texts = ("the office of the harbor master opens at nine", "the office of the harbor master opens at nine sharp")
    first, second = (service.create_memory_item(memory_content=text, user=ME) for text in texts)
    assert second.same_as == first.id
    answer = service.recall("When does the office of the harbor master open?", **ME)
    assert len(answer.hits) == 1
    assert [left.why for left in answer.left_out] == ["repeat"]
    assert len(service.list_memory_items(ME)) == 2


def test_an_item_that_expired_is_not_recalled(service):
    service.create_memory_item(memory_content="The parking code is 99", user=ME, expires_at="2026-01-01")
    assert service.recall("parking code", **ME, now=datetime(2026, 5, 8, tzinfo=UTC)).ranked == []


def test_what_expired_holds_again_when_it_is_said_again_or_corrected():
    service = SyncMemoryService(Memory.create(":memory:"), clock=lambda: datetime(2026, 5, 8, tzinfo=UTC))

    def made(**options):
        return service.create_memory_item(memory_content="The parking code is 99", user=ME, **options)

    item = made(expires_at="2026-01-01")
    assert made(expires_at="2025-01-01").expires_at == item.expires_at
    assert service.recall("parking code", **ME).ranked == []
    assert made(expires_at="2026-06-01").expires_at == "2026-06-01T00:00:00+00:00"
    assert made().expires_at == "2026-06-01T00:00:00+00:00"
    (hit,) = service.recall("parking code", **ME).hits
    assert hit.text == "The parking code is 99"
    late = SyncMemoryService(service.memory, clock=lambda: datetime(2026, 7, 1, tzinfo=UTC))
    assert late.recall("parking code", **ME).ranked == []
    late.update_memory_item(memory_id=item.id, memory_content="The parking code is 12", user=ME)
    assert [hit.text for hit in late.recall("parking code", **ME).hits] == ["The parking code is 12"]
    again = late.create_memory_item(memory_content="Milk is in the fridge", user=ME, expires_at="2026-06-01")
    assert late.create_memory_item(memory_content="Milk is in the fridge", user=ME).expires_at is None
    assert late.get(again.id, **ME)["count"] == 2


def test_salience_prefers_what_was_said_often(service):
    for times, text in ((1, "The tram to the harbor is green"), (9, "The tram to the castle is red")):
        for _ in range(times):
            service.create_memory_item(memory_content=text, user=ME)
    asking = SyncMemoryService(service.memory, retrieve_config={"salience": True})
    ranked = asking.recall("Where does the tram go?", **ME).ranked
    assert "castle" in ranked[0].text
    assert ranked[0].parts["salience"] > ranked[1].parts["salience"]
    assert all("salience" not in hit.parts for hit in service.recall("Where does the tram go?", **ME).ranked)


def test_a_damaged_frame_costs_what_lies_in_it(tmp_path):
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        service = SyncMemoryService(memory)
        for number in range(4):
            said = [{"role": "user", "content": f"The tram number {number} is green, says {word}."} for word in "abc"]
            service.add(said, **ME, session_id=str(number))
        service.recall("tram", **ME)
        frames = [commit.bytes for commit in memory.history()]
    data = bytearray(path.read_bytes())
    middle = len(data) - sum(frames[-2:]) + frames[-2] // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    with warnings.catch_warnings(), Memory.open(path) as memory:
        warnings.simplefilter("ignore")
        found = SyncMemoryService(memory).recall("tram", **ME, budget=2_000).hits
        assert 9 <= len(found) <= 12


# --- forgetting ---


def test_forgetting_a_turn_takes_its_items_and_summaries(service):
    added = service.add(TALK, **ME)
    receipt = service.forget(added.turns[0].id, **ME)
    assert receipt.turns == [added.turns[0].id]
    assert len(receipt.items) == 2
    everything = " ".join(text for _, text in contents(service.memory))
    assert "Berlin" not in everything
    assert "hiking" not in everything
    assert "green" in everything
    assert service.add(TALK, **ME).turns == []  # given again, it does not come back
    assert "Berlin" not in service.recall("Berlin", **ME).text


def test_an_item_with_another_source_stays(service):
    for day in ("2026-01-01", "2026-01-02"):
        service.add([{"role": "user", "content": "I like tea.", "created_at": day}], **ME)
    turns = [record.id for record in service.memory.select({"agent.kind": "turn"})]
    assert service.forget(turns[0], **ME).items == []
    assert [(item.count, item.sources) for item in service.list_memory_items(ME)] == [(1, [turns[1]])]
    assert len(service.forget(turns[1], **ME).items) == 1


def test_the_bytes_are_gone_after_compact(tmp_path, service):
    with Memory.create(tmp_path / "m.mp4") as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        service.add([{"role": "user", "content": "I live in Xanadupolis."}], **ME, session_id="a")
        service.add([{"role": "user", "content": "I like tea."}], **ME, session_id="b")
        service.recall("Where do I live?", **ME)
        export_markdown(service, tmp_path / "pages", **ME)
        service.forget(**ME, session_id="a")
        memory.compact()
        export_markdown(service, tmp_path / "pages", **ME)
        assert list((tmp_path / "pages").glob("*.md"))
        assert service.recall("Xanadupolis", **ME).hits[0].text == "I like tea."
        assert not any("anadupolis" in f"{record}" for record in memory.select())
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"anadupolis" not in held.lower()


def test_forgetting_all_and_beginning_again(service):
    service.add(TALK, **ME)
    service.add(TALK, user_id="you")
    service.clear_memory(ME)
    assert service.list_memory_items(ME) == []
    assert service.recall("Berlin", **ME).ranked == []
    assert service.recall("Berlin", user_id="you").ranked
    assert len(service.add(TALK, **ME).turns) == 3  # memorizing after clearing works


# --- the documented API ---


def test_three_conversations_in_and_questions_answered(tmp_path, service):
    files = []
    for number, fact in enumerate(("I work at Siemens.", "I adopted a cat last week.", "I love Korean food.")):
        path = tmp_path / f"conversation_{number}.json"
        path.write_text(json.dumps({"content": [{"role": "user", "content": {"text": fact}}]}), "utf-8")
        files.append(path)
    for path in [*files, *files]:
        result = service.memorize(resource_url=path, modality="conversation", user=ME)
        assert result["resource"]["url"] == str(path)
        assert set(dict(result)) >= {"resource", "items", "categories"}
    assert len(service.list_memory_items(ME)) == 3
    assert {category.name for category in service.list_memory_categories(ME)} == {
        "work_life",
        "activities",
        "preferences",
    }
    for question, answer in (("Where do I work?", "Siemens"), ("Which pet do I have? cat", "cat"), ("food", "Korean")):
        found = service.retrieve([{"role": "user", "content": {"text": question}}], ME, method="rag")
        assert found["needs_retrieval"] is True
        assert found["original_query"] == found["rewritten_query"] == question
        assert answer in found["items"][0]["summary"]
        assert found.resources


@pytest.mark.parametrize("modality", ["conversation", "document", "image", "audio", "video"])
def test_what_is_no_file_is_not_read(service, modality, tmp_path):
    with pytest.raises(InvalidInputError, match="not a file"):
        service.memorize(resource_url=tmp_path, modality=modality, user=ME)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{", "JSON"),
        ('[{"role": "user", "content": "a"}, {"role": "user"}]', "message 1"),
        ("[]", "no message"),
        ("7", "not 7"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(service, tmp_path, text, told):
    path = tmp_path / "chat.json"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInputError, match=told) as caught:
        service.memorize(resource_url=path, user=ME)
    assert told == "no message" or "chat.json" in str(caught.value)
    assert len(service.memory) == 0


def test_empty_conversations_of_an_export_are_passed_over(service):
    def exported(*texts):
        return {"uuid": f"c{texts}", "chat_messages": [{"sender": "human", "text": text} for text in texts]}

    done = service.add([exported("I like tea."), exported(), exported(" "), exported("I like figs.")], **ME)
    assert [len(done.resources), len(done.turns), len(done.items)] == [2, 2, 2]
    there = contents(service.memory)
    for wrong in ([exported(), exported("")], [exported("I like jazz."), {"title": "cut off"}]):
        with pytest.raises(InvalidInputError, match=r"no message|conversation 1"):
            service.add(wrong, **ME)
    assert contents(service.memory) == there


@pytest.mark.parametrize("question", ['"', "***", "-", '""', " \t?", "\x00", "\ud800"])
def test_a_question_without_words_finds_nothing_or_what_sounds_alike(service, question):
    service.add("I like tea.", **ME)
    assert service.recall(question, **ME).text.count("\n") < 2
    assert len(service.retrieve(question, ME).items) < 2


def test_equal_names_in_two_folders_are_two_resources(tmp_path, service):
    for folder, text in (("a", "I like tea."), ("b", "I like coffee.")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "chat.json").write_text(json.dumps([{"role": "user", "content": text}]), "utf-8")
        service.memorize(resource_url=tmp_path / folder / "chat.json", user=ME)
    assert len(service.memory.select({"agent.kind": "resource"})) == 2


def test_an_update_of_the_type_alone_keeps_everything_else(service):
    item = service.create_memory_item(memory_content="Ada can weld", memory_categories=["knowledge"], user=ME)
    newer = service.update_memory_item(memory_id=item.id, memory_type="skill", user=ME)
    assert (newer.memory_type, newer.summary, newer.categories, newer.version) == (
        "skill",
        "Ada can weld",
        ["knowledge"],
        1,
    )


def test_delete_returns_what_it_was(service):
    item = service.create_memory_item(memory_content="Ada can weld", user=ME)
    assert service.delete_memory_item(memory_id=item.id, user=ME).summary == "Ada can weld"
    with pytest.raises(RecordNotFoundError):
        service.delete_memory_item(memory_id=item.id, user=ME)


class Scripted:
    """A model that gives the next of some answers."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.prompts: list[str] = []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        return self.answers.pop(0)


def test_llm_one_call_a_segment_and_one_a_category():
    items = {
        "items": [{"text": "Ada lives in Berlin", "type": "profile", "categories": ["personal_info"], "turns": [0]}]
    }
    ask = Scripted(f"Sure: {json.dumps(items)}", "- Ada lives in Berlin")
    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory, model=ask, memorize_config={"extract": "llm"})
        result = service.add(TALK, **ME)
        assert (result.model_calls, len(ask.prompts), result.failures) == (2, 2, [])
        assert result.items[0].sources == [result.turns[0].id]
        assert result.categories[0].summary == "- Ada lives in Berlin"
        assert service.add(TALK, **ME).model_calls == 0
        service.forget(result.turns[0].id, **ME)
        assert service.list_memory_categories(ME)[0].summary == ""


def test_junk_three_times_keeps_the_turns_and_a_repeat_completes():
    good = json.dumps({"items": [{"text": "Ada lives in Berlin", "turns": [0]}]})
    ask = Scripted("no", '{"items": 7}', "[]", good)
    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory, model=ask, memorize_config={"extract": "llm"})
        failed = service.add(TALK, **ME)
        assert (len(failed.turns), failed.items, len(failed.failures), failed.model_calls) == (3, [], 1, 3)
        completed = service.add(TALK, **ME)
        assert (completed.turns, [item.summary for item in completed.items]) == ([], ["Ada lives in Berlin"])


@pytest.mark.parametrize(
    "answer",
    [
        '<think>{"items": 3}, or {"text": "x"}?</think>\n```json\n{"items": [{"text": "Ada swims"}]}\n```',
        'Of {names} and {"a": 1}: {"items": [{"text": "Ada swims", "turns": [99, -1]}]} {"b": 2}',
        '{"items": [{"text": "no"}]}\nNo, rather:\n{"items": [{"text": "Ada swims"}]}',
    ],
)
def test_a_model_may_think_aloud(answer):
    service = SyncMemoryService(Memory.create(":memory:"), model=Scripted(answer), memorize_config={"extract": "llm"})
    done = service.add(TALK, **ME)
    assert ([item.summary for item in done.items], done.failures) == (["Ada swims"], [])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"items": [{"text": "a"}, {"te', "Unterminated"),
        ('{"text": "a"}', "none of items"),
        ("{" * 100_000, "Expecting"),
        ('{"items":' + "[" * 50_000, "recursion"),
        ('{"items": [{"text": 5}]}', "Expected `str`"),
        ("no", "no JSON object"),
        (None, "text, not None"),
    ],
)
def test_what_a_model_answers_wrongly_is_told(answer, told):
    model = Scripted(*[answer] * 3)
    service = SyncMemoryService(Memory.create(":memory:"), model=model, memorize_config={"extract": "llm"})
    (failure,) = service.add(TALK, **ME).failures
    assert told in failure
    assert "nothing else" not in failure
    assert told in model.prompts[2]


def test_llm_retrieval_asks_twice_at_most():
    with Memory.create(":memory:") as memory:
        ask = Scripted(
            '{"needs_retrieval": true, "rewritten_query": "tea"}', '{"ids": []}', '{"needs_retrieval": false}'
        )
        service = SyncMemoryService(memory, model=ask)
        service.create_memory_item(memory_content="Ada likes tea", user=ME)
        found = service.retrieve("and that?", ME, method="llm")
        assert (found.rewritten_query, found.items, found.model_calls) == ("tea", [], 2)
        assert service.retrieve("thanks", ME, method="llm").needs_retrieval is False


def test_models_of_frameworks():
    fakes = pytest.importorskip("langchain_core.language_models.fake_chat_models")
    with Memory.create(":memory:") as memory:
        model = fakes.FakeListChatModel(responses=['{"items": []}'])
        service = SyncMemoryService(memory, model=model, memorize_config={"extract": "llm"})
        assert service.add(TALK, **ME).failures == []


def test_the_asynchronous_face():
    async def run():
        async with MemoryService(await Memory.acreate(":memory:"), memorize_config={"extract": "rules"}) as service:
            await asyncio.gather(*(service.add(TALK, user_id=f"u{n}") for n in range(4)))
            assert len(await service.list_memory_items({"user_id__in": ["u0", "u1"]})) == 6
            item = (await service.list_memory_items({"user_id": "u0"}))[0]
            await service.update_memory_item(
                memory_id=item.id, memory_content="I live in Rome.", user={"user_id": "u0"}
            )
            assert len(await service.history(item.id, user_id="u0")) == 2
            assert (await service.get(item.id, user_id="u0"))["summary"] == "I live in Rome."
            assert (await service.search("Rome", user_id="u0", k=1))[0].text == "I live in Rome."
            assert (await service.retrieve("Rome", {"user_id": "u0"})).items
            await service.delete_memory_item(memory_id=item.id, user={"user_id": "u0"})
            await service.create_memory_item(memory_content="x", user={"user_id": "u0"})
            assert (await service.forget(user_id="u1")).turns
            await service.clear_memory({"user_id": "u0"})
            assert (await service.recall("Berlin", user_id="u0")).text == ""
            assert (await service.list_memory_categories({"user_id": "u2"}))[0].name

    asyncio.run(run())


# --- mistakes ---


def test_unknown_keys_name_the_nearest():
    with Memory.create(":memory:") as memory:
        for config, told in (
            ({"memorize_config": {"extrct": "rules"}}, "extract"),
            ({"retrieve_config": {"metod": "rag"}}, "method"),
            ({"user_config": {"modle": ["user_id"]}}, "model"),
            ({"memorize_config": {"extract": "rule"}}, "extract"),
            ({"memorize_config": {"extract": "llm"}}, "model="),
            ({"model": 7}, "callable"),
            ({"user_config": {"model": ["agent"]}}, "agent"),
            ({"user_config": {"model": ["tenant", "budget", "where"]}}, "budget, where: choose other names"),
        ):
            with pytest.raises(InvalidInputError, match=told):
                SyncMemoryService(memory, **config)


def test_mistakes_of_callers(service, tmp_path):
    cases = (
        (lambda: service.add(TALK), "owner"),
        (lambda: service.add(TALK, session_id="s"), "owner"),
        (lambda: service.add(TALK, user="me"), "user_id"),
        (lambda: service.add(TALK, user_id=None), "user_id"),
        (lambda: service.add(TALK, user_id=["a", "b"]), "user_id"),
        (lambda: service.recall("x"), "owner"),
        (lambda: service.add(TALK, user_id=2**63), "64 bits"),
        (lambda: service.add(TALK, user_id=10**5_000), "64 bits"),
        (lambda: service.recall("x", user_id="a\ud800"), "surrogate"),
        (lambda: service.forget(where={"user_id": "me"}, user_id="you"), "user_id twice"),
        (lambda: service.list_memory_items(), "owner"),
        (lambda: service.clear_memory({}), "owner"),
        (lambda: service.forget(["x"]), "owner"),
        (lambda: service.list_memory_items({"user_id__in": []}), "user_id__in"),
        (lambda: service.list_memory_items({"user_id__gt": "a"}), "operator"),
        (lambda: service.add([], user_id="me"), "no message"),
        (lambda: service.memorize(resource_url="x", modality="conversatoin", user=ME), "conversation"),
        (lambda: service.memorize(resource_url=tmp_path / "none.json", user=ME), "none.json"),
        (lambda: service.memorize(resource_url="https://example.org/talk.json", user=ME), "URL .* download it first"),
        (lambda: service.recall(" ", **ME), "question is empty"),
        (lambda: service.search("\n", **ME), "question is empty"),
        (lambda: service.retrieve("", ME), "question is missing"),
        (lambda: service.retrieve([], ME), "question is missing"),
        (lambda: service.create_memory_item(memory_content=" ", user=ME), "empty"),
        (lambda: service.create_memory_item(memory_content="x", memory_type="profil", user=ME), "profile"),
        (lambda: service.retrieve("x", ME, method="both"), "rag"),
        (lambda: service.retrieve("x", ME, method="llm"), "model="),
        (lambda: service.recall("x", as_of="soon", **ME), "as_of"),
    )
    for call, told in cases:
        with pytest.raises(InvalidInputError, match=told):
            call()


def test_a_scope_of_ones_own():
    class Scope:
        tenant: str
        user_id: int

    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory, user_config={"model": Scope, "default": {"tenant": "t"}})
        service.add(TALK, user_id=7)
        assert service.recall("Berlin", user_id=7).hits
        assert not service.recall("Berlin", user_id=8).hits
        assert not service.recall("Berlin", user_id=7, tenant="u").hits


def test_no_model_and_no_network(monkeypatch, service):
    import socket

    def forbidden(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    service.add(TALK, **ME)
    assert service.recall("Berlin", **ME).hits
    assert service.retrieve("Berlin", ME).model_calls == 0


def test_another_reader_sees_whole_conversations(tmp_path):
    with Memory.create(tmp_path / "m.mp4") as writing, Memory.open(tmp_path / "m.mp4") as reading:
        writer, reader = SyncMemoryService(writing), SyncMemoryService(reading)
        for number in range(5):
            writer.add(TALK, **ME, session_id=str(number))
            assert len(reader.recall("Berlin hiking Alps", **ME).ranked) == 3 * (number + 1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda s: s.recall(None, user_id="ada"), "question must be a text"),
        (lambda s: s.recall("figs", k="5", user_id="ada"), "k must be a whole number"),
        (lambda s: s.search("figs", k=-1, user_id="ada"), "k must be a whole number"),
        (lambda s: s.recall("figs", now="soon", user_id="ada"), "now must be"),
        (lambda s: s.recall("figs", known="figs", user_id="ada"), "known must be a list"),
        (lambda s: s.recall("figs", user_id=" "), "user_id must be a str that is not empty"),
        (lambda s: s.memorize(resource_url=None, user={"user_id": "ada"}), "resource_url must be a path"),
        (lambda s: s.memorize(resource_url="\ud800", user={"user_id": "ada"}), "cannot be used"),
        (lambda s: export_markdown(s, "x" * 5_000, user_id="ada"), "cannot be used"),
        (lambda s: s.recall("figs", count_tokens=5, user_id="ada"), "count_tokens must be a function"),
        (lambda s: s.recall("figs", count_tokens=str, user_id="ada"), "count_tokens gives"),
        (lambda s: SyncMemoryService(s.memory, **WRONG_READER), "image must be a function"),
        (lambda s: SyncMemoryService(s.memory, **WRONG_CLOCK), "clock must be a function"),
        (lambda s: s.memorize(resource_url="x", modality=None, user={"user_id": "ada"}), "not a modality"),
        (lambda s: s.memorize(resource_url="x", user="ada"), "user must be a dict"),
        (lambda s: s.list_memory_items("ada"), "where must be a dict"),
        (lambda s: s.clear_memory({"user_id": "ada", "user_id__in": ["bob"]}), "gives user_id twice"),
        (lambda s: s.forget([5], user_id="ada"), "ids must be texts"),
        (
            lambda s: s.create_memory_item(memory_content="x", memory_categories="habits", user={"user_id": "ada"}),
            "list",
        ),
        (lambda s: s.create_memory_item(memory_content="x", memory_categories=[" "], user={"user_id": "ada"}), "empty"),
        (lambda s: s.add([{"mapping": {"a": 1}, "current_node": {}}], user_id="ada"), "no message"),
        (lambda s: SyncMemoryService(s.memory, memorize_config={"attempts": 0}), "attempts must be"),
        (lambda s: SyncMemoryService(s.memory, memorize_config={"roles": ["usr"]}), "did you mean 'user'"),
        (lambda s: SyncMemoryService(s.memory, retrieve_config={"k": 0}), "k must be"),
        (lambda s: SyncMemoryService(s.memory, **NO_CLOCK).add("x", user_id="ada"), "clock"),
    ],
)
def test_values_of_the_wrong_kind(service, call, told):
    with pytest.raises(InvalidInputError, match=told):
        call(service)
    assert service.list_memory_categories({"user_id": "ada"}) == []


def test_what_was_said_earlier_does_not_correct_what_was_said_later(service):
    for text, day in (
        ("Berlin", "2026-03-01"),
        ("Lisbon", "2026-06-01"),
        ("Paris", "2025-01-01"),
        ("Rome", "2026-04-01"),
    ):
        service.add([{"role": "user", "content": f"I live in {text}.", "created_at": day}], user_id="ada")
    (item,) = service.list_memory_items({"user_id": "ada"})
    versions = service.history(item.id, user_id="ada")
    assert [each.summary.split()[-1] for each in versions] == ["Paris.", "Berlin.", "Rome.", "Lisbon."]
    assert [each.version for each in versions] == [1, 2, 3, 4]
    for day, place in (
        ("2025-06-01", "Paris"),
        ("2026-03-15", "Berlin"),
        ("2026-05-01", "Rome"),
        ("2026-07-01", "Lisbon"),
    ):
        (first, *_) = service.recall("Where do I live?", user_id="ada", as_of=day).hits
        assert place in first.text


def test_what_is_true_again(service):
    said = [("Paris", "2025-01-01"), ("Berlin", "2026-01-01"), ("Paris", "2026-06-01")]
    messages = [{"role": "user", "content": f"I live in {place}.", "created_at": day} for place, day in said]
    service.add(messages, user_id="ada")
    (item,) = service.list_memory_items({"user_id": "ada"})
    versions = service.history(item.id, user_id="ada")
    assert [each.summary.split()[-1] for each in versions] == ["Paris.", "Berlin.", "Paris."]


def test_a_clock_that_jumps_back():
    times = iter([datetime(2026, 6, 1, tzinfo=UTC), *[datetime(2026, 5, 1, tzinfo=UTC)] * 20])
    service = SyncMemoryService(
        Memory.create(":memory:"), memorize_config={"extract": "rules"}, clock=lambda: next(times)
    )
    service.create_memory_item(memory_content="The code is 1.", user={"user_id": "ada"})
    (item,) = service.list_memory_items({"user_id": "ada"})
    service.update_memory_item(memory_id=item.id, memory_content="The code is 2.", user={"user_id": "ada"})
    service.add("I live in Berlin.", user_id="ada")
    service.add("I live in Lisbon.", user_id="ada")
    assert [each.summary for each in service.list_memory_items({"user_id": "ada"})] == [
        "The code is 2.",
        "I live in Lisbon.",
    ]
    assert [each.summary[-2:] for each in service.history(item.id, user_id="ada")] == ["1.", "2."]


def test_a_category_has_one_name_whatever_its_case(service):
    for content, name in (("I run daily", "Habits"), ("I swim", "habits"), ("Tea", "Drinks"), ("Milk", " drinks ")):
        service.create_memory_item(memory_content=content, memory_categories=[name], user={"user_id": "ada"})
    found = {each.name: each.summary.count("- ") for each in service.list_memory_categories({"user_id": "ada"})}
    assert found == {"habits": 2, "Drinks": 2}


def test_what_others_do_while_a_model_reads():
    """Between the turns and their items anything may happen: what was forgotten then is in no item."""
    memory = Memory.create(":memory:")
    other = SyncMemoryService(memory)
    said = [{"role": "user", "content": text} for text in ("I like figs.", "I like dates.")]

    def model(prompt):
        if not prompt.startswith("Read a part"):
            return "- Summary"
        turns = memory.select({"agent.kind": "turn"})
        other.forget(turns[0].id, **ME)
        other.add("And I like plums.", session_id="1", **ME)
        return json.dumps({"items": [{"text": text["content"], "turns": [n]} for n, text in enumerate(said)]})

    service = SyncMemoryService(memory, model=model, memorize_config={"extract": "llm"})
    assert [item.summary for item in service.add(said, session_id="1", **ME).items] == ["I like dates."]
    assert "figs" not in repr(memory.select())
    (resource,) = memory.select({"agent.kind": "resource"})
    assert (resource.metadata["agent"]["turns"], resource.metadata["agent"]["extracted"]) == (3, 2)
    assert other.add(said, session_id="1", **ME).turns == []


def test_a_session_that_was_forgotten_begins_again(service):
    for said in (["one", "two"], ["one", "two", "three"]):
        service.add(said, session_id="1", **ME)
    SyncMemoryService(service.memory).forget(**ME)
    assert [len(service.add([text], session_id="1", **ME).turns) for text in ("four", "four", "one")] == [1, 0, 1]


def test_records_of_other_programs_are_theirs(tmp_path):
    """What looks like a record of the agent and lacks what it needs is neither read nor forgotten."""
    kinds = ("turn", "item", "category", "resource", "sources", "forgotten", 5, None)
    with Memory.create(":memory:") as memory:
        theirs: list[dict[str, Any]] = [{**ME, "agent": {"kind": kind}} for kind in kinds]
        theirs += [{**ME, "agent": "bot"}, {**ME, "created_at": 5, "agent": {"kind": "item", "memory_type": "event"}}]
        memory.add([f"tea of program {n}" for n in range(len(theirs))], theirs)
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        service.add("I like tea.", **ME)
        assert [hit.text for hit in service.recall("tea program", **ME).hits] == ["I like tea."]
        assert [item.summary for item in service.list_memory_items(ME)] == ["I like tea."]
        assert [item.summary for item in service.retrieve("tea program", ME).items] == ["I like tea."]
        assert export_markdown(service, tmp_path / "out", **ME).files == ["MEMORY.md", "preferences.md"]
        service.forget(**ME)
        assert len(memory) == len(theirs)


@pytest.mark.parametrize("link", ["supersedes", "superseded_by", "same_as", "sources"])
@pytest.mark.parametrize("kind", ["turn", "resource", "category", "item", "nothing"])
def test_links_that_lead_to_another_kind_of_record(service, tmp_path, link, kind):
    """Another program, or a file that was put together by hand, may link anything with anything."""
    said = service.add("I like tea. I live in Berlin.", **ME)
    target = {
        "turn": said.turns[0].id,
        "resource": said.resource.id,
        "category": said.categories[0].id,
        "item": "item-odd",  # itself
        "nothing": "item-none",
    }[kind]
    odd = Item(id="item-odd", memory_type="profile", summary="I like tea leaves.", key="k", slot="user home", scope=ME)
    fields = {"sources": [target]} if link == "sources" else {link: target}
    if link == "superseded_by":
        fields["superseded_at"] = "2026-01-01T00:00:00+00:00"
    draft = item_draft(changed(odd, created_at="2025-01-01T00:00:00+00:00", **fields))
    service.memory.add([draft.text], [draft.metadata], [draft.id])
    service.add("I don't like tea leaves any more. I moved to Rome.", session_id="2", **ME)
    for as_of in (None, "2025-06-01", "2026-06-01"):
        service.recall("Do I like tea leaves? Where do I live?", as_of=as_of, **ME)
    service.retrieve("tea leaves", ME)
    assert service.history("item-odd", **ME)
    service.update_memory_item(memory_id="item-odd", memory_content="I like tea trees.", user=ME)
    export_markdown(service, tmp_path / "out", **ME)
    service.forget([said.turns[0].id, "item-odd"], **ME)
    service.forget(**ME)
    assert list(service.memory) == []
