"""Routes for operators and their machines: `/healthz`, `/readyz`, `/metrics`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from netra_apex.errors import NetraError
from netra_apex.server.callers import Running
from netra_apex.server.golden_metrics import GoldenCollector, shared_by
from netra_apex.server.lifecycle import Lifecycle
from netra_apex.server.problems import responses

router = APIRouter(tags=["operation"])

Figures = Mapping[str, float | Mapping[str, float]]
_LABELS = {"events_total": "type", "runs_total": "ending", "compat_uses_total": "name"}
_HELP = {
    "runs_active": "Runs under way in this process",
    "connections": "Open sockets",
    "loop_lag_seconds": "The latest that the event loop was within a minute",
    "loop_stalls_total": "Times that the event loop was held up for a quarter of a second or longer",
    "events_total": "Durable events told, by type",
    "runs_total": "Runs ended, by ending",
    "compat_uses_total": "Uses of netra_apex.compat, by name",
}


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether requests should be sent here, and why not."""

    status: Literal["ready", "not_ready"]
    reasons: list[str]


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """Liveness: the loop turns. It asks nothing else, so that a database's trouble restarts nobody."""
    return Health()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", operation_id="readyz", response_model=Ready, responses={503: {"model": Ready}})
async def readyz(request: Request) -> JSONResponse:
    """Readiness: 503 with reasons while draining, without a database, or while the model that is set is not reached."""
    lifecycle: Lifecycle = request.app.state.lifecycle
    try:
        reasons = await (await lifecycle.services()).readiness.reasons()
    except NetraError as error:
        reasons = (f"start: {error}",)
    answer = Ready(status="not_ready" if reasons else "ready", reasons=list(reasons))
    return JSONResponse(answer.model_dump(), 503 if reasons else 200)


@router.get("/metrics", operation_id="metrics", response_class=Response, responses=responses())
async def metrics(services: Running) -> Response:
    """Prometheus's text format. No label tells anything of a person."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(RuntimeCollector(await services.runtime.house.metrics()))
    registry.register(GoldenCollector(services.runtime.house.meter, await shared_by(services)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_1_0_0)


class RuntimeCollector(Collector):
    """The runtime's figures as metric families, each named `netra_…`.

    A plain name is a gauge, one that ends in `_total` a counter; a mapping has a number for each value of its label.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """One family for each figure."""
        return tuple(_families(self._figures))


def _families(figures: Figures) -> Iterator[Metric]:
    for name, value in figures.items():
        labels = [_LABELS.get(name, "kind")] if isinstance(value, Mapping) else []
        family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        metric = family(f"netra_{name}", _HELP.get(name, name.replace("_", " ")), labels=labels)
        if isinstance(value, Mapping):
            for label, number in sorted(value.items()):
                metric.add_metric([label], number)
        else:
            metric.add_metric([], value)
        yield metric
