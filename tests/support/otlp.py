"""`Receiver`: takes in what OpenTelemetry sends over HTTP, as a collector does, and answers what came."""

import gzip
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SECONDS = 15.0


@dataclass(frozen=True)
class Seen:
    """A span as it was sent; ids are hexadecimal, `parent` of a root is empty."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool
    said: str
    scope: str
    service: str
    began: int
    ended: int
    events: int


@dataclass
class Receiver:
    """`with Receiver() as receiver: receiver.url`. One that is `stalled` takes requests and never answers."""

    stalled: bool = False
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    labels: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        receiver = self
        self._over = threading.Event()
        self._news = threading.Condition()
        self.asked = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked.set()
                if receiver.stalled:
                    receiver._over.wait()
                    return
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                answer = receiver._take(self.path, body).SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """What has a process send here, soon."""
        return {
            "telemetry": "on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": 20,
            "OTEL_METRIC_EXPORT_INTERVAL": 200,
        }

    def until(self, found: Callable[[list[Seen]], Any], what: str = "") -> Any:
        """What `found` makes of the spans once that is true."""
        deadline = time.monotonic() + SECONDS
        with self._news:
            while not (result := found(list(self.spans))):
                left = deadline - time.monotonic()
                assert left > 0, what or [f"{each.name} {each.attributes}" for each in self.spans]
                self._news.wait(left)
        return result

    def of(self, run_id: str, *names: str) -> list[Seen]:
        """The spans of a run's trace, by their beginnings, once it has all of these, each as often as named."""

        def found(spans: list[Seen]) -> list[Seen]:
            traces = {each.trace for each in spans if each.attributes.get("netra.run.id") == run_id}
            its = sorted((each for each in spans if each.trace in traces), key=lambda each: each.began)
            have = [each.name for each in its]
            return its if traces and all(have.count(name) >= names.count(name) for name in names) else []

        return self.until(found, f"not all of {names}: {[(each.name, each.attributes) for each in self.spans]}")

    def _take(self, path: str, body: bytes) -> Any:
        with self._news:
            self.bodies.append(body)
            if path == "/v1/traces":
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    service = _attributes(each.resource.attributes)["service.name"]
                    for scope in each.scope_spans:
                        self.spans += [_seen(span, scope.scope.name, service) for span in scope.spans]
                answer: Any = ExportTraceServiceResponse()
            else:
                assert path == "/v1/metrics", path
                for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in each.scope_metrics:
                        for metric in scope.metrics:
                            points = [_attributes(point.attributes) for point in metric.histogram.data_points]
                            self.labels[metric.name] = points
                answer = ExportMetricsServiceResponse()
            self._news.notify_all()
        return answer


def tree(spans: Iterable[Seen]) -> Any:
    """The spans' names as `[name, [children…]]`, in the order of their beginnings."""
    found = list(spans)
    known = {each.span for each in found}

    def under(parent: str) -> list[Any]:
        return [[each.name, under(each.span)] for each in found if each.parent == parent]

    roots = {each.parent for each in found if each.parent not in known}
    return [one for root in roots for one in under(root)]


def _seen(span: Any, scope: str, service: str) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        failed=span.status.code == 2,
        said=span.status.message,
        scope=scope,
        service=service,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        events=len(span.events),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
