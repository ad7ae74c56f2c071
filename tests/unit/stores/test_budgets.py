"""The book of what was reserved and used: atomic, settled once, leaking nothing. On both databases."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.budgets import Amount, Bill, Bound, Charge, Limits, Reservation
from netra_apex.core.conversations import Accepted
from netra_apex.core.events import AgentFailed, AgentStarted, AgentThinking
from netra_apex.core.journal import Step
from netra_apex.core.messages import Usage
from netra_apex.errors import TakenOver
from netra_apex.stores import Stores
from netra_apex.stores.budgets import BudgetStore

SECRET = "a secret of the tests, which no server has"
NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
STARTED = (AgentStarted(task="hi"), AgentThinking(text="so", step=1))
FAILED = AgentFailed(code="agent_error", message="it broke", retryable=False)
USER_100 = Limits(user=Bound(tokens=100))


class Clock:
    """The time, as the test says."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def asks(
    accepted: Accepted, tokens: int, *, key: str = "1", user: str = "ada", epoch: int = 1, cost: float | None = None
):
    usage = Usage(tokens, 0, 1, cost)
    return Reservation(user_id=user, run_id=accepted.run_id, key=key, epoch=epoch, usage=usage)


async def started(stores: Stores, user: str = "ada") -> Accepted:
    accepted = await accept(stores, user)
    await stores.runs.append(context_of(accepted, user), stamped(*STARTED))
    return accepted


async def replied(stores: Stores, accepted: Accepted, usage: Usage, *, key: str = "1", user: str = "ada", shared=False):
    charge = Charge(key, usage, shared)
    step = Step(key=key, kind="model", name="model", digest="d", state="finished", result={}, charge=charge)
    await stores.runs.append(context_of(accepted, user), [], [step])


async def ended(stores: Stores, accepted: Accepted, bill: Bill, *, user: str = "ada", epoch: int = 1) -> None:
    context = context_of(accepted, user)
    await stores.runs.append(context, stamped(FAILED, first=3), epoch=epoch, bill=bill)


def book(stores: Stores) -> tuple[BudgetStore, Clock]:
    clock = Clock()
    return BudgetStore(stores.database, clock), clock


def in_stores(home: Path, main: Any) -> None:
    async def bounded() -> None:
        async with opened(home, secret=SECRET) as stores:
            await main(stores)

    run(bounded())


def test_of_two_requests_at_once_against_a_budget_for_one_one_is_refused(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path, secret=SECRET) as other:  # as another process on the same database
            for number in range(8):
                user = f"user{number}"
                runs = [await started(stores, user) for _ in range(2)]
                both = asyncio.Barrier(2)

                async def reserves(at: Stores, accepted: Accepted, user: str, both: asyncio.Barrier) -> object:
                    await both.wait()
                    return await at.budgets.reserve(asks(accepted, 60, user=user), USER_100)

                found = await asyncio.gather(
                    reserves(stores, runs[0], user, both), reserves(other, runs[1], user, both)
                )
                assert [each is None for each in found].count(True) == 1
                assert (await stores.budgets.account(user)).reserved == Amount(60)

    in_stores(tmp_path, main)


