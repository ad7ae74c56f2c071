"""Whose turn it is, on both databases: limits that hold for all processes together, threads in order (G8)."""

import asyncio
import collections
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bounded import run
from tests.support.stores import context_of, opened, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Admitted, Post
from netra_apex.core.events import AgentCancelled, RunQueued, decode
from netra_apex.core.ids import new_id
from netra_apex.core.runs import Claim, RunStatus, Seat
from netra_apex.errors import Busy, QueueFull
from netra_apex.stores import Stores

SEAT = Seat(executor="exe_here", per_user=2, queued_per_user=3)
FULL = dataclasses.replace(SEAT, room=False)


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await main(stores)

    run(bounded())


async def post(stores: Stores, user: str = "ada", *, seat: Seat = SEAT, **values: Any) -> Admitted:
    values = {"content": "hi"} | values
    context = UserExecutionContext.new(user, thread_id=values.get("thread_id"))
    return await stores.runs.accept(context, Post(**values), agent="helper", seat=seat)


async def end(stores: Stores, accepted: Accepted, user: str = "ada", *, epoch: int = 1, seq: int = 1) -> None:
    ending = stamped(AgentCancelled(by=user), first=seq)
    await stores.runs.append(context_of(accepted, user), ending, epoch=epoch)


async def take(stores: Stores, user: str = "ada", executor: str = "exe_there", per_user: int = 2) -> Claim | None:
    return await stores.turns.take(user, executor, per_user=per_user)


def reason(admitted: Admitted) -> str:
    assert admitted.queued is not None
    event = decode(admitted.queued)
    assert isinstance(event, RunQueued)
    return event.reason


