"""`Live`: a span and the histogram that it is measured in; and `Said`, what spans may say of content."""

import asyncio
import time
from collections.abc import Callable, Iterable
from types import MappingProxyType, TracebackType
from typing import Any, Self

import msgspec
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import StatusCode, set_span_in_context
from pydantic_core import to_jsonable_python

from netra_apex.core.messages import (
    NO_USAGE,
    AssistantMessage,
    ModelMessage,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from netra_apex.core.redaction import Redactor
from netra_apex.core.telemetry import Span

SCOPE = "netra_apex"
CONTENT_CHARACTERS = 32_768  # of one attribute
CANCELLED = "cancelled"


class Said:
    """Attributes with content: redacted and cut; none at all without a redactor, so that nothing is even encoded."""

    __slots__ = ("_redactor",)

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor

    def value(self, name: str, value: Any) -> dict[str, str]:
        """The value as JSON, or a text as it is."""
        if self._redactor is None or value is None:
            return {}
        plain = self._redactor.value(to_jsonable_python(value, fallback=str, inf_nan_mode="null"))
        text = plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
        return {name: text[:CONTENT_CHARACTERS]}

    def messages(self, messages: Iterable[ModelMessage]) -> dict[str, str]:
        """What a model was asked; of pictures nothing."""
        if self._redactor is None:
            return {}
        found: list[dict[str, Any]] = []
        for each in messages:
            part = _part(_ROLES[type(each)], each.content)
            if isinstance(each, AssistantMessage) and each.tool_calls:
                part["parts"] += [_called(call) for call in each.tool_calls]
            found.append(part)
        return self.value("gen_ai.input.messages", found)

    def reply(self, reply: Reply) -> dict[str, str]:
        """What it has answered."""
        if self._redactor is None:
            return {}
        said = _part("assistant", reply.text)
        said["parts"] += [_called(call) for call in reply.tool_calls]
        return self.value("gen_ai.output.messages", [said])

    def message(self, role: str, content: Any) -> dict[str, str]:
        """What an agent was asked."""
        return self.value("gen_ai.input.messages", [_part(role, content)])

    def answer(self, content: Any) -> dict[str, str]:
        """What it has answered."""
        return {} if content is None else self.value("gen_ai.output.messages", [_part("assistant", content)])


_ROLES = MappingProxyType(
    {SystemMessage: "system", UserMessage: "user", AssistantMessage: "assistant", ToolMessage: "tool"}
)


def _called(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}


def _part(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


class Live(Span):
    """A span that is the current one while its `with` block lasts. A cancelled one is no error."""

    __slots__ = ("_answer", "_began", "_histogram", "_labels", "_span", "_token")

    def __init__(
        self, span: trace.Span, histogram: Histogram, labels: dict[str, str], answer: Callable[[Any], dict[str, str]]
    ) -> None:
        self._span = span
        self._histogram = histogram
        self._labels = labels
        self._answer = answer
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        self._token = otel.attach(set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        otel.detach(self._token)
        if error is not None and "error.type" not in self._labels:
            fail(self._span, self._labels, error_type(error))
        self._histogram.record(time.perf_counter() - self._began, self._labels)
        self._span.end()

    @property
    def trace(self) -> str | None:
        """See `Span.trace`."""
        return traceparent(self._span)

    def ended(self, error: str | None = None, *, result: Any = None, usage: Usage = NO_USAGE) -> None:
        """See `Span.ended`."""
        if usage is not NO_USAGE:
            self._span.set_attributes(tokens_of(usage))
        self._span.set_attributes(self._answer(result))
        if error is not None:
            fail(self._span, self._labels, error)

    def left(self, why: str) -> None:
        """See `Span.left`."""
        self._span.set_attribute("netra.run.left", why)


def fail(span: trace.Span, labels: dict[str, str], code: str) -> None:
    """The span and its measure end with this code. Not with a sentence: that may quote what somebody said."""
    labels["error.type"] = code
    span.set_attribute("error.type", code)
    if code != CANCELLED:
        span.set_status(StatusCode.ERROR)


def error_type(error: BaseException) -> str:
    """A short name of what broke: a provider's status where it gave one."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    status: object = getattr(error, "status", None)
    return str(status) if isinstance(status, int) else type(error).__name__


def tokens_of(usage: Usage) -> dict[str, Any]:
    """What was used, as attributes."""
    return {"gen_ai.usage.input_tokens": usage.input_tokens, "gen_ai.usage.output_tokens": usage.output_tokens}


def traceparent(span: trace.Span) -> str | None:
    """The span as W3C Trace Context names it; None where it is none."""
    here = span.get_span_context()
    if not here.is_valid:
        return None
    ids = f"{trace.format_trace_id(here.trace_id)}-{trace.format_span_id(here.span_id)}"
    return f"00-{ids}-{here.trace_flags:02x}"
