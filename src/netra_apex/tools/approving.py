"""Calls that wait for a person: what is asked, what binds the answer to the call, and what follows from it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from netra_apex.core.events import ApprovalDecided, ApprovalRequested, as_told
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Decision, Step, digest_of
from netra_apex.tools.calls import Asked, Call, Failed

APPROVED, REJECTED, EXPIRED = "approve", "reject", "expired"


def ask(call: Call, user_id: str, lifetime: timedelta, *, again: bool = False) -> ApprovalRequested:
    """Has the call wait for its user's word; the event that asks for it."""
    expires_at = as_told(datetime.now(UTC) + lifetime)
    call.asked = Asked(
        ident=new_id("apr"), digest=_digest(call, user_id, expires_at), expires_at=expires_at, again=again
    )
    return ApprovalRequested(
        approval_id=call.asked.ident,
        call_id=call.call_id,
        tool=call.name,
        arguments=call.arguments,
        expires_at=expires_at,
        again=again or UNSET,
    )


def still_binds(call: Call, user_id: str) -> bool:
    """Whether what the person was asked is what would be called now: the tool may be another one since a deploy."""
    assert call.asked is not None
    return call.asked.digest == _digest(call, user_id, call.asked.expires_at)


def waiting(step: Step, asked: Asked) -> Step:
    """The step of a call that has not begun: it waits."""
    if asked.question:
        return msgspec.structs.replace(step, result={"question": asked.ident})
    kept = {
        "approval": asked.ident,
        "digest": asked.digest,
        "expires_at": asked.expires_at,
        "again": asked.again,
    }
    return msgspec.structs.replace(step, result=kept)


def asked_in(result: Any) -> Asked | None:
    """What a person was asked, as the journal has it."""
    if result is None:
        return None
    if "question" in result:
        return Asked(ident=result["question"], question=True)
    if "approval" not in result:
        return None
    return Asked(
        ident=result["approval"],
        digest=result["digest"],
        expires_at=result["expires_at"],
        again=result["again"],
    )


def decided(call: Call, decision: Decision) -> ApprovalDecided:
    """The event that tells the decision; a call that is not to be made has its outcome with it."""
    assert call.asked is not None
    asked = call.asked
    if decision.decision != APPROVED:
        call.outcome = _refusal(call, decision)
    elif asked.again:
        call.attempt += 1
    call.asked = None
    return ApprovalDecided(approval_id=asked.ident, decision=decision.decision, by=decision.by)


def not_again(call: Call, remark: str = "") -> Failed:
    """How a call ends that was under way when its process ended, and is not made once more."""
    # What it has done before the crash is as unknown as it was.
    call.at_work = True
    return Failed("unknown_outcome", f"nobody saw how {call.name} ended, and it was not called again{remark}")


def _refusal(call: Call, decision: Decision) -> Failed:
    assert call.asked is not None
    remark = f": {decision.note}" if decision.note else ""
    if call.asked.again:
        return not_again(call, remark)
    if decision.decision == REJECTED:
        return Failed("rejected", f"{decision.by} rejected {call.name}{remark}")
    return Failed("expired", f"nobody decided on {call.name} in time")


def _digest(call: Call, user_id: str, expires_at: str) -> str:
    assert call.tool is not None
    return digest_of(call.name, call.tool.version, call.arguments, user_id, expires_at)
