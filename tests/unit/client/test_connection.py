"""A run over a line that may be lost, as if it were not."""

import asyncio
from typing import Any

import pytest
from tests.unit.client.peer import USAGE, Peer, Stage, golden
from tests.unit.client.playing import collect, play, seqs, text

from netra_apex.client import (
    Client,
    Connection,
    ConnectionOver,
    Reconnected,
    Reconnecting,
    RequestRefused,
    StreamBroken,
)
from netra_apex.client.live import Notice
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    is_terminal,
)


def test_a_message_becomes_a_run_whose_events_arrive_in_order_and_equal_the_log() -> None:
    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        frames = await collect(run)
        assert seqs(frames) == [1, 2, 3, 4, 5, 6]
        assert text(frames) == "You said: hi" == run.text("m1")
        assert isinstance(run.ending, AgentCompleted)
        assert run.faults == ()
        await run.quiet(0.05)
        assert await client.events(run.run_id) == tuple(f for f in frames if not isinstance(f, PassingFrame | Notice))
        assert await collect(run) == []
        assert await run.ended() == run.ending

    play(test)


async def _with_pauses(stage: Stage) -> None:
    """The golden path, with the socket lost after each of its events and in the middle of the answer."""
    answer = "Hello world"
    await stage.tell("agent_started", task=stage.content)
    await stage.cut()
    await stage.back()
    await stage.tell("agent_thinking", text="hm", step=1)
    await stage.cut(1001)
    # Told while nobody listens.
    await stage.tell("tool_executing", call_id="c1", tool="clock", arguments={})
    await stage.back()
    await stage.tell("tool_completed", call_id="c1", tool="clock", ok=True, result="12", duration_ms=1)
    await stage.delta(answer[:4], 0)
    await stage.cut(1012)
    stage.snapshot = delta_frame(stage, answer[:8], 0)
    await stage.back()
    stage.snapshot = None
    await stage.delta(answer[8:], 8)
    await stage.tell("message_completed", message_id="m1", content=answer)
    await stage.cut(1013)
    await stage.tell("agent_completed", output=answer, usage=USAGE, duration_ms=1)
    await stage.back()


def delta_frame(stage: Stage, words: str, offset: int, attempt: int = 1) -> dict[str, Any]:
    ids = {"type": "message_delta", "run_id": stage.run_id, "message_id": "m1"}
    return {**ids, "attempt": attempt, "offset": offset, "text": words, "agent": stage.agent, "depth": 0}


def test_a_client_whose_socket_is_lost_again_and_again_receives_each_event_and_character_once() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        frames = await collect(run)
        assert seqs(frames) == [1, 2, 3, 4, 5, 6]
        assert text(frames) == "Hello world"
        assert run.faults == ()
        assert connection.reconnects == 4
        notices = [type(frame) for frame in frames if isinstance(frame, Notice)]
        assert notices == [Reconnecting, Reconnected] * 4
        assert [f["after"] for f in peer.frames if f["type"] == "subscribe"] == [1, 2, 4, 5]
        assert await client.events(run.run_id, after=2) == tuple(
            f for f in frames if not isinstance(f, PassingFrame | Notice) and f.seq > 2
        )

    play(test, _with_pauses, notices=True)


def test_without_notices_a_consumer_does_not_hear_of_lost_sockets() -> None:
    async def test(_: Peer, client: Client, connection: Connection) -> None:
        frames = await collect(await connection.send("hi"))
        assert not any(isinstance(frame, Notice) for frame in frames)
        assert seqs(frames) == [1, 2, 3, 4, 5, 6]

    play(test, _with_pauses)


def test_a_step_that_was_resumed_tells_its_text_anew() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        await stage.delta("Hel", 0)
        await stage.cut()
        stage.snapshot = delta_frame(stage, "Howdy", 0, attempt=2)
        await stage.back()
        await stage.tell("message_completed", message_id="m1", content="Howdy")
        await stage.tell("agent_completed", output="Howdy", usage=USAGE, duration_ms=1)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        passing = [frame for frame in await collect(run) if isinstance(frame, PassingFrame)]
        assert [type(frame) for frame in passing] == [MessageDelta, MessageReset, MessageDelta]
        assert run.text("m1") == "Howdy"
        assert run.faults == ()

    play(test, script)


def test_a_message_whose_answer_was_lost_is_sent_again_with_its_key_and_makes_one_run() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.drop_messages = 2
        run = await connection.send("hi", agent="greeter", thread_id="thr_7")
        assert seqs(await collect(run)) == [1, 2, 3, 4, 5, 6]
        assert (run.thread_id, run.message_id) == ("thr_7", peer.runs[run.run_id].message_id)
        sent = [frame for frame in peer.frames if frame["type"] == "user_message"]
        assert len(sent) == 3
        assert len({frame["idempotency_key"] for frame in sent}) == 1
        assert len(peer.runs) == 1
        assert sent[0]["agent"] == "greeter"

    play(test)


