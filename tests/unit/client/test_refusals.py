"""What a client says of a server that refuses, is absent, or does not keep the contract."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tests.unit.client.peer import PASSWORD, Peer, Stage, golden, problem
from tests.unit.client.playing import collect, play, seqs

from netra_apex.client import (
    Client,
    ClientError,
    Connection,
    ConnectionLost,
    ConnectionOver,
    ConnectionRefused,
    RequestRefused,
    ServerUnreachable,
    StreamBroken,
    UnreadableFrame,
)
from netra_apex.errors import ConfigurationError


def test_a_refused_message_raises_the_servers_code_and_sentence_and_the_connection_lives_on() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.refuse = {"code": "queue_full", "message": "20 runs wait already"}
        for ask in (connection.send("hi"), connection.cancel("run_1")):
            with pytest.raises(RequestRefused, match="20 runs wait already") as refused:
                await ask
            assert (refused.value.code, refused.value.status) == ("queue_full", None)
        with pytest.raises(RequestRefused, match="20 runs"):
            await collect(await connection.follow("run_1"))
        peer.refuse = None
        assert seqs(await collect(await connection.send("hi"))) == [1, 2, 3, 4, 5, 6]

    play(test)


def test_a_message_that_is_never_answered_ends_in_a_typed_error() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.answers_messages = False
        with pytest.raises(ServerUnreachable, match="no answer to user_message within"):
            await connection.send("hi")

    async def main() -> None:
        async with asyncio.timeout(20), Peer().serving() as peer, Client(peer.url, timeout=0.2) as client:
            await client.login("ada", PASSWORD)
            async with client.connect(patience=0.1) as connection:
                await test(peer, client, connection)

    asyncio.run(main())


@pytest.mark.parametrize("code", [1003, 1007, 4403, 4409, 4413, 4429])
def test_a_refusal_by_close_code_is_a_typed_error(code: int) -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        await stage.cut(code)

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        with pytest.raises(ConnectionRefused) as refused:
            await collect(run)
        assert refused.value.close_code == code
        assert peer.sockets == 1

    play(test, script)


def test_a_server_that_does_not_come_back_is_given_up_when_patience_ends() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        stage.peer.close_at_greeting = [1012] * 1000
        await stage.cut()

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        with pytest.raises(ConnectionLost, match=r"did not come back within 0.5 s: the server restarts"):
            await collect(run)
        assert peer.sockets > 2

    play(test, script, patience=0.5)


def test_nobody_at_the_address_is_a_typed_error() -> None:
    async def main() -> None:
        async with Peer().serving() as peer:
            url = peer.url
        async with asyncio.timeout(10), Client(url) as client:
            with pytest.raises(ServerUnreachable, match=f"^no server answers at {url}: Connection refused$"):
                await client.login("ada", PASSWORD)
            with pytest.raises(ServerUnreachable, match="Connection refused"):
                await client.reach()
            with pytest.raises(RequestRefused, match="log in first"):
                await client.agents()
        async with asyncio.timeout(10), Peer().serving() as peer, Client(peer.url) as client:
            await client.reach()

    asyncio.run(main())


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="write http://host:port"):
        Client("localhost:8000")


def test_something_that_is_no_netra_server_is_named_as_such() -> None:
    async def main() -> None:
        async with asyncio.timeout(10), Peer().serving() as peer, Client(peer.url + "/nowhere") as client:
            with pytest.raises(ServerUnreachable, match="what is there says 404 Not Found"):
                await client.login("ada", PASSWORD)
        async with asyncio.timeout(10), Peer().serving() as peer, Client(peer.url) as client:
            with pytest.raises(RequestRefused, match="the name or the password is wrong"):
                await client.login("ada", "wrong")

    asyncio.run(main())


def test_a_frame_that_is_not_the_contracts_ends_the_connection_with_the_reason() -> None:
    async def script(stage: Stage) -> None:
        await stage.send({"type": "agent_started", "run_id": stage.run_id, "seq": 1})

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        with pytest.raises(UnreadableFrame, match=r"agent_started that is not what the contract says.*task"):
            await collect(run)

    play(test, script)


def not_connected(peer: Peer, **options: Any) -> str:
    """What a client says that cannot connect."""

    async def main() -> str:
        async with asyncio.timeout(20), peer.serving(), Client(peer.url, timeout=2) as client:
            await client.login("ada", PASSWORD)
            with pytest.raises(ClientError) as refused:
                async with client.connect(**{"patience": 0.3, **options}):
                    pytest.fail("there is no connection")
            return f"{type(refused.value).__name__}: {refused.value}"

    return asyncio.run(main())


def test_a_refused_upgrade_is_a_typed_error_and_a_passing_one_is_tried_again() -> None:
    peer = Peer()
    peer.answer_upgrade = [web.Response(status=403)]
    assert not_connected(peer) == "RequestRefused: the socket is refused with 403 (forbidden)"
    peer.answer_upgrade = [web.Response(status=401), web.Response(status=401)]
    assert not_connected(peer).startswith("ConnectionRefused: the server closed the connection with 4401")
    peer.answer_upgrade = [web.Response(status=503) for _ in range(100)]
    assert "the socket is answered with 503" in not_connected(peer)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        await (await connection.send("hi")).ended()

    peer.answer_upgrade = [web.Response(status=503), web.Response(status=503)]
    play(test, peer=peer)


def test_a_server_that_does_not_greet_as_the_contract_says_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    peer.greets = False
    peer.first_frames = ['{"type":"pong"}']
    assert "UnreadableFrame: the server sent a first frame that is not what the contract says" in not_connected(peer)
    peer.first_frames = [b"binary"]
    assert "the contract has text frames only" in not_connected(peer)
    peer.first_frames = []
    monkeypatch.setattr("netra_apex.client.line.GREETING_SECONDS", 0.1)
    assert "does not greet" in not_connected(peer)


def test_frames_that_a_client_does_not_know_or_did_not_ask_for_are_left_out() -> None:
    async def script(stage: Stage) -> None:
        await stage.send({"type": "weather", "text": "sunny"})
        await stage.send({"type": "pong", "id": "x"})
        await stage.send({"type": "ok", "id": "nobody"})
        await stage.send({"type": "error", "code": "flood", "message": "slower"})
        await stage.send({**stage.event("agent_started", seq=1, task="t"), "run_id": "run_other"})
        ids = {"thread_id": "t", "run_id": "run_other", "message_id": "m"}
        await stage.send({"type": "message_accepted", "id": "nobody", **ids})
        await golden(stage)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        assert seqs(await collect(await connection.send("hi"))) == [1, 2, 3, 4, 5, 6]

    play(test, script)


def test_a_message_that_is_answered_with_ok_is_not_the_contract() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.answers_messages = False
        asking = asyncio.create_task(connection.send("hi"))
        await peer.until(lambda: bool(peer.frames))
        for socket in peer.transports:
            await socket.send_json({"type": "ok", "id": peer.frames[0]["id"]})
        with pytest.raises(UnreadableFrame, match="ok, not message_accepted"):
            await asking

    play(test)


def test_an_answer_that_is_no_json_is_named() -> None:
    peer = Peer()
    peer.answer_refresh = [web.Response(text="<html>", headers={"Retry-After": "soon"})]

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        peer.tokens.clear()
        with pytest.raises(UnreadableFrame, match="the server sent a refresh that is not what the contract says"):
            await client.agents()
        peer.answer_refresh = [problem(429, "flood", "slower", {"Retry-After": "7"})]
        with pytest.raises(RequestRefused) as refused:
            await client.agents()
        assert (refused.value.code, refused.value.retry_after, refused.value.passing) == ("flood", 7, True)
        peer.answer_refresh = [problem(429, "flood", "slower", {"Retry-After": "soon"})]
        with pytest.raises(RequestRefused) as refused:
            await client.agents()
        assert refused.value.retry_after is None

    play(test, peer=peer)


def test_errors_are_one_tree() -> None:
    for kind in (ConnectionLost, ConnectionOver, ConnectionRefused, RequestRefused, ServerUnreachable, StreamBroken):
        assert issubclass(kind, ClientError)
