"""A run whose database is gone for longer than it is waited for."""

import asyncio
from pathlib import Path

import pytest
import structlog
from tests.support.bounded import run, until
from tests.support.postgres import PostgresServer

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime
from netra_apex.core.conversations import Post
from netra_apex.settings import Settings
from netra_apex.stores.postgres import Postgres

world: dict[str, asyncio.Event] = {}


class Waiting(BaseAgent):
    """Waits until the test lets it go on."""

    name = "waiting"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        world["begun"].set()
        await world["gate"].wait()
        await scope.think("going on")
        return task


def test_a_run_that_an_outage_caught_ends_and_is_logged_in_one_line_without_a_stack_trace(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Postgres.open.__func__.__kwdefaults__, "ride_out_seconds", 0.3)
    monkeypatch.setattr("netra_apex.runtime.use_standard_logging", lambda: None)

    async def main(url: str) -> None:
        world["begun"], world["gate"] = asyncio.Event(), asyncio.Event()
        settings = Settings(home=tmp_path, database_url=url, drain_seconds=0.01)
        with structlog.testing.capture_logs() as logged:
            async with Runtime(AgentRegistry([Waiting]), settings) as process:
                accepted = await process.admission.post("ada", frozenset(), Post(content="go", agent="waiting"))
                await world["begun"].wait()
                await asyncio.to_thread(postgres.stop)
                world["gate"].set()
                await until(lambda: process.house.runner.live == 0)
                await asyncio.to_thread(postgres.start)
                told = [body async for _, body in process.reader.follow("ada", accepted.run_id, 0)]
                assert '"agent_failed"' in told[-1] or '"agent_completed"' in told[-1], told[-1]
        broke = [line for line in logged if line.get("run_id") == accepted.run_id and "broke" in line["event"]]
        assert [line["log_level"] for line in broke] == ["warning"]
        assert not any("exc_info" in line for line in logged), logged

    with postgres.database() as own:
        run(main(own.url))
