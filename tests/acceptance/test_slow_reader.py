"""A socket that does not read hurts itself alone (G10), and still is told everything once it reads."""

import asyncio
import re

import pytest
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, words

STALLED = 6
EVENTS, EVENT_BYTES = 300, 100_000  # 30 MB, six times over if they were kept for who does not read
# What a run of that size may leave: the feed's tail of a million characters and the writers' own buffers, with room.
GROWTH_MB = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    place = tmp_path_factory.mktemp("slow")
    with Server(place, wire=wire, people=10, heartbeat_seconds=300, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()


async def _stalled(client, login, thread_id):
    """Sockets that watch the thread, with a receive buffer that is soon full."""
    made = [await client.stalled(login.bearer) for _ in range(STALLED)]
    for socket in made:
        await socket.send({"type": "subscribe", "id": "watch", "thread_id": thread_id})
        await socket.until(lambda frame: frame.get("id") == "watch")
    return made


async def _read_on(socket, run_id):
    """The run's frames, once it reads to the run's end."""
    frames = await socket.until(lambda frame: frame.get("run_id") == run_id and frame["type"] == "agent_completed")
    return [frame for frame in frames if frame.get("run_id") == run_id]


def test_sockets_that_do_not_read_neither_slow_a_run_nor_cost_memory_and_miss_nothing(server):
    async def scenario(client):
        login = await client.login(server.person())
        lively = await client.socket(login)
        thread_id = await client.thread(login)
        warm = await lively.ask(f"{EVENTS} {EVENT_BYTES}", agent="chronicler")
        await lively.ended(warm["run_id"], seconds=30)
        lively.frames.clear()
        lively.texts.clear()
        stalled = await _stalled(client, login, thread_id)
        before = server.memory_mb()
        accepted = await lively.ask(f"{EVENTS} {EVENT_BYTES}", agent="chronicler", thread_id=thread_id)
        run_id = accepted["run_id"]
        await lively.ended(run_id, seconds=30)
        growth = server.memory_mb() - before
        events = check_run(lively.of(run_id))
        assert len(events) == EVENTS + 2
        assert growth < GROWTH_MB
        # Somebody else's runs go on as if nobody were stalled.
        other = await client.socket(await client.login(server.person()))
        theirs = await other.ask("quickly [[call=lookup chunks=5]]")
        await other.ended(theirs["run_id"], seconds=5)
        for socket in stalled:
            assert check_run(await _read_on(socket, run_id)) == events

    play(server, scenario, seconds=100)


def test_deltas_that_wait_for_a_stalled_socket_become_one_and_still_add_up(server):
    async def scenario(client):
        login = await client.login(server.person())
        lively = await client.socket(login)
        thread_id = await client.thread(login)
        stalled = await _stalled(client, login, thread_id)
        # First what fills every buffer on the way, then an answer that streams while nothing can be sent.
        filling = await lively.ask("60 100000", agent="chronicler", thread_id=thread_id)
        await lively.ended(filling["run_id"], seconds=30)
        accepted = await lively.ask("go on [[chunks=4000 delay=0.2]]", thread_id=thread_id)
        await lively.ended(accepted["run_id"], seconds=30)
        events = check_run(lively.of(accepted["run_id"]))
        assert answer_of(events) == words(4000)
        live = [frame for frame in lively.of(accepted["run_id"]) if frame["type"] == "message_delta"]
        assert len(live) > 8
        for socket in stalled:
            frames = await _read_on(socket, accepted["run_id"])
            assert check_run(frames) == events
            assert len([frame for frame in frames if frame["type"] == "message_delta"]) <= 2
            filled = [frame for frame in socket.frames if frame.get("run_id") == filling["run_id"]]
            assert len(check_run(filled)) == 62

    play(server, scenario, seconds=100)


def test_a_stalled_sse_reader_slows_nobody_either(server):
    async def scenario(client):
        login = await client.login(server.person())
        lively = await client.socket(login)
        accepted = await lively.ask("200 100000", agent="chronicler")
        stalled = client.sse(login, accepted["run_id"])
        first = await anext(stalled)
        await lively.ended(accepted["run_id"], seconds=30)
        rest = [data async for _, data in stalled]
        assert [first[1], *rest] == lively.durable_texts(accepted["run_id"])

    play(server, scenario)


def test_a_socket_that_never_reads_again_is_let_go(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        cookie = login.cookie | {"Origin": server.url}
        gone = [await client.stalled(cookie) for _ in range(3)]
        lively = await client.socket(login)
        accepted = await lively.ask("60 100000", agent="chronicler")
        for socket in gone:
            await socket.send({"type": "subscribe", "run_id": accepted["run_id"]})
        await lively.ended(accepted["run_id"], seconds=30)
        async with asyncio.timeout(20):
            while await _connections(client) > 1:
                # Reading answers the pings of the one that stays.
                assert (await lively.answer("ping"))["type"] == "pong"
                await asyncio.sleep(0.1)

    with Server(tmp_path, wire=wire, people=1, heartbeat_seconds=1, frames_burst=1000) as server:
        play(server, scenario)
    assert "Traceback" not in server.log()


async def _connections(client):
    found = re.search(r"^netra_connections (\S+)", (await client.get("/metrics")).text, re.MULTILINE)
    return float(found[1])
