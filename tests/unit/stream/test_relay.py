"""Two processes that tell one another of runs, over a bus of the test: who reads elsewhere lacks nothing (G2)."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bounded import run, turns, until
from tests.support.memory_log import MemoryLog

from netra_apex.client.following import Following
from netra_apex.client.frames import read
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking, MessageCompleted, decode
from netra_apex.core.messages import Usage
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import RunStream
from netra_apex.stream import relay as relays
from netra_apex.stream.bridge import WebSocketBridge
from netra_apex.stream.emitter import TextWriter, UserWebSocketEmitter
from netra_apex.stream.feed import Hub
from netra_apex.stream.meter import Meter
from netra_apex.stream.reader import StreamReader
from netra_apex.stream.relay import Accepted, Cancel, Left, Relay

USER = "ada"


class Wire:
    """What the processes of a test hear of one another. `passes` says of each message whether it arrives."""

    def __init__(self) -> None:
        self.passes: Callable[[str], bool] = lambda _: True
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.ears: dict[str, list[Callable[[str], None]]] = {}
        self.buses: list[Ear] = []

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was told of this kind, lost or not."""
        return [word for _, word in self.told if word["k"] == kind]


class Ear:
    """One process's bus."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._back: list[Callable[[float], None]] = []
        wire.buses.append(self)

    def send(self, topic: str, text: str, *, urgent: bool = True) -> None:
        del urgent
        self._wire.told.append((topic, json.loads(text)))
        if self._wire.passes(text):
            for ear in self._wire.ears.get(topic, []):
                asyncio.get_running_loop().call_soon(ear, text)

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        self._wire.ears.setdefault(topic, []).append(heard)

    def on_back(self, call: Callable[[float], None]) -> None:
        self._back.append(call)

    async def flush(self) -> None:
        pass

    async def run(self) -> None:
        pass

    def back(self) -> None:
        """It listens again, after it was deaf."""
        for call in self._back:
            call(1.0)


class Process:
    """A process: its hub and relay over the log that all share."""

    def __init__(self, wire: Wire, log: MemoryLog, name: str) -> None:
        self.log = log
        self.hub = Hub()
        self.ear = Ear(wire)
        self.relay = Relay(self.hub, self.ear, name)
        self.reader = StreamReader(log, self.hub)  # type: ignore[arg-type]

    def emitter(self, context: UserExecutionContext, stream: RunStream | None = None) -> UserWebSocketEmitter:
        return UserWebSocketEmitter(context, self.log, self.hub, Redactor(()), Meter(), stream)  # type: ignore[arg-type]


class Reading:
    """A user who follows a run at a process."""

    def __init__(self, process: Process, run_id: str, after: int = 0) -> None:
        self.frames: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.run_id = run_id
        self.after = after
        self._process = process
        self.task = asyncio.create_task(self._read(run_id, after))

    async def _read(self, run_id: str, after: int) -> None:
        async for _, frame in self._process.reader.follow(USER, run_id, after):
            self.texts.append(frame)
            self.frames.append(json.loads(frame))

    @property
    def durable(self) -> list[str]:
        return [text for text, frame in zip(self.texts, self.frames, strict=True) if "seq" in frame]

    @property
    def text(self) -> str:
        """What the user sees of the answer that is being written."""
        text = ""
        for frame in self.frames:
            if frame["type"] == "message_reset":
                text = ""
            elif frame["type"] == "message_delta":
                text += frame["text"]
        return text


class World:
    """Two processes, and a run that the first carries out."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.log = MemoryLog()
        self.one, self.other = Process(self.wire, self.log, "exe_one"), Process(self.wire, self.log, "exe_other")
        self.context = UserExecutionContext.new(USER)
        self.run_id = self.context.run_id
        self.log.add(self.context)
        self.emitter = self.one.emitter(self.context)
        self.voice = self.emitter.voice("helper")

    async def begin(self) -> None:
        await self.voice.emit(AgentStarted(task="go"))
        await self.voice.emit(AgentThinking(text="so", step=1))

    async def end(self) -> None:
        await self.voice.emit(AgentCompleted(output="done", usage=Usage(), duration_ms=1))

    async def complete(self, writer: TextWriter, content: str) -> None:
        await self.voice.emit(MessageCompleted(message_id=writer.finish(), content=content))

    def taken_up(self, process: Process, seen: list[str]) -> UserWebSocketEmitter:
        """The run's emitter in a process that takes it up after these events."""
        stream = RunStream(epoch=2)
        for body in seen:
            stream.admit(decode(body))
        self.emitter = process.emitter(self.context, stream)
        self.voice = self.emitter.voice("helper")
        return self.emitter


