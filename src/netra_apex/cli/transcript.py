"""What a run looks like in a terminal: frames in, text out, and nothing said twice."""

import json
from typing import Any, Protocol, cast

from msgspec import UNSET

from netra_apex.cli.terminal import one_line, printable
from netra_apex.client import ApprovalInfo, Frame, OtherEvent, Reconnected, Reconnecting
from netra_apex.client.live import Notice
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ThinkingDelta,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import Usage, as_said

SHORT = 160
_WORDS = {"approve": "approved", "reject": "rejected"}
DIM, TOOL, BAD, ASKS = "dim", "cyan", "red", "bold yellow"


class Pen(Protocol):
    """Where a transcript is written."""

    live: bool
    """Whether an answer is written while it comes; otherwise once, when it is whole."""

    def line(self, text: str, style: str = "") -> None:
        """A line about the run, which is not part of an answer."""
        ...

    def data(self, text: str) -> None:
        """A line that somebody asked for by a command."""
        ...

    def answer(self, text: str) -> None:
        """A piece of an answer; line ends are in the text."""
        ...

    def aside(self, text: str) -> None:
        """A piece of what the model thinks aloud."""
        ...


class Transcript:
    """Writes one run.

    An answer may come three times: streamed, whole in `message_completed`, and as the run's output. It is written the
    first time, and what is only in a later one is added.
    """

    def __init__(self, pen: Pen) -> None:
        self._pen = pen
        self._streamed: dict[str, str] = {}
        self._thought: dict[str, str] = {}
        self._answers: list[str] = []
        self._streaming: str | None = None
        self.asked: dict[str, ApprovalRequested] = {}
        """What waits for a decision, the oldest first."""
        self.questions: dict[str, QuestionAsked] = {}
        """What waits for an answer, the oldest first."""

    @property
    def waits_in(self) -> str | None:
        """The conversation in which a person has to say something; None where nobody has."""
        return next((each.thread_id for each in (*self.asked.values(), *self.questions.values())), None)

    def show(self, frame: Frame) -> None:
        """Writes a frame."""
        match frame:
            case ThinkingDelta():
                self._think_aloud(frame)
            case MessageDelta():
                self._stream(frame)
            case MessageReset():
                self._reset(frame)
            case MessageCompleted():
                self._complete(frame)
            case AgentCompleted() | AgentFailed() | AgentCancelled():
                self._end(frame)
            case _:
                self._about(frame)

    def line(self, text: str, style: str = DIM) -> None:
        """Writes a line of its own, after what is being streamed."""
        self._break()
        self._pen.line(printable(text), style)

    def ask_again(self) -> None:
        """Writes once more what waits for a decision or an answer."""
        for each in self.asked.values():
            self._ask(each)
        for each in self.questions.values():
            self._ask_for(each)

    def _ask(self, event: ApprovalRequested) -> None:
        until = event.expires_at[:16].replace("T", " ")
        asks = "may have been made already; make it again?" if event.again is True else "needs your approval,"
        self.line(f"{_indent(event.depth)}? {call_of(event)} {asks} until {until} UTC", ASKS)

    def _ask_for(self, event: QuestionAsked) -> None:
        self.line(f"{_indent(event.depth)}? {event.agent} asks: {event.text}", ASKS)

    def _about(self, frame: Frame) -> None:
        match frame:
            case RunQueued():
                self.line(f"waiting: {frame.reason}")
            case AgentStarted() if frame.depth:
                self.line(f"{_indent(frame.depth)}▸ {frame.agent}: {one_line(_text(frame.task), SHORT)}")
            case AgentThinking():
                self._think(frame)
            case ToolExecuting():
                self.line(f"{_indent(frame.depth)}→ {call_of(frame)}", TOOL)
            case ToolCompleted():
                self.asked = {ident: each for ident, each in self.asked.items() if each.call_id != frame.call_id}
                self.questions = {
                    ident: each for ident, each in self.questions.items() if each.call_id != frame.call_id
                }
                self._tool_done(frame)
            case ApprovalRequested():
                self.asked[frame.approval_id] = frame
                self._ask(frame)
            case ApprovalDecided():
                self.asked.pop(frame.approval_id, None)
                self.line(f"{_indent(frame.depth)}{_WORDS.get(frame.decision, frame.decision)} by {frame.by}", TOOL)
            case QuestionAsked():
                self.questions[frame.question_id] = frame
                self._ask_for(frame)
            case QuestionAnswered():
                self.questions.pop(frame.question_id, None)  # the call's end, which follows, tells the answer
            case OtherEvent():
                self.line(f"{_indent(frame.depth)}{frame.kind.replace('_', ' ')}")
            case Reconnecting() | Reconnected():
                self.line(about_connection(frame))
            case _:
                pass

    def _think(self, event: AgentThinking) -> None:
        if event.text in self._thought.values():
            return
        self.line(f"{_indent(event.depth)}· {one_line(event.text, 400)}")

    def _think_aloud(self, frame: ThinkingDelta) -> None:
        if self._pen.live and not frame.depth:
            self._thought[frame.message_id] = self._thought.get(frame.message_id, "") + frame.text
            self._switch(f"thinking {frame.message_id}")
            self._pen.aside(printable(frame.text))

    def _stream(self, frame: MessageDelta) -> None:
        if self._pen.live and not frame.depth:
            self._switch(frame.message_id)
            self._streamed[frame.message_id] = self._streamed.get(frame.message_id, "") + frame.text
            self._pen.answer(printable(frame.text))

    def _reset(self, frame: MessageReset) -> None:
        self._thought.pop(frame.message_id, None)
        if self._streamed.pop(frame.message_id, ""):
            self.line("(the answer begins anew)")

    def _complete(self, event: MessageCompleted) -> None:
        if event.depth:
            self.line(f"{_indent(event.depth)}{event.agent}: {one_line(event.content, SHORT)}")
            return
        self._answers.append(event.content)
        streamed = self._streamed.pop(event.message_id, "")
        if event.content.startswith(streamed):
            self._switch(event.message_id)
            rest = event.content[len(streamed) :]
        else:
            self._break()
            rest = event.content
        if rest:
            self._pen.answer(printable(rest))
        self._streaming = event.message_id
        self._break()

    def _end(self, event: AgentCompleted | AgentFailed | AgentCancelled) -> None:
        if event.depth:
            if isinstance(event, AgentFailed):
                self.line(f"{_indent(event.depth)}✗ {event.agent} failed: {event.message} ({event.code})", BAD)
            return
        self._break()
        match event:
            case AgentCompleted():
                self._output(event.output)
                self.line(_figures(event.usage, event.duration_ms))
            case AgentFailed():
                again = "; trying again may help" if event.retryable else ""
                self.line(f"failed: {event.message} ({event.code}){again}", BAD)
            case AgentCancelled():
                self.line(f"cancelled by {event.by}", BAD)

    def _output(self, output: Any) -> None:
        if output is None or output == "" or any(_same(answer, output) for answer in self._answers):
            return
        self._pen.answer(printable(as_said(output)))
        self._streaming = "output"
        self._break()

    def _tool_done(self, event: ToolCompleted) -> None:
        indent, took = _indent(event.depth), _milliseconds(event.duration_ms)
        if event.ok:
            result = "" if event.result is UNSET else one_line(_text(event.result), SHORT)
            self.line(f"{indent}← {event.tool}: {result} · {took}", TOOL)
        else:
            why = "" if event.error is UNSET else f"{one_line(event.error.message, SHORT)} ({event.error.code})"
            self.line(f"{indent}✗ {event.tool}: {why} · {took}", BAD)

    def _switch(self, stream: str) -> None:
        if self._streaming != stream:
            self._break()
            self._streaming = stream

    def _break(self) -> None:
        if self._streaming is not None:
            self._pen.answer("\n")
            self._streaming = None


