"""Servers and workers that share a database: whichever of them dies, stops or drains, nobody's run notices."""

import asyncio
import itertools
import signal
import statistics
import time

import pytest
from tests.support.bounded import run
from tests.support.cluster import cluster
from tests.support.socket_client import Client
from tests.support.streams import check_run
from tests.support.visitors import RUN_SECONDS, Visitor, ticks, told_to_the_end

TAKEOVER_SECONDS = 5.0  # measured: about half a second


def later(frame, run_id, seq):
    """Whether a frame is an event of the run after that one."""
    return frame.get("run_id") == run_id and frame.get("seq", 0) > seq


@pytest.fixture
def many(tmp_path, postgres, wire):
    """A server and two workers."""
    with cluster(tmp_path, postgres, wire=wire, people=30) as many:
        many.door, many.one, many.other = many.api(), many.worker(), many.worker()
        yield many


def test_a_client_sees_one_gapless_stream_while_the_worker_under_its_run_is_killed_twice(many):
    async def main():
        async with Client(many.door.url) as client:
            socket = await client.socket(await client.login(many.person()))
            run_id = (await socket.ask("30 120", agent="ticker"))["run_id"]
            await socket.until(lambda frame: frame.get("run_id") == run_id and frame.get("result") == 9)
            first = await many.carried_out(run_id)
            first.kill()
            restarting = asyncio.create_task(asyncio.to_thread(many.restart, first))
            await socket.frame("message_delta", run_id=run_id, seconds=RUN_SECONDS)
            second = await many.carried_out(run_id)
            second.kill()
            await restarting
            events = await told_to_the_end(socket, run_id)
            assert ticks(events) == list(range(30))
            assert events == many.events(run_id)
            assert [f["type"] for f in socket.of(run_id)].count("message_reset") == 1

    run(main(), limit=90)


def test_a_client_that_comes_back_to_another_server_lacks_nothing_and_gets_nothing_twice(many):
    async def main():
        second_door = await asyncio.to_thread(many.api)
        async with Client(many.door.url) as client, Client(second_door.url) as elsewhere:
            login = await client.login(many.person())
            socket = await client.socket(login)
            run_id = (await socket.ask("20 80", agent="ticker"))["run_id"]
            await socket.until(lambda frame: frame.get("run_id") == run_id and frame.get("result") == 4)
            socket.cut()
            told = [frame for frame in socket.of(run_id) if "seq" in frame]
            many.door.kill()
            back = await elsewhere.socket(login)
            await back.follow(run_id=run_id, after=len(told))
            await back.frame("message_delta", run_id=run_id)
            holder = await many.carried_out(run_id)
            holder.kill()
            await back.ended(run_id, seconds=RUN_SECONDS)
            check_run(back.of(run_id), after=len(told))
            told += [frame for frame in back.of(run_id) if "seq" in frame]
            assert told == many.events(run_id)
            assert ticks(check_run(told)) == list(range(20))

    run(main(), limit=90)


def test_after_a_kill_a_run_goes_on_at_a_peer_within_a_second(many, record_property):
    async def main():
        took = []
        async with Client(many.door.url) as client:
            socket = await client.socket(await client.login(many.person()))
            for _ in range(10):
                run_id = (await socket.ask("30 0", agent="ticker"))["run_id"]
                await socket.until(lambda frame, run_id=run_id: frame.get("run_id") == run_id and "result" in frame)
                holder = await many.carried_out(run_id)
                holder.signal(signal.SIGKILL)
                killed = time.monotonic()
                holder.ended()
                # What it stored before it died may be on its way still: what a peer tells comes after that.
                stored = many.events(run_id)[-1]["seq"]
                await socket.until(lambda frame, run_id=run_id, last=stored: later(frame, run_id, last))
                took.append(time.monotonic() - killed)
                restarting = asyncio.create_task(asyncio.to_thread(many.restart, holder))
                events = await told_to_the_end(socket, run_id)
                assert ticks(events) == list(range(30))
                await restarting
        return sorted(took)

    took = run(main(), limit=110)
    record_property("takeover_seconds", took)
    print(f"takeover p50 {statistics.median(took):.2f} s, all {[round(t, 2) for t in took]}")
    assert took[-1] < TAKEOVER_SECONDS