def check(reading: Reading, world: World) -> None:
    """The reader was told the log, once and in order, and deltas that add up."""
    assert reading.durable == world.log.bodies[world.run_id]
    add_up(reading)


def add_up(reading: Reading) -> None:
    """A client makes of it no gap, no duplicate, and texts that are those of the log."""
    client = Following(reading.run_id, last_seq=reading.after)
    for text in reading.texts:
        client.take(read(text))  # type: ignore[arg-type]
    assert client.faults == []


def test_who_reads_at_another_process_is_told_what_is_told_here() -> None:
    async def main() -> None:
        world = World()
        far, near = Reading(world.other, world.run_id), Reading(world.one, world.run_id)
        await turns()
        await world.begin()
        writer = world.voice.writer(show=True, key="0")
        for piece in ("one ", "two ", "three"):
            writer.text(piece)
            await turns()
        assert (far.text, near.text) == ("one two three",) * 2
        await world.complete(writer, "one two three")
        await world.end()
        await asyncio.gather(far.task, near.task)
        assert far.texts == near.texts
        check(far, world)
        assert world.log.reads < 12, "what is told is not read from the log as well"

    run(main())


def test_who_comes_late_at_another_process_gets_the_text_from_its_beginning() -> None:
    async def main() -> None:
        world = World()
        await world.begin()
        writer = world.voice.writer(show=True, key="0")
        writer.text("so far ")
        far = Reading(world.other, world.run_id, after=1)
        await until(lambda: len(far.frames) == 2)
        assert (far.frames[1]["offset"], far.frames[1]["text"]) == (0, "so far ")
        writer.text("so good")
        await until(lambda: far.text == "so far so good")
        await world.complete(writer, "so far so good")
        await world.end()
        await far.task
        assert far.durable == world.log.bodies[world.run_id][1:]
        add_up(far)

    run(main())


def test_nothing_is_sent_of_runs_that_nobody_reads_elsewhere() -> None:
    async def main() -> None:
        world = World()
        near = Reading(world.one, world.run_id)
        await world.begin()
        await world.end()
        await near.task
        assert world.wire.of("frames") == []

    run(main())


def test_what_was_not_heard_is_read_from_the_log_and_texts_are_asked_for_anew() -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        writer = world.voice.writer(show=True, key="0")
        writer.text("heard ")
        await until(lambda: far.text == "heard ")
        world.wire.passes = lambda text: '"frames"' not in text
        writer.text("missed ")
        await turns()
        await world.voice.emit(AgentThinking(text="missed", step=2))
        world.wire.passes = lambda _: True
        writer.text("heard again")
        await until(lambda: far.text == "heard missed heard again")
        assert any(word["anew"] for word in world.wire.of("follow"))
        await world.complete(writer, "heard missed heard again")
        await world.end()
        await far.task
        check(far, world)

    run(main())


def test_an_event_that_was_not_heard_is_told_before_the_next_that_is() -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        await until(lambda: len(far.frames) == 2)
        world.wire.passes = lambda text: '"frames"' not in text
        await world.voice.emit(AgentThinking(text="missed", step=2))
        await turns()
        world.wire.passes = lambda _: True
        await world.voice.emit(AgentThinking(text="heard", step=3))
        await until(lambda: len(far.frames) == 4)
        await world.end()
        await far.task
        check(far, world)

    run(main())


def test_a_text_that_was_completed_unheard_is_not_told_again() -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        writer = world.voice.writer(show=True, key="0")
        writer.text("heard ")
        await until(lambda: far.text == "heard ")
        world.wire.passes = lambda text: '"frames"' not in text
        await world.complete(writer, "heard and missed")
        world.wire.passes = lambda _: True
        world.other.ear.back()
        await until(lambda: "message_completed" in [frame["type"] for frame in far.frames])
        await world.voice.emit(AgentThinking(text="on", step=2))
        await world.end()
        await far.task
        check(far, world)
        assert [frame["type"] for frame in far.frames].count("message_delta") == 2, "the beginning, and the rest"

    run(main())


def test_after_a_takeover_the_text_is_void_and_told_anew_under_its_own_attempt() -> None:
    async def main() -> None:
        world = World()
        third = Process(world.wire, world.log, "exe_third")
        far = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        world.voice.writer(show=True, key="0").text("of one that")
        await until(lambda: far.text == "of one that")
        seen = list(world.log.bodies[world.run_id])
        world.wire.ears["exe_one"].clear()  # killed
        world.wire.ears["all"].remove(world.one.relay.hear)
        world.taken_up(third, seen)
        writer = world.voice.writer(show=True, key="0", anew=True)
        writer.text("of another")
        await until(lambda: far.text == "of another")
        assert [frame["attempt"] for frame in far.frames if "attempt" in frame] == [1, 101, 101]
        late = Reading(world.other, world.run_id, after=2)
        await until(lambda: len(late.frames) == 2)
        assert late.frames[0]["type"] == "message_reset", "it may have been shown the first attempt elsewhere"
        late.task.cancel()
        await world.complete(writer, "of another")
        await world.end()
        await far.task
        check(far, world)

    run(main())


