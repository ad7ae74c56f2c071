"""The client's side of approvals: what waits is listed, and a decision has its answer, over lost sockets too."""

import pytest
from tests.unit.client.peer import Peer, Stage
from tests.unit.client.playing import play, seqs

from netra_apex.client import Client, Connection, RequestRefused
from netra_apex.core.events import AgentCompleted, ApprovalDecided, ApprovalRequested


async def _paying(stage: Stage) -> None:
    await stage.tell("agent_started", task="t")
    await stage.tell("agent_thinking", text="hm", step=1)
    first = await stage.ask("apr_1", amount=1)
    second = await stage.ask("apr_2", amount=2)
    said = [first.get("note"), second.get("note")]
    await stage.tell("agent_completed", output=said, usage={}, duration_ms=1)


def test_what_waits_is_listed_and_decided_with_a_note_or_without() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("pay")
        frames = []
        async for frame in run:
            frames.append(frame)
            if isinstance(frame, ApprovalRequested):
                (listed,) = (await client.approvals()).items
                assert (listed.approval_id, listed.run_id, listed.tool) == (frame.approval_id, run.run_id, "pay")
                assert listed.arguments == frame.arguments
                note = None if listed.approval_id == "apr_1" else "fine"
                await connection.decide(listed.approval_id, "approve", note)
        assert isinstance(run.ending, AgentCompleted)
        assert run.ending.output == [None, "fine"]
        assert seqs(frames) == list(range(1, len(frames) + 1))
        decided = [frame for frame in frames if isinstance(frame, ApprovalDecided)]
        assert [(each.approval_id, each.decision, each.by) for each in decided] == [
            ("apr_1", "approve", "ada"),
            ("apr_2", "approve", "ada"),
        ]
        assert ["note" in frame for frame in peer.frames if frame["type"] == "decide"] == [False, True]

    play(test, _paying)


def test_what_was_decided_before_is_refused_with_its_code() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        with pytest.raises(RequestRefused) as refused:
            await connection.decide("apr_none", "reject")
        assert refused.value.code == "already_decided"

    play(test)


def test_a_decision_waits_for_a_socket() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("pay")
        async for frame in run:
            if isinstance(frame, ApprovalRequested):
                await peer.runs[run.run_id].cut()
                await connection.decide(frame.approval_id, "approve")
        assert isinstance(run.ending, AgentCompleted)

    play(test, _paying)
