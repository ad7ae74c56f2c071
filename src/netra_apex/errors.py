"""Every error this package raises, as one tree.

    NetraError
    ├── ConfigurationError      the process cannot start or the application is wrong; `netra` exits with 2
    │   ├── RegistryError       an agent class that may not be registered, and why
    │   ├── PlanError           a team's plan that cannot be carried out, or a file that is none
    │   ├── ToolDefinitionError a tool whose signature makes no schema
    │   └── HomeInUse           another process executes runs on this home
    ├── InvalidContext          an identity that is empty, a placeholder, or nested too deep
    ├── IllegalTransition       a run, or its stream, was asked for a step that its state forbids
    ├── ScopeClosed             an engine, emitter, dispatcher or scope used after its run
    ├── StoreError              the database refused or cannot be reached
    │   └── TakenOver             another process has the run now, or it has ended: nothing is stored in it
    ├── Refused                 a request that is answered with a code (docs/reference/errors.md)
    │   ├── Unauthenticated, Forbidden, NotFound, Invalid, TooLarge, UnknownType, Busy, QueueFull, AlreadyDecided,
    │   └── IdempotencyConflict, AfterOutOfRange, Flood, TooManyConnections, Draining, Unavailable, Superseded
    ├── RunFailed               ends a run as `agent_failed` with a code
    │   ├── AgentFailed, AgentTimedOut, TurnsExhausted, RunInterrupted
    │   ├── Nondeterministic      taken up again, the agent did not do what it had done before
    │   ├── ToolOutcomeUnknown    a crash left a call of which nobody knows how it ended
    │   ├── RecoveredTooOften     it was under way whenever the process died
    │   ├── BudgetExceeded        a budget does not suffice for what a model was to be asked
    │   └── ModelFailed         the provider answered with an error
    │       ├── OutputInvalid     the answer is not of the type that was asked for
    │       └── ModelUnavailable  the provider cannot be reached, or is not set up
    ├── CallFailed              ends a tool call as `tool_completed` with `ok: false` and a code
    └── ClientError             what the typed client raises: its own tree, in netra_apex.client

Errors carry facts as attributes; `str(error)` writes the sentence that a person reads.
"""

import traceback
from typing import ClassVar


def sentence(error: BaseException) -> str:
    """`ExceptionType: message`, also of an exception whose own `__str__` fails."""
    kind = type(error)
    line = "".join(traceback.format_exception_only(error)).strip()
    return kind.__name__ + line.removeprefix(f"{kind.__module__}.").removeprefix(kind.__qualname__)


class NetraError(Exception):
    """The root: everything that this package raises on purpose."""


class ConfigurationError(NetraError):
    """The process cannot start, or the application is not well formed."""


class RegistryError(ConfigurationError):
    """An agent that may not be registered."""

    def __init__(self, agent: str, reason: str) -> None:
        super().__init__(agent, reason)
        self.agent = agent
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.agent} cannot be registered: {self.reason}"


class PlanError(ConfigurationError):
    """A team's plan that cannot be carried out; `plan` is its goal, or the file that it was to be read from."""

    def __init__(self, plan: str, reason: str) -> None:
        super().__init__(plan, reason)
        self.plan = plan
        self.reason = reason

    def __str__(self) -> str:
        return f"the plan {self.plan!r} cannot be carried out: {self.reason}"


class ToolDefinitionError(ConfigurationError):
    """A function that cannot be offered as a tool."""

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(tool, reason)
        self.tool = tool
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.tool} cannot be a tool: {self.reason}"


class HomeInUse(ConfigurationError):
    """Another process executes runs on this SQLite home."""

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self.home = home

    def __str__(self) -> str:
        return (
            f"another netra process already executes runs on {self.home}; "
            "stop it, or set NETRA_HOME to another folder for this one"
        )


