"""Processes killed at every boundary and at random: the logs are those of runs that nobody disturbed.

The long form is `python -m tests.chaos`.
"""

import argparse
import asyncio
import time
from pathlib import Path

import pytest
from bench.parts import free_port
from tests.chaos.__main__ import under_storm
from tests.chaos.app import BOUNDARIES
from tests.chaos.storm import ask, calm, connected, storm
from tests.chaos.verdict import judge
from tests.support.cluster import cluster
from tests.support.server import Server

APP = Path(__file__).parent.parent / "chaos" / "app.py"


@pytest.fixture
def server(tmp_path, wire):
    with Server(tmp_path, app=APP, wire=wire, people=8, port=free_port(), frames_burst=10_000) as server:
        yield server
        assert "Traceback" not in server.log()


def test_killed_at_every_boundary_a_run_leaves_the_log_and_the_effects_of_an_undisturbed_one(server):
    async def scenario():
        reference = await calm(server, server.person())
        followed = {reference[0]["run_id"]: reference}
        async with connected(server, server.person()) as connection:
            for name in BOUNDARIES:
                order = server.place / f"die-{name}"
                order.touch()
                asking = asyncio.create_task(ask(connection, followed))
                await asyncio.to_thread(server.ended)
                assert not order.exists()
                await asyncio.to_thread(server.start)
                await asking
        return judge(server, followed, reference, len(BOUNDARIES))

    verdict = asyncio.run(scenario())
    assert verdict.amiss == []
    assert verdict.runs == len(BOUNDARIES) + 1
    # Where it dies between a function's end and the journal, and there alone, the function is run once more.
    assert verdict.finished_steps_redone == 2


def test_killed_at_random_no_run_is_lost_doubled_or_out_of_order(server):
    async def scenario():
        reference = await calm(server, server.person())
        names = [server.person() for _ in range(5)]
        began = time.monotonic()
        followed, struck = await storm(server, names, runs=15, kills=3, seed=7)
        assert time.monotonic() - began < 60
        return judge(server, followed | {reference[0]["run_id"]: reference}, reference, struck["killed"])

    verdict = asyncio.run(scenario())
    assert verdict.amiss == []
    assert verdict.kills == 3


def test_of_several_processes_any_may_die_hang_or_lose_its_database_and_no_run_is_the_worse(tmp_path, postgres, wire):
    asked = argparse.Namespace(runs=30, kills=8, users=5, seed=7, outages=1, zombies=0)
    with cluster(tmp_path, postgres, app=APP, wire=wire, people=6) as many:
        verdict = under_storm(many, ([many.api()], [many.worker() for _ in range(3)]), asked)
    assert verdict.amiss == []
    assert verdict.struck["database restarted"] == 1
    assert sum(count for what, count in verdict.struck.items() if what.endswith(" killed")) == 8
