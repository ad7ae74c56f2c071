"""What a process does with runs against what the table of runs says: it lets go of what is another's, or nobody's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.bounded import run, until
from tests.support.stores import opened, raw

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime
from netra_apex.core.conversations import Accepted, Post
from netra_apex.durable.runner import LocalRunner
from netra_apex.settings import Settings

world: dict[str, asyncio.Event] = {}


class Waiting(BaseAgent):
    """Waits until the test lets it go on."""

    name = "waiting"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        world["begun"].set()
        await world["gate"].wait()
        return task


@contextlib.asynccontextmanager
async def runtime(home: Path) -> AsyncIterator[Runtime]:
    world["begun"], world["gate"] = asyncio.Event(), asyncio.Event()
    async with Runtime(AgentRegistry([Waiting]), Settings(home=home, drain_seconds=0.01)) as made:
        yield made


async def begun(made: Runtime) -> Accepted:
    """A run that is under way."""
    accepted = await made.admission.post("ada", frozenset(), Post(content="go", agent="waiting"))
    await world["begun"].wait()
    return accepted


def runner_of(made: Runtime) -> LocalRunner:
    return made.house.runner


async def write(home: Path, statement: str) -> None:
    async with opened(home) as stores:
        await raw(stores, statement)


def test_a_run_that_another_process_has_taken_up_is_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as made:
            accepted = await begun(made)
            runner = runner_of(made)
            await runner.compare()
            await runner.compare()
            assert runner.live == 1
            await write(tmp_path, "update runs set executor = 'exe_other', epoch = epoch + 1")
            await runner.compare()
            assert runner.live == 1, "one that ends in this moment stands in nobody's name either"
            await runner.compare()
            await until(lambda: runner.live == 0)
            run_now = await made.stores.runs.operator_run(accepted.run_id)
            assert run_now is not None
            assert not run_now.status.ended
            ((executor,),) = await raw(made.stores, "select executor from runs")
            assert executor == "exe_other"

    run(main())


def test_a_run_that_stands_in_a_processs_name_and_is_not_there_is_carried_out_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as made:
            accepted = await begun(made)
            me = "(select executor from runs where executor is not null)"
            second = Post(content="again", agent="waiting", thread_id=accepted.thread_id)
            waiting = await made.admission.post("ada", frozenset(), second)
            await write(
                tmp_path, f"update runs set executor = {me}, epoch = epoch + 1 where run_id = '{waiting.run_id}'"
            )
            await runner_of(made).compare()
            world["gate"].set()
            told = [body async for seq, body in made.reader.follow("ada", waiting.run_id, 0) if seq]
            assert "agent_completed" in told[-1]

    run(main())


def test_a_run_that_comes_back_to_the_process_it_was_taken_from_is_carried_out_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as made:
            accepted = await begun(made)
            world["begun"].clear()
            await write(tmp_path, "update runs set executor = null")  # it was taken for dead
            runner_of(made).look()
            await world["begun"].wait()
            assert runner_of(made).live == 1
            world["gate"].set()
            told = [body async for seq, body in made.reader.follow("ada", accepted.run_id, 0) if seq]
            assert "agent_completed" in told[-1]
            await until(lambda: runner_of(made).live == 0)
            assert (await made.house.metrics())["runs_active"] == 0

    run(main())
