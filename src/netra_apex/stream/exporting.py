"""Sending telemetry: OpenTelemetry's own SDK and exporter, which read the OTEL_* variables themselves.

Imported where telemetry is on alone: these packages are the extra `telemetry`. They send from threads of their own, so
that a receiver which is slow or gone slows no run; what it does not take in time is dropped.
"""

import contextlib
import threading
import time
from collections.abc import Generator, Sequence
from importlib.metadata import version

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import ProxyTracerProvider, Status

from netra_apex.errors import ConfigurationError

LAST_WORDS_SECONDS = 1.0  # at the end of the process, for what has not been sent; it ends two seconds after its drain
MCP_SCOPE = "mcp-python-sdk"


@contextlib.contextmanager
def exporters(*, content: bool) -> Generator[None]:
    """Makes the process's providers, unless somebody has (`opentelemetry-instrument`), and closes them in the end.

    Raises:
        ConfigurationError: an OTEL_* variable is wrong.
    """
    if not isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        yield
        return
    resource = _resource()
    try:
        spans: SpanExporter = OTLPSpanExporter()
        # Not at exit: that would wait half a minute for a receiver that is stalled.
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(spans if content else Quieter(spans)))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    except ValueError as error:
        raise ConfigurationError(f"an OTEL_ variable is wrong: {error}") from error
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    try:
        yield
    finally:
        closing = [threading.Thread(target=each.shutdown, daemon=True) for each in (tracers, meters)]
        end = time.monotonic() + LAST_WORDS_SECONDS
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))


class Quieter(SpanExporter):
    """Takes from the spans of the MCP package what servers have said: it records their errors, words and all."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends the spans on."""
        return self._exporter.export([_quiet(span) for span in spans])

    def shutdown(self) -> None:
        """Closes the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Has the exporter send what it has."""
        return self._exporter.force_flush(timeout_millis)


def _quiet(span: ReadableSpan) -> ReadableSpan:
    scope = span.instrumentation_scope
    if scope is None or scope.name != MCP_SCOPE:
        return span
    return ReadableSpan(
        span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )


def _resource() -> Resource:
    found = Resource.create()
    own = {SERVICE_VERSION: version("netra-apex")}
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        own[SERVICE_NAME] = "netra-apex"  # nobody has named it
    return Resource(own).merge(found) if SERVICE_NAME not in own else found.merge(Resource(own))
