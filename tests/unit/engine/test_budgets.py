"""A run's requests are reserved for, settled and refused, members' included; a run that is taken up pays once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import raw

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, Runtime, Settings, SupervisorAgent
from netra_apex.core.budgets import Amount
from netra_apex.core.events import AgentCompleted, AgentFailed, DurableEvent, decode
from netra_apex.core.messages import ModelRequest, Reply, Usage
from netra_apex.errors import BudgetExceeded
from netra_apex.testing import ScriptedModel
from netra_apex.testing.harness import Harness

PRICES = ("test:scripted=2/8",)  # US dollars per million tokens
ANSWER = Reply(text="fine", usage=Usage(1000, 100, 1))
ANSWER_COSTS = 1000 * 2 / 1e6 + 100 * 8 / 1e6


@pytest.fixture(autouse=True, params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "sqlite":
        yield
        return
    with request.getfixturevalue("postgres").database() as database:
        monkeypatch.setenv("NETRA_DATABASE_URL", database.url)
        monkeypatch.setenv("TEST_ADMIN_URL", database.admin_url)
        yield


class Helper(ChatAgent):
    """Helps."""

    name = "helper"


class Silent(BaseAgent):
    """Asks nobody."""

    name = "silent"

    async def run(self, task: str, scope: RunScope) -> str:
        return "done"


class Pair(SupervisorAgent):
    """Has two members at work at once."""

    name = "pair"
    members = (Helper,)

    async def run(self, task: str, scope: RunScope) -> list[str]:
        both = await asyncio.gather(*(scope.delegate(Helper, f"{task} {number}") for number in (1, 2)))
        return sorted(str(each.output if each.ok or each.error is None else each.error.code) for each in both)


class Dogged(BaseAgent):
    """Goes on where it is refused, and asks for less."""

    name = "dogged"

    async def run(self, task: str, scope: RunScope) -> str:
        try:
            return (await scope.model("x" * 30_000)).text
        except BudgetExceeded as error:
            await scope.think(error.setting)
            return (await scope.model("short")).text


class Patient(BaseAgent):
    """Asks twice."""

    name = "patient"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        return [(await scope.model(f"{task} {number}")).text for number in (1, 2)]


class Giving(BaseAgent):
    """Gives its first request up, and asks for something else."""

    name = "giving"

    async def run(self, task: str, scope: RunScope) -> str:
        try:
            async with asyncio.timeout(0.1):
                await scope.model("slow")
        except TimeoutError:
            pass
        return (await scope.model("quick")).text


AGENTS = AgentRegistry([Helper, Silent, Pair, Dogged, Patient, Giving], default="helper")


@asynccontextmanager
async def app(home: Path, model: ScriptedModel | None = None, **settings: Any) -> AsyncIterator[Harness]:
    given: dict[str, Any] = {"home": home, "drain_seconds": 0.01, "model_prices": PRICES} | settings
    async with Runtime(AGENTS, Settings.load(**given), model=model) as runtime:
        yield Harness(runtime)


def endings(events: tuple[DurableEvent, ...]) -> list[tuple[str, int]]:
    return [(event.code, event.depth) for event in events if isinstance(event, AgentFailed)]


def test_a_reply_has_its_cost_and_a_run_those_of_its_members(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedModel([ANSWER] * 2) as model, app(tmp_path, model) as here:
            outcome = await here.ask("go", agent="pair")
            told = [event.usage for event in outcome.of(AgentCompleted)]
            assert told[:2] == [Usage(1000, 100, 1, pytest.approx(ANSWER_COSTS))] * 2
            assert told[2] == Usage(2000, 200, 2, pytest.approx(2 * ANSWER_COSTS))
            account = await here.runtime.stores.budgets.account("ada")
            assert account.used == Usage(2000, 200, 2, pytest.approx(2 * ANSWER_COSTS))
            # No budget, so nothing was reserved, and nobody was told to be brief.
            assert [request.output_tokens for request in model.requests] == [None, None]

    run(main())


def test_what_is_cached_costs_less_and_what_the_provider_tells_is_believed(tmp_path: Path) -> None:
    async def main() -> None:
        replies = [
            Reply(text="a", usage=Usage(1000, 100, 1), cached_tokens=400),
            Reply(text="b", usage=Usage(1000, 100, 1, 0.5)),
        ]
        # Of genai-prices: 2.5 dollars per million tokens of input, 1.25 where cached, 10 of output.
        async with (
            ScriptedModel(replies, name="openai:gpt-4o") as model,
            app(tmp_path, model, model_prices=()) as here,
        ):
            costs = [(await here.ask("go")).of(AgentCompleted)[0].usage.cost_usd for _ in range(2)]
            assert costs == [pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6), 0.5]

    run(main())


def test_the_demo_model_costs_nothing_and_of_an_unknown_one_nobody_knows(tmp_path: Path) -> None:
    async def main() -> None:
        async with app(tmp_path) as here:
            assert (await here.ask("hello")).of(AgentCompleted)[0].usage.cost_usd == 0
        async with ScriptedModel([ANSWER]) as model, app(tmp_path, model, model_prices=()) as here:
            assert (await here.ask("hello")).of(AgentCompleted)[0].usage.cost_usd is None

    run(main())


def test_who_has_nothing_left_is_told_so_before_anything_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        limits = {"user_tokens_per_day": 6000, "model_output_tokens": 3000}
        replies = [Reply(text="long", usage=Usage(100, 3000, 1)), "bob's"]
        async with ScriptedModel(replies) as model, app(tmp_path, model, **limits) as here:
            assert (await here.ask("first")).ok
            outcome = await here.ask("second")
            ending = outcome.events[-1]
            assert isinstance(ending, AgentFailed)
            assert (ending.code, ending.retryable) == ("budget_exceeded", False)
            assert "6,000 tokens per user and day (NETRA_USER_TOKENS_PER_DAY)" in ending.message
            assert "3,100 tokens are used or reserved" in ending.message
            assert "it is renewed at 20" in ending.message
            assert outcome.types == ("agent_started", "agent_thinking", "agent_failed")
            assert (await here.ask("third", agent="silent")).ok
            assert (await here.ask("mine", user="bob")).ok
            assert [request.output_tokens for request in model.requests] == [3000, 3000]
            assert (await here.runtime.stores.budgets.account("ada")).used == Usage(
                100, 3000, 1, pytest.approx((100 * 2 + 3000 * 8) / 1e6)
            )

    run(main())


def test_of_two_members_at_once_with_a_budget_for_one_one_is_refused_and_the_run_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        for limit in ("run_tokens", "user_tokens_per_day", "day_tokens"):
            user = limit.replace("_", "")
            entered = asyncio.Event()

            async def held(_: ModelRequest, entered: asyncio.Event = entered) -> Reply:
                entered.set()
                return ANSWER

            async with (
                ScriptedModel([held]) as model,
                app(tmp_path / limit, model, model_output_tokens=3000, **{limit: 4000}) as here,
            ):
                outcome = await here.ask("go", agent="pair", user=user)
                assert outcome.output == ["budget_exceeded", "fine"]
                assert endings(outcome.events) == [("budget_exceeded", 1)]
                assert entered.is_set()
                account = await here.runtime.stores.budgets.account(user)
                assert (account.used.requests, account.reserved) == (1, Amount())

    run(main())


def test_a_budget_of_money_needs_a_price_and_says_how_to_give_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedModel() as model, app(tmp_path, model, model_prices=(), run_cost_usd=5) as here:
            outcome = await here.ask("go")
            assert endings(outcome.events) == [("budget_exceeded", 0)]
            assert "NETRA_MODEL_PRICES=test:scripted=INPUT/OUTPUT" in outcome.events[-1].message  # type: ignore[union-attr]
        async with app(tmp_path, run_cost_usd=0.000001) as here:
            assert (await here.ask("the demo model is free")).ok

    run(main())


def test_money_is_counted_as_it_was_reserved_and_spent(tmp_path: Path) -> None:
    async def main() -> None:
        # One request may take 1000 * 8 / 1e6 dollars of output and a little input.
        limits = {"run_cost_usd": 0.0100, "model_output_tokens": 1000}
        async with (
            ScriptedModel([Reply(text="a", usage=Usage(0, 100, 1)), Reply(text="b", usage=Usage(0, 300, 1))]) as model,
            app(tmp_path, model, **limits) as here,
        ):
            outcome = await here.ask("go", agent="patient")
            assert outcome.output == ["a", "b"]
            assert outcome.of(AgentCompleted)[0].usage.cost_usd == pytest.approx(400 * 8 / 1e6)
        async with (
            ScriptedModel([Reply(text="a", usage=Usage(0, 400, 1))]) as model,
            app(tmp_path, model, **limits) as here,
        ):
            assert endings((await here.ask("go", agent="patient")).events) == [("budget_exceeded", 0)]

    run(main())


def test_a_server_that_tells_no_figures_is_counted_by_what_was_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ScriptedModel([Reply(text="x" * 3000)]) as model,
            app(tmp_path, model, user_tokens_per_day=100_000) as here,
        ):
            assert (await here.ask("y" * 3000)).ok
            used = (await here.runtime.stores.budgets.account("ada")).used
            assert 1000 <= used.input_tokens < 1200
            assert 1000 <= used.output_tokens < 1200

    run(main())


async def forever(_: ModelRequest) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


def test_what_breaks_off_with_its_run_is_paid_for_as_far_as_it_came(tmp_path: Path) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def slow(request: ModelRequest) -> Reply:
            asked.set()
            return await forever(request)

        async with (
            ScriptedModel([slow]) as model,
            app(tmp_path, model, user_tokens_per_day=100_000, day_tokens=100_000) as here,
        ):
            accepted = await here.post("y" * 3000)
            await asked.wait()
            budgets = here.runtime.stores.budgets
            assert (await budgets.account("ada")).reserved.tokens > 5000
            await here.runtime.admission.cancel("ada", accepted.run_id)
            await here.outcome("ada", accepted)
            account = await budgets.account("ada")
            assert account.reserved == Amount()
            assert 1000 <= account.used.input_tokens < 1200
            assert await raw(here.runtime.stores, "select * from charges") == []
            ((whole,),) = await raw(here.runtime.stores, "select cast(sum(tokens) as bigint) from day_parts")
            assert whole == account.used.input_tokens + account.used.output_tokens

    run(main())


def test_an_agents_own_giving_up_is_settled(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ScriptedModel([forever, ANSWER]) as model,
            app(tmp_path, model, run_tokens=100_000) as here,
        ):
            assert (await here.ask("go", agent="giving")).output == "fine"
            used = (await here.runtime.stores.budgets.account("ada")).used
            assert (used.requests, used.output_tokens) == (2, 100)
            assert used.input_tokens > 1000

    run(main())


async def lives(
    home: Path, agent: str, first: ScriptedModel, last: ScriptedModel, asked: asyncio.Event, **settings: Any
):
    """The events of a run whose process ended once `asked`, and how its user stood in between and in the end."""
    async with app(home, first, **settings) as here:
        accepted = await here.post("go", agent=agent)
        await asked.wait()
    async with app(home, last, **settings) as here:
        told = here.runtime.reader.follow("ada", accepted.run_id, 0)
        events = tuple([decode(body) async for seq, body in told if seq is not None])
        return (
            events,
            await here.runtime.stores.budgets.account("ada"),
            await raw(here.runtime.stores, "select * from charges"),
        )


def test_a_run_that_was_taken_up_between_reserving_and_settling_pays_each_request_once(tmp_path: Path) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def dies(request: ModelRequest) -> Reply:
            asked.set()
            return await forever(request)

        # Both reservations together do not fit: one that leaked would have the run refused.
        limits = {"user_tokens_per_day": 7000, "model_output_tokens": 4000, "day_tokens": 7000}
        first, last = ScriptedModel([ANSWER, dies]), ScriptedModel([ANSWER])
        events, account, left = await lives(tmp_path, "patient", first, last, asked, **limits)
        ending = events[-1]
        assert isinstance(ending, AgentCompleted), ending
        assert ending.usage == Usage(2000, 200, 2, pytest.approx(2 * ANSWER_COSTS))
        assert (account.used, account.reserved, left) == (ending.usage, Amount(), [])

    run(main())


def test_without_a_budget_too_a_run_that_was_taken_up_is_counted_once(tmp_path: Path) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def dies(request: ModelRequest) -> Reply:
            asked.set()
            return await forever(request)

        first, last = ScriptedModel([ANSWER, dies]), ScriptedModel([ANSWER])
        _, account, left = await lives(tmp_path, "patient", first, last, asked)
        assert (account.used, left) == (Usage(2000, 200, 2, pytest.approx(2 * ANSWER_COSTS)), [])

    run(main())


def test_a_refusal_from_which_an_agent_went_on_is_the_same_when_its_run_is_taken_up(tmp_path: Path) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def dies(request: ModelRequest) -> Reply:
            asked.set()
            return await forever(request)

        # By then there is room for what was refused before.
        first, last = ScriptedModel([dies]), ScriptedModel(["brief"])
        async with app(tmp_path, first, run_tokens=6000) as here:
            accepted = await here.post("go", agent="dogged")
            await asked.wait()
        async with last, app(tmp_path, last, run_tokens=600_000) as here:
            outcome = await here.outcome("ada", accepted)
            assert outcome.output == "brief"

    run(main())


def test_a_run_that_fails_is_counted_too_and_one_that_asks_nobody_leaves_no_row(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedModel([ANSWER, RuntimeError("no")]) as model, app(tmp_path, model) as here:
            assert (await here.ask("go", agent="silent")).ok
            assert await raw(here.runtime.stores, "select * from usage_by_day") == []
            assert not (await here.ask("go", agent="patient")).ok
            account = await here.runtime.stores.budgets.account("ada")
            assert account.used == Usage(1000, 100, 1, pytest.approx(ANSWER_COSTS))

    run(main())


def test_a_run_that_waits_and_is_ended_by_nobody_who_had_it_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def dies(request: ModelRequest) -> Reply:
            asked.set()
            return await forever(request)

        for user, limits in (("ada", {}), ("bob", {"run_tokens": 50_000})):
            asked.clear()
            async with app(tmp_path, ScriptedModel([ANSWER, dies]), **limits) as here:
                accepted = await here.post("go", agent="patient", user=user)
                await asked.wait()
            # Its agent is gone by the time that somebody takes it up.
            given = Settings.load(home=tmp_path, drain_seconds=0.01, **limits)
            async with Runtime(AgentRegistry([Silent]), given, model=ScriptedModel()) as runtime:
                outcome = await Harness(runtime).outcome(user, accepted)
                assert endings(outcome.events) == [("interrupted", 0)]
                used = (await runtime.stores.budgets.account(user)).used
                assert used == Usage(1000, 100, 1, pytest.approx(ANSWER_COSTS))

    run(main())
