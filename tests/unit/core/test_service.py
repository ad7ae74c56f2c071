"""Figures from runs that were alike, and burn rates by the minute: values in, values out."""

import pytest

from netra_apex.core.golden import ANSWERED, COMPLETED, OVERTIME, STARTED, THOUGHT, GoldenPath
from netra_apex.core.periods import Period
from netra_apex.core.service import Counted, Figures, Group, Latency, Minutes, deliveries, failures

ALL = STARTED | THOUGHT | COMPLETED | ANSWERED
PATH = GoldenPath(seconds=60, objective=0.999)
MINUTE = 60_000
NOW = 30_000_000 * MINUTE + 12_345


def group(name: str = "echo", ended_as: str = "completed", marks: int = ALL, runs: int = 1, **more: object) -> Group:
    whole = {
        "bucket": 0, "model": "", "calls": 0, "calls_ended": 0, "calls_failed": 0, "input_tokens": 0,
        "output_tokens": 0, "requests": 0, "cost": None,
    }  # fmt: skip
    return Group(name=name, ended_as=ended_as, marks=marks, runs=runs, **(whole | more))  # type: ignore[arg-type]


def figures(*groups: Group, users: tuple[Group, ...] = (), overdue: int = 0) -> Figures:
    latency = Latency(p50=1, p95=2, p99=3)
    counted = Counted(
        groups=groups,
        users=users,
        people={0: 1},
        everybody=1,
        latencies={("completion_ms", -1): latency, ("completion_ms", 0): latency},
    )
    return Figures.of(counted, Period(since=0, until=7_200_000, width=3_600_000), overdue)


def test_groups_are_added_up_as_a_whole_by_stretch_agent_and_model() -> None:
    found = figures(
        group(runs=8, cost=1_000_000_000, requests=8, input_tokens=80, output_tokens=8, calls=9, calls_failed=2),
        group("talk", "agent_error", 0, runs=2, bucket=1, model="test:one", cost=500_000_000),
        group("talk", "cancelled", 0, runs=4, bucket=1),
    )
    total = found.total
    assert (total.runs, total.good, total.bad, total.excluded, total.success_rate) == (14, 8, 2, 4, 0.8)
    assert (total.cost_usd, total.tool_calls, total.tool_failures, total.requests) == (1.5, 9, 2, 8)
    assert [(point.at, point.levels.runs, point.levels.users) for point in found.series] == [
        (0, 8, 1),
        (3_600_000, 6, 0),
    ]
    assert found.series[0].levels.completion_ms == total.completion_ms
    assert found.series[1].levels.completion_ms is None
    assert [(part.name, part.runs) for part in found.agents] == [("echo", 8), ("talk", 6)]
    assert [(part.name, part.runs, part.success_rate) for part in found.models] == [
        (None, 12, 1.0),
        ("test:one", 2, 0.0),
    ]


def test_users_come_by_what_they_cost_then_by_their_tokens_then_by_their_runs() -> None:
    names = [part.name for part in figures(users=(
        group("few", runs=1), group("many", runs=9), group("tokens", input_tokens=5), group("dear", cost=7),
    )).users]  # fmt: skip
    assert names == ["dear", "tokens", "many", "few"]


def test_nothing_has_no_rate_and_what_goes_on_beyond_the_limit_is_bad_already() -> None:
    assert figures().total.success_rate is None
    found = figures(group(), overdue=3)
    assert (found.total.good, found.total.bad, found.series[-1].levels.bad) == (1, 3, 3)
    assert [(each.cause, each.runs, each.message) for each in found.failures] == [
        ("unfinished_late", 3, "it goes on beyond the limit")
    ]


def test_what_counts_comes_before_what_does_not_and_the_most_first() -> None:
    broke = [group(ended_as="agent_error", runs=1), group(ended_as="agent_error", runs=2)]
    found = failures([group(ended_as="cancelled", runs=9), *broke, group(marks=ALL | OVERTIME, runs=2), group()])
    assert [(each.cause, each.runs, each.counted) for each in found] == [
        ("agent_error", 3, True),
        ("late", 2, True),
        ("cancelled", 9, False),
    ]


def test_events_are_due_of_runs_that_count_and_in_pairs_of_their_calls() -> None:
    found = deliveries(
        [group(runs=3, calls=4, calls_ended=4), group(ended_as="agent_error", marks=STARTED, calls=1),
         group(ended_as="cancelled", marks=STARTED, calls=5)]
    )  # fmt: skip
    assert [(each.type, each.due, each.told) for each in found] == [
        ("agent_started", 4, 4),
        ("agent_thinking", 4, 3),
        ("tool_executing", 5, 5),
        ("tool_completed", 5, 4),
        ("agent_completed", 4, 3),
    ]
    assert found[1].rate == 0.75
    assert deliveries([])[0].rate is None


def burn(minutes: Minutes, now: int = NOW, overdue: int = 0) -> dict[str, tuple[int, int]]:
    return {rate.window: (rate.good, rate.bad) for rate in minutes.rates(PATH, now, overdue)}


def test_burn_rates_are_of_the_last_minutes_and_hours() -> None:
    minutes, minute = Minutes(), NOW // MINUTE
    assert minutes.rates(PATH, NOW, 0)[0].burn_rate is None
    assert minutes.since(NOW) == (minute - 4320) * MINUTE
    minutes.learn(
        [(minute, "completed", ALL, 99), (minute, "agent_error", 0, 1), (minute - 40, "agent_error", 0, 4),
         (minute - 4000, "completed", ALL, 1000), (minute - 4, "cancelled", 0, 50)], NOW,
    )  # fmt: skip
    assert burn(minutes) == {"5m": (99, 1), "30m": (99, 1), "1h": (99, 5), "6h": (99, 5), "3d": (1099, 5)}
    first = minutes.rates(PATH, NOW, 0)[0]
    assert (first.error_rate, first.seconds) == (0.01, 300)
    assert first.burn_rate == pytest.approx(10.0)
    assert burn(minutes, overdue=2)["5m"] == (99, 3)


def test_only_what_may_have_changed_is_asked_for_again_and_what_is_old_is_forgotten() -> None:
    minutes, minute = Minutes(), NOW // MINUTE
    minutes.learn([(minute - 4319, "completed", ALL, 7), (minute, "completed", ALL, 1)], NOW)
    assert minutes.since(NOW) == (minute - 2) * MINUTE
    minutes.learn([(minute, "completed", ALL, 2)], NOW)
    assert burn(minutes)["3d"] == (9, 0), "what was asked for again takes the place of what was known"
    later = NOW + 2 * MINUTE
    minutes.learn([(minute + 2, "completed", ALL, 1)], later)
    assert burn(minutes, later)["3d"] == (1, 0)
    assert burn(minutes, later)["5m"] == (1, 0)
