"""An open conversation: each request goes to whoever can answer it, and there is always an honest answer."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.bounded import run

from netra_apex import AgentRegistry, BaseAgent, ChatOrchestrator, RunScope, Runtime, Settings, UserExecutionContext
from netra_apex.core.conversations import Post
from netra_apex.testing import ScriptedModel


class Bookings(BaseAgent):
    """Knows about bookings."""

    name = "bookings"

    async def run(self, task: str, scope: RunScope) -> str:
        return f"Booked: {task}"


class Bills(BaseAgent):
    """Knows about bills."""

    name = "bills"

    async def run(self, task: str, scope: RunScope) -> str:
        raise LookupError("the till is closed")


class Reception(ChatOrchestrator):
    """Answers guests."""

    name = "reception"
    instructions = "Be brief."
    members = (Bookings, Bills)
    thresholds = MappingProxyType({"bills": 0.9})


def routed(*intents: tuple[str, float, str], question: str = "") -> str:
    told = [{"intent": intent, "confidence": sure, "task": task} for intent, sure, task in intents]
    return json.dumps({"intents": told, "question": question})


def answered(home: Path, *steps: Any) -> tuple[Any, ScriptedModel]:
    """(what the guest was answered, the model that was asked)."""
    model = ScriptedModel(steps)

    async def main() -> Any:
        async with (
            Runtime(AgentRegistry([Reception]), Settings(home=home), model=model) as runtime,
            runtime.engines.for_user(UserExecutionContext.new("ada")) as engine,
        ):
            return await engine.run("reception", "a room, and my bill")

    result = run(main())
    model.assert_done()
    return result.output, model


def test_a_request_goes_to_the_member_it_is_for_and_its_answer_is_passed_on(tmp_path: Path) -> None:
    output, model = answered(tmp_path, routed(("bookings", 0.8, "a room for Ada")))
    assert output == "Booked: a room for Ada"
    asked = "\n".join(message.content for message in model.requests[0].messages)
    assert "- bookings: Knows about bookings." in asked
    assert "- bills: Knows about bills." in asked


def test_without_a_task_of_its_own_a_member_is_given_the_whole_message(tmp_path: Path) -> None:
    output, _ = answered(tmp_path, routed(("bookings", 0.8, "")))
    assert output == "Booked: a room, and my bill"


def test_of_several_members_one_answer_is_made_which_says_what_failed(tmp_path: Path) -> None:
    routing = routed(("bookings", 0.9, "a room"), ("bills", 0.95, "the bill"))
    output, model = answered(tmp_path, routing, "You have a room; the till is closed.")
    assert output == "You have a room; the till is closed."
    told = model.requests[1].messages[0].content
    assert told.startswith("Be brief.")
    assert "bookings, asked 'a room', found:\nBooked: a room" in told
    assert "bills, asked 'the bill', could not answer: bills failed (agent_error): LookupError: the till" in told


def test_what_is_less_sure_than_its_intent_asks_is_not_acted_on(tmp_path: Path) -> None:
    output, _ = answered(tmp_path, routed(("bills", 0.85, "the bill"), question="Which bill do you mean?"))
    assert output == "Which bill do you mean?"


def test_who_is_not_sure_asks_back_in_any_case(tmp_path: Path) -> None:
    output, _ = answered(tmp_path, routed(("bookings", 0.2, "?"), ("nobody", 1.0, "?")))
    assert output == "I am not sure what you mean. Could you say it in other words?"


def test_small_talk_is_answered_by_itself(tmp_path: Path) -> None:
    output, model = answered(tmp_path, routed(("answer", 0.9, "")), "Good morning!")
    assert output == "Good morning!"
    assert [each.content for each in model.requests[1].messages] == ["Be brief.", "a room, and my bill"]


@pytest.mark.parametrize("routing", ["no JSON at all", routed()])
def test_a_model_that_cannot_classify_still_answers(tmp_path: Path, routing: str) -> None:
    output, _ = answered(tmp_path, routing, "Good morning!")
    assert output == "Good morning!"


def test_it_remembers_the_thread_when_it_classifies(tmp_path: Path) -> None:
    model = ScriptedModel([routed(("bookings", 1, "a room")), routed(("answer", 1, "")), "You are welcome."])

    async def main() -> list[str]:
        async with Runtime(AgentRegistry([Reception]), Settings(home=tmp_path), model=model) as runtime:
            first = await runtime.admission.post("ada", frozenset(), Post(content="a room"))
            async for _ in runtime.reader.follow("ada", first.run_id, 0):
                pass
            post = Post(content="thanks", thread_id=first.thread_id)
            second = await runtime.admission.post("ada", frozenset(), post)
            async for _ in runtime.reader.follow("ada", second.run_id, 0):
                pass
            return [message.content for message in model.requests[1].messages[1:]]

    assert run(main()) == ["a room", "Booked: a room", "thanks"]