def test_a_takeover_that_is_not_heard_until_the_text_is_complete_takes_the_old_text_back() -> None:
    async def main() -> None:
        for heard in (True, False):
            world = World()
            third = Process(world.wire, world.log, "exe_third")
            far = Reading(world.other, world.run_id)
            await turns()
            await world.begin()
            world.voice.writer(show=True, key="0").text("of one that is gone")
            await until(lambda far=far: far.text == "of one that is gone")
            seen = list(world.log.bodies[world.run_id])
            world.wire.ears["exe_one"].clear()
            world.wire.ears["all"].remove(world.one.relay.hear)
            world.wire.passes = lambda text: '"frames"' not in text
            world.taken_up(third, seen)
            writer = world.voice.writer(show=True, key="0", anew=True)
            writer.text("shorter")
            await turns()
            if heard:
                world.wire.passes = lambda _: True
            await world.complete(writer, "shorter")
            await turns()
            world.wire.passes = lambda _: True
            world.other.ear.back()
            await world.end()
            await far.task
            check(far, world)
            assert [frame["type"] for frame in far.frames].count("message_reset") == 1

    run(main())


def test_a_process_that_takes_up_what_it_read_from_afar_tells_its_readers_without_a_gap() -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        await world.voice.emit(AgentStarted(task="go"))
        await until(lambda: len(far.frames) == 1)
        world.wire.passes = lambda text: '"frames"' not in text
        await world.voice.emit(AgentThinking(text="unheard", step=1))
        await world.voice.emit(AgentThinking(text="unheard too", step=2))
        world.taken_up(world.other, list(world.log.bodies[world.run_id]))
        await world.voice.emit(AgentThinking(text="here now", step=3))
        await world.end()
        await far.task
        check(far, world)

    run(main())


def test_who_lets_go_of_a_run_leaves_its_readers_to_the_next() -> None:
    async def main() -> None:
        world = World()
        near, far = Reading(world.one, world.run_id), Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        await until(lambda: len(far.frames) == 2)
        world.emitter.close()
        assert not world.one.relay._far, "what others read is the next one's to tell"
        world.taken_up(world.other, list(world.log.bodies[world.run_id]))
        await turns()
        await world.voice.emit(AgentThinking(text="there now", step=2))
        await world.end()
        await asyncio.gather(near.task, far.task)
        check(near, world)
        check(far, world)

    run(main())


def test_a_run_that_is_carried_out_here_is_not_told_by_anybody_else() -> None:
    async def main() -> None:
        world = World()
        near = Reading(world.one, world.run_id)
        await world.begin()
        body = world.log.bodies[world.run_id][1]
        forged = relays.Frames(world.run_id, 3, [(3, body)])
        world.one.relay.hear(msgspec.json.encode(forged).decode())
        await turns()
        await world.end()
        await near.task
        check(near, world)

    run(main())


def test_the_interest_of_a_process_that_says_no_more_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        unknown = Reading(world.other, world.run_id)
        await turns()
        assert len(world.one.relay._far) == 1
        world.one.relay.hear(msgspec.json.encode(relays.Follow("exe_gone", ["run_unknown"])).decode())
        assert "run_unknown" in world.one.relay._wanted
        clock = time.monotonic() + relays.FORGET_SECONDS + 1
        monkeypatch.setattr(relays.time, "monotonic", lambda: clock)
        looking = asyncio.create_task(world.one.relay.run())
        await turns()
        assert not world.one.relay._far
        assert not world.one.relay._wanted
        told = len(world.wire.of("frames"))
        await world.voice.emit(AgentThinking(text="to nobody", step=2))
        await turns()
        assert len(world.wire.of("frames")) == told
        for task in (looking, far.task, unknown.task):
            task.cancel()

    run(main())


def test_a_run_of_which_nothing_is_heard_is_looked_up_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = World()
        far = Reading(world.other, world.run_id)
        await turns()
        world.wire.passes = lambda text: '"frames"' not in text
        await world.begin()
        await world.end()
        await turns()
        assert far.frames == []
        now = time.monotonic()
        world.other.relay._heard[world.run_id] = now - relays.SILENT_SECONDS - 1
        looking = asyncio.create_task(world.other.relay.run())
        await far.task
        check(far, world)
        world.other.hub.elsewhere()
        world.other.hub.elsewhere()
        assert len(world.other.hub) == 0, "a feed that nobody follows is dropped"
        looking.cancel()

    run(main())


