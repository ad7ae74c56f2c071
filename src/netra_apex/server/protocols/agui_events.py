"""What a run tells, as AG-UI 1.0 tells it: a machine without I/O, one for each stream.

Source: the AG-UI specification 1.0, whose models `ag_ui.core` has. One of our runs may be several of AG-UI's: each time
it waits for a person the client's run is finished with an interrupt, and the client's next run goes on with ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from ag_ui.core import (
    PROTOCOL_VERSION,
    AssistantMessage,
    BaseEvent,
    CustomEvent,
    FunctionCall,
    Message,
    MessagesSnapshotEvent,
    ReasoningMessage,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentFinishedSuccessOutcome,
    SubagentFinishedSuspendedOutcome,
    SubagentStartedEvent,
    TokenUsage,
    ToolCall,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    ToolMessage,
)

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    DurableEvent,
    Ending,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ThinkingDelta,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import as_said
from netra_apex.server.protocols.agui_asks import OURS, Asked, agent_of, ask_of, interrupt_of
from netra_apex.server.protocols.agui_texts import Text, end_text, end_thought, say, think


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """What the client calls its thread and its run, and what they are here."""

    thread: str
    run: str
    thread_id: str
    run_id: str
    parent: str | None = None


@dataclass(slots=True)
class Teller:
    """Tells one run's stream to one client. `hear` takes what the run tells, in order; `asked` is what it waits for."""

    naming: Naming
    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    messages: list[Message] = field(default_factory=list[Message])
    over: bool = False
    _texts: dict[str, Text] = field(default_factory=dict[str, Text])
    _thoughts: dict[str | None, Text] = field(default_factory=dict[str | None, Text])
    _agents: dict[str, AgentStarted] = field(default_factory=dict[str, AgentStarted])
    _said: str | None = None

    def begin(self, *, gap: bool) -> list[BaseEvent]:
        """The first events of a stream that goes on after what was heard so far.

        With a `gap` the client's messages are put right: it may have been told half of one.
        """
        begun: list[BaseEvent] = [self._started()]
        if gap:
            begun.append(MessagesSnapshotEvent(messages=list(self.messages)))
        return begun + [self._subagent(agent) for agent in self._agents.values()]

    def hear(self, seq: int | None, heard: DurableEvent | PassingFrame) -> list[BaseEvent]:
        """What the client is told of it."""
        told = list(self._tell(seq or 0, heard))
        if seq is not None:
            for event in told:
                event.metadata = {OURS: {"seq": seq} | (event.metadata or {}).get(OURS, {})}
                at = getattr(heard, "at", "")
                event.timestamp = round(datetime.fromisoformat(at).timestamp() * 1000) if at else None
        return told

    def interrupt(self, seq: int, expiring: dict[str, str]) -> list[BaseEvent]:
        """The end of the client's run where ours waits for a person; `expiring` tells until when, by what is asked."""
        told = list(self._close(None))
        for call_id in reversed(self._agents):
            mine = [ask_of(self.naming.run_id, each) for each in self.asked.values() if agent_of(each) == call_id]
            outcome = SubagentFinishedSuspendedOutcome(interrupt_ids=mine or None)
            told.append(SubagentFinishedEvent(subagent_run_id=call_id, outcome=outcome))
        interrupts = [interrupt_of(self.naming.run_id, ident, each, expiring) for ident, each in self.asked.items()]
        told.append(self._finished(outcome=RunFinishedInterruptOutcome(interrupts=interrupts)))
        for event in told:
            event.metadata = {OURS: {"seq": seq}}
        return told

    def _tell(self, seq: int, heard: DurableEvent | PassingFrame) -> Iterator[BaseEvent]:
        match heard:
            case MessageDelta() | MessageReset():
                yield from self._passing(heard)
            case AgentThinking():
                yield from self._thought(seq, heard)
            case MessageCompleted():
                yield from self._completed(heard)
            case ToolExecuting() | ToolCompleted():
                yield from self._call(heard)
            case ApprovalRequested(approval_id=ident) | QuestionAsked(question_id=ident):
                self.asked[ident] = heard
            case ApprovalDecided(approval_id=ident) | QuestionAnswered(question_id=ident):
                self.asked.pop(ident, None)
            case AgentStarted() if heard.depth:
                self._agents[agent_of(heard) or ""] = heard
                yield self._subagent(heard)
            case AgentCompleted() | AgentFailed() | AgentCancelled():
                yield from self._ended(heard)
            case RunQueued(reason=reason):
                yield CustomEvent(name=f"{OURS}.run_queued", value={"reason": reason})
            case _:
                pass

    def _passing(self, heard: MessageDelta | MessageReset) -> Iterator[BaseEvent]:
        agent = heard.parent_call_id
        thinks = isinstance(heard, ThinkingDelta)
        if isinstance(heard, MessageReset):
            yield from self._take_back(heard.message_id)
            return
        if thinks:
            text = self._thoughts.get(agent)
            if text is None or text.ident != heard.message_id:
                if text is not None:
                    yield from end_thought(text)
                text = self._thoughts[agent] = Text(heard.message_id, agent)
            yield from think(text, heard.text[max(0, len(text.told) - heard.offset) :])
            return
        if agent in self._thoughts:
            yield from end_thought(self._thoughts[agent])
        text = self._texts.setdefault(heard.message_id, Text(heard.message_id, agent))
        yield from say(text, heard.text[max(0, len(text.told) - heard.offset) :])

    def _take_back(self, ident: str) -> Iterator[BaseEvent]:
        """A text that is void. AG-UI has no word for that, so the messages are told as they are without it."""
        text = self._texts.pop(ident, None)
        if text is not None:
            yield from end_text(text)
        for agent, thought in list(self._thoughts.items()):
            if thought.ident == ident:
                yield from end_thought(self._thoughts.pop(agent))
                text = thought
        if text is not None:
            yield MessagesSnapshotEvent(messages=list(self.messages))

    def _thought(self, seq: int, heard: AgentThinking) -> Iterator[BaseEvent]:
        agent = agent_of(heard)
        text = self._thoughts.pop(agent, None)
        if text is None or not heard.text.startswith(text.told):
            if text is not None:
                yield from end_thought(text)
            text = Text(f"think-{self.naming.run_id}-{seq}", agent)
        yield from think(text, heard.text[len(text.told) :])
        yield from end_thought(text)
        if heard.text:
            self.messages.append(ReasoningMessage(id=text.ident, content=heard.text, subagent_run_id=agent))

    def _completed(self, heard: MessageCompleted) -> Iterator[BaseEvent]:
        agent = agent_of(heard)
        text = self._texts.pop(heard.message_id, None) or Text(heard.message_id, agent)
        yield from say(text, heard.content[len(text.told) :])
        yield from end_text(text)
        self.messages.append(AssistantMessage(id=heard.message_id, content=heard.content, subagent_run_id=agent))
        if not heard.depth:
            self._said = heard.content

    def _call(self, heard: ToolExecuting | ToolCompleted) -> Iterator[BaseEvent]:
        agent, call = agent_of(heard), heard.call_id
        if isinstance(heard, ToolExecuting):
            arguments = heard.arguments if isinstance(heard.arguments, str) else _json(heard.arguments)
            function = FunctionCall(name=heard.tool, arguments=arguments)
            self.messages.append(
                AssistantMessage(id=call, tool_calls=[ToolCall(id=call, function=function)], subagent_run_id=agent)
            )
            yield ToolCallStartEvent(tool_call_id=call, tool_call_name=heard.tool, subagent_run_id=agent)
            yield ToolCallArgsEvent(tool_call_id=call, delta=arguments, subagent_run_id=agent)
            yield ToolCallEndEvent(tool_call_id=call, subagent_run_id=agent)
            return
        self.asked = {ident: each for ident, each in self.asked.items() if each.call_id != call}
        error = None
        if heard.ok:
            content = heard.result if isinstance(heard.result, str) else _json(heard.result)
        else:
            content = _json({"error": heard.error})
            error = getattr(heard.error, "message", None)
        ident = f"{call}-result"
        self.messages.append(
            ToolMessage(id=ident, tool_call_id=call, content=content, error=error, subagent_run_id=agent)
        )
        yield ToolCallResultEvent(
            message_id=ident,
            tool_call_id=call,
            content=content,
            role="tool",
            subagent_run_id=agent,
            metadata={OURS: {"ok": heard.ok}},
        )

    def _ended(self, heard: Ending) -> Iterator[BaseEvent]:
        if heard.depth:
            yield from self._member_ended(heard)
            return
        self.over = True
        if isinstance(heard, AgentCompleted) and (output := self._unsaid(heard.output)):
            text = Text(f"{self.naming.run_id}-output", None)
            yield from say(text, output)
            yield from end_text(text)
        yield from self._close(None)
        match heard:
            case AgentCompleted(output=output, usage=usage):
                tokens = TokenUsage(
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    total_tokens=usage.input_tokens + usage.output_tokens,
                )
                yield self._finished(result=output, outcome=RunFinishedSuccessOutcome(), usage=[tokens])
            case AgentFailed(code=code, message=message):
                ours = {OURS: {"retryable": heard.retryable}}
                yield RunErrorEvent(message=message, code=code, metadata=ours)
            case AgentCancelled(by=by):
                finished = self._finished(outcome=RunFinishedCancelledOutcome())
                finished.metadata = {OURS: {"by": by}}
                yield finished

    def _member_ended(self, heard: Ending) -> Iterator[BaseEvent]:
        agent = agent_of(heard) or ""
        self._agents.pop(agent, None)
        yield from self._close(agent)
        match heard:
            case AgentCompleted(output=output):
                outcome = SubagentFinishedSuccessOutcome()
                yield SubagentFinishedEvent(subagent_run_id=agent, result=output, outcome=outcome)
            case AgentFailed(code=code, message=message):
                yield SubagentErrorEvent(subagent_run_id=agent, message=message, code=code)
            case AgentCancelled(by=by):
                yield SubagentErrorEvent(subagent_run_id=agent, message=f"stopped by {by}", code="cancelled")

    def _close(self, agent: str | None) -> Iterator[BaseEvent]:
        """The ends of the texts that an agent left open, or that anybody did: the protocol wants them ended first."""
        for ident, text in list(self._texts.items()):
            if agent is None or text.agent == agent:
                yield from end_text(self._texts.pop(ident))
        for owner in list(self._thoughts):
            if agent is None or owner == agent:
                yield from end_thought(self._thoughts.pop(owner))

    def _unsaid(self, output: Any) -> str | None:
        """An output that no answer of the model has said, as the thread shows it, too."""
        if output is None or output == "":
            return None
        if self._said is None or (isinstance(output, str) and output != self._said):
            return as_said(output)
        return None

    def _started(self) -> RunStartedEvent:
        naming = self.naming
        return RunStartedEvent(
            thread_id=naming.thread,
            run_id=naming.run,
            parent_run_id=naming.parent,
            protocol_version=PROTOCOL_VERSION,
            metadata={OURS: {"thread_id": naming.thread_id, "run_id": naming.run_id}},
        )

    def _finished(self, **fields: Any) -> RunFinishedEvent:
        return RunFinishedEvent(thread_id=self.naming.thread, run_id=self.naming.run, **fields)

    def _subagent(self, started: AgentStarted) -> SubagentStartedEvent:
        call_id = agent_of(started) or ""
        return SubagentStartedEvent(
            subagent_run_id=call_id,
            name=started.agent,
            parent_tool_call_id=call_id,
            parent_subagent_run_id=self._parent_of(call_id),
        )

    def _parent_of(self, call_id: str) -> str | None:
        """Which sub-agent made this call; None for the run's own agent."""
        calls = (message for message in self.messages if isinstance(message, AssistantMessage) and message.tool_calls)
        return next((message.subagent_run_id for message in calls if message.id == call_id), None)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
