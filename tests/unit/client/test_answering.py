"""The client's side of questions: what waits is listed, and an answer has its answer, over lost sockets too."""

import pytest
from tests.unit.client.peer import Peer, Stage
from tests.unit.client.playing import play, seqs

from netra_apex.client import Client, Connection, RequestRefused
from netra_apex.core.events import AgentCompleted, QuestionAnswered, QuestionAsked


async def _asking(stage: Stage) -> None:
    await stage.tell("agent_started", task="t")
    await stage.tell("agent_thinking", text="hm", step=1)
    said = [await stage.question("que_1", "one?"), await stage.question("que_2", "two?")]
    await stage.tell("agent_completed", output=said, usage={}, duration_ms=1)


def test_what_is_asked_is_listed_and_answered() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("ask")
        frames = []
        async for frame in run:
            frames.append(frame)
            if isinstance(frame, QuestionAsked):
                (listed,) = (await client.questions()).items
                assert (listed.question_id, listed.run_id, listed.text) == (frame.question_id, run.run_id, frame.text)
                await connection.answer(listed.question_id, f"to {listed.text}")
        assert isinstance(run.ending, AgentCompleted)
        assert run.ending.output == ["to one?", "to two?"]
        assert seqs(frames) == list(range(1, len(frames) + 1))
        answered = [frame for frame in frames if isinstance(frame, QuestionAnswered)]
        assert [(each.question_id, each.content) for each in answered] == [("que_1", "to one?"), ("que_2", "to two?")]

    play(test, _asking)


def test_what_was_answered_before_is_refused_with_its_code() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        with pytest.raises(RequestRefused) as refused:
            await connection.answer("que_none", "May")
        assert refused.value.code == "already_decided"

    play(test)


def test_an_answer_waits_for_a_socket() -> None:
    async def test(peer: Peer, client: Client, connection: Connection) -> None:
        run = await connection.send("ask")
        async for frame in run:
            if isinstance(frame, QuestionAsked):
                await peer.runs[run.run_id].cut()
                await connection.answer(frame.question_id, "May")
        assert isinstance(run.ending, AgentCompleted)

    play(test, _asking)
