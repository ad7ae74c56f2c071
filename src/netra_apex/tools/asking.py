"""`Asking`: which calls of a run wait for a person, and what follows from the word, or the answer, that was given."""

from datetime import timedelta
from typing import assert_never

from netra_apex.core.events import ApprovalDecided, ApprovalRequested, QuestionAnswered, QuestionAsked
from netra_apex.core.journal import Decision
from netra_apex.tools.approving import APPROVED, EXPIRED, ask, decided, not_again, still_binds
from netra_apex.tools.calls import Call, Failed
from netra_apex.tools.host import ToolHost
from netra_apex.tools.ledger import Came, Ledger
from netra_apex.tools.questions import answered, question
from netra_apex.tools.quiet import Quiet

Told = list[ApprovalRequested | ApprovalDecided | QuestionAsked | QuestionAnswered]


class Asking:
    """Decides, from what the journal has of a call, whether a person is asked about it, or what one has decided."""

    def __init__(self, user_id: str, host: ToolHost, ledger: Ledger, quiet: Quiet) -> None:
        self._user_id = user_id
        self._host = host
        self._lifetime = timedelta(days=host.approval_days)
        self._ledger = ledger
        self._quiet = quiet

    def refusal(self, call: Call) -> Failed | None:
        """Why this call cannot wait for a person, where it would have to."""
        if self._quiet.may_wait():
            return None
        return Failed(
            "error",
            f"{call.name} waits for a person, and is called inside a call of a tool that is not idempotent: "
            "that one could not go on after the wait",
        )

    def may_ask_again(self, call: Call) -> bool:
        """Whether a person is asked what becomes of a call that nobody saw end."""
        return call.tool is not None and call.tool.on_unknown == "ask" and self._quiet.may_wait()

    def told(self, call: Call, came: Came) -> Told:
        """What is to be told of this call's asking; `call.asked` and `call.outcome` say how it goes on."""
        match came:
            case "new":
                if call.outcome is not None or call.tool is None or not call.tool.waits:
                    return []
                return [question(call) if call.tool.question else ask(call, self._user_id, self._lifetime)]
            case "lost":
                call.lost, call.outcome = False, None
                return [ask(call, self._user_id, self._lifetime, again=True)]
            case "waiting":
                return self._heard(call)
            case "open" | "done":
                return []
            case _:
                assert_never(came)

    def _heard(self, call: Call) -> Told:
        decision = self._ledger.decision(call)
        refused, asked = call.outcome, call.asked
        assert asked is not None
        if refused is not None:
            # The tool, or the permission for it, has gone meanwhile: whatever was decided, it is not called.
            told = [] if decision is None else self._ended(call, decision)
            call.asked, call.outcome = None, not_again(call) if asked.again else refused
            return told
        if decision is None:
            return []
        if asked.question or decision.decision != APPROVED or still_binds(call, self._user_id):
            return self._ended(call, decision)
        # The tool is another one since then, and what was approved is not what would be called: asked anew.
        void = decided(call, Decision(EXPIRED, "system"))
        call.outcome, call.at_work = None, False
        return [void, ask(call, self._user_id, self._lifetime, again=asked.again)]

    def _ended(self, call: Call, decision: Decision) -> Told:
        assert call.asked is not None
        if not call.asked.question:
            return [decided(call, decision)]
        told = answered(call, decision, self._host)
        return [] if told is None else [told]
