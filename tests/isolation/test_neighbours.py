"""What one user's agents do, another does not notice: failures, hangs, blocked threads, floods, cancels."""

import asyncio
import json
import random
import signal
from pathlib import Path

import pytest
from tests.isolation.served_app import secret_of
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, words

APP = Path(__file__).with_name("served_app.py")
BOUND = 10.0  # far beyond what a run takes, far below what a neighbour who is waited for would cost
TROUBLE = [
    "raise",
    "exit",
    "hang",
    "block",
    "flood",
    "wait",
    "exit_in_a_task",
    "interrupt_in_a_task",
    "exit_in_a_callback",
    "haunt",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    place = tmp_path_factory.mktemp("neighbours")
    with Server(place, app=APP, wire=wire, people=60, frames_burst=100_000, frames_per_minute=100_000) as server:
        yield server


def _told(frames):
    """What a run tells, but for ids and times: types, texts, results, in their order."""
    told = []
    for event in frames:
        if "seq" in event:
            # The instance is an address in memory; everything else is to be the same.
            kept = {key: value for key, value in event.items() if key in ("seq", "type", "tool", "ok", "text", "task")}
            told.append(kept | {"said": event.get("result") or event.get("content") or event.get("arguments")})
    return told


async def _script(socket, sample=3):
    """A user's own doings: one run after another, with and without tools."""
    told = []
    for number in range(sample):
        for directive in ("call=consult chunks=8", "call=consult_in_a_thread chunks=3", "chunks=20"):
            accepted = await socket.ask(f"number {number} [[{directive}]]")
            await socket.ended(accepted["run_id"], seconds=BOUND)
            told.append(_told(check_run(socket.of(accepted["run_id"]))))
    return told


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_neighbours_trouble_changes_neither_answers_nor_their_order(server, trouble):
    async def scenario(client):
        mallory, bob = await client.login(server.person()), await client.login(server.person())
        noisy, quiet = await client.socket(mallory), await client.socket(bob)
        alone = await _script(quiet)
        troubles = [await noisy.ask(f"{trouble} now", agent="troublemaker") for _ in range(8)]
        await noisy.frame("agent_thinking", text=f"{trouble} now")
        if trouble == "block":
            # Sixteen threads of his are held, which is all that one user may.
            await _until(lambda: len([line for line in server.tool_lines() if f"block {mallory.name}" in line]) >= 16)
        among = await _script(quiet)
        assert among == alone
        assert mallory.name not in "".join(quiet.texts)
        for accepted in troubles:
            await noisy.send("cancel", run_id=accepted["run_id"])
        for accepted in troubles:
            await noisy.ended(accepted["run_id"], seconds=30)
            frames = noisy.of(accepted["run_id"])
            check_run(frames, ending=frames[-1]["type"])
        assert bob.name not in "".join(noisy.texts)
        if trouble == "raise":
            failed = next(frame for frame in noisy.frames if frame["type"] == "agent_failed")
            assert (failed["code"], secret_of(mallory.name) in failed["message"]) == ("agent_error", True)
        return mallory.name, bob.name

    mallory, bob = play(server, scenario, seconds=100)
    for line in server.log().splitlines():
        assert not (mallory in line and bob in line)


async def _until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)


def test_a_user_with_a_full_queue_does_not_stand_before_another(server):
    async def scenario(client):
        mallory, bob = await client.login(server.person()), await client.login(server.person())
        noisy, quiet = await client.socket(mallory), await client.socket(bob)
        flood = [await noisy.ask("slowly [[chunks=40 delay=10]]") for _ in range(23)]
        accepted = await quiet.ask("quickly [[chunks=2]]")
        await quiet.ended(accepted["run_id"], seconds=BOUND)
        assert quiet.of(accepted["run_id"])[0]["type"] == "agent_started"
        # His had not all begun by then.
        started = server.rows("select count(*) from runs where user_id = ? and status = 'queued'", mallory.name)
        assert started[0][0] > 0
        for one in flood:
            await noisy.send("cancel", run_id=one["run_id"])
        for one in flood:
            await noisy.ended(one["run_id"])

    play(server, scenario)


def test_an_agent_that_cannot_be_made_ends_its_run_as_failed(server):
    async def scenario(client):
        socket = await client.socket(await client.login(server.person()))
        accepted = await socket.ask("anything", agent="stillborn")
        await socket.ended(accepted["run_id"])
        events = check_run(socket.of(accepted["run_id"]), ending="agent_failed")
        assert (events[-1]["code"], events[-1]["message"]) == ("agent_error", "CancelledError")

    play(server, scenario)