def about_connection(notice: Notice) -> str:
    """What a notice says."""
    match notice:
        case Reconnecting():
            return f"connection lost ({notice.reason}); reconnecting…"
        case Reconnected():
            return f"back after {notice.seconds:.1f} s"


def _indent(depth: int) -> str:
    return "  " * depth


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def call_of(event: ToolExecuting | ApprovalRequested | ApprovalInfo) -> str:
    """A call with its arguments, on one line."""
    arguments = event.arguments
    if not isinstance(arguments, dict):
        return f"{event.tool}({one_line(_text(arguments), SHORT)})"
    pairs = cast("dict[str, Any]", arguments).items()
    shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in pairs)
    return f"{event.tool}({one_line(shown, SHORT)})"


def _same(answer: str, output: Any) -> bool:
    """Whether an answer's text is the output: as it is, or as the JSON of an output with a type."""
    if isinstance(output, str):
        return answer.strip() == output.strip()
    try:
        return bool(json.loads(answer) == output)
    except ValueError:
        return False


def _milliseconds(value: int) -> str:
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _figures(usage: Usage, duration_ms: int) -> str:
    parts = [_milliseconds(duration_ms)]
    if usage.requests:
        parts.append(f"{usage.requests} model request{'s' if usage.requests > 1 else ''}")
        parts.append(f"{usage.input_tokens} tokens in, {usage.output_tokens} out")
    if usage.cost_usd is not None:
        parts.append(f"${usage.cost_usd:.4f}")
    return " · ".join(parts)
