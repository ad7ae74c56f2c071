"""The golden path for Prometheus: what this process has counted, and what all processes together have come to.

What is this process's own is to be summed over processes. What begins with `netra_shared_`, and `netra_runs_queued`, is
read from the database and the same from each process of it: of that the `max` is to be taken, never the sum.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from netra_apex.core.blockers import Standing, blockers
from netra_apex.core.golden import GoldenPath
from netra_apex.core.service import BurnRate
from netra_apex.errors import StoreError
from netra_apex.server.services import Services
from netra_apex.stream.meter import Histogram, Meter

SHARED_SECONDS = 5.0  # within which the database must give what is shared: a scrape waits ten
KINDS = (
    "model_unreachable", "model_failing", "database_slow", "no_worker", "queue_full", "overdue", "waiting_for_people",
)  # fmt: skip
TIMES = {
    "queued_ms": ("netra_run_queued_seconds", "From the acceptance of a message to its agent's start"),
    "first_event_ms": ("netra_run_first_event_seconds", "From the acceptance of a message to its first event"),
    "first_token_ms": ("netra_run_first_token_seconds", "From the acceptance of a message to the first text shown"),
    "completion_ms": ("netra_run_completion_seconds", "From the acceptance of a message to its run's completion"),
}

log = structlog.get_logger("netra_apex.server")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What stands in the database, of all processes. `standing` is None where it did not answer in time."""

    path: GoldenPath
    standing: Standing | None
    rates: tuple[BurnRate, ...]
    blocked: Mapping[str, int]


async def shared_by(services: Services) -> Shared:
    """What all processes together have come to; an outage of the database is a figure too, and no error."""
    service = services.runtime.stores.service
    try:
        async with asyncio.timeout(SHARED_SECONDS):
            standing = await service.standing()
            rates = await service.burn_rates(overdue=standing.overdue)
    except (StoreError, TimeoutError) as error:
        log.warning("the database does not answer", error=str(error))
        return Shared(path=service.path, standing=None, rates=(), blocked={})
    queued_per_user = services.runtime.settings.queued_per_user
    found: dict[str, int] = {}
    for blocker in blockers(standing, queued_per_user=queued_per_user):
        found[blocker.kind] = found.get(blocker.kind, 0) + blocker.count
    return Shared(path=service.path, standing=standing, rates=rates, blocked=found)


class GoldenCollector(Collector):
    """The figures as metric families."""

    def __init__(self, meter: Meter, shared: Shared) -> None:
        self._meter = meter
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        """One family for each figure."""
        return (*_counted(self._meter), *_timed(self._meter), *_promised(self._shared.path), *_shared(self._shared))


def _counted(meter: Meter) -> Iterator[Metric]:
    yield _counter("golden_path_runs", "Runs ended here, by what they were on the golden path", "outcome", meter.golden)
    yield _counter("golden_path_breaches", "Runs ended here that were bad, by cause", "cause", meter.breaches)
    yield _counter("golden_path_events_due", "Of the five events, those that runs owed", "type", meter.due)
    yield _counter("golden_path_events_told", "Of the five events, those that were told", "type", meter.delivered)
    yield _counter("tool_calls", "Tool calls that ended, by outcome", "outcome", meter.calls)
    tokens = CounterMetricFamily("netra_model_tokens", "Tokens of runs that ended here", labels=["model", "kind"])
    for (model, kind), count in sorted(meter.tokens.items()):
        tokens.add_metric([model, kind], count)
    yield tokens
    yield _counter("model_cost_usd", "Cost of runs that ended here, where it is known", "model", meter.cost_usd)


def _counter(name: str, help_: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"netra_{name}", help_, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _timed(meter: Meter) -> Iterator[Metric]:
    for metric, histogram in meter.times.items():
        yield _histogram(*TIMES[metric], histogram)
    yield _histogram("netra_store_seconds", "How long what a run tells took to be on disk", meter.storing)


def _histogram(name: str, help_: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, help_)
    family.add_metric([], histogram.buckets, histogram.sum)
    return family


def _promised(path: GoldenPath) -> Iterator[Metric]:
    yield GaugeMetricFamily("netra_golden_path_objective", "Share of runs that are to be good", path.objective)
    yield GaugeMetricFamily("netra_golden_path_limit_seconds", "Within this a message is answered", path.seconds)


def _shared(shared: Shared) -> Iterator[Metric]:
    standing = shared.standing
    yield GaugeMetricFamily("netra_database_up", "Whether the database answered this scrape", int(standing is not None))
    if standing is None:
        return
    yield GaugeMetricFamily("netra_runs_queued", "Runs that wait for their turn, of all processes", standing.queued)
    plain = {
        "runs_waiting": ("Runs that wait for a person, of all processes", standing.waiting),
        "runs_overdue": ("Runs that go on beyond the limit, of all processes", standing.overdue),
        "workers": ("Processes that execute runs", 1 if standing.workers is None else standing.workers),
    }
    for name, (help_, value) in plain.items():
        yield GaugeMetricFamily(f"netra_shared_{name}", help_, value)
    burn = GaugeMetricFamily(
        "netra_shared_burn_rate", "How fast the error budget is used up, of all processes", labels=["window"]
    )
    errors = GaugeMetricFamily("netra_shared_error_rate", "Share of bad runs, of all processes", labels=["window"])
    for rate in shared.rates:
        burn.add_metric([rate.window], rate.burn_rate or 0.0)
        errors.add_metric([rate.window], rate.error_rate or 0.0)
    yield from (burn, errors)
    blocked = GaugeMetricFamily("netra_shared_blocked", "What is in the way, of all processes", labels=["kind"])
    for kind in KINDS:
        blocked.add_metric([kind], shared.blocked.get(kind, 0))
    yield blocked
