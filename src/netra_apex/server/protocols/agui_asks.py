"""What a run asks a person, as AG-UI's interrupts; and what comes back for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ag_ui.core import Interrupt, ResumeEntry

from netra_apex.core.conversations import MAX_ANSWER, MAX_NOTE, Verdict, check_text
from netra_apex.core.events import ApprovalRequested, DurableEvent, QuestionAsked
from netra_apex.errors import Invalid, NotFound

OURS = "netra"  # the key of what is ours in an event's metadata
Asked = ApprovalRequested | QuestionAsked
_APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string", "maxLength": MAX_NOTE}},
    "required": ["approved"],
    "additionalProperties": False,
}
_ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1, "maxLength": MAX_ANSWER}},
    "required": ["answer"],
    "additionalProperties": False,
}


def ask_of(run_id: str, asked: Asked) -> str:
    """The id of the interrupt for what a run asks: the run's and the question's, so that a resume names both."""
    ident = asked.approval_id if isinstance(asked, ApprovalRequested) else asked.question_id
    return f"int-{run_id}-{ident}"


def interrupt_of(run_id: str, ident: str, asked: Asked, expiring: Mapping[str, str]) -> Interrupt:
    """What a run asks, as the client is told it; `expiring` tells until when, by question."""
    ours: dict[str, Any] = {"run_id": run_id}
    if isinstance(asked, ApprovalRequested):
        again = " It was begun before, and nobody saw how it ended." if asked.again is True else ""
        return Interrupt(
            id=ask_of(run_id, asked),
            reason="tool_approval",
            message=f"May {asked.tool} be called?{again}",
            tool_call_id=asked.call_id,
            response_schema=_APPROVAL,
            expires_at=asked.expires_at,
            subagent_run_id=agent_of(asked),
            metadata={OURS: ours | {"approval_id": ident, "tool": asked.tool, "arguments": asked.arguments}},
        )
    return Interrupt(
        id=ask_of(run_id, asked),
        reason="question",
        message=asked.text,
        tool_call_id=asked.call_id,
        response_schema=_ANSWER,
        expires_at=expiring.get(ident),
        subagent_run_id=agent_of(asked),
        metadata={OURS: ours | {"question_id": ident}},
    )


def agent_of(event: DurableEvent) -> str | None:
    """The call that started the sub-agent which tells this; None for the run's own agent."""
    return event.parent_call_id or None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says to an interrupt: a verdict with a note, or a text; neither where it is dismissed."""

    ident: str
    verdict: Verdict | None = None
    text: str | None = None


def run_of(entry: ResumeEntry) -> tuple[str, str]:
    """(run, what it asks) of an interrupt's id. Raises: NotFound: it is none."""
    kind, _, rest = entry.interrupt_id.partition("-")
    run_id, _, ident = rest.partition("-")
    if kind != "int" or not run_id or not ident:
        raise NotFound("interrupt", entry.interrupt_id)
    return run_id, ident


def answer_of(entry: ResumeEntry, asked: Asked) -> Answer:
    """What an entry of `resume` says to what was asked.

    A payload that is none of the schema's denies a call: whoever meant something else must not have approved it.

    Raises:
        Invalid: it is no answer to a question, or its text is none or too long.
    """
    resolved = entry.status == "resolved"
    payload: object = entry.payload if resolved else None
    fields = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    if isinstance(asked, ApprovalRequested):
        reason = fields.get("reason")
        good = fields.keys() <= {"approved", "reason"} and isinstance(fields.get("approved"), bool)
        if good and (reason is None or isinstance(reason, str)):
            note = check_text("reason", reason, limit=MAX_NOTE) if reason and reason.strip() else None
            return Answer(asked.approval_id, "approve" if fields["approved"] else "reject", note)
        note = "the payload was not {approved, reason?}" if resolved else "the question was dismissed"
        return Answer(asked.approval_id, "reject", note)
    if not resolved:
        return Answer(asked.question_id)
    said = payload if isinstance(payload, str) else fields.get("answer") if fields.keys() == {"answer"} else None
    if not isinstance(said, str):
        raise Invalid(f"the payload for {entry.interrupt_id} is to be {{answer}} with a text")
    return Answer(asked.question_id, text=check_text("answer", said, limit=MAX_ANSWER))
