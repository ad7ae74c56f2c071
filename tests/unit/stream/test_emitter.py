"""The emitter: stored before told, nothing after an end or a failure, and to nobody but its user."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.bounded import run, turns
from tests.support.memory_log import Telling
from tests.support.streams import check_run

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    CallError,
    DurableEvent,
    MessageCompleted,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import (
    NO_USAGE,
    AssistantMessage,
    ModelMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from netra_apex.errors import IllegalTransition, ScopeClosed, StoreError
from netra_apex.stream.emitter import UserWebSocketEmitter

STARTED = AgentStarted(task="t")
THOUGHT = AgentThinking(text="hm", step=1)
COMPLETED = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1)


def heard(emitter: UserWebSocketEmitter) -> list[dict[str, Any]]:
    """What the feed has told."""
    return [json.loads(body) for _, body in emitter.feed.since(0) or []]


def test_nothing_is_told_before_it_is_stored() -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        emitter = telling.emitter()
        woken: list[int] = []
        emitter.feed.add_follower(lambda: woken.append(1))
        waiting = asyncio.ensure_future(_wait(emitter.voice("helper").emit(STARTED)))
        emitter.voice("helper").emit(THOUGHT)
        await turns()
        assert (heard(emitter), woken, telling.meter.events) == ([], [], {})
        assert not waiting.done()
        assert telling.log.hurried  # whoever waits says so
        telling.log.store()
        await waiting
        assert [event["type"] for event in heard(emitter)] == ["agent_started"]
        assert len(woken) == 1
        telling.log.store()
        await turns()
        assert [event["seq"] for event in heard(emitter)] == [1, 2]
        assert telling.meter.events == {"agent_started": 1, "agent_thinking": 1}

    run(main())


async def _wait(stored: Any) -> None:
    await stored


def test_what_is_told_is_what_is_stored_byte_for_byte() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await emitter.voice("helper").emit(STARTED, THOUGHT, COMPLETED)
        run_id = emitter.context.run_id
        told = emitter.feed.since(0)
        assert told
        assert [body for _, body in told] == telling.log.bodies[run_id]
        events = check_run(heard(emitter))
        assert {(event["run_id"], event["thread_id"]) for event in events} == {(run_id, emitter.context.thread_id)}
        assert (await telling.reader.read("ada", run_id, 0))[0] == telling.log.bodies[run_id]

    run(main())


def test_the_order_of_calls_is_the_order_of_seq_whoever_waits() -> None:
    async def main() -> None:
        emitter = Telling().emitter()
        voice = emitter.voice("helper")
        await asyncio.gather(*(_wait(voice.emit(event)) for event in (STARTED, THOUGHT)))
        await asyncio.gather(*(_wait(voice.emit(AgentThinking(text=str(n), step=n))) for n in range(50)))
        assert [event.get("text") for event in heard(emitter)[2:]] == [str(n) for n in range(50)]
        assert [event["seq"] for event in heard(emitter)] == list(range(1, 53))

    run(main())


def test_after_a_failed_append_nothing_more_is_told() -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        voice.emit(STARTED)
        failing = voice.emit(THOUGHT)
        telling.log.store()
        telling.log.refuse()
        with pytest.raises(StoreError):
            await failing
        await turns()
        for event in (THOUGHT, COMPLETED):
            with pytest.raises(StoreError, match="disk is full"):
                voice.emit(event)
        assert [event["type"] for event in heard(emitter)] == ["agent_started"]
        assert not telling.log.waiting
        assert telling.meter.events == {"agent_started": 1}

    run(main())


def test_a_failure_that_nobody_waited_for_is_raised_by_the_next_emit() -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        voice = telling.emitter().voice("helper")
        voice.emit(STARTED)
        telling.log.refuse()
        await turns()
        with pytest.raises(StoreError):
            voice.emit(THOUGHT)

    run(main())


def test_a_cancelled_wait_does_not_undo_the_storing() -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        emitter = telling.emitter()
        waiting = asyncio.ensure_future(_wait(emitter.voice("helper").emit(STARTED)))
        await turns()
        waiting.cancel()
        await turns()
        assert waiting.cancelled()
        telling.log.store()
        await turns()
        assert [event["type"] for event in heard(emitter)] == ["agent_started"]

    run(main())


ENDS: list[DurableEvent] = [
    COMPLETED,
    AgentFailed(code="x", message="m", retryable=False),
    AgentCancelled(by="ada"),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda event: type(event).__name__)
def test_after_the_end_every_emit_raises_even_while_the_end_is_on_its_way(end: DurableEvent) -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        voice.emit(STARTED, THOUGHT, end)
        for stored in (False, True):
            if stored:
                telling.log.store()
                await turns()
            for event in (THOUGHT, end, RunQueued(reason="r")):
                with pytest.raises(ScopeClosed, match=f"emitter of run {emitter.context.run_id}"):
                    voice.emit(event)
                with pytest.raises(ScopeClosed):
                    emitter.voice("other", depth=1).emit(event)
        assert len(heard(emitter)) == 3
        assert emitter.feed.ended
        assert len(telling.hub) == 0
        assert sum(telling.meter.endings.values()) == 1

    run(main())


def test_a_sub_agents_end_is_not_the_runs() -> None:
    async def main() -> None:
        emitter = Telling().emitter()
        lead = emitter.voice("lead")
        await lead.emit(STARTED, THOUGHT, ToolExecuting(call_id="call_a", tool="delegate_member", arguments={}))
        member = emitter.voice("member", depth=1, parent_agent="lead", parent_call_id="call_a")
        await member.emit(STARTED, THOUGHT, COMPLETED)
        assert not emitter.feed.ended
        await lead.emit(COMPLETED)
        check_run(heard(emitter))
        assert [event["agent"] for event in heard(emitter)] == ["lead"] * 3 + ["member"] * 3 + ["lead"] * 2

    run(main())


def test_a_closed_emitter_tells_nothing() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        emitter.close()
        with pytest.raises(ScopeClosed):
            emitter.voice("helper").emit(STARTED)
        assert telling.log.bodies[emitter.context.run_id] == []

    run(main())


def test_what_may_not_be_told_is_refused_before_anything_is_stored() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        with pytest.raises(IllegalTransition):
            voice.emit(THOUGHT)
        await voice.emit(STARTED)
        with pytest.raises(IllegalTransition):
            voice.emit(COMPLETED)
        await voice.emit(THOUGHT)
        assert [event["seq"] for event in heard(emitter)] == [1, 2]

    run(main())


def test_a_batch_of_which_one_event_is_refused_leaves_the_stream_as_it_was() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        await voice.emit(STARTED)
        with pytest.raises(IllegalTransition):
            voice.emit(THOUGHT, ToolCompleted(call_id="c", tool="t", ok=True, result=1, duration_ms=1))
        await voice.emit(THOUGHT, COMPLETED)
        check_run(heard(emitter))

    run(main())


@pytest.mark.parametrize("text", ["half \ud83d of a pair", "\udfff"])
def test_half_a_surrogate_pair_neither_breaks_the_stream_nor_a_reader(text: str) -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        await voice.emit(STARTED)
        await voice.emit(AgentThinking(text=text, step=1))
        follower = await telling.reader.follower("ada", emitter.context.run_id, 0)
        writer = voice.writer(show=True, key="1")
        writer.text(text)
        await telling.reader.advance("ada", follower)
        await voice.emit(MessageCompleted(message_id=writer.finish(), content=text))
        await telling.reader.advance("ada", follower)
        await voice.emit(AgentCompleted(output={text: [text]}, usage=NO_USAGE, duration_ms=1))
        check_run(heard(emitter))

    run(main())


def test_an_emitter_cannot_address_another_user_whatever_an_event_claims() -> None:
    async def main() -> None:
        telling = Telling()
        eve, ada = telling.emitter("eve"), telling.emitter("ada")
        ada_context = ada.context
        forged = AgentStarted(
            task="t",
            run_id=ada_context.run_id,
            thread_id=ada_context.thread_id,
            seq=99,
            agent="ada's",
            depth=0,
            at="never",
        )
        await eve.voice("helper").emit(forged)
        (event,) = heard(eve)
        assert (event["run_id"], event["thread_id"], event["seq"], event["agent"]) == (
            eve.context.run_id,
            eve.context.thread_id,
            1,
            "helper",
        )
        assert heard(ada) == telling.log.bodies[ada_context.run_id] == []
        assert telling.hub.live("ada", eve.context.run_id) is None
        with pytest.raises(AttributeError):
            eve.context.user_id = "ada"  # type: ignore[misc]

    run(main())


SECRET = "correct-horse-battery"
LEAKY: list[DurableEvent] = [
    AgentStarted(task={"password": "hunter22", "note": SECRET}),
    AgentThinking(text=f"the key is {SECRET}", step=1),
    ToolExecuting(call_id="c", tool="t", arguments={"q": [SECRET]}),
    ToolCompleted(call_id="c", tool="t", ok=True, result={"deep": {"er": SECRET}}, duration_ms=1),
    ToolExecuting(call_id="d", tool="t", arguments=f'{{"broken": {SECRET}'),
    ToolCompleted(call_id="d", tool="t", ok=False, error=CallError("error", f"no {SECRET}"), duration_ms=1),
    MessageCompleted(message_id="m", content=f"it is {SECRET}!"),
    AgentCompleted(output=[f"{SECRET}"], usage=NO_USAGE, duration_ms=1),
]


def test_no_secret_is_stored_or_told_wherever_it_stands() -> None:
    async def main() -> None:
        telling = Telling(secrets=[SECRET])
        emitter = telling.emitter()
        await emitter.voice("helper").emit(*LEAKY)
        failing = telling.emitter()
        await failing.voice("helper").emit(AgentFailed(code="x", message=f"no {SECRET}", retryable=False))
        assert SECRET not in str(telling.log.bodies) + str(heard(emitter)) + str(heard(failing))
        assert "hunter22" not in str(telling.log.bodies)
        assert str(telling.log.bodies).count("[redacted]") >= len(LEAKY)

    run(main())


def test_no_secret_is_kept_for_later_runs() -> None:
    async def main() -> None:
        telling = Telling(secrets=[SECRET])
        emitter = telling.emitter()
        kept: list[ModelMessage] = [
            SystemMessage(SECRET),
            UserMessage(f"my key: {SECRET}"),
            AssistantMessage(SECRET),
            AssistantMessage(SECRET, (ToolCall("c", "t", json.dumps({"key": SECRET})),)),
            ToolMessage("c", json.dumps([SECRET])),
        ]
        emitter.keep(kept)
        (transcript,) = telling.log.transcripts.values()
        assert [type(message) for message in transcript] == [type(message) for message in kept]
        assert SECRET not in str(transcript)
        assert isinstance(transcript[3], AssistantMessage)
        json.loads(transcript[3].tool_calls[0].arguments)

    run(main())


def test_a_secret_that_comes_in_pieces_is_never_shown() -> None:
    async def main() -> None:
        telling = Telling(secrets=[SECRET])
        emitter = telling.emitter()
        await emitter.voice("helper").emit(STARTED, THOUGHT)
        writer = emitter.voice("helper").writer(show=True, key="1")
        follower = await telling.reader.follower("ada", emitter.context.run_id, 0)
        shown = ""
        for char in f"a {SECRET} and correct-horse-bat ":
            writer.text(char)
            for seq, body in await telling.reader.advance("ada", follower):
                if seq is None:
                    shown += json.loads(body)["text"]
            assert "correct-horse-battery" not in shown
        ident = writer.finish()
        await emitter.voice("helper").emit(
            MessageCompleted(message_id=ident, content=f"a {SECRET} and correct-horse-bat ")
        )
        for seq, body in await telling.reader.advance("ada", follower):
            shown += json.loads(body)["text"] if seq is None else ""
        assert shown == "a [redacted] and correct-horse-bat "

    run(main())


def test_an_answer_that_is_not_shown_is_told_to_nobody() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await emitter.voice("helper").emit(STARTED, THOUGHT)
        writer = emitter.voice("helper").writer(show=False, key="1")
        writer.text("secret")
        writer.thinking("hm")
        writer.reset()
        writer.text("plan")
        assert writer.finish().startswith("msg_")
        assert emitter.feed.texts == {}

    run(main())


def test_two_emitters_of_one_run_speak_into_one_feed() -> None:
    async def main() -> None:
        telling = Telling()
        first = telling.emitter()
        await first.voice("helper").emit(STARTED, THOUGHT)
        heard_of: list[int] = []
        first.feed.add_follower(lambda: heard_of.append(1))
        first.close()
        # What ends a run that broke: its readers wait on the feed that they have.
        second = UserWebSocketEmitter(
            first.context,
            telling.log,
            telling.hub,
            telling.redactor,
            telling.meter,
            first.stream,  # type: ignore[arg-type]
        )
        await second.voice("helper").emit(AgentFailed(code="x", message="m", retryable=False))
        assert second.feed is first.feed
        assert heard_of
        assert len(telling.hub) == 0

    run(main())


def test_a_feed_that_is_taken_up_from_the_log_does_not_pretend_to_have_its_beginning() -> None:
    async def main() -> None:
        telling = Telling(holding=True)
        first = telling.emitter()
        first.voice("helper").emit(STARTED, THOUGHT)
        telling.log.store()
        await turns()
        telling.hub.close(first.feed)
        second = UserWebSocketEmitter(
            first.context,
            telling.log,
            telling.hub,
            telling.redactor,
            telling.meter,
            first.stream,  # type: ignore[arg-type]
        )
        second.voice("helper").emit(AgentFailed(code="x", message="m", retryable=False))
        follower = await telling.reader.follower("ada", first.context.run_id, 0)
        told = await telling.reader.advance("ada", follower)
        telling.log.store()
        await turns()
        while not follower.ended:
            told += await telling.reader.advance("ada", follower)
        assert [seq for seq, _ in told] == [1, 2, 3]

    run(main())


def test_a_closed_emitter_of_a_run_that_never_told_anything_leaves_no_feed() -> None:
    async def main() -> None:
        telling = Telling()
        for _ in range(10):
            telling.emitter().close()
        assert len(telling.hub) == 0

    run(main())


def test_pieces_that_come_faster_than_a_screen_shows_them_are_shown_together() -> None:
    async def main() -> None:
        telling = Telling(pace=0.01)
        emitter = telling.emitter()
        await emitter.voice("helper").emit(STARTED, THOUGHT)
        follower = await telling.reader.follower("ada", emitter.context.run_id, 2)
        writer = emitter.voice("helper").writer(show=True, key="1")
        for piece in "abcd":
            writer.text(piece)
        shown = [json.loads(body)["text"] for _, body in await telling.reader.advance("ada", follower)]
        assert shown == ["a"]
        while not (rest := await telling.reader.advance("ada", follower)):  # noqa: ASYNC110 - a timer of the loop
            await asyncio.sleep(0.001)
        assert [json.loads(body)["text"] for _, body in rest] == ["bcd"]
        writer.thinking("hm")
        writer.finish()
        assert [json.loads(body)["text"] for _, body in await telling.reader.advance("ada", follower)] == ["hm"]

    run(main())


def test_who_lets_go_twice_does_not_let_go_of_what_another_has_by_then() -> None:
    async def main() -> None:
        telling = Telling()
        first = telling.emitter()
        await first.voice("helper").emit(STARTED)
        first.close()
        assert not first.feed.local
        second = UserWebSocketEmitter(
            first.context, telling.log, telling.hub, first.redactor, telling.meter, first.stream
        )
        assert second.feed is first.feed
        first.close()
        assert second.feed.local, "a feed that is nobody's is forgotten while its run goes on"
        second.close()
        assert not second.feed.local

    run(main())