def test_a_worker_with_another_secret_says_so_and_ends(many):
    ended = many.netra("worker", "app.py", secret_key="quite-another-secret-of-40-characters-xx")
    assert ended.returncode == 2, ended.stderr
    assert "give all of them the same one" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_posted_at_one_server_is_seen_by_a_socket_that_watches_its_thread_at_another(many):
    async def main():
        second_door = await asyncio.to_thread(lambda: many.api(execute=True))
        async with Client(many.door.url) as client, Client(second_door.url) as elsewhere:
            login = await client.login(many.person())
            thread_id = await client.thread(login)
            watcher = await elsewhere.socket(login)
            await watcher.follow(thread_id=thread_id)
            socket = await client.socket(login)
            await socket.follow(thread_id=thread_id)
            for door in itertools.islice(itertools.cycle((socket, watcher)), 12):
                run_id = (await door.ask("hi [[call=lookup chunks=5]]", thread_id=thread_id))["run_id"]
                for each in (socket, watcher):
                    await told_to_the_end(each, run_id)
                    assert [f for f in each.of(run_id) if "seq" in f] == many.events(run_id)
            # A second telling of any of them would have come by now: runs are told in turn.
            for each in (socket, watcher):
                last = (await each.ask("settled? [[chunks=1]]"))["run_id"]
                await each.ended(last)
                seen = [(frame["run_id"], frame["seq"]) for frame in each.frames if "seq" in frame]
                assert len(seen) == len(set(seen))

    run(main())


@pytest.mark.parametrize("door", ["socket", "http", "operator"])
def test_a_cancel_from_another_process_ends_a_run_within_two_seconds(many, door):
    async def main():
        async with Client(many.door.url) as client:
            login = await client.login(many.person())
            socket = await client.socket(login)
            running = await socket.ask("wait", agent="waiter")
            await socket.frame("agent_thinking", run_id=running["run_id"])
            queued = await socket.ask("wait", agent="waiter", thread_id=running["thread_id"])
            await socket.frame("run_queued", run_id=queued["run_id"])
            for accepted in (queued, running):
                run_id = accepted["run_id"]
                began = time.monotonic()
                if door == "socket":
                    assert (await socket.answer("cancel", run_id=run_id))["type"] == "ok"
                elif door == "http":
                    answer = await client.post(f"/api/runs/{run_id}/cancel", login)
                    assert (answer.status, answer.json["status"]) == (200, "cancelled")
                else:
                    assert (await asyncio.to_thread(many.netra, "runs", "cancel", run_id)).returncode == 0
                    began = time.monotonic()
                ending = await socket.ended(run_id)
                assert time.monotonic() - began < 2
                assert ending["by"] == ("operator" if door == "operator" else login.name)
                check_run(socket.of(run_id), ending="agent_cancelled")
                assert many.events(run_id)[-1]["type"] == "agent_cancelled"

    run(main())


def test_a_logout_at_one_server_closes_the_sockets_at_another_within_a_second(many):
    async def main():
        second_door = await asyncio.to_thread(many.api)
        async with Client(many.door.url) as client, Client(second_door.url) as elsewhere:
            login = await client.login(many.person())
            socket = await elsewhere.socket(login)
            answer = await client.post("/api/auth/logout", login)
            assert answer.status < 300, answer.text
            began = time.monotonic()
            assert await socket.closed() == 4401
            assert time.monotonic() - began < 1.2

    run(main())


def test_a_worker_that_drains_leaves_its_runs_to_another_without_a_lost_or_doubled_event(many):
    async def main():
        async with Client(many.door.url) as client:
            sockets = [await client.socket(await client.login(many.person())) for _ in range(6)]
            runs = [(await socket.ask("60 40", agent="ticker"))["run_id"] for socket in sockets]
            for socket, run_id in zip(sockets, runs, strict=True):
                await socket.until(lambda frame, run_id=run_id: frame.get("run_id") == run_id and "result" in frame)
            holders = [await many.carried_out(run_id) for run_id in runs]
            assert await asyncio.to_thread(many.one.stop) == 0
            for socket, run_id in zip(sockets, runs, strict=True):
                events = await told_to_the_end(socket, run_id)
                assert events == many.events(run_id)
                assert ticks(events) == list(range(60))
            assert many.one in holders

    run(main(), limit=90)


def test_every_process_is_restarted_in_turn_under_load_and_no_run_fails_or_tells_anything_twice(many):
    async def main():
        doors = [many.door, await asyncio.to_thread(many.api)]
        over = asyncio.Event()
        done = []

        async def user(number, name):
            async with Client(doors[0].url) as one, Client(doors[1].url) as other:
                visitor = Visitor((one, other), number, await (one, other)[number % 2].login(name))
                while not over.is_set():
                    done.append(await visitor.ask("8 20", "ticker"))

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(user(number, many.person()))
            for process in (many.one, many.door, many.other, doors[1]):
                assert await asyncio.to_thread(process.stop) == 0
                await asyncio.to_thread(many.restart, process)
            over.set()
        for run_id, told in done:
            events = check_run(told)
            assert ticks(events) == list(range(8))
            assert events == many.events(run_id)
        # A message whose answer was lost with its socket was sent again: what came of it ended well, too.
        assert {status for (status,) in many.rows("select distinct status from runs")} == {"completed"}
        assert many.rows("select count(*) from runs")[0][0] >= len(done) >= 20

    run(main(), limit=110)
