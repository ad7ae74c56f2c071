"""Counts of what was told, for the metrics: by type, ending, cause and model, never by user."""

import time
from bisect import bisect_left
from collections import Counter, deque
from itertools import accumulate

from netra_apex.core.budgets import dollars
from netra_apex.core.events import AgentFailed, CallError, DurableEvent, ToolCompleted, is_terminal
from netra_apex.core.golden import Ended, GoldenPath
from netra_apex.core.service import METRICS, delivered

RUN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
STORE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CODES = frozenset(
    {"denied", "unknown_tool", "invalid_arguments", "timeout", "cancelled", "rejected", "expired", "unknown_outcome"}
)  # of failed calls; any other is an `error`, so that nobody's code makes a label
FAILURES = 1000  # that are remembered for a minute


class Histogram:
    """How often something took how long; `bounds` in seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Once more. Clocks of two machines may differ: less than nothing is nothing."""
        seconds = max(0.0, seconds)
        self.sum += seconds
        self._counts[bisect_left(self.bounds, seconds)] += 1

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """(le, how many took no longer), as Prometheus has them."""
        names = (*map(repr, self.bounds), "+Inf")
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class Meter:
    """Counters of one process. `old_names` counts the uses of `netra_apex.compat`.

    `golden` has good, bad and excluded runs, `breaches` why they were bad, `due` and `delivered` the five events.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.old_names: Counter[str] = Counter()
        self.golden: Counter[str] = Counter(good=0, bad=0, excluded=0)
        self.breaches: Counter[str] = Counter()
        self.due: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.calls: Counter[str] = Counter(ok=0)
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cost_usd: dict[str, float] = {}
        self.times: dict[str, Histogram] = {metric: Histogram(RUN_SECONDS) for metric in METRICS}
        self.storing = Histogram(STORE_SECONDS)
        self._failures: deque[tuple[float, str]] = deque(maxlen=FAILURES)

    def count(self, event: DurableEvent) -> None:
        """Counts an event that was stored and told."""
        kind = str(event.__struct_config__.tag)
        self.events[kind] += 1
        if is_terminal(event):
            self.endings[kind] += 1
            if isinstance(event, AgentFailed):
                self._failures.append((time.monotonic(), event.code))
        elif isinstance(event, ToolCompleted):
            self.calls[_outcome(event)] += 1

    def count_end(self, ended: Ended, path: GoldenPath) -> None:
        """Counts a run that has ended here."""
        verdict = ended.verdict(path)
        self.golden["good" if verdict.good else "bad" if verdict.bad else "excluded"] += 1
        if verdict.bad:
            self.breaches[str(verdict.cause)] += 1
        if not verdict.excluded:
            for name, due, told in delivered(ended.telling):
                self.due[name] += due
                self.delivered[name] += told
        model = ended.model or "none"
        self.tokens[model, "input"] += ended.input_tokens
        self.tokens[model, "output"] += ended.output_tokens
        self.cost_usd[model] = self.cost_usd.get(model, 0.0) + dollars(ended.cost or 0)
        for metric, at in (
            ("queued_ms", ended.started_at),
            ("first_event_ms", ended.first_event_at),
            ("first_token_ms", ended.first_token_at),
        ):
            if at is not None:
                self.times[metric].observe((at - ended.accepted_at) / 1000)
        if ended.completed:
            self.times["completion_ms"].observe(ended.counted_ms / 1000)

    def failures(self, seconds: float = 60.0) -> dict[str, int]:
        """How many runs have failed here so lately, by their code."""
        since = time.monotonic() - seconds
        return dict(Counter(code for at, code in self._failures if at >= since))

    def count_old_name(self, name: str) -> None:
        """Counts a use of a name of `netra_apex.compat`."""
        self.old_names[name] += 1


def _outcome(event: ToolCompleted) -> str:
    if event.ok:
        return "ok"
    return event.error.code if isinstance(event.error, CallError) and event.error.code in CODES else "error"
