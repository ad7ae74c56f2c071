"""A worker that hangs and comes back, and a database that is gone for a while: runs go on, nothing is told twice."""

import asyncio
import signal
import time

from tests.support.bounded import run
from tests.support.cluster import cluster
from tests.support.socket_client import Client
from tests.support.streams import check_run
from tests.support.visitors import Visitor, ticks, told_to_the_end

OUTAGE_SECONDS = 10
ANSWER_SECONDS = 40  # an operation waits for its database for half a minute
ENDS_SECONDS = 10  # one to drain, and some five; processes here share two cores


def test_a_worker_that_hung_beyond_its_lease_lets_go_when_it_comes_back_and_serves_on(tmp_path, postgres, wire):
    async def main(many, door, workers):
        async with Client(door.url) as client:
            login = await client.login(many.person())
            socket = await client.socket(login)
            accepted = await socket.ask("100 60", agent="ticker")
            run_id = accepted["run_id"]
            await socket.until(lambda frame: frame.get("run_id") == run_id and frame.get("result") == 4)
            zombie = await many.carried_out(run_id)
            zombie.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            other = await many.carried_out(run_id, but=[zombie, None])
            assert 10 < time.monotonic() - stopped < 16, "it has its lease, and not much more"
            known = len(socket.of(run_id))
            await socket.until(lambda frame: len(socket.of(run_id)) > known + 4)
            zombie.signal(signal.SIGCONT)
            events = await told_to_the_end(socket, run_id)
            assert ticks(events) == list(range(100))
            assert events == many.events(run_id)
            assert "another process's by now" in zombie.log()
            # It is as good as any other: the other one goes, and it has the next run.
            assert await asyncio.to_thread(other.stop) == 0
            after = (await socket.ask("5 5", agent="ticker"))["run_id"]
            await told_to_the_end(socket, after)
            assert {pid for what, run_id, _, pid in many.notes() if (what, run_id) == ("tick", after)} == {
                str(zombie.pid)
            }

    with cluster(tmp_path, postgres, wire=wire, people=1) as many:
        run(main(many, many.api(), [many.worker(), many.worker()]), limit=90)


def test_a_database_that_is_gone_for_ten_seconds_costs_nobody_a_run(tmp_path, postgres, wire):
    async def main(many, doors):
        over = asyncio.Event()
        done = []
        answers = []

        async def user(number, name):
            async with Client(doors[0].url) as one, Client(doors[1].url) as other:
                visitor = Visitor((one, other), number, await (one, other)[number % 2].login(name))
                while not over.is_set():
                    done.append(await visitor.ask("20 40", "ticker"))

        async def post(client, login):
            """A message while there is no database: answered, late or by a refusal."""
            began = time.monotonic()
            answer = await client.post("/api/runs-of-nobody", login)  # unknown paths need no database
            assert answer.status == 404
            answer = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": "1 1", "agent": "ticker"})
            assert answer.status in (202, 503), answer.text
            answers.append((answer.status, time.monotonic() - began))

        async with Client(doors[0].url) as client, asyncio.TaskGroup() as group:
            login = await client.login(many.person())
            thread_id = await client.thread(login)
            for number in range(8):
                group.create_task(user(number, many.person()))
            await many.until(lambda: len(many.notes()) > 20)
            await asyncio.to_thread(postgres.stop, "immediate")
            for _ in range(4):
                group.create_task(post(client, login))
                await asyncio.sleep(OUTAGE_SECONDS / 4)  # how long it is gone is what this test is about
            await asyncio.to_thread(postgres.start)
            await many.until(lambda: len(answers) == 4, seconds=ANSWER_SECONDS)
            over.set()
        for run_id, told in done:
            events = check_run(told)
            assert ticks(events) == list(range(20))
            assert events == many.events(run_id)
        unfinished = "select count(*) from runs where ended_at is null"
        await many.until(lambda: many.rows(unfinished) == [(0,)])
        assert many.rows("select distinct status from runs") == [("completed",)]
        assert "a process is gone" not in many.log()
        assert all(seconds < ANSWER_SECONDS for _, seconds in answers), answers

    with cluster(tmp_path, postgres, wire=wire, people=10) as many:
        doors = [many.api(), many.api(execute=True)]
        many.worker(), many.worker()
        run(main(many, doors), limit=110)


def test_a_database_that_is_restarted_is_found_again_at_once(tmp_path, postgres, wire):
    async def main(many, door):
        async with Client(door.url) as client:
            socket = await client.socket(await client.login(many.person()))
            run_id = (await socket.ask("40 60", agent="ticker"))["run_id"]
            for number in (5, 15, 25):
                await socket.until(
                    lambda frame, number=number: frame.get("run_id") == run_id and frame.get("result") == number
                )
                await asyncio.to_thread(postgres.restart, "immediate")
            events = await told_to_the_end(socket, run_id)
            assert ticks(events) == list(range(40))
            assert events == many.events(run_id)
            assert "a process is gone" not in many.log()

    with cluster(tmp_path, postgres, wire=wire, people=1) as many:
        door = many.api()
        many.worker(), many.worker()
        run(main(many, door), limit=60)


def test_processes_that_are_told_to_stop_while_the_database_is_gone_end_soon(tmp_path, postgres, wire):
    async def main(many, door, worker):
        async with Client(door.url) as client:
            socket = await client.socket(await client.login(many.person()))
            run_id = (await socket.ask("2000 20", agent="ticker"))["run_id"]
            await socket.until(lambda frame: frame.get("run_id") == run_id and frame.get("result") == 4)
        await asyncio.to_thread(postgres.stop)
        began = time.monotonic()
        for process in (door, worker):
            process.signal(signal.SIGTERM)
        for process in (door, worker):
            assert await asyncio.to_thread(process.ended, 60) == 0
        assert time.monotonic() - began < ENDS_SECONDS, many.log()

    with cluster(tmp_path, postgres, wire=wire, people=1, drain_seconds=1) as many:
        run(main(many, many.api(), many.worker()), limit=150)
    assert '"level": "error"' not in many.log()
    assert "run broke" not in many.log()
