"""`ask_user`: a tool whose calls its user answers, and what is told of a question and its answer."""

import dataclasses
from typing import Annotated

from pydantic import Field, StringConstraints
from typing_extensions import ParamSpec, TypeVar

from netra_apex.core.events import QuestionAnswered, QuestionAsked
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Decision
from netra_apex.errors import CallFailed
from netra_apex.tools.calls import Asked, Call, Done, Failed
from netra_apex.tools.host import ToolHost
from netra_apex.tools.results import tell
from netra_apex.tools.tool import Tool, tool

MAX_QUESTION = 4_000  # code points
P = ParamSpec("P")
R = TypeVar("R")


def _answered_by_its_user(made: Tool[P, R]) -> Tool[P, R]:
    return dataclasses.replace(made, question=True)


@_answered_by_its_user
@tool
async def ask_user(
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION),
        Field(description="The question, as the user is to read it"),
    ],
) -> str:
    """Ask the user a question, and get the answer. Use it only for what you cannot find out otherwise."""
    raise CallFailed("error", "only the user of a run answers: call it with scope.tools.call(ask_user, text)")


def question(call: Call) -> QuestionAsked:
    """Has the call wait for its user's answer; the event that asks for it."""
    call.asked = Asked(ident=new_id("que"), question=True)
    return QuestionAsked(question_id=call.asked.ident, call_id=call.call_id, text=call.read()["text"])


def answered(call: Call, decision: Decision, host: ToolHost) -> QuestionAnswered | None:
    """The event that tells the answer, which is the call's result; None where nobody answered in time."""
    assert call.asked is not None
    question_id = call.asked.ident
    call.asked = None
    if decision.note is None:
        call.outcome = Failed("expired", f"nobody answered {call.name} in time")
        return None
    call.outcome = Done(decision.note, tell(decision.note, host.result_bytes, host.redactor))
    return QuestionAnswered(question_id=question_id, content=decision.note)
