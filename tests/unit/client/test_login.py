"""How a login is kept alive, and what is said when it cannot be."""

import asyncio

import pytest
from aiohttp import web
from tests.unit.client.peer import PASSWORD, Peer, Stage, problem
from tests.unit.client.playing import collect, play, seqs

from netra_apex.client import (
    Client,
    Connection,
    ConnectionRefused,
    RequestRefused,
)


def test_the_token_is_renewed_on_the_open_socket_before_it_expires() -> None:
    peer = Peer()
    peer.expires_in = 0.4

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        await peer.until(lambda: peer.refreshes >= 2)
        assert seqs(await collect(await connection.send("hi"))) == [1, 2, 3, 4, 5, 6]
        assert peer.sockets == 1
        told = [frame["token"] for frame in peer.frames if frame["type"] == "authenticate"]
        assert told[:2] == ["token-2", "token-3"]

    play(test, peer=peer)


def test_a_socket_that_the_server_no_longer_trusts_comes_back_with_a_renewed_token() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        stage.peer.tokens.clear()
        await stage.cut(4401)
        await stage.back()
        await stage.tell("agent_cancelled", by="ada")

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        assert seqs(await collect(await connection.send("hi"))) == [1, 2]
        assert peer.refreshes == 1

    play(test, script)


def test_a_login_that_has_ended_is_told_to_everybody_who_waits() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        stage.peer.refresh_allowed = False
        stage.peer.tokens.clear()
        await stage.cut(4401)

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("hi")
        with pytest.raises(RequestRefused, match="the login has ended") as ended:
            await collect(run)
        assert ended.value.code == "unauthenticated"
        with pytest.raises(RequestRefused):
            await connection.send("hi")
        with pytest.raises(RequestRefused):
            await client.agents()

    play(test, script)


def test_a_token_that_is_refused_twice_ends_the_connection() -> None:
    peer = Peer()
    peer.close_at_greeting = [4401, 4401]

    async def test(*_: object) -> None:
        pytest.fail("there is no connection")

    with pytest.raises(ConnectionRefused, match="4401: the login is no longer valid"):
        play(test, peer=peer)
    assert peer.refreshes == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_renewal_that_fails_for_the_moment_is_tried_again_on_the_same_socket(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netra_apex.client.line.RENEWAL_PAUSE", 0.05)
    code = {429: "flood", 503: "draining"}.get(status)
    answer = problem(status, code, "not now") if code else web.Response(status=status)
    peer = Peer()
    peer.expires_in = 0.3
    peer.answer_refresh = [answer]

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        await peer.until(lambda: peer.refreshes > 0)
        await (await connection.send("hi")).ended()
        assert peer.sockets == 1

    play(test, peer=peer)


def test_a_renewal_that_is_refused_on_an_open_socket_ends_the_connection() -> None:
    peer = Peer()
    peer.expires_in = 0.2
    peer.refresh_allowed = False

    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")

    peer.script = script

    async def test(_: Peer, client: Client, connection: Connection) -> None:
        with pytest.raises(RequestRefused, match="the login has ended"):
            await (await connection.send("hi")).ended()

    play(test, peer=peer)


def test_a_renewal_that_fails_while_the_socket_is_away_is_tried_again() -> None:
    async def script(stage: Stage) -> None:
        await stage.tell("agent_started", task="t")
        stage.peer.answer_refresh = [problem(503, "draining", "the server stops")]
        await stage.cut(4401)
        await stage.back()
        await stage.tell("agent_cancelled", by="ada")

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        assert seqs(await collect(await connection.send("hi"))) == [1, 2]
        assert peer.refreshes == 1

    play(test, script)


def test_two_connections_of_one_login_renew_once_for_each_expiry() -> None:
    peer = Peer()
    peer.expires_in = 0.6

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        async with client.connect() as second:
            await peer.until(lambda: sum(frame["type"] == "authenticate" for frame in peer.frames) >= 2)
            assert peer.refreshes == 1
            await (await second.send("hi")).ended()

    play(test, peer=peer)


def test_a_token_is_not_in_the_repr_of_a_login() -> None:
    async def main() -> None:
        async with asyncio.timeout(10), Peer().serving() as peer, Client(peer.url) as client:
            login = await client.login("ada", PASSWORD)
            assert login.access_token not in repr(login)
            assert login.access_token not in repr(await client._api.credential())

    asyncio.run(main())