class InvalidContext(NetraError, ValueError):
    """An execution context that names nobody, names a placeholder, or is nested too deep."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(field, value, reason)
        self.field = field
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field} {self.value!r} is refused: {self.reason}"


class IllegalTransition(NetraError):
    """A run was asked for a step that its state forbids."""

    def __init__(self, state: str, step: str, reason: str = "") -> None:
        super().__init__(state, step, reason)
        self.state = state
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        return f"a run that is {self.state} cannot tell {self.step}" + (f": {self.reason}" if self.reason else "")


class ScopeClosed(NetraError, RuntimeError):
    """A part of a run was used after the run had ended."""

    def __init__(self, part: str, run_id: str) -> None:
        super().__init__(part, run_id)
        self.part = part
        self.run_id = run_id

    def __str__(self) -> str:
        return f"the {self.part} of run {self.run_id} was used after the run had ended"


class StoreError(NetraError):
    """The database refused a statement or cannot be reached."""


class TakenOver(StoreError):
    """Who tells this run is not who has it: another process took it up, or it has ended."""


class Refused(NetraError):
    """A request that cannot be carried out; `code` and `status` are in docs/reference/errors.md."""

    code: ClassVar[str] = "invalid"
    status: ClassVar[int] = 422

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message


class Unauthenticated(Refused):
    """No credential, or one that is not valid or no longer."""

    code = "unauthenticated"
    status = 401


class Forbidden(Refused):
    """A known user who lacks a permission, or an origin that is not allowed."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """It does not exist, or it belongs to another user, which is answered alike (G5)."""

    code = "not_found"
    status = 404

    def __init__(self, kind: str, ident: str) -> None:
        super().__init__(f"there is no {kind} {ident}")
        self.kind = kind
        self.ident = ident


class Invalid(Refused):
    """Input that is not what the contract says."""


class TooLarge(Refused):
    """A body or frame over its limit."""

    code = "too_large"
    status = 413


class UnknownType(Refused):
    """A frame whose type is not known."""

    code = "unknown_type"


class Busy(Refused):
    """The thread already has a run, and the request said `reject`."""

    code = "busy"
    status = 409


class Superseded(Busy):
    """The thread has gone on from the run that a post was to follow."""


class QueueFull(Refused):
    """The user has as many runs, or queued runs, as the limits allow."""

    code = "queue_full"
    status = 429


class IdempotencyConflict(Refused):
    """The same idempotency key came with other content."""

    code = "idempotency_conflict"
    status = 409


class AlreadyDecided(Refused):
    """An approval or a question that was decided or answered before, has expired, or whose run has ended."""

    code = "already_decided"
    status = 409


class AfterOutOfRange(Refused):
    """A cursor beyond the last event of the run."""

    code = "after_out_of_range"


class Flood(Refused):
    """Too many requests or frames in too short a time."""

    code = "flood"
    status = 429


class TooManyConnections(Refused):
    """A user's socket beyond NETRA_CONNECTIONS_PER_USER: it is closed with 4409."""

    code = "flood"
    status = 429


class Draining(Refused):
    """The process is about to stop and takes no new work."""

    code = "draining"
    status = 503


class Unavailable(Refused):
    """The database, or a server elsewhere that is needed, does not answer; the same request may succeed in a moment."""

    code = "unavailable"
    status = 503


class RunFailed(NetraError):
    """Ends a run as `agent_failed`; `code` is one of docs/reference/errors.md."""

    code: ClassVar[str] = "agent_error"
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class AgentFailed(RunFailed):
    """The agent's own code raised."""


class AgentTimedOut(RunFailed):
    """The agent was active for longer than its limit."""

    code = "agent_timeout"
    retryable = True


class TurnsExhausted(RunFailed):
    """The model still called tools after the last turn that it may have."""

    code = "max_turns"


class RunInterrupted(RunFailed):
    """The process ended while the run was under way."""

    code = "interrupted"
    retryable = True


class Nondeterministic(RunFailed):
    """A run that was taken up again came to another step than it had taken before; `step` is its key."""

    code = "nondeterministic"

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"the agent does not do the same twice: at step {step}, {reason}")
        self.step = step
        self.reason = reason


class ToolOutcomeUnknown(RunFailed):
    """The process ended while a tool that may not be repeated was at work; nobody can say what it has done."""

    code = "tool_outcome_unknown"

    def __init__(self, tool: str, call_id: str) -> None:
        super().__init__(
            f"the server ended while {tool} was at work, and nobody can say whether it was done; "
            "a tool that may be repeated is declared with idempotent=True"
        )
        self.tool = tool
        self.call_id = call_id


class RecoveredTooOften(RunFailed):
    """A run that was taken up again and again without coming any further."""

    code = "recovered_too_often"


class BudgetExceeded(RunFailed):
    """A model request was not sent: a budget does not suffice, or is of money, and the model has no known price.

    `setting` is the variable that sets the one or the other.
    """

    code = "budget_exceeded"

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class ModelFailed(RunFailed):
    """The provider answered with an error; `provider_message` is its own sentence, `status` its HTTP status."""

    code = "model_error"

    def __init__(self, message: str, *, model: str, status: int | None = None, provider_message: str = "") -> None:
        super().__init__(message)
        self.model = model
        self.status = status
        self.provider_message = provider_message
        self.retryable = status is None or status == 429 or status >= 500


class OutputInvalid(ModelFailed):
    """The model's answer is not of the type that was asked for; `text` is the answer, `reason` what is wrong."""

    def __init__(self, reason: str, *, model: str, text: str) -> None:
        super().__init__(f"the model's answer is not of the type that was asked for: {reason}", model=model)
        self.reason = reason
        self.text = text
        self.retryable = True


class ModelUnavailable(ModelFailed):
    """The provider cannot be reached, or is not set up; `set_up` is False for the second, which no retry mends."""

    code = "model_unavailable"

    def __init__(self, message: str, *, model: str, set_up: bool = True) -> None:
        super().__init__(message, model=model)
        self.retryable = set_up


class CallFailed(NetraError):
    """Ends a tool call as not ok; `code` is one of docs/reference/errors.md, failed tool calls.

    A tool may raise it itself, `CallFailed("error", "the order is already paid")`: the sentence goes to the model.
    Where a member of a supervisor failed, `agent_code` is the code of its `agent_failed`.
    """

    def __init__(self, code: str, message: str, *, agent_code: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.agent_code = agent_code

    def __str__(self) -> str:
        return self.message