def test_a_feed_that_was_dropped_before_its_reader_came_hears_all_the_same() -> None:
    async def main() -> None:
        world = World()
        follower = await world.other.reader.follower(USER, world.run_id, 0)
        for _ in range(3):
            assert world.other.hub.elsewhere() == []
        assert len(world.other.hub) == 0
        assert follower.feed is not None
        woken = asyncio.Event()
        follower.feed.add_follower(woken.set)
        await turns()
        await world.begin()
        await woken.wait()
        assert world.other.hub.find(world.run_id) is follower.feed

    run(main())


def test_of_a_run_that_was_accepted_the_others_are_told_and_not_who_accepted_it() -> None:
    async def main() -> None:
        world = World()
        seen: list[tuple[str, str]] = []
        waits: list[str] = []
        for name, process in (("one", world.one), ("other", world.other)):
            process.hub.watch(USER, "thr_a", lambda feed, name=name: seen.append((name, feed.run_id)))
            process.relay.on_waiting = lambda name=name: waits.append(name)
        world.one.relay.tell(Accepted("exe_one", USER, "thr_a", "run_new", waits=False))
        world.one.relay.tell(Accepted("exe_one", USER, "thr_b", "run_else", waits=True))
        world.one.relay.tell(Left("exe_one"))
        cancelled: list[Cancel] = []
        world.other.relay.on_cancel = cancelled.append
        world.one.relay.tell(Cancel("run_new", "ada"))
        await turns()
        assert seen == [("other", "run_new")]
        assert waits == ["other", "other"]
        assert [(cancel.run, cancel.by) for cancel in cancelled] == [("run_new", "ada")]

    run(main())


def test_who_watches_a_thread_is_told_each_run_of_it_once_however_often_it_is_announced() -> None:
    async def main() -> None:
        world = World()
        frames: list[dict[str, Any]] = []

        async def send(frame: str) -> None:
            frames.append(json.loads(frame))

        bridge = WebSocketBridge(USER, world.other.reader, world.other.hub, send)
        bridge.watch_thread(world.context.thread_id)
        telling = asyncio.create_task(bridge.run())
        world.other.hub.announce(USER, world.context.thread_id, world.run_id, base=None)
        await turns()
        await world.begin()
        await world.end()
        await until(lambda: bool(frames) and frames[-1]["type"] == "agent_completed")
        for _ in range(3):
            world.other.hub.elsewhere()
            world.other.hub.announce(USER, world.context.thread_id, world.run_id, base=None)
            await turns()
        assert [frame["seq"] for frame in frames] == [1, 2, 3]
        telling.cancel()
        bridge.close()

    run(main())


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["text", "think", "complete", "back", "take up", "leave to"]), max_size=14),
    losses=st.lists(st.booleans(), max_size=120),
)
def test_whatever_is_lost_no_event_is_missed_or_doubled_and_deltas_add_up(steps: list[str], losses: list[bool]) -> None:
    async def main() -> None:
        world = World()
        fate = iter(losses)
        world.wire.passes = lambda _: not next(fate, False)
        carrying, idle = world.one, Process(world.wire, world.log, "exe_idle")
        reading = Reading(world.other, world.run_id)
        await turns()
        await world.begin()
        writer, key, said, epoch = world.voice.writer(show=True, key="0"), 0, "", 1
        for number, step in enumerate(steps):
            match step:
                case "text":
                    writer.text(f"{number} é ")
                    said += f"{number} é "
                case "think":
                    await world.voice.emit(AgentThinking(text="hm", step=number))
                case "complete":
                    if said:
                        await world.complete(writer, said)
                    key, said = key + 1, ""
                    writer = world.voice.writer(show=True, key=str(key))
                case "back":
                    world.other.ear.back()
                case _:
                    # Left in order, or killed; the text that was under way is written anew.
                    if step == "leave to":
                        world.emitter.close()
                    else:
                        carrying.hub._feeds.clear()
                        carrying.relay._far.clear()
                    carrying, idle = idle, carrying
                    epoch += 1
                    world.taken_up(carrying, list(world.log.bodies[world.run_id]))
                    world.emitter.stream.epoch = epoch
                    writer = world.voice.writer(show=True, key=str(key), anew=True)
                    if said:
                        said = f"anew {number} "
                        writer.text(said)
            await turns(6)
        if said:
            await world.complete(writer, said)
        await world.end()
        await turns()
        while not reading.task.done():
            world.other.ear.back()
            await turns()
        await reading.task
        check(reading, world)

    run(main())