def test_a_stubborn_agent_neither_outlives_its_cancel_nor_keeps_the_server_from_ending(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("hang", agent="troublemaker")
        await socket.frame("agent_thinking")
        await socket.answer("cancel", run_id=accepted["run_id"])
        assert (await socket.ended(accepted["run_id"], seconds=2.5))["type"] == "agent_cancelled"
        check_run(socket.of(accepted["run_id"]), ending="agent_cancelled")
        left = await socket.ask("hang", agent="troublemaker")
        await socket.frame("agent_thinking", run_id=left["run_id"])
        server.signal(signal.SIGTERM)
        assert await socket.closed() == 1001
        check_run(socket.of(left["run_id"]), ending=None)

    with Server(tmp_path, app=APP, wire=wire, people=1, drain_seconds=0.5) as server:
        play(server, scenario)
        assert server.ended(seconds=15) == 0


def test_a_call_that_needs_a_permission_is_denied_before_it_is_executed(server, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        content = f"destroy for {login.name} [[call=destroy,consult chunks=2]]"
        accepted = await socket.ask(content)
        await socket.ended(accepted["run_id"])
        events = check_run(socket.of(accepted["run_id"]))
        ends = {event["tool"]: event for event in events if event["type"] == "tool_completed"}
        assert (ends["destroy"]["ok"], ends["destroy"]["error"]["code"]) == (False, "denied")
        assert ends["consult"]["ok"] is True
        assert not [line for line in server.tool_lines() if line.startswith("destroy")]
        offered = [request["tools"] for request in wire.requests() if request["asked"] == content]
        assert offered
        assert all("destroy" not in tools and "consult" in tools for tools in offered)
        told = [line for line in server.log().splitlines() if accepted["run_id"] in line]
        assert [json.loads(line)["event"] for line in told] == ["tool denied"]

    play(server, scenario)


CANCELS, USERS = 200, 8


def test_after_two_hundred_random_cancels_every_answer_is_that_of_its_question(server, wire):
    async def one(client, login, socket, thread_id, number, dice):
        """One run, which is cancelled after some of its frames, or not; by socket, by HTTP, or after a lost line."""
        tag = f"{login.name}q{number}x"
        content = f"question {tag} [[call=consult chunks=15 delay=2 tag={tag}]]"
        accepted = await socket.ask(content, thread_id=thread_id)
        run_id = accepted["run_id"]
        how = dice.choice(["socket", "http", "not at all", "lost"])
        for _ in range(dice.randrange(12)):
            if (await socket.until_new(run_id))["type"].startswith("agent_c"):
                break
        if how == "lost":
            socket.cut()
            socket = Counting(await client.socket(login))
            await socket.follow(run_id=run_id)
        if how in ("socket", "lost"):
            await socket.answer("cancel", run_id=run_id)
        elif how == "http":
            assert (await client.post(f"/api/runs/{run_id}/cancel", login)).status == 200
        ending = await socket.ended(run_id)
        frames = socket.of(run_id)
        events = check_run(frames, ending=ending["type"])
        assert await client.events(login, run_id) == events
        assert ending["type"] == "agent_completed" if how == "not at all" else ending["type"] != "agent_failed"
        assert events[0]["task"] == content
        for event in events:
            if event["type"] == "tool_completed" and event["ok"]:
                assert event["result"].endswith(f"question {tag}")
        text = "".join(frame["text"] for frame in frames if frame["type"] == "message_delta")
        assert words(15, tag).startswith(text)
        if ending["type"] == "agent_completed":
            assert answer_of(events) == words(15, tag)
        return socket, how

    async def person(client, seed):
        dice = random.Random(seed)
        login = await client.login(server.person())
        thread_id = await client.thread(login)
        socket = Counting(await client.socket(login))
        cancels = 0
        number = 0
        while cancels < CANCELS // USERS:
            socket, how = await one(client, login, socket, thread_id, number, dice)
            cancels += how != "not at all"
            number += 1
        return login.name

    async def scenario(client):
        return await asyncio.gather(*(person(client, seed) for seed in range(USERS)))

    names = play(server, scenario, seconds=100)
    for request in wire.until_idle()["requests"]:
        text = json.dumps(request["messages"])
        assert len([name for name in names if name in text]) <= 1
    assert "Traceback" not in "".join(line for line in server.log().splitlines() if any(name in line for name in names))


class Counting:
    """A socket that can be asked for a run's next frame that has not been looked at."""

    def __init__(self, socket):
        self._socket = socket
        self._looked = 0

    def __getattr__(self, name):
        return getattr(self._socket, name)

    async def until_new(self, run_id):
        while True:
            frames = self._socket.frames
            while self._looked < len(frames):
                self._looked += 1
                frame = frames[self._looked - 1]
                if frame.get("run_id") == run_id:
                    return frame
            await self._socket.next()
