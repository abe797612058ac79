"""Pipelines: changed step by step, checked at each change, watched by interceptors."""

from __future__ import annotations

from typing import Any

import pytest

from memvid_core import InvalidInputError, Memory
from memvid_core.agent import Conversation, Message, Pipeline, Step, SyncMemoryService

ME: dict[str, Any] = {"user_id": "me"}


def add(name, number=1, **more):
    return Step(name, lambda value, by: {"value": value + by}, ("value",), ("value",), options={"by": number}, **more)


@pytest.fixture
def pipeline():
    return Pipeline("sum", [add("one"), add("ten", 10)], given=["value"], returns=["value"])


def test_steps_are_inserted_replaced_removed_and_configured(pipeline):
    pipeline.insert_before("one", Step("double", lambda value: {"value": value * 2}, ("value",), ("value",)))
    pipeline.insert_after("ten", add("hundred", 100))
    assert pipeline.steps == ("double", "one", "ten", "hundred")
    assert pipeline.run(value=3) == {"value": 117}
    pipeline.replace("ten", add("twenty", 20))
    pipeline.remove("double")
    pipeline.configure("one", by=2)
    assert (pipeline.steps, pipeline.run(value=0)["value"]) == (("one", "twenty", "hundred"), 122)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.insert_after("one", add("ten")), "has a step 'ten' already"),
        (lambda p: p.insert_after("won", add("two")), "no step 'won'; did you mean 'one'"),
        (lambda p: p.insert_after("one", Step("x", dict, ("valeu",))), "gives 'valeu'; did you mean 'value'"),
        (lambda p: p.insert_after("one", add("x", needs=("model",))), "'x' needs model"),
        (lambda p: p.configure("one", bye=1), "no option 'bye'; did you mean 'by'"),
        (lambda p: p.replace("one", Step("x", dict, ("value",), (), (), {"value": 1})), "both an input and an option"),
        (lambda p: Pipeline("p", [], returns=["value"]), "gives value"),
        (lambda p: p.run(valeu=1), "takes value, not valeu"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(pipeline, change, message):
    with pytest.raises(InvalidInputError, match=message):
        change(pipeline)
    assert (pipeline.steps, pipeline.run(value=0)["value"]) == (("one", "ten"), 11)


def test_a_step_gives_what_it_declares(pipeline):
    pipeline.insert_after("one", Step("x", lambda value: {"other": value}, ("value",), ("value",)))
    with pytest.raises(InvalidInputError, match="'x' gives other, and declares value"):
        pipeline.run(value=1)


def test_interceptors_see_each_step_and_may_save_a_run(pipeline):
    seen = []
    pipeline.before.append(lambda name, values: seen.append(("before", name, values["value"])))
    pipeline.after.append(lambda name, values: seen.append(("after", name, values.clear())))
    pipeline.replace("ten", Step("fail", lambda value: {"value": 1 / 0}, ("value",), ("value",)))
    with pytest.raises(ZeroDivisionError):
        pipeline.run(value=0)
    pipeline.on_error.append(lambda name, error: None)
    pipeline.on_error.append(lambda name, error: {"value": f"{name}: {type(error).__name__}"})
    assert pipeline.run(value=0)["value"] == "fail: ZeroDivisionError"
    assert seen[-4:] == [("before", "one", 0), ("after", "one", None), ("before", "fail", 1), ("after", "fail", None)]


def test_a_step_of_one_s_own_redacts_before_anything_is_written():
    def redact(conversations, word):
        return {"conversations": [_without(each, word) for each in conversations]}

    with Memory.create(":memory:") as memory:
        service = SyncMemoryService(memory)
        assert {name: each.steps for name, each in service.pipelines.items()} == {
            "memorize": ("remember", "extract"), "recall": ("find",),
        "retrieve": ("route", "find", "choose", "recall", "gather"),
        }  # fmt: skip
        own = Step("redact", redact, ("conversations",), ("conversations",), options={"word": "sesame"})
        service.pipelines["memorize"].insert_before("remember", own)
        service.add("The password is sesame.", **ME)
        answer = service.recall("password", **ME)
        assert [hit.text for hit in answer.hits] == ["The password is ***."]
        with pytest.raises(InvalidInputError, match="needs model"):
            service.pipelines["recall"].insert_after("find", Step("rank", dict, needs=("model",)))


def _without(conversation, word):
    messages = [Message(each.role, each.text.replace(word, "***"), each.name) for each in conversation.messages]
    return Conversation(messages, conversation.id, conversation.title)


def test_retrieval_has_steps_that_can_be_changed():
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    service.add("I like figs.", user_id="me")
    assert service.pipelines["retrieve"].steps == ("route", "find", "choose", "recall", "gather")
    synonyms = Step(
        "synonyms",
        lambda question, more: {"question": f"{question} {more}"},
        inputs=("question",),
        outputs=("question",),
        options={"more": "none"},
    )
    service.insert_step_after(target_step_id="route", new_step=synonyms, pipeline="retrieve")
    service.configure_pipeline(step_id="synonyms", configs={"more": "figs"}, pipeline="retrieve")
    found = service.retrieve("fruit", {"user_id": "me"})
    assert (found.original_query, found.rewritten_query) == ("fruit", "fruit figs")
    assert [item.summary for item in found.items] == ["I like figs."]
    chosen = ("categories", "items", "next_query")
    keep = Step("choose", lambda items: {"categories": [], "items": items[:1], "next_query": None}, ("items",), chosen)
    service.replace_step(target_step_id="choose", new_step=keep, pipeline="retrieve")
    service.remove_step(target_step_id="synonyms", pipeline="retrieve")
    assert service.retrieve("figs", {"user_id": "me"}).categories == []
    with pytest.raises(InvalidInputError, match="did you mean 'retrieve'"):
        service.remove_step(target_step_id="find", pipeline="retreive")
    with pytest.raises(InvalidInputError, match="'needed'"):
        service.remove_step(target_step_id="route", pipeline="retrieve")
