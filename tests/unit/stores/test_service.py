"""Service-level figures from real runs, on both databases."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.blockers import blockers
from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    CallError,
    DurableEvent,
    MessageCompleted,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.golden import Ended
from netra_apex.core.ids import new_id
from netra_apex.core.messages import NO_USAGE, Usage
from netra_apex.core.periods import Period
from netra_apex.core.runs import RunStatus, Seat
from netra_apex.stores import Stores

BEGIN = (AgentStarted(task="hi"), AgentThinking(text="hm", step=1))
CALL = ToolExecuting(call_id="c1", tool="look", arguments={})
GAVE = ToolCompleted(call_id="c1", tool="look", ok=True, result=1, duration_ms=1)
BROKE = ToolCompleted(call_id="c1", tool="look", ok=False, error=CallError("timeout", "slow"), duration_ms=1)
DONE = AgentCompleted(output="hello", usage=NO_USAGE, duration_ms=1)
UNREACHED = AgentFailed(code="model_unavailable", message="nobody there", retryable=True)


def said() -> MessageCompleted:
    return MessageCompleted(message_id=new_id("msg"), content="hello")


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]], **settings: object) -> None:
    async def bounded() -> None:
        async with opened(home, **settings) as stores:
            await main(stores)

    run(bounded())


async def told(
    stores: Stores, user: str, *parts: tuple[DurableEvent, ...], bill: Bill | None = None, **more: int
) -> Accepted:
    """A run that tells these events, each part in a transaction of its own."""
    accepted = await accept(stores, user)
    seq = 1
    for part in parts:
        last = part is parts[-1]
        await stores.runs.append(
            context_of(accepted, user), stamped(*part, first=seq), bill=bill if last else None, **more
        )
        seq += len(part)
    return accepted


def lately(points: int = 1, seconds: int = 3600) -> Period:
    return Period.read(f"{seconds}s", None, points=points, now=time.time_ns() // 1_000_000 + 60_000)


def test_what_runs_told_and_used_is_counted_once_whatever_it_was_told_in(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        ended: list[Ended] = []
        stores.runs.on_ended = ended.append
        bill = Bill(usage=Usage(100, 20, 2, 0.5), charged=False, model="test:one")
        await told(stores, "ada", (*BEGIN, CALL), (GAVE, said()), (DONE,), bill=bill)
        await told(stores, "ada", (*BEGIN, CALL, BROKE, said(), DONE))
        await told(stores, "bob", BEGIN, (UNREACHED,), bill=Bill(usage=NO_USAGE, charged=False, model="test:two"))
        await told(stores, "bob", (AgentStarted(task="hi"), AgentCancelled(by="bob")))
        figures = await stores.service.figures(lately())
        total = figures.total
        assert (total.runs, total.good, total.bad, total.excluded, total.users) == (4, 2, 1, 1, 2)
        assert (total.tool_calls, total.tool_failures) == (2, 1)
        assert (total.input_tokens, total.output_tokens, total.requests, total.cost_usd) == (100, 20, 2, 0.5)
        assert [(each.name, each.runs, each.bad) for each in figures.models] == [
            (None, 2, 0),
            ("test:one", 1, 0),
            ("test:two", 1, 1),
        ]
        assert [(each.name, each.runs, each.cost_usd) for each in figures.users] == [("ada", 2, 0.5), ("bob", 2, None)]
        assert [(each.cause, each.runs, each.counted) for each in figures.failures] == [
            ("model_unavailable", 1, True),
            ("cancelled", 1, False),
        ]
        assert [(each.type, each.due, each.told) for each in figures.events] == [
            ("agent_started", 3, 3),
            ("agent_thinking", 3, 3),
            ("tool_executing", 2, 2),
            ("tool_completed", 2, 2),
            ("agent_completed", 3, 2),
        ]
        for latency in (total.queued_ms, total.first_event_ms, total.first_token_ms, total.completion_ms):
            assert latency is not None
            assert 0 <= latency.p50 <= latency.p95 <= latency.p99
        path = stores.service.path
        assert [(each.ended_as, each.verdict(path).good) for each in ended] == [
            ("completed", True),
            ("completed", True),
            ("model_unavailable", False),
            ("cancelled", False),
        ]
        assert (ended[0].telling.calls, ended[1].telling.calls_failed) == (1, 1)

    with_stores(tmp_path, main)


def test_a_run_stands_in_the_stretch_in_which_it_ended(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        now = time.time_ns() // 1_000_000
        runs = [await told(stores, "ada", (*BEGIN, said(), DONE)) for _ in range(3)]
        for number, each in enumerate(runs):
            end = now - number * 3_600_000
            await raw(
                stores, f"update runs set ended_at = {end}, created_at = {end - 12_345} where run_id = '{each.run_id}'"
            )
        period = Period.read("2h", None, points=2, now=now + 60_000)
        figures = await stores.service.figures(period)
        assert [point.levels.runs for point in figures.series] == [1, 1]
        assert figures.total.completion_ms is not None
        assert figures.total.completion_ms.p50 == 12_000, "two digits are told"
        assert (await stores.service.figures(period.before)).total.runs == 1
        rates = {rate.window: (rate.good, rate.bad) for rate in await stores.service.burn_rates()}
        assert rates == {"5m": (1, 0), "30m": (1, 0), "1h": (1, 0), "6h": (3, 0), "3d": (3, 0)}
        await told(stores, "ada", (*BEGIN, UNREACHED))
        rates = {rate.window: rate.burn_rate for rate in await stores.service.burn_rates(overdue=2)}
        assert round(rates["5m"] or 0) == 750, "three of four, of one in a thousand"
        assert round(rates["3d"] or 0) == 500

    with_stores(tmp_path, main)


def test_a_run_over_the_limit_is_late_but_not_for_waiting_for_its_own_user(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        seat = Seat(executor="exe_here", per_user=1, queued_per_user=5)

        async def post(user: str) -> Accepted:
            context = UserExecutionContext.new(user)
            return (await stores.runs.accept(context, Post(content="hi"), agent="helper", seat=seat)).accepted

        first, second = await post("ada"), await post("ada")
        now = time.time_ns() // 1_000_000
        await raw(stores, f"update runs set created_at = {now - 100_000}")
        standing = await stores.service.standing()
        assert (standing.overdue, standing.running, standing.queued, standing.users) == (1, 1, 1, 1)
        await stores.runs.append(context_of(first), stamped(*BEGIN, said(), DONE))
        claim = await stores.turns.claim("ada", second.run_id, "exe_here")
        assert claim is not None
        await stores.runs.append(context_of(second), stamped(*BEGIN, said(), DONE, first=2), epoch=claim.epoch)
        figures = await stores.service.figures(lately())
        assert [(each.cause, each.runs) for each in figures.failures] == [("late", 1)]
        assert figures.total.good == 1

    with_stores(tmp_path, main)


def test_waiting_for_a_person_is_told_as_that_and_not_counted_as_time(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        context = context_of(accepted)
        await stores.runs.append(context, stamped(*BEGIN))
        await raw(
            stores,
            "update runs set status = 'waiting', executor = null, created_at = created_at - 500000, "
            "parked_at = created_at - 490000",
        )
        standing = await stores.service.standing()
        assert (standing.waiting, standing.queued, standing.overdue) == (1, 0, 0)
        assert [each.kind for each in blockers(standing, queued_per_user=20) if each.kind != "database_slow"] == [
            "waiting_for_people"
        ]
        claim = await stores.turns.claim("ada", accepted.run_id, "exe_here")
        assert claim is not None
        await stores.runs.append(context, stamped(said(), DONE, first=3), epoch=claim.epoch)
        figures = await stores.service.figures(lately())
        assert (figures.total.good, figures.total.bad) == (1, 0)

    with_stores(tmp_path, main)


def test_a_model_that_fails_is_in_the_way_until_it_answers_again(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async def kinds() -> list[tuple[str, int]]:
            standing = await stores.service.standing(database_ms=1.0)
            return [(each.kind, each.count) for each in blockers(standing, queued_per_user=20)]

        model = Bill(usage=Usage(1, 1, 1), charged=False, model="test:one")
        await told(stores, "ada", (*BEGIN, UNREACHED), bill=model)
        await told(stores, "bob", (*BEGIN, UNREACHED), bill=model)
        assert await kinds() == [("model_unreachable", 2)]
        await told(
            stores, "ada", (*BEGIN, said(), DONE), bill=Bill(usage=Usage(1, 1, 1), charged=False, model="test:two")
        )
        assert await kinds() == [("model_unreachable", 2)], "another model answers"
        await asyncio.to_thread(lambda: time.sleep(0.002))  # its end must be another millisecond's
        await told(stores, "ada", (*BEGIN, said(), DONE), bill=model)
        assert await kinds() == []

    with_stores(tmp_path, main)


def test_text_that_was_shown_is_the_first_token_and_not_when_it_was_whole(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        shown = time.time_ns() // 1_000_000 + 10_000
        await told(stores, "ada", (*BEGIN,), (said(), DONE), shown_at=shown)
        assert [tuple(row) for row in await raw(stores, "select first_token_at from runs")] == [(shown,)]
        await told(stores, "bob", (*BEGIN, said()), (DONE,))
        found = await raw(stores, "select first_token_at - ended_at <= 0 from runs where user_id = 'bob'")
        assert bool(found[0][0])

    with_stores(tmp_path, main)


def test_a_run_that_waits_has_its_first_event_when_it_is_accepted(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await stores.runs.accept(
            UserExecutionContext.new("ada"), Post(content="hi"), agent="helper", seat=Seat(executor="exe", room=False)
        )
        found = await raw(stores, "select first_event_at - created_at, own_wait, status from runs")
        assert [tuple(row) for row in found] == [(0, 0, RunStatus.QUEUED)]

    with_stores(tmp_path, main)
