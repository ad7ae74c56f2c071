"""A run as a task of A2A 1.0: a machine without I/O, one for each reader.

Source: the A2A specification 1.0, section 4. A task's artifacts are the answers of the run's own agent; what else it
tells is in the metadata of its status updates, as our own events.
"""

import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec
from a2a.types import (
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    DurableEvent,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ThinkingDelta,
    ToolCompleted,
)
from netra_apex.core.messages import as_said
from netra_apex.core.runs import Run, RunStatus

OURS = "netra"  # the key of what is ours in metadata
MAX_DEPTH = 24  # protobuf's readers give up at 100 messages, and each level of a value is two of them
Update = TaskStatusUpdateEvent | TaskArtifactUpdateEvent
Asked = ApprovalRequested | QuestionAsked
STATES = MappingProxyType(
    {
        RunStatus.QUEUED: TaskState.TASK_STATE_SUBMITTED,
        RunStatus.RUNNING: TaskState.TASK_STATE_WORKING,
        RunStatus.WAITING: TaskState.TASK_STATE_INPUT_REQUIRED,
        RunStatus.COMPLETED: TaskState.TASK_STATE_COMPLETED,
        RunStatus.FAILED: TaskState.TASK_STATE_FAILED,
        RunStatus.CANCELLED: TaskState.TASK_STATE_CANCELED,
    }
)


