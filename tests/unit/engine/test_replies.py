"""What the journal keeps of a model request, and what it gives back: the same reply, or the same failure."""

import asyncio
import math
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from netra_apex.core.journal import Step
from netra_apex.core.messages import (
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from netra_apex.engine.replies import asking, failed, is_failure, replied, reply_of, was_shown
from netra_apex.errors import ModelFailed, ModelUnavailable, RunFailed

SAID: tuple[ModelMessage, ...] = (
    SystemMessage("Be brief."),
    UserMessage("hi"),
    AssistantMessage("", (ToolCall("model-1", "look", '{"at": 1}'),)),
    ToolMessage("model-1", "nothing there"),
)


def asked(*messages: ModelMessage, key: str = "f1.2", **values: Any) -> Step:
    return replace(asking(ModelRequest(messages=messages or SAID, **values)), key=key)


def kept(step: Step) -> Step:
    """The step after it was in the file."""
    return msgspec.json.decode(msgspec.json.encode(step), type=Step)


def test_a_request_is_a_step_of_the_run_at_its_place() -> None:
    step = asked()
    assert (step.key, step.kind, step.name, step.state, step.result) == ("f1.2", "model", "model", "started", None)
    assert step == asked(), "the same request is the same step"
    assert step.digest == asked(key="1").digest


def test_a_request_is_told_by_its_conversation_and_not_by_what_the_application_adds() -> None:
    spec = ToolSpec(name="look", description="Looks.", parameters={"type": "object"})
    same = [
        asked(*SAID[1:]),
        asked(SystemMessage("Be long."), *SAID[1:]),
        asked(*SAID[1:], SystemMessage("Now answer.")),
        asked(*SAID, tools=(spec,), output_schema={"type": "object"}),
    ]
    assert {step.digest for step in same} == {asked().digest}


@pytest.mark.parametrize(
    "other",
    [
        [UserMessage("ho")],
        [AssistantMessage("hi")],
        [UserMessage("hi"), UserMessage("hi")],
        [*SAID[1:3], ToolMessage("model-1", "something")],
        [*SAID[1:3], ToolMessage("model-2", "nothing there")],
        [UserMessage("hi"), AssistantMessage("", (ToolCall("model-1", "look", '{"at": 2}'),)), SAID[3]],
        [SAID[3], *SAID[1:3]],
    ],
)
def test_another_conversation_is_another_request(other: list[ModelMessage]) -> None:
    assert asked(*other).digest != asked().digest


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="hello"),
        Reply(text=""),
        Reply(
            text="a\n\0é😀",
            thinking="hm",
            tool_calls=(ToolCall("a", "look", "{not json"), ToolCall("b", "pay", '{"x": 1}')),
            usage=Usage(10, 20, 1, 0.1 + 0.2),
        ),
        Reply(text="x" * 1_000_000, usage=Usage(2**53, 0, 3, None)),
    ],
    ids=["a text", "nothing", "everything", "a long text"],
)
@pytest.mark.parametrize("shown", [True, False])
def test_a_reply_is_given_back_whole(reply: Reply, shown: bool) -> None:
    step = kept(replied(asked(), reply, shown=shown))
    assert reply_of(step) == reply
    assert type(reply_of(step).tool_calls) is tuple
    assert (step.state, step.key, step.digest) == ("finished", "f1.2", asked().digest)
    assert not is_failure(step)
    assert was_shown(step) is shown


def test_what_was_made_of_a_reply_is_not_kept_as_it_is_made_again() -> None:
    step = kept(replied(asked(), Reply(text="{}", output=asyncio.Event()), shown=True))
    assert reply_of(step) == Reply(text="{}")


FAILURES = [
    ModelFailed("it is overloaded", model="m:1", status=529, provider_message="Overloaded"),
    ModelFailed("it refuses", model="m:1", status=400, provider_message='bad "input"'),
    ModelFailed("too many", model="m:1", status=429),
    ModelFailed("it broke off", model=""),
    ModelUnavailable("no connection", model="m:1"),
    ModelUnavailable("needs a key", model="m:1", set_up=False),
]


@pytest.mark.parametrize("error", FAILURES, ids=str)
def test_a_failure_is_raised_as_it_was(error: ModelFailed) -> None:
    step = kept(failed(asked(), error))
    assert step.state == "finished"
    assert is_failure(step)
    assert not was_shown(step), "nothing is told of a failure"
    with pytest.raises(RunFailed) as raised:
        reply_of(step)
    again = raised.value
    assert type(again) is type(error)
    assert isinstance(again, ModelFailed)
    facts = ("code", "message", "model", "status", "provider_message", "retryable")
    assert {name: getattr(again, name) for name in facts} == {name: getattr(error, name) for name in facts}
    assert str(again) == str(error)


def test_an_exception_of_an_applications_own_kind_comes_back_as_a_failure_of_the_model() -> None:
    class Sulks(ModelFailed):
        pass

    with pytest.raises(ModelFailed, match="not today") as raised:
        reply_of(kept(failed(asked(), Sulks("not today", model="mine"))))
    assert (raised.value.code, raised.value.model) == ("model_error", "mine")


def test_a_cost_that_is_no_number_is_kept_as_unknown() -> None:
    step = kept(replied(asked(), Reply(text="", usage=Usage(1, 1, 1, math.nan)), shown=True))
    assert reply_of(step).usage == Usage(1, 1, 1, None)
