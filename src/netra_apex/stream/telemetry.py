"""Where telemetry begins: nowhere, unless NETRA_TELEMETRY says so. OpenTelemetry is imported by who wants it alone.

What is told goes to the process's own providers. `netra serve` and `netra worker` make those (`exporting`); an
application that mounts the server has its own, and they are left as they are.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

from structlog.typing import Processor

from netra_apex.core.redaction import Redactor
from netra_apex.core.telemetry import Telemetry
from netra_apex.errors import ConfigurationError
from netra_apex.settings import Settings, from_environment

INSTALL = 'pip install "netra-apex[telemetry]"; in a checkout: pip install -e ".[telemetry]"'

Headers = Iterable[tuple[bytes, bytes]]
Arrive = Callable[[Headers], AbstractContextManager[None]]

_NOTHING = nullcontext()


def telemetry_of(settings: Settings, redactor: Redactor) -> Telemetry:
    """Who is told of runs. What is told of what people say is redacted."""
    if settings.telemetry == "off":
        return Telemetry()
    from netra_apex.stream.tracing import Tracing

    return Tracing(settings.prepare_home(), redactor if settings.telemetry == "content" else None)


def arrivals(settings: Settings) -> Arrive:
    """What is entered with a request's headers: its trace, if it names one, is that of all that is done in it."""
    if settings.telemetry == "off":
        return lambda _: _NOTHING
    from netra_apex.stream.tracing import arrived

    return arrived


def log_processor(settings: Settings) -> Processor | None:
    """What adds `trace_id` and `span_id` to a log line."""
    if settings.telemetry == "off":
        return None
    from netra_apex.stream.tracing import with_trace

    return with_trace


@contextlib.contextmanager
def exporting(settings: Settings) -> Generator[None]:
    """Sends what is told by OTLP over HTTP, to where the OTEL_* variables say, until it is left.

    Raises:
        ConfigurationError: the packages for that are not installed, or a variable is wrong.
    """
    if settings.telemetry == "off":
        yield
        return
    if (lacking := missing(settings)) is not None:
        raise ConfigurationError(lacking)
    from netra_apex.stream.exporting import exporters

    with exporters(content=settings.telemetry == "content"):
        yield


def missing(settings: Settings) -> str | None:
    """A sentence where telemetry is on and its packages are not installed."""
    if settings.telemetry == "off" or (_is_there("opentelemetry.sdk.trace") and _is_there(_EXPORTER)):
        return None
    return f"NETRA_TELEMETRY={settings.telemetry} needs packages that are not installed: {INSTALL}"


def receiver() -> str:
    """The address that traces go to, as OpenTelemetry's exporter reads it."""
    own = from_environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return own or from_environment("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"


_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even what it would be in
        return False
