"""`Tracing`: runs as OpenTelemetry's spans and histograms, by its conventions for generative AI.

Source: the OpenTelemetry semantic conventions for generative AI (semantic-conventions-genai): `invoke_agent {agent}`,
`chat {model}`, `execute_tool {tool}`, their attributes, and the `gen_ai.*` histograms. Nothing here is imported unless
NETRA_TELEMETRY is on.

No span says what people, models or tools have said, unless the operator wants it, and then it is redacted. A user is
told by a keyed digest. Labels of histograms name models, agents and tools alone.
"""

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import Traced
from netra_apex.core.telemetry import Called, Span, Telemetry
from netra_apex.core.voices import Model
from netra_apex.stream.spans import SCOPE, Live, Said, traceparent
from netra_apex.stream.traced_model import Asking, TracedModel

DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

_propagator = TraceContextTextMapPropagator()


class Tracing(Telemetry):
    """Tells of runs by the process's tracer and meter providers. `redactor` is there where content is told too."""

    __slots__ = ("_agents", "_asking", "_calls", "_key", "_said", "_tracer")

    def __init__(self, secret: str, redactor: Redactor | None = None) -> None:
        self._key = hashlib.blake2b(secret.encode(), person=b"netra telemetry").digest()
        self._said = Said(redactor)
        self._tracer = trace.get_tracer(SCOPE)
        meter = metrics.get_meter(SCOPE)

        def seconds(name: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=DURATIONS)

        self._agents = seconds("gen_ai.invoke_agent.duration")
        self._calls = seconds("gen_ai.execute_tool.duration")
        self._asking = Asking(
            tracer=self._tracer,
            said=self._said,
            duration=seconds("gen_ai.client.operation.duration"),
            first=seconds("gen_ai.client.operation.time_to_first_chunk"),
            tokens=meter.create_histogram(
                "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=TOKENS
            ),
        )

    def here(self) -> str | None:
        """See `Telemetry.here`."""
        return traceparent(trace.get_current_span())

    def agent(
        self, context: UserExecutionContext, agent: str, task: Any, before: Traced | None = None
    ) -> AbstractContextManager[Span]:
        """See `Telemetry.agent`."""
        labels = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
        attributes = labels | self._whose(context) | {"user.id": self._digest(context.user_id)}
        parent, links = (None, []) if before is None else _gone_on(before)
        span = self._tracer.start_span(
            f"invoke_agent {agent}", parent, attributes=attributes | self._said.message("user", task), links=links
        )
        return Live(span, self._agents, labels, self._said.answer)

    def call(self, context: UserExecutionContext, called: Called) -> AbstractContextManager[Span]:
        """See `Telemetry.call`."""
        labels = {"gen_ai.operation.name": "execute_tool"}
        if called.known:  # what a model has made up is no label
            labels["gen_ai.tool.name"] = called.name
        attributes = labels | self._whose(context) | {"gen_ai.tool.type": "function"}
        attributes |= {"gen_ai.tool.call.id": called.call_id, "netra.call.attempt": called.attempt}
        attributes |= self._said.value("gen_ai.tool.call.arguments", called.arguments)
        name = f"execute_tool {called.name}" if called.known else "execute_tool"
        span = self._tracer.start_span(name, attributes=attributes)
        return Live(span, self._calls, labels, lambda result: self._said.value("gen_ai.tool.call.result", result))

    def models(self, found: Callable[[str | None], Model]) -> Callable[[str | None], Model]:
        """See `Telemetry.models`."""
        return lambda name: TracedModel(found(name), self._asking)

    def _whose(self, context: UserExecutionContext) -> dict[str, Any]:
        return {"gen_ai.conversation.id": context.thread_id, "netra.run.id": context.run_id}

    def _digest(self, user_id: str) -> str:
        return hashlib.blake2b(user_id.encode(), key=self._key, digest_size=16).hexdigest()


def arrived(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
    """Within it, what is done is in the trace that a request names. One that an application has begun for it stays."""
    found = [(name, value) for name, value in headers if name in (b"traceparent", b"tracestate")]
    # Two of them are as none (W3C Trace Context, 3.2).
    if sum(name == b"traceparent" for name, _ in found) != 1 or trace.get_current_span().get_span_context().is_valid:
        return nullcontext()
    return _within(_propagator.extract({name.decode(): value.decode("latin-1") for name, value in found}, Context()))


def with_trace(logger: WrappedLogger, name: str, line: EventDict) -> EventDict:
    """A log line with the ids of the span in which it was written (for structlog)."""
    del logger, name
    here = trace.get_current_span().get_span_context()
    if here.is_valid:
        line["trace_id"] = trace.format_trace_id(here.trace_id)
        line["span_id"] = trace.format_span_id(here.span_id)
    return line


@contextlib.contextmanager
def _within(context: Context) -> Generator[None]:
    token = otel.attach(context)
    try:
        yield
    finally:
        otel.detach(token)


def _gone_on(before: Traced) -> tuple[Context, list[Link]]:
    """What a segment is under, and the segment before it."""
    last = [] if before.last is None else [_read(before.last)]
    links = [Link(trace.get_current_span(each).get_span_context()) for each in last]
    return _read(before.parent), links


def _read(value: str) -> Context:
    carrier: Mapping[str, str] = {"traceparent": value}
    return _propagator.extract(carrier, Context())
