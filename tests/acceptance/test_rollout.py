"""A new version comes in beside the old one, on one Postgres: docs/how-to/roll-out-a-new-version.md, rehearsed."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from bench.parts import free_port
from tests.support.bounded import run
from tests.support.cluster import cluster
from tests.support.socket_client import Client
from tests.support.streams import check_run
from tests.support.visitors import Visitor, ticks

import netra_apex

USERS = 4
NEXT = "99.0.0"


@pytest.fixture
def newer(tmp_path):
    """This version under another number, which also adds to the schema: a place for PYTHONPATH."""
    place = tmp_path / "newer"
    package = place / "netra_apex"
    shutil.copytree(Path(netra_apex.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = package / "stores/schema/postgres/9000_expand_rollout.sql"
    schema.write_text("alter table runs add column rollout text default 'new';\ncreate table rollouts (at bigint);\n")
    metadata = place / f"netra_apex-{NEXT}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: netra-apex\nVersion: {NEXT}\n")
    return place


@pytest.fixture
def old(tmp_path, postgres, wire):
    """A server and a worker of the old version."""
    with cluster(tmp_path, postgres, wire=wire, people=USERS + 1) as old:
        old.door, old.one = old.api(), old.worker()
        yield old


async def version_of(client):
    return (await client.get("/api/openapi.json")).json["info"]["version"]


def test_a_new_version_takes_over_under_load_and_no_run_is_lost_or_told_with_a_gap(old, newer):
    port = free_port()
    over = asyncio.Event()
    done: dict[int, list] = {number: [] for number in range(USERS)}

    async def user(number, name):
        async with Client(old.door.url) as first, Client(f"http://127.0.0.1:{port}") as second:
            visitor = Visitor((first, second), 0, await first.login(name))
            while not over.is_set():
                done[number].append(await visitor.ask("8 20", "ticker"))

    async def long_run(name):
        """One that is under way when the old processes are told to stop, and takes longer than they have."""
        async with Client(old.door.url) as first, Client(f"http://127.0.0.1:{port}") as second:
            visitor = Visitor((first, second), 0, await first.login(name))
            return await visitor.ask("gate", "gated")

    def begun():
        """The processes that have begun the long run."""
        return [int(each[3]) for each in old.notes() if each[0] == "begins"]

    async def roll_out():
        moving = asyncio.create_task(long_run(old.person()))
        await old.until(begun)
        upgraded = await asyncio.to_thread(old.netra, "db", "upgrade", version=newer)
        assert (upgraded.returncode, "9000_expand_rollout" in upgraded.stdout) == (0, True), upgraded
        worker = await asyncio.to_thread(old.worker, version=newer)
        door = await asyncio.to_thread(old.api, version=newer, port=port)
        async with Client(old.door.url) as before, Client(door.url) as after:
            assert await version_of(before) != NEXT
            assert await version_of(after) == NEXT
        for process in (old.one, old.door):
            assert await asyncio.to_thread(process.stop) == 0
        counts = {number: len(runs) for number, runs in done.items()}
        # The long one began with the old version, and begins again with the new.
        await old.until(lambda: worker.pid in begun())
        assert begun()[0] != worker.pid
        (old.place / "gate").touch()
        moved = await moving
        # Each has had a run with the new version alone.
        await old.until(lambda: all(len(done[number]) >= counts[number] + 2 for number in done))
        over.set()
        return worker, moved

    async def main():
        async with asyncio.TaskGroup() as group:
            for number in range(USERS):
                group.create_task(user(number, old.person()))
            rolling = group.create_task(roll_out())
        return rolling.result()

    worker, moved = run(main(), limit=110)
    stored = {}
    for run_id, body in old.rows("select run_id, body from events order by run_id, seq"):
        stored.setdefault(run_id, []).append(json.loads(body))
    runs = [each for its in done.values() for each in its]
    for run_id, told in (moved, *runs):
        assert check_run(told) == stored[run_id]
    assert all(ticks(told) == list(range(8)) for _, told in runs)
    assert {status for (status,) in old.rows("select distinct status from runs")} == {"completed"}
    # Both versions have been at work.
    assert {worker.pid} < {int(each[3]) for each in old.notes() if each[0] == "tick"}