class Teller:
    """Tells one run to one client. `hear` or `learn` takes what it tells, in order; `asked` is what it waits for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seq = 0
        self.over = False
        self.asked: dict[str, Asked] = {}
        self._status = status(TaskState.TASK_STATE_SUBMITTED)
        self._artifacts: dict[str, Artifact] = {}
        self._history: list[Message] = []
        self._told: dict[str, int] = {}
        self._said: str | None = None

    def hear(self, seq: int | None, heard: DurableEvent | PassingFrame) -> list[Update]:
        """What the client is told of it."""
        told = self.learn(seq, heard)
        if not isinstance(heard, PassingFrame):
            told.append(self._updated(self._status, {"seq": heard.seq, "event": msgspec.to_builtins(heard)}))
        return told

    def learn(self, seq: int | None, heard: DurableEvent | PassingFrame) -> list[Update]:
        """The answers that it changes. As `hear` without its status update, which is most of the work, for a past."""
        self.seq = self.seq if seq is None else seq
        return list(self._tell(heard))

    def task(self) -> Task:
        """The task as far as it was heard of."""
        return Task(
            id=self.run.run_id,
            context_id=self.run.thread_id,
            status=self._waiting() if self.run.status is RunStatus.WAITING and self.asked else self._status,
            artifacts=list(self._artifacts.values()),
            history=self._history,
            metadata=struct({OURS: {"agent": self.run.agent, "seq": self.seq}}),
        )

    def waits(self) -> TaskStatusUpdateEvent:
        """That the run does nothing but wait for a person."""
        return self._updated(self._waiting(), {"seq": self.seq})

    def _tell(self, heard: DurableEvent | PassingFrame) -> Iterator[Update]:
        match heard:
            case ThinkingDelta():
                return
            case MessageDelta() | MessageReset():
                yield from self._passing(heard)
                return
            case MessageCompleted() if not heard.depth:
                self._said = heard.content
                yield self._artifact(heard.message_id, [Part(text=heard.content)])
            case ApprovalRequested(approval_id=ident) | QuestionAsked(question_id=ident):
                self.asked[ident] = heard
            case ApprovalDecided(approval_id=ident) | QuestionAnswered(question_id=ident):
                self.asked.pop(ident, None)
            case ToolCompleted(call_id=call):
                self.asked = {ident: each for ident, each in self.asked.items() if each.call_id != call}
            case AgentStarted(task=task) if not heard.depth:
                self._history.append(self._message([Part(text=as_said(task))], Role.ROLE_USER, self.run.message_id))
            case AgentCompleted(output=output) if not heard.depth and self._is_unsaid(output):
                parts = [Part(text=as_said(output))]
                if not isinstance(output, str):
                    parts.append(Part(data=ParseDict(shallow(output), Value())))
                yield self._artifact(f"{self.run.run_id}-output", parts)
            case _:
                pass
        self._status = self._status_of(heard)

    def _passing(self, heard: MessageDelta | MessageReset) -> Iterator[Update]:
        if heard.depth:
            return
        told = self._told.get(heard.message_id, 0)
        if isinstance(heard, MessageDelta):
            text = heard.text[max(0, told - heard.offset) :]
            self._told[heard.message_id] = told + len(text)
        elif told:
            text = self._told[heard.message_id] = 0
        else:
            return
        # A void text is replaced by nothing, until there is another.
        artifact = Artifact(artifact_id=heard.message_id, name="answer", parts=[Part(text=text or "")])
        yield TaskArtifactUpdateEvent(
            task_id=self.run.run_id,
            context_id=self.run.thread_id,
            artifact=artifact,
            append=bool(told) and bool(text),
        )

    def _artifact(self, ident: str, parts: list[Part]) -> TaskArtifactUpdateEvent:
        """An answer, whole: it takes the place of what was told of it."""
        artifact = self._artifacts[ident] = Artifact(artifact_id=ident, name="answer", parts=parts)
        return TaskArtifactUpdateEvent(
            task_id=self.run.run_id, context_id=self.run.thread_id, artifact=artifact, last_chunk=True
        )

    def _status_of(self, heard: DurableEvent) -> TaskStatus:
        state, text = TaskState.TASK_STATE_WORKING, ""
        match heard:
            case RunQueued(reason=reason):
                state, text = TaskState.TASK_STATE_SUBMITTED, reason
            case AgentThinking():
                text = heard.text
            case AgentCompleted() if not heard.depth:
                state = TaskState.TASK_STATE_COMPLETED
            case AgentFailed() if not heard.depth:
                state, text = TaskState.TASK_STATE_FAILED, heard.message
            case AgentCancelled(by=by) if not heard.depth:
                state, text = TaskState.TASK_STATE_CANCELED, f"stopped by {by}"
            case _:
                pass
        self.over = state in (STATES[RunStatus.COMPLETED], STATES[RunStatus.FAILED], STATES[RunStatus.CANCELLED])
        made = status(state, heard.at)
        if text:
            made.message.CopyFrom(self._message([Part(text=text)], Role.ROLE_AGENT, f"{self.run.run_id}-{heard.seq}"))
        return made

    def _waiting(self) -> TaskStatus:
        parts: list[Part] = []
        at = ""
        for ident, each in self.asked.items():
            at = each.at
            if isinstance(each, ApprovalRequested):
                about = {"approval_id": ident, "tool": each.tool, "arguments": each.arguments}
                about |= {"expires_at": each.expires_at, "again": each.again is True}
                text = f"May {each.tool} be called? Answer {{approved, reason?}} as data, or approve or reject."
            else:
                about, text = {"question_id": ident}, each.text
            parts += [Part(text=text), Part(data=ParseDict(shallow(about), Value()))]
        made = status(TaskState.TASK_STATE_INPUT_REQUIRED, at)
        made.message.CopyFrom(self._message(parts, Role.ROLE_AGENT, f"{self.run.run_id}-{self.seq}-asks"))
        return made

    def _updated(self, made: TaskStatus, ours: Mapping[str, Any]) -> TaskStatusUpdateEvent:
        return TaskStatusUpdateEvent(
            task_id=self.run.run_id, context_id=self.run.thread_id, status=made, metadata=struct({OURS: ours})
        )

    def _message(self, parts: list[Part], role: Role, ident: str) -> Message:
        return Message(message_id=ident, context_id=self.run.thread_id, task_id=self.run.run_id, role=role, parts=parts)

    def _is_unsaid(self, output: Any) -> bool:
        """Whether no answer of the model has said an output."""
        if output is None or output == "":
            return False
        return self._said is None or not isinstance(output, str) or output != self._said


def status(state: TaskState, at: str = "") -> TaskStatus:
    """A task's status; `at` is RFC 3339."""
    made = TaskStatus(state=state)
    if at:
        made.timestamp.FromJsonString(at)
    return made


def struct(value: Mapping[str, Any]) -> Struct:
    """A JSON object as protobuf has it."""
    return ParseDict(shallow(dict(value)), Struct())


def shallow(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value of which protobuf can make messages, and whoever gets them can read them.

    What is nested deeper, and a number beyond a double, is told as the text of its JSON.
    """
    match value:
        case dict() | list() if not depth:
            return msgspec.json.encode(value).decode()
        case dict():
            fields = cast("dict[str, Any]", value)
            return {name: shallow(each, depth - 1) for name, each in fields.items()}
        case list():
            return [shallow(each, depth - 1) for each in cast("list[Any]", value)]
        case int() if abs(value) > sys.float_info.max:
            return str(value)
        case _:
            return value
