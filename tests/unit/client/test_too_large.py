"""A message that the server would close the socket for is refused before it is sent."""

import pytest
from tests.unit.client.peer import Peer
from tests.unit.client.playing import play

from netra_apex.client import Client, Connection, RequestRefused
from netra_apex.core.events import AgentCompleted


def test_a_message_over_the_servers_frame_is_refused_and_the_connection_lives_on() -> None:
    limited = Peer()
    limited.limits = {"frame_bytes": 1000}

    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        await connection.established()
        with pytest.raises(RequestRefused, match="the server takes 1000 at most") as refused:
            await connection.send("é" * 600)
        assert refused.value.code == "too_large"
        run = await connection.send("hello")
        assert isinstance(await run.ended(), AgentCompleted)
        assert peer.sockets == 1

    play(test, peer=limited)