def test_the_same_key_gives_the_same_run_and_no_event_twice() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        await stage.cancelled.wait()
        await stage.tell("agent_cancelled", by="ada")

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        first = await connection.send("once", idempotency_key="key-1")
        await anext(first)
        again = await connection.send("once", idempotency_key="key-1")
        assert again is first
        await connection.cancel(first.run_id)
        assert isinstance(await first.ended(), AgentCancelled)
        assert seqs(await collect(await connection.send("once", idempotency_key="key-1"))) == [1, 2]

    play(test, script)


def test_a_run_that_is_under_way_can_be_followed_from_any_event() -> None:
    async def script(stage: Stage) -> None:
        for step in range(1, 4):
            await stage.tell("agent_thinking", text="hm", step=step)
        await stage.cancelled.wait()
        await stage.tell("agent_cancelled", by="ada")

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        async with client.connect() as second:
            late = await second.follow(run.run_id, after=2)
            assert await second.follow(run.run_id) is late
            await client.cancel(run.run_id)
            assert seqs(await collect(late)) == [3, 4]
            await second.leave(late.run_id)
            await second.leave(late.run_id)
        assert seqs(await collect(run)) == [1, 2, 3, 4]
        with pytest.raises(ConnectionOver, match="closed"):
            await second.follow(run.run_id)
        with pytest.raises(ConnectionOver):
            await second.send("hi")

    play(test, script)


def test_a_gap_ends_the_iteration_with_the_run_and_the_numbers() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        await stage.tell("agent_thinking", text="hm", step=1, seq=3)
        await stage.tell("agent_thinking", text="hm", step=2, seq=4)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        await anext(run)
        with pytest.raises(StreamBroken) as broken:
            await anext(run)
        assert (broken.value.run_id, broken.value.expected, broken.value.got) == (run.run_id, 2, 3)
        with pytest.raises(StreamBroken):
            await run.ended()
        with pytest.raises(StreamBroken):
            await collect(await connection.follow(run.run_id, after=1))

    play(test, script)


def test_what_follows_an_ending_is_told_to_one_who_waits_for_quiet() -> None:
    async def script(stage: Stage) -> None:
        await golden(stage)
        await stage.tell("agent_thinking", text="one more thing", step=2)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        assert is_terminal(await run.ended())
        with pytest.raises(StreamBroken, match="had ended, and then came agent_thinking with seq 7"):
            await run.quiet(5)
        assert await collect(run) == []

    play(test, script)


def test_a_message_that_a_draining_server_refuses_waits_for_the_next_socket() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.refuse = {"code": "draining", "message": "the server stops"}
        asking = asyncio.create_task(connection.send("hi"))
        await peer.until(lambda: bool(peer.frames))
        peer.refuse = None
        for socket in list(peer.transports):
            await socket.close(code=1001)
        assert seqs(await collect(await asking)) == [1, 2, 3, 4, 5, 6]

    play(test)


def test_http_routes_answer_as_values_and_refusals_as_codes() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        assert [agent.name for agent in await client.agents()] == ["assistant", "greeter"]
        assert [thread.title for thread in (await client.threads(cursor="c")).items] == ["Time"]
        assert [message.content for message in (await client.messages("thr_1")).items] == ["hello before"]
        assert (await client.thread("thr_1")).runs == ()
        run = await connection.send("hi")
        await run.ended()
        assert (await client.run(run.run_id)).last_seq == run.last_seq == 6
        for ask in (client.run("run_none"), client.messages("../x")):
            with pytest.raises(RequestRefused) as refused:
                await ask
            assert (refused.value.code, refused.value.status) == ("not_found", 404)
        peer.tokens.clear()
        assert await client.agents()
        assert peer.refreshes == 1
        await client.logout()
        with pytest.raises(RequestRefused):
            await client.agents()

    play(test)


def test_many_ended_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netra_apex.client.connection.ENDED_KEPT", 2)

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        for number in range(5):
            await (await connection.send(f"{number}")).ended()
        assert len(connection._runs) == 2

    play(test)


def test_a_caller_who_gives_up_leaves_nothing_behind() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.answers_messages = False
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.send("given up")
        peer.answers_messages = True
        for socket in list(peer.transports):
            await socket.close(code=1012)
        await (await connection.send("wanted")).ended()
        assert [frame["content"] for frame in peer.frames] == ["given up", "wanted"]

    play(test)


def test_an_error_in_the_callers_code_is_raised_as_it_is() -> None:
    async def test(*_: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        play(test)


def test_while_no_run_is_under_way_idle_is_told_of_a_lost_socket_and_its_return() -> None:
    told: asyncio.Queue[Notice] = asyncio.Queue()

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        assert connection.up
        peer.cut()
        assert isinstance(await told.get(), Reconnecting)
        assert not connection.up
        assert isinstance(await told.get(), Reconnected)
        await (await connection.send("hi")).ended()
        assert connection.up
        assert told.empty()

    play(test, idle=told.put_nowait)


def test_while_a_run_is_under_way_its_consumer_is_told_and_idle_is_not() -> None:
    told: list[Notice] = []

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        frames = await collect(await connection.send("hi"))
        assert [type(frame) for frame in frames if isinstance(frame, Notice)] == [Reconnecting, Reconnected] * 4

    play(test, _with_pauses, notices=True, idle=told.append)
    assert told == []
