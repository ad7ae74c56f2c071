"""`GET /api/admin/service-levels`: whether the golden path holds, since when not, and why."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel

from netra_apex.core.blockers import Blocker, Standing, blockers
from netra_apex.core.periods import Period
from netra_apex.core.service import Figures, Point
from netra_apex.server.administration import actor_of
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.services import Services
from netra_apex.server.shapes import Instant
from netra_apex.stores.rows import from_ms, now_ms

router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=SECURITY)
CURRENT_MS = 60_000  # a period that ends so shortly before now tells of what is going on too

Since = Annotated[str, Query(max_length=40, description="24h, 7d, 30m … back from until, or RFC 3339")]
Until = Annotated[str | None, Query(max_length=40, description="RFC 3339; left out: now")]
Points = Annotated[int, Query(ge=1, le=500, description="About so many points of the series")]


class LatencyShape(BaseModel):
    """Milliseconds since the message was accepted, to two digits."""

    p50: int
    p95: int
    p99: int


class CountsShape(BaseModel):
    """What came of some runs, and what they used. `success_rate` is good / (good + bad)."""

    runs: int
    good: int
    bad: int
    excluded: int
    success_rate: float | None
    tool_calls: int
    tool_failures: int
    input_tokens: int
    output_tokens: int
    requests: int
    cost_usd: float | None


class LevelsShape(CountsShape):
    """The runs that ended in a period."""

    users: int
    queued_ms: LatencyShape | None
    first_event_ms: LatencyShape | None
    first_token_ms: LatencyShape | None
    completion_ms: LatencyShape | None


class PointShape(LevelsShape):
    """The runs that ended in one stretch of it."""

    at: Instant


class PartShape(CountsShape):
    """The runs of one agent, model or user."""

    name: str | None


class FailureShape(BaseModel):
    """Why runs did not end well."""

    cause: str
    runs: int
    counted: bool
    message: str


class DeliveryShape(BaseModel):
    """How many of one of the five events were due, and told."""

    type: str
    due: int
    told: int
    rate: float | None


class BurnRateShape(BaseModel):
    """How fast the error budget is used up."""

    window: str
    seconds: int
    good: int
    bad: int
    error_rate: float | None
    burn_rate: float | None


class BlockerShape(BaseModel):
    """Something that keeps runs from ending well now."""

    kind: str
    count: int
    since: Instant | None
    message: str


class GoldenPathShape(BaseModel):
    """What is promised."""

    limit_seconds: float
    objective: float


class NowShape(BaseModel):
    """How everything stands; `connections` are of the process that answers."""

    queued: int
    running: int
    waiting: int
    overdue: int
    users: int
    workers: int
    connections: int
    database_ms: float


class ServiceLevelsShape(BaseModel):
    """Service-level figures of everybody, whichever process is asked."""

    since: Instant
    until: Instant
    bucket_seconds: int
    golden_path: GoldenPathShape
    total: LevelsShape
    before: LevelsShape | None
    series: list[PointShape]
    agents: list[PartShape]
    models: list[PartShape]
    users: list[PartShape]
    failures: list[FailureShape]
    events: list[DeliveryShape]
    burn_rates: list[BurnRateShape]
    blockers: list[BlockerShape]
    now: NowShape


@router.get("/service-levels", operation_id="admin_service_levels", responses=responses(401, 403, 422))
async def service_levels(
    principal: Caller,
    services: Running,
    since: Since = "24h",
    until: Until = None,
    points: Points = 48,
    compare: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> ServiceLevelsShape:
    """Success, latency, the five events, failures, use and burn rates of a period, and what is in the way now."""
    stores = services.runtime.stores
    now = now_ms()
    period = Period.read(since, until, points=points, now=now)
    asked = {"since": _told(period.since), "until": _told(period.until)}
    took = await stores.administration.look(actor_of(principal), "read_service_levels", asked)
    standing = await stores.service.standing(database_ms=took)
    overdue = standing.overdue
    figures = await stores.service.figures(period, overdue=overdue if period.until > now - CURRENT_MS else 0)
    before = await stores.service.figures(period.before) if compare else None
    path = stores.service.path
    return ServiceLevelsShape.model_validate(
        _figures(figures)
        | {
            "since": from_ms(period.since),
            "until": from_ms(period.until),
            "bucket_seconds": period.width // 1000,
            "golden_path": {"limit_seconds": path.seconds, "objective": path.objective},
            "before": None if before is None else msgspec.to_builtins(before.total),
            "burn_rates": msgspec.to_builtins(await stores.service.burn_rates(overdue=overdue)),
            "blockers": [_blocker(each) for each in _in_the_way(services, standing)],
            "now": _now(services, standing),
        }
    )


def _figures(figures: Figures) -> dict[str, Any]:
    parts = {name: msgspec.to_builtins(getattr(figures, name)) for name in ("agents", "models", "users")}
    rest = {name: msgspec.to_builtins(getattr(figures, name)) for name in ("total", "failures", "events")}
    return parts | rest | {"series": [_point(each) for each in figures.series]}


def _point(point: Point) -> dict[str, Any]:
    return {"at": from_ms(point.at), **msgspec.to_builtins(point.levels)}


def _in_the_way(services: Services, standing: Standing) -> tuple[Blocker, ...]:
    found = blockers(standing, queued_per_user=services.runtime.settings.queued_per_user)
    if not services.readiness.draining:
        return found
    return (*found, Blocker(kind="draining", count=1, since=None, message="the process that answers is about to stop"))


def _blocker(blocker: Blocker) -> dict[str, Any]:
    since = None if blocker.since is None else from_ms(blocker.since)
    return msgspec.to_builtins(blocker) | {"since": since}


def _now(services: Services, standing: Standing) -> dict[str, Any]:
    names = ("queued", "running", "waiting", "overdue", "users")
    return {name: getattr(standing, name) for name in names} | {
        "workers": 1 if standing.workers is None else standing.workers,
        "connections": len(services.runtime.manager),
        "database_ms": round(standing.database_ms, 1),
    }


def _told(ms: int) -> str:
    at: datetime = from_ms(ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