def test_a_run_starts_where_it_was_accepted_or_waits_and_says_why(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first, second = await post(stores), await post(stores)
        assert (first.started, first.queued, second.started) == (True, None, True)
        third = await post(stores)
        assert not third.started
        assert reason(third) == "as many of your runs as may be are under way"
        fourth = await post(stores)
        assert reason(fourth).endswith("; 1 of yours waits before it")
        assert (await post(stores, "bob")).started
        in_thread = await post(stores, "eve", thread_id=(await post(stores, "eve")).accepted.thread_id)
        assert reason(in_thread) == "another run of this thread is under way"
        assert reason(await post(stores, "cleo", seat=FULL)) == "the server is busy"
        stored = await stores.runs.events("ada", third.accepted.run_id, 0)
        assert stored == ((1, third.queued),)
        waiting = await stores.runs.run("ada", third.accepted.run_id)
        assert waiting
        assert (waiting.status, waiting.last_seq) == (RunStatus.QUEUED, 1)
        assert sorted(await stores.turns.waiting()) == [("ada", 2), ("cleo", 0), ("eve", 1)]

    with_stores(tmp_path, main)


def test_beyond_the_queues_limit_a_post_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for number in range(5):
            assert (await post(stores, idempotency_key=f"{number}")).started == (number < 2)
        with pytest.raises(QueueFull, match="3 of your runs are waiting already"):
            await post(stores, thread_id=None)
        assert len(await stores.runs.all_runs()) == 5
        assert (await stores.conversations.threads("ada")).items[5:] == ()
        again = await post(stores, idempotency_key="4")
        assert again.accepted.repeated, "what was accepted once is answered alike however full the queue is"

    with_stores(tmp_path, main)


def test_a_post_that_would_rather_not_wait_is_refused_in_a_busy_thread(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = (await post(stores)).accepted
        with pytest.raises(Busy):
            await post(stores, thread_id=first.thread_id, if_busy="reject")
        await end(stores, first)
        assert (await post(stores, thread_id=first.thread_id, if_busy="reject")).started

    with_stores(tmp_path, main)


def test_a_run_that_waits_knows_how_many_of_its_users_wait_before_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        under_way = [(await post(stores)).accepted for _ in range(2)]
        waiting = [(await post(stores)).accepted.run_id for _ in range(3)]
        await post(stores, "bob", seat=FULL)
        assert [await stores.turns.ahead("ada", each) for each in waiting] == [0, 1, 2]
        assert await stores.turns.ahead("ada", under_way[0].run_id) is None
        assert await stores.turns.ahead("bob", waiting[0]) is None
        await end(stores, under_way[0])
        await take(stores)
        assert [await stores.turns.ahead("ada", each) for each in waiting] == [None, 0, 1]

    with_stores(tmp_path, main)


def test_when_one_ends_the_next_of_its_user_has_its_turn_a_threads_runs_in_order(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first, other = (await post(stores)).accepted, (await post(stores)).accepted
        same = [(await post(stores, thread_id=first.thread_id)).accepted for _ in range(2)]
        alone = (await post(stores)).accepted
        assert await take(stores) is None, "two are under way already"
        await end(stores, other)
        claim = await take(stores)
        assert claim
        assert (claim.run.run_id, claim.epoch, claim.posted, claim.task) == (alone.run_id, 2, True, "hi")
        assert await take(stores, per_user=9) is None, "the thread of the others is busy"
        await end(stores, first)
        claims = [await take(stores, per_user=9), await take(stores, per_user=9)]
        assert [each and each.run.run_id for each in claims] == [same[0].run_id, None]
        assert await take(stores, "bob") is None

    with_stores(tmp_path, main)


def test_what_a_dead_process_had_waits_again_and_its_writes_are_refused(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        mine = (await post(stores)).accepted
        theirs = (await post(stores, "bob", seat=dataclasses.replace(SEAT, executor="exe_dead"))).accepted
        assert await stores.turns.executors() == {"exe_here", "exe_dead"}
        assert await stores.turns.leave_all_of("exe_dead") == 1
        assert await stores.turns.waiting() == (("bob", 0),)
        assert await stores.turns.claim("ada", mine.run_id, "exe_other") is None, "somebody has it"
        assert await stores.turns.claim("ada", theirs.run_id, "exe_other") is None, "it is bob's"
        claim = await take(stores, "bob")
        assert claim
        await stores.turns.leave("bob", theirs.run_id, 1, "exe_there")
        assert await take(stores, "bob") is None, "who had it before cannot give it away"
        await stores.turns.leave("bob", theirs.run_id, claim.epoch, "exe_there")
        assert (await take(stores, "bob")) is not None

    with_stores(tmp_path, main)


def test_processes_that_take_at_once_never_exceed_a_users_limit_nor_take_a_run_twice(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        deep = dataclasses.replace(FULL, queued_per_user=100)
        for number in range(30):
            await post(stores, f"user{number % 3}", seat=deep)
        async with opened(tmp_path) as elsewhere:
            start = asyncio.Barrier(6)

            async def worker(stores: Stores, number: int) -> list[Claim]:
                await start.wait()
                found = [await take(stores, f"user{each % 3}", f"exe_{number}") for each in range(number, number + 9)]
                return [claim for claim in found if claim is not None]

            taken = await asyncio.gather(*(worker((stores, elsewhere)[number % 2], number) for number in range(6)))
        claims = [claim for each in taken for claim in each]
        assert len({claim.run.run_id for claim in claims}) == len(claims) == 6
        assert collections.Counter(claim.run.user_id for claim in claims) == dict.fromkeys(
            ("user0", "user1", "user2"), 2
        )

    with_stores(tmp_path, main)


def test_posts_of_one_user_that_come_at_once_to_several_processes_keep_the_limits(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            ends = await asyncio.gather(
                *(
                    post(place, seat=dataclasses.replace(SEAT, executor=f"exe_{number}"))
                    for place in (stores, elsewhere)
                    for number in range(6)
                ),
                return_exceptions=True,
            )
        admitted = [end for end in ends if isinstance(end, Admitted)]
        assert sum(each.started for each in admitted) == 2
        assert len(admitted) == 5
        assert sum(isinstance(end, QueueFull) for end in ends) == 7

    with_stores(tmp_path, main)


STEPS = st.lists(st.tuples(st.sampled_from(["post", "take", "end"]), st.integers(0, 1), st.integers(0, 2)), max_size=25)


@given(STEPS)
@settings(max_examples=25, deadline=None)
def test_whatever_the_order_of_posts_and_ends_limits_hold_and_everything_comes_to_its_turn(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    async def main(stores: Stores) -> None:
        users = [new_id("user"), new_id("user")]
        threads = {(user, number): None for user in users for number in range(3)}
        running: dict[str, list[tuple[Accepted, int, int]]] = {user: [] for user in users}
        entered: dict[tuple[str, str], list[str]] = collections.defaultdict(list)

        async def taken(user: str) -> bool:
            claim = await take(stores, user)
            if claim is None:
                return False
            one = Accepted(
                thread_id=claim.run.thread_id, run_id=claim.run.run_id, message_id="m", status=claim.run.status
            )
            assert entered[user, one.thread_id].pop(0) == one.run_id, "a thread's runs come in their order"
            assert one.thread_id not in {each.thread_id for each, *_ in running[user]}
            running[user].append((one, claim.epoch, claim.run.last_seq + 1))
            assert len(running[user]) <= 2
            return True

        for what, who, number in steps:
            user = users[who]
            if what == "post":
                try:
                    admitted = await post(stores, user, thread_id=threads[user, number])
                except QueueFull:
                    continue
                threads[user, number] = threads[user, number] or admitted.accepted.thread_id
                if admitted.started:
                    running[user].append((admitted.accepted, 1, 1))
                else:
                    entered[user, admitted.accepted.thread_id].append(admitted.accepted.run_id)
                assert len(running[user]) <= 2
            elif what == "take":
                await taken(user)
            elif running[user]:
                one, epoch, seq = running[user].pop(number % len(running[user]))
                await end(stores, one, user, epoch=epoch, seq=seq)
        for user in users:
            while running[user] or await taken(user):
                one, epoch, seq = running[user].pop()
                await end(stores, one, user, epoch=epoch, seq=seq)
        assert not any(entered.values())
        assert all(each.status.ended for each in await stores.runs.all_runs() if each.user_id in users)

    with_stores(tmp_path_factory.mktemp("home"), main)
