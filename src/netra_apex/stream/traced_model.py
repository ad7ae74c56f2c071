"""`TracedModel`: a model each of whose requests is a span, `chat {model}`."""

import time
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from opentelemetry import context as otel
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from netra_apex.core.messages import ModelRequest, Reply
from netra_apex.core.voices import Deltas, Model
from netra_apex.stream.spans import Said, error_type, fail, tokens_of, traceparent

# Where the conventions have another name than people write before a model's.
PROVIDERS = MappingProxyType(
    {
        "azure": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "google": "gcp.gemini",
        "google-cloud": "gcp.vertex_ai",
        "google-gla": "gcp.gemini",
        "google-vertex": "gcp.vertex_ai",
        "grok": "x_ai",
        "mistral": "mistral_ai",
        "xai": "x_ai",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What requests to models are told by."""

    tracer: Tracer
    said: Said
    duration: Histogram
    first: Histogram
    tokens: Histogram


class TracedModel:
    """Another model, each request to which is told of (port: `core.voices.Model`). It has the trace go with it."""

    __slots__ = ("_asking", "_model")

    def __init__(self, model: Model, asking: Asking) -> None:
        self._model = model
        self._asking = asking

    @property
    def name(self) -> str:
        """See `Model.name`."""
        return self._model.name

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """See `Model.complete`."""
        asking = self._asking
        labels = _labels(self._model.name)
        attributes: dict[str, Any] = {**labels, "gen_ai.request.stream": True}
        if request.output_tokens is not None:
            attributes["gen_ai.request.max_tokens"] = request.output_tokens
        span = asking.tracer.start_span(
            f"chat {labels['gen_ai.request.model']}",
            kind=SpanKind.CLIENT,
            attributes=attributes | asking.said.messages(request.messages),
        )
        began = time.perf_counter()
        first = _First(deltas)
        token = otel.attach(set_span_in_context(span))
        try:
            reply = await self._model.complete(replace(request, headers=_headers(span)), first)
            self._replied(span, reply, labels)
        except BaseException as error:
            fail(span, labels, error_type(error))
            raise
        finally:
            otel.detach(token)
            if first.at is not None:
                span.set_attribute("gen_ai.response.time_to_first_chunk", first.at - began)
                asking.first.record(first.at - began, labels)
            asking.duration.record(time.perf_counter() - began, labels)
            span.end()
        return reply

    async def check(self) -> str | None:
        """See `Model.check`."""
        return await self._model.check()

    async def aclose(self) -> None:
        """See `Model.aclose`."""
        await self._model.aclose()

    def _replied(self, span: Span, reply: Reply, labels: dict[str, str]) -> None:
        attributes: dict[str, Any] = tokens_of(reply.usage)
        if reply.cached_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = reply.cached_tokens
        if reply.finish_reason is not None:
            attributes["gen_ai.response.finish_reasons"] = [reply.finish_reason]
        span.set_attributes(attributes | self._asking.said.reply(reply))
        for kind, count in (("input", reply.usage.input_tokens), ("output", reply.usage.output_tokens)):
            self._asking.tokens.record(count, labels | {"gen_ai.token.type": kind})


class _First:
    """Tells an answer on, and when its first piece came. After that its methods are the other's own.

    A token costs nothing more.
    """

    __slots__ = ("_deltas", "at", "reset", "text", "thinking")

    def __init__(self, deltas: Deltas) -> None:
        self._deltas = deltas
        self.at: float | None = None
        self.text = self._first_text
        self.thinking = self._first_thinking
        self.reset = deltas.reset

    @property
    def pace(self) -> float:
        return self._deltas.pace

    def _first_text(self, piece: str) -> None:
        self._came()
        self.text(piece)

    def _first_thinking(self, piece: str) -> None:
        self._came()
        self.thinking(piece)

    def _came(self) -> None:
        self.at = time.perf_counter()
        self.text = self._deltas.text
        self.thinking = self._deltas.thinking


def _headers(span: Span) -> dict[str, str]:
    value = traceparent(span)
    return {} if value is None else {"traceparent": value}


def _labels(model: str) -> dict[str, str]:
    provider, colon, name = model.partition(":")
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": name if colon else model,
    }
