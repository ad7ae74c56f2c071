"""Service-level figures: what came of the runs that ended in a period, counted from runs that were alike.

The values are the JSON that operators are shown (docs/reference/http.md). Whether a run was good is `core.golden`'s to
say. Nothing here is content: names of agents, models and users, states, times and amounts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import msgspec

from netra_apex.core.budgets import dollars
from netra_apex.core.golden import (
    COMPLETED,
    FIVE,
    STARTED,
    THOUGHT,
    GoldenPath,
    Telling,
    Verdict,
    judge_marks,
    sentence_of,
)
from netra_apex.core.periods import Period

Metric = Literal["queued_ms", "first_event_ms", "first_token_ms", "completion_ms"]
METRICS: tuple[Metric, ...] = ("queued_ms", "first_event_ms", "first_token_ms", "completion_ms")
MINUTE_MS = 60_000
WINDOWS: Mapping[str, int] = MappingProxyType({"5m": 5, "30m": 30, "1h": 60, "6h": 360, "3d": 4320})  # in minutes
SETTLED_MINUTES = 2
UNFINISHED_LATE = "unfinished_late"


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds since the message was accepted, to two digits; the nearest rank of each percentile."""

    p50: int
    p95: int
    p99: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one agent, model or user. `success_rate` is good / (good + bad), None without any of these."""

    name: str | None
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


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that ended in a period; as `Part`, with how long people waited."""

    runs: int
    good: int
    bad: int
    excluded: int
    success_rate: float | None
    users: int
    queued_ms: Latency | None
    first_event_ms: Latency | None
    first_token_ms: Latency | None
    completion_ms: Latency | None
    tool_calls: int
    tool_failures: int
    input_tokens: int
    output_tokens: int
    requests: int
    cost_usd: float | None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of the period, by when it begins, in milliseconds since 1970."""

    at: int
    levels: Levels


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why runs did not end well; `counted` is false of those that are no breach."""

    cause: str
    runs: int
    counted: bool
    message: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How many of one of the five events should have been told, and were."""

    type: str
    due: int
    told: int
    rate: float | None


class BurnRate(msgspec.Struct, frozen=True, kw_only=True):
    """How fast the error budget is used up, over the last so many seconds; at 1.0 it lasts exactly its period."""

    window: str
    seconds: int
    good: int
    bad: int
    error_rate: float | None
    burn_rate: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that were alike: of one stretch, agent and model, or of one user; `marks` as `core.golden.judge_marks`."""

    bucket: int
    name: str
    model: str
    ended_as: str
    marks: int
    runs: int
    calls: int
    calls_ended: int
    calls_failed: int
    input_tokens: int
    output_tokens: int
    requests: int
    cost: int | None

    @property
    def verdict(self) -> Verdict:
        """What each of them was."""
        return judge_marks(self.ended_as, self.marks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What a database has counted of a period. `people` are users by stretch; latencies stand by stretch, -1: all."""

    groups: Sequence[Group]
    users: Sequence[Group]
    people: Mapping[int, int]
    everybody: int
    latencies: Mapping[tuple[str, int], Latency]


@dataclass(slots=True)
class Sum:
    """Groups, added up."""

    runs: int = 0
    good: int = 0
    bad: int = 0
    excluded: int = 0
    calls: int = 0
    calls_failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost: int | None = None

    def add(self, group: Group) -> None:
        """These too."""
        verdict = group.verdict
        self.runs += group.runs
        self.good += group.runs * verdict.good
        self.bad += group.runs * verdict.bad
        self.excluded += group.runs * verdict.excluded
        self.calls += group.calls
        self.calls_failed += group.calls_failed
        self.input_tokens += group.input_tokens
        self.output_tokens += group.output_tokens
        self.requests += group.requests
        if group.cost is not None:
            self.cost = (self.cost or 0) + group.cost

    @property
    def success_rate(self) -> float | None:
        """The share of good runs among those that count."""
        counted = self.good + self.bad
        return self.good / counted if counted else None

    def part(self, name: str | None) -> Part:
        """As one of several."""
        return Part(
            name=name,
            runs=self.runs,
            good=self.good,
            bad=self.bad,
            excluded=self.excluded,
            success_rate=self.success_rate,
            tool_calls=self.calls,
            tool_failures=self.calls_failed,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            requests=self.requests,
            cost_usd=None if self.cost is None else dollars(self.cost),
        )

    def levels(self, users: int, latency: Callable[[Metric], Latency | None]) -> Levels:
        """As a whole."""
        part = self.part(None)
        return Levels(
            runs=part.runs,
            good=part.good,
            bad=part.bad,
            excluded=part.excluded,
            success_rate=part.success_rate,
            users=users,
            queued_ms=latency("queued_ms"),
            first_event_ms=latency("first_event_ms"),
            first_token_ms=latency("first_token_ms"),
            completion_ms=latency("completion_ms"),
            tool_calls=part.tool_calls,
            tool_failures=part.tool_failures,
            input_tokens=part.input_tokens,
            output_tokens=part.output_tokens,
            requests=part.requests,
            cost_usd=part.cost_usd,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What the groups of a period come to."""

    total: Levels
    series: tuple[Point, ...]
    agents: tuple[Part, ...]
    models: tuple[Part, ...]
    users: tuple[Part, ...]
    failures: tuple[Failure, ...]
    events: tuple[Delivery, ...]

    @classmethod
    def of(cls, counted: Counted, period: Period, overdue: int = 0) -> "Figures":
        """Those of this period; `overdue` are runs that go on beyond the limit now."""
        whole, stretches = Sum(), [Sum() for _ in range(period.stretches)]
        agents: dict[str, Sum] = {}
        models: dict[str, Sum] = {}
        users: dict[str, Sum] = {}
        for group in counted.groups:
            parts = agents.setdefault(group.name, Sum()), models.setdefault(group.model, Sum())
            for each in (whole, stretches[group.bucket], *parts):
                each.add(group)
        for group in counted.users:
            users.setdefault(group.name, Sum()).add(group)
        for each in (whole, *stretches[-1:]):
            each.runs += overdue
            each.bad += overdue
        series = (
            Point(
                at=period.since + number * period.width,
                levels=each.levels(counted.people.get(number, 0), _of(counted, number)),
            )
            for number, each in enumerate(stretches)
        )
        return cls(
            total=whole.levels(counted.everybody, _of(counted, -1)),
            series=tuple(series),
            agents=_most_first(agents),
            models=_most_first(models),
            users=_by_use(users),
            failures=failures(counted.groups, overdue),
            events=deliveries(counted.groups),
        )


def _of(counted: Counted, bucket: int) -> Callable[[Metric], Latency | None]:
    return lambda metric: counted.latencies.get((metric, bucket))


def _most_first(sums: Mapping[str, Sum]) -> tuple[Part, ...]:
    ordered = sorted(sums.items(), key=lambda each: (-each[1].runs, each[0]))
    return tuple(each.part(name or None) for name, each in ordered)


def _by_use(sums: Mapping[str, Sum]) -> tuple[Part, ...]:
    def use(each: tuple[str, Sum]) -> tuple[int, int, int, str]:
        name, used = each
        return -(used.cost or 0), -used.input_tokens - used.output_tokens, -used.runs, name

    return tuple(each.part(name) for name, each in sorted(sums.items(), key=use))


def failures(groups: Iterable[Group], overdue: int = 0) -> tuple[Failure, ...]:
    """Why runs did not end well, most first."""
    found: dict[tuple[str, bool], int] = {}
    for group in groups:
        verdict = group.verdict
        if verdict.cause is not None:
            key = (verdict.cause, verdict.bad)
            found[key] = found.get(key, 0) + group.runs
    if overdue:
        found[UNFINISHED_LATE, True] = overdue
    ordered = sorted(found.items(), key=lambda each: (not each[0][1], -each[1], each[0][0]))
    return tuple(
        Failure(cause=cause, runs=runs, counted=counted, message=_said(cause)) for (cause, counted), runs in ordered
    )


def _said(cause: str) -> str:
    return "it goes on beyond the limit" if cause == UNFINISHED_LATE else sentence_of(cause)


def delivered(telling: Telling, runs: int = 1) -> tuple[tuple[str, int, int], ...]:
    """(event, due, told) of the five, of so many runs that are alike: one of each a run, and a pair of each call."""
    return (
        ("agent_started", runs, runs * bool(telling.told & STARTED)),
        ("agent_thinking", runs, runs * bool(telling.told & THOUGHT)),
        ("tool_executing", telling.calls, telling.calls),
        ("tool_completed", telling.calls, telling.calls_ended),
        ("agent_completed", runs, runs * bool(telling.told & COMPLETED)),
    )


def deliveries(groups: Iterable[Group]) -> tuple[Delivery, ...]:
    """How many of the five events came, of the runs that count."""
    due, told = dict.fromkeys(FIVE, 0), dict.fromkeys(FIVE, 0)
    for group in groups:
        if group.verdict.excluded:
            continue
        telling = Telling(group.marks, group.calls, group.calls_ended)
        for name, owed, came in delivered(telling, group.runs):
            due[name] += owed
            told[name] += came
    return tuple(
        Delivery(type=name, due=due[name], told=told[name], rate=told[name] / due[name] if due[name] else None)
        for name in FIVE
    )


@dataclass(slots=True)
class Minutes:
    """Good and bad runs by the minute in which they ended: what burn rates are made of, kept up to date cheaply.

    What is older than `SETTLED_MINUTES` does not change any more, but for threads that are deleted; only what came
    since is asked for again.
    """

    counts: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    known_to: int = 0

    def since(self, now: int) -> int:
        """From when on, in milliseconds since 1970, the counts are to be brought up to date."""
        oldest = now // MINUTE_MS - max(WINDOWS.values())
        return max(self.known_to, oldest) * MINUTE_MS

    def learn(self, rows: Iterable[tuple[int, str, int, int]], now: int) -> None:
        """Takes in (minute, how runs ended, marks, runs) of everything after `since`."""
        first, minute = self.since(now) // MINUTE_MS, now // MINUTE_MS
        oldest = minute - max(WINDOWS.values())
        self.counts = {each: count for each, count in self.counts.items() if oldest <= each < first}
        for each, ended_as, marks, runs in rows:
            verdict, count = judge_marks(ended_as, marks), self.counts.setdefault(each, [0, 0])
            count[0] += runs * verdict.good
            count[1] += runs * verdict.bad
        self.known_to = minute - SETTLED_MINUTES

    def rates(self, path: GoldenPath, now: int, overdue: int) -> tuple[BurnRate, ...]:
        """One for each window, in whole minutes up to now; `overdue` runs are bad already."""
        minute = now // MINUTE_MS
        return tuple(self._rate(path, name, minute - width, width, overdue) for name, width in WINDOWS.items())

    def _rate(self, path: GoldenPath, name: str, after: int, width: int, overdue: int) -> BurnRate:
        inside = [count for minute, count in self.counts.items() if minute > after]
        good, bad = sum(count[0] for count in inside), sum(count[1] for count in inside) + overdue
        counted = good + bad
        return BurnRate(
            window=name,
            seconds=width * 60,
            good=good,
            bad=bad,
            error_rate=bad / counted if counted else None,
            burn_rate=path.burn_rate(good, bad),
        )
