"""Limits and order hold for all processes together; where nobody executes, runs wait."""

import asyncio
import subprocess

import pytest
from tests.support.bounded import run
from tests.support.cluster import APP, cluster
from tests.support.server import NETRA, environment
from tests.support.socket_client import Client
from tests.support.streams import check_run

PER_USER = 4  # more than one worker has room for, so that both must have some


def at_once(notes):
    """How many runs were under way at once, at most."""
    active = most = 0
    for what, *_ in notes:
        active += {"begins": 1, "ends": -1}.get(what, 0)
        most = max(most, active)
    return most


def test_a_user_never_has_more_runs_at_once_than_he_may_on_all_workers_together(tmp_path, postgres, wire):
    async def main(many, door, other_door):
        async with Client(door.url) as client, Client(other_door.url) as elsewhere:
            login, guest = await client.login(many.person()), await client.login(many.person())
            sockets = [await client.socket(login), await elsewhere.socket(login)]
            threads = [await client.thread(login) for _ in range(4)]
            asked = []
            for number in range(12):
                socket, thread_id = sockets[number % 2], threads[number % 4]
                accepted = await socket.ask(f"gate{number}", agent="gated", thread_id=thread_id)
                asked.append((socket, thread_id, accepted["run_id"]))
            waiting = 0
            for socket, _, run_id in asked:
                first = await socket.frame("run_queued" if waiting else "agent_started", run_id=run_id)
                waiting = sum(run_id == each for _, _, each in asked[PER_USER - 1 :]) or waiting
                if first["type"] == "run_queued":
                    assert first["reason"]
            # Somebody else's run is not delayed by any of them.
            greeting = await sockets[0].answer("ping")
            assert greeting["type"] == "pong"
            theirs = await client.socket(guest)
            await theirs.ended((await theirs.ask("hello [[chunks=2]]"))["run_id"])
            for number in range(12):
                await many.until(lambda number=number: len(begun(many)) == min(12, number + PER_USER))
                (many.place / f"gate{begun_first(many)}").touch()
            for socket, _, run_id in asked:
                await socket.ended(run_id)
                check_run(socket.of(run_id))
            assert at_once(many.notes()) == PER_USER
            order = begun(many)
            for thread_id in threads:
                mine = [run_id for _, thread, run_id in asked if thread == thread_id]
                assert [run_id for run_id in order if run_id in mine] == mine
            holders = {pid for what, _, _, pid in many.notes() if what == "begins"}
            assert len(holders) == 2, "both workers had some"

    def begun(many):
        return [run_id for what, run_id, *_ in many.notes() if what == "begins"]

    def begun_first(many):
        """The gate of the run that began first, of those that are under way."""
        notes = many.notes()
        over = {run_id for what, run_id, *_ in notes if what == "ends"}
        opened = {path.name for path in many.place.glob("gate*")}
        under_way = [
            task for what, run_id, task, _ in notes if what == "begins" and run_id not in over and task not in opened
        ]
        return under_way[0].removeprefix("gate")

    settings = {"wire": wire, "people": 3, "runs_per_user": PER_USER, "runs_per_process": 3}
    with cluster(tmp_path, postgres, **settings) as many:
        door, other_door = many.api(), many.api()
        many.worker(), many.worker()
        run(main(many, door, other_door), limit=60)


def test_runs_wait_while_no_worker_is_there_and_start_with_the_first(tmp_path, postgres, wire):
    async def main(many, door):
        async with Client(door.url) as client:
            socket = await client.socket(await client.login(many.person()))
            runs = [(await socket.ask("hi [[call=lookup chunks=3]]"))["run_id"] for _ in range(3)]
            for run_id in runs:
                assert (await socket.frame("run_queued", run_id=run_id))["reason"]
            await asyncio.to_thread(many.worker)
            for run_id in runs:
                await socket.ended(run_id)
                assert check_run(socket.of(run_id)) == many.events(run_id)

    with cluster(tmp_path, postgres, wire=wire, people=1) as many:
        run(main(many, many.api()))


@pytest.mark.parametrize("command", ["worker", "serve --no-execute"])
def test_what_needs_other_processes_is_refused_on_sqlite_with_a_sentence(tmp_path, command):
    done = subprocess.run(
        [NETRA, *command.split(), str(APP)],
        env=environment(home=tmp_path / "home", port=0),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Postgres" in done.stderr
    assert "Traceback" not in done.stderr