def test_members_of_one_run_share_its_budget(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        limits = Limits(run=Bound(tokens=100))
        one, other = await started(stores), await started(stores)
        keys = [f"f{number}.1" for number in range(1, 6)]
        found = await asyncio.gather(*(stores.budgets.reserve(asks(one, 30, key=key), limits) for key in keys))
        assert [each is None for each in found].count(True) == 3
        assert await stores.budgets.reserve(asks(other, 100), limits) is None

    in_stores(tmp_path, main)


def test_what_was_reserved_is_settled_to_what_was_used(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await started(stores)
        assert await stores.budgets.reserve(asks(accepted, 90, cost=0.5), USER_100) is None
        assert await stores.budgets.reserve(asks(accepted, 20, key="2"), USER_100) is not None
        await replied(stores, accepted, Usage(5, 6, 1, 0.25))
        account = await stores.budgets.account("ada")
        assert (account.used, account.reserved) == (Usage(5, 6, 1, 0.25), Amount())
        assert await stores.budgets.reserve(asks(accepted, 89, key="2"), USER_100) is None
        assert await stores.budgets.reserve(asks(accepted, 1, key="3"), USER_100) is not None

    in_stores(tmp_path, main)


def test_a_run_that_ends_leaves_what_it_used_and_nothing_reserved(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await started(stores)
        for key in "123":
            assert await stores.budgets.reserve(asks(accepted, 30, key=key, cost=0.5), USER_100) is None
        await replied(stores, accepted, Usage(5, 6, 1, 0.25))
        # The second broke off with the run, the third was never sent.
        await ended(
            stores, accepted, Bill(usage=Usage(9, 9, 9), charged=True, charges=(Charge("2", Usage(7, 0, 1), False),))
        )
        account = await stores.budgets.account("ada")
        assert (account.used, account.reserved) == (Usage(12, 6, 2, 0.25), Amount())
        assert await raw(stores, "select * from charges") == []
        with pytest.raises(TakenOver):
            await stores.budgets.reserve(asks(accepted, 1, key="4"), USER_100)

    in_stores(tmp_path, main)


def test_without_budgets_a_run_is_written_down_once_as_it_ends(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for usage in (Usage(5, 6, 1), Usage(1, 1, 1, 0.25), Usage(0, 0, 1), Usage(2, 0, 1, 0.5)):
            accepted = await started(stores)
            for _ in range(2):  # as where the answer to a commit was lost
                await ended(stores, accepted, Bill(usage=usage, charged=False))
        rows = await raw(stores, "select user_id, input_tokens, output_tokens, requests, cost from usage_by_day")
        assert rows == [("ada", 8, 7, 4, 750_000_000)]

    in_stores(tmp_path, main)


def test_a_run_that_is_taken_up_has_no_reservation_and_is_charged_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await started(stores)
        assert await stores.budgets.reserve(asks(accepted, 40, key="1"), USER_100) is None
        await replied(stores, accepted, Usage(10, 0, 1), key="1")
        assert await stores.budgets.reserve(asks(accepted, 80, key="2"), USER_100) is None
        # The process dies here, and another has the run.
        await stores.turns.leave_all_of("exe_tests")
        claim = await stores.turns.claim("ada", accepted.run_id, "exe_other")
        assert claim is not None
        account = await stores.budgets.account("ada")
        assert (account.used, account.reserved) == (Usage(10, 0, 1), Amount())
        with pytest.raises(TakenOver):
            await stores.budgets.reserve(asks(accepted, 1, key="3"), USER_100)
        # It asks again, by the same key; and once more, as the answer to a commit may be lost.
        for _ in range(2):
            assert await stores.budgets.reserve(asks(accepted, 80, key="2", epoch=2), USER_100) is None
        assert (await stores.budgets.account("ada")).reserved == Amount(80)
        bill = Bill(usage=Usage(), charged=True, charges=(Charge("2", Usage(20, 0, 1), False),))
        await ended(stores, accepted, bill, epoch=claim.epoch)
        assert (await stores.budgets.account("ada")).used == Usage(30, 0, 2)

    in_stores(tmp_path, main)


def test_a_day_is_renewed_at_midnight_in_utc(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        budgets, clock = book(stores)
        accepted = await started(stores)
        assert await budgets.reserve(asks(accepted, 70), USER_100) is None
        refusal = await budgets.reserve(asks(accepted, 70, key="2"), USER_100)
        assert refusal is not None
        assert refusal.renews_at == "2026-11-23T00:00:00Z"
        clock.now += 12 * 3600 * 1000 - 1
        assert await budgets.reserve(asks(accepted, 70, key="2"), USER_100) is not None
        clock.now += 1
        assert await budgets.reserve(asks(accepted, 70, key="2"), USER_100) is None
        assert (await budgets.account("ada")).day == "2026-11-23"
        # Each request counts for the day on which it was asked.
        await replied(stores, accepted, Usage(1, 0, 1), key="1")
        await replied(stores, accepted, Usage(2, 0, 1), key="2")
        await ended(stores, accepted, Bill(usage=Usage(3, 0, 2), charged=True))
        rows = await raw(stores, "select day, input_tokens from usage_by_day order by day")
        assert rows == [("2026-11-22", 1), ("2026-11-23", 2)]

    in_stores(tmp_path, main)


def test_another_users_budget_is_his_own(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        adas, bobs = await started(stores, "ada"), await started(stores, "bob")
        assert await stores.budgets.reserve(asks(adas, 100), USER_100) is None
        assert await stores.budgets.reserve(asks(bobs, 100, user="bob"), USER_100) is None
        with pytest.raises(TakenOver):
            await stores.budgets.reserve(asks(adas, 1, user="bob"), USER_100)
        await replied(stores, adas, Usage(3, 0, 1))
        assert (await stores.budgets.account("bob")).used == Usage()
        await ended(stores, adas, Bill(usage=Usage(3, 0, 1), charged=True))
        await replied(stores, bobs, Usage(0, 0, 1), user="bob")
        assert (await stores.budgets.account("bob")).used == Usage(0, 0, 1)
        assert await stores.budgets.reserve(asks(bobs, 100, key="2", user="bob"), USER_100) is None
        assert (await stores.budgets.account("carol")).reserved == Amount()

    in_stores(tmp_path, main)


DAY_100 = Limits(day=Bound(tokens=100))


def test_everybodys_day_is_one_budget_whoever_asks_where(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        people = [f"user{number}" for number in range(10)]
        runs = {user: await started(stores, user) for user in people}
        async with opened(tmp_path, secret=SECRET) as other:
            asked = [
                (stores if number % 2 else other).budgets.reserve(asks(runs[user], 30, user=user), DAY_100)
                for number, user in enumerate(people)
            ]
            found = dict(zip(people, await asyncio.gather(*asked), strict=True))
        let_in = [user for user, refusal in found.items() if refusal is None]
        assert len(let_in) == 3
        first, second, third = let_in
        waiting = next(user for user in people if user not in let_in)

        async def fits(tokens: int) -> bool:
            """Whether so much is left, to the token."""
            refusal = await stores.budgets.reserve(asks(runs[waiting], tokens + 1, user=waiting), DAY_100)
            assert refusal is not None
            return refusal.used == 100 - tokens

        assert await fits(10)
        await replied(stores, runs[first], Usage(5, 0, 1), user=first, shared=True)
        assert await fits(35)
        await ended(stores, runs[first], Bill(usage=Usage(), charged=True), user=first)
        assert await fits(35)
        await ended(stores, runs[second], Bill(usage=Usage(), charged=True), user=second)  # it had not been sent
        assert await fits(65)
        again = asks(runs[third], 50, user=third)  # as by one that has taken the run up
        assert await stores.budgets.reserve(again, DAY_100) is None
        assert await fits(45)
        assert await stores.budgets.reserve(asks(runs[third], 500, user=third), DAY_100) is not None
        assert await fits(45)

    in_stores(tmp_path, main)


def test_everybodys_day_keeps_few_parts_and_none_of_days_before(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        budgets, clock = book(stores)
        accepted = await started(stores)
        for number in range(20):
            assert await budgets.reserve(asks(accepted, 4, key=str(number)), DAY_100) is None
            await replied(stores, accepted, Usage(1, 0, 1), key=str(number), shared=True)
        assert len(await raw(stores, "select * from day_parts")) <= 2
        clock.now += 24 * 3600 * 1000
        assert await budgets.reserve(asks(accepted, 100, key="next day"), DAY_100) is None
        assert [day for day, *_ in await raw(stores, "select * from day_parts")] == ["2026-11-23"]

    in_stores(tmp_path, main)
