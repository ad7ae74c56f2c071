"""Structured output, end to end: whatever the type, what the model is told, what is shown, and what comes of it."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from tests.support.bounded import run

from netra_apex import AgentRegistry, ChatAgent
from netra_apex.core.events import AgentCompleted, AgentFailed, MessageCompleted
from netra_apex.testing import Harness, Outcome, ScriptedModel, harness


class Point(BaseModel):
    """A place."""

    x: int
    y: int = 0


class Node(BaseModel):
    """A tree."""

    name: str
    kids: list["Node"] = []


NUMBERS = Annotated[list[int], Field(min_length=1)]


def agent_of(form: Any, **attributes: Any) -> type[ChatAgent]:
    return type("Answerer", (ChatAgent,), {"name": "answerer", "output_type": form, "__doc__": "Answers."} | attributes)


async def asked(form: Any, steps: Sequence[Any], **attributes: Any) -> tuple[Outcome, ScriptedModel]:
    async with (
        ScriptedModel(steps) as model,
        harness(AgentRegistry([agent_of(form, **attributes)]), model=model) as app,
    ):
        return await app.ask("go"), model


FORMS = [
    (Point, '{"x": 1}', {"x": 1, "y": 0}),
    (Node, '{"answer": {"name": "a", "kids": [{"name": "b"}]}}', {"name": "a", "kids": [{"name": "b", "kids": []}]}),
    (dict[str, int], '{"answer": 3}', {"answer": 3}),
    (list[Point], '{"answer": [{"x": 1}]}', [{"x": 1, "y": 0}]),
    (NUMBERS, '{"answer": [1, 2]}', [1, 2]),
    (int, '{"answer": 7}', 7),
    (bool, '{"answer": false}', False),
    (str, '{"answer": "yes"}', "yes"),
    (date, '{"answer": "2026-01-02"}', "2026-01-02"),
    (Literal["calm", "angry"], '{"answer": "calm"}', "calm"),
    (Point | None, '{"answer": null}', None),
    (Point | Node, '{"answer": {"name": "a"}}', {"name": "a", "kids": []}),
    (tuple[int, str], '{"answer": [1, "a"]}', [1, "a"]),
]


@pytest.mark.parametrize(("form", "answer", "output"), FORMS, ids=[str(each[0]) for each in FORMS])
def test_every_type_is_asked_for_as_an_object_and_comes_out_as_itself(form: Any, answer: str, output: Any) -> None:
    async def main() -> None:
        outcome, model = await asked(form, [answer])
        assert outcome.ok
        assert outcome.output == output
        schema = model.requests[0].output_schema
        assert schema is not None
        assert schema["type"] == "object"
        # Every reference of it leads somewhere.
        for reference in {part.split('"')[0] for part in json.dumps(schema).split('"#/$defs/')[1:]}:
            assert reference in schema["$defs"]

    run(main())


@pytest.mark.parametrize(
    "answer", ["[1, 2]", "```json\n[1, 2]\n```", '```\n{"answer": [1, 2]}\n```', ' {"answer":[1,2]} ']
)
def test_the_bare_value_and_a_block_of_markdown_are_taken_too(answer: str) -> None:
    async def main() -> None:
        outcome, _ = await asked(NUMBERS, [answer])
        assert outcome.output == [1, 2]

    run(main())


@pytest.mark.parametrize(
    ("form", "wrong", "said"),
    [
        (Point, '{"x": "one"}', "x: "),
        (Point, "x is one", "Invalid JSON"),
        (NUMBERS, '{"answer": ["one"]}', "answer.0: "),
        (NUMBERS, "[]", "at least 1 item"),
        (NUMBERS, '{"numbers": [1]}', "valid array"),
        (int, "seven", "Invalid JSON"),
    ],
)
def test_a_wrong_form_is_told_to_the_model_which_answers_again(form: Any, wrong: str, said: str) -> None:
    async def main() -> None:
        right = {Point: '{"x": 1}', int: '{"answer": 1}'}.get(form, '{"answer": [1]}')
        outcome, model = await asked(form, [wrong, right])
        assert outcome.ok
        assert said in model.requests[1].messages[-1].content
        assert model.requests[1].messages[-2].content == wrong

    run(main())


def test_where_no_answer_is_in_the_right_form_the_run_fails_and_says_why() -> None:
    async def main() -> None:
        outcome, _ = await asked(Point, ["no", '{"x": "one"}'], max_turns=2)
        last = outcome.events[-1]
        assert isinstance(last, AgentFailed)
        assert last.code == "max_turns"
        assert "in 2 turns; the last one was in a wrong form: x: " in last.message

    run(main())


def test_what_streams_is_what_is_kept_and_the_output_is_its_value() -> None:
    async def main() -> None:
        text = '{"answer": [{"x": 1}, {"x": 2, "y": 3}]}'
        model = ScriptedModel([text])
        async with model, harness(AgentRegistry([agent_of(list[Point])]), model=model) as app:
            accepted = await app.post("go")
            shown, told = await _streamed(app, accepted)
            assert (shown or text) == text
            (kept,) = [event for event in told.events if isinstance(event, MessageCompleted)]
            assert kept.content == text
            last = told.events[-1]
            assert isinstance(last, AgentCompleted)
            assert last.output == [{"x": 1, "y": 0}, {"x": 2, "y": 3}]

    run(main())


async def _streamed(app: Harness, accepted: Any) -> tuple[str, Outcome]:
    shown = ""
    async for seq, text in app.runtime.reader.follow("ada", accepted.run_id, 0):
        frame = json.loads(text)
        if seq is None and frame["type"] == "message_delta":
            assert len(shown) == frame["offset"]
            shown += frame["text"]
    return shown, await app.outcome("ada", accepted)


def test_calls_come_before_the_answer_in_its_form() -> None:
    async def main() -> None:
        outcome, model = await asked(int, [("nothing", {}), '{"answer": 4}'])
        assert outcome.output == 4
        assert [request.output_schema is not None for request in model.requests] == [True, True]

    run(main())


class Asker(ChatAgent):
    """Asks by itself."""

    name = "asker"

    async def run(self, task: Any, scope: Any) -> Any:
        reply = await scope.model(task, output_type=list[Point], show=False)
        assert reply.output == [Point(x=5)]
        return [point.x for point in reply.output]


def test_in_an_agents_own_code_the_reply_has_the_value_as_its_type() -> None:
    async def main() -> None:
        model = ScriptedModel(['{"answer": [{"x": 5}]}'])
        async with model, harness(AgentRegistry([Asker]), model=model) as app:
            assert (await app.ask("go")).output == [5]

    run(main())
