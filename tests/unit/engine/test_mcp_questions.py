"""What an MCP server asks is put as plain questions, and answered as the server wants it."""

from typing import Any

import pytest
from tests.support.bounded import run

from netra_apex import CallFailed
from netra_apex.engine.mcp_questions import answered
from netra_apex.tools.mcp import Answers, Asks, Question


def ask(fields: dict[str, Any], *answers: str) -> tuple[Answers, list[str]]:
    """What comes of these answers, and what was asked."""
    asked: list[str] = []

    async def said(text: str) -> str:
        asked.append(text)
        return answers[len(asked) - 1]

    question = Question("k", "Which?", {"type": "object", "properties": fields})
    return run(answered("shop", Asks((question,), "state"), said)), asked


@pytest.mark.parametrize(
    ("field", "said", "value"),
    [
        ({"type": "string"}, " red ", "red"),
        ({"type": "integer"}, "7", 7),
        ({"type": "number"}, "7.5", 7.5),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "no", False),
        ({"type": "string", "enum": ["S", "M"]}, "m", "M"),
        ({"type": "string", "oneOf": [{"const": "s", "title": "Small"}]}, "small", "s"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "a, b", ["a", "b"]),
    ],
)
def test_an_answer_is_given_as_its_fields_kind(field: dict[str, Any], said: str, value: Any) -> None:
    found, _ = ask({"x": field}, said)
    assert found == Answers({"k": {"x": value}}, "state")


@pytest.mark.parametrize(
    ("field", "said"),
    [({"type": "integer"}, "7.5"), ({"type": "boolean"}, "maybe"), ({"enum": ["S", "M"]}, "XL")],
)
def test_an_answer_of_another_kind_fails_the_call(field: dict[str, Any], said: str) -> None:
    with pytest.raises(CallFailed, match="the answer is none for x"):
        ask({"x": field}, said)


def test_each_field_is_asked_for_by_the_servers_name() -> None:
    found, asked = ask({"size": {"title": "Size", "enum": ["S", "M"]}, "count": {"type": "integer"}}, "S", "2")
    assert found.given == {"k": {"size": "S", "count": 2}}
    assert asked == [
        "shop asks: Which?\n(Size: one of S, M; or: decline)",
        "shop asks: Which?\n(count: integer; or: decline)",
    ]


@pytest.mark.parametrize(("said", "given"), [("yes", {}), ("no", None), ("perhaps", None)])
def test_a_question_without_fields_is_one_of_yes_and_no(said: str, given: Any) -> None:
    assert ask({}, said)[0].given == {"k": given}


def test_a_question_that_is_declined_asks_no_further() -> None:
    found, asked = ask({"a": {}, "b": {}}, "Decline")
    assert found.given == {"k": None}
    assert len(asked) == 1


def test_a_form_of_many_fields_is_no_question() -> None:
    with pytest.raises(CallFailed, match="11 fields at once"):
        ask({str(number): {} for number in range(11)})
