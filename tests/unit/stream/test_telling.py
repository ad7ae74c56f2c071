"""Any interleaving of telling, writing, storing, reading, trimming and coming back: G1, G2, G10 as a machine.

The emitter, feed, follower and reader are the real ones; the log stores when a rule says so.
"""

import asyncio
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.memory_log import Telling

from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking, MessageCompleted
from netra_apex.core.messages import NO_USAGE
from netra_apex.stream import feed
from netra_apex.stream.emitter import TextWriter
from netra_apex.stream.follower import Follower

SECRET = "sesame-open-1"
PIECES = st.sampled_from(["hello ", "sesame", "-open", "-1", "x", "😀 é", SECRET, "sesam", " "])


class Reading:
    """What one reader has been told since it subscribed, and what must hold of it."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.seq = follower.seq
        self.texts: dict[str, tuple[int, str]] = {}  # message id: attempt, text so far
        self.done: set[str] = set()
        self.ended = follower.ended

    def take(self, seq: int | None, frame: dict[str, Any], body: str, stored: list[str], began: dict[str, int]) -> None:
        assert not self.ended, f"{frame} follows the ending"
        if seq is None:
            self._passing(frame, began)
            return
        assert seq == self.seq + 1 == frame["seq"]
        assert stored[seq - 1] == body  # stored before it is told, and told as it is stored
        self.seq = seq
        if frame["type"] == "message_completed":
            _, text = self.texts.pop(frame["message_id"], (1, frame["content"]))
            assert text == frame["content"]
            self.done.add(frame["message_id"])
        self.ended = frame["type"] == "agent_completed"

    def _passing(self, frame: dict[str, Any], began: dict[str, int]) -> None:
        ident = frame["message_id"]
        assert ident not in self.done
        assert self.seq >= began[ident], "text is shown before what was told before it"
        attempt, text = self.texts.get(ident, (frame["attempt"], ""))
        if frame["type"] == "message_reset":
            assert frame["attempt"] > attempt
            self.texts[ident] = (frame["attempt"], "")
        else:
            assert frame["attempt"] == attempt
            assert frame["offset"] == len(text)
            assert frame["text"]
            self.texts[ident] = (attempt, text + frame["text"])


class Run(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.limits = feed.TAIL_EVENTS, feed.TAIL_CHARS
        self.loop = asyncio.new_event_loop()
        self.writer: TextWriter | None = None
        self.raw = ""
        self.began: dict[str, int] = {}
        self.readings: list[Reading] = []
        self.over = False

    def teardown(self) -> None:
        feed.TAIL_EVENTS, feed.TAIL_CHARS = self.limits
        self.loop.close()

    def do(self, call: Any) -> Any:
        """Makes the call on the loop, and gives callbacks their turn."""

        async def now() -> Any:
            made = call()
            if asyncio.iscoroutine(made):
                made = await made
            for _ in range(3):
                await asyncio.sleep(0)
            return made

        return self.loop.run_until_complete(now())

    @initialize(tail=st.integers(1, 5), chars=st.sampled_from([1, 400, 10**6]), readers=st.integers(1, 3))
    def begin(self, tail: int, chars: int, readers: int) -> None:
        feed.TAIL_EVENTS, feed.TAIL_CHARS = tail, chars
        self.telling = Telling(holding=True, secrets=[SECRET])
        self.emitter = self.do(self.telling.emitter)
        self.run_id = self.emitter.context.run_id
        self.voice = self.emitter.voice("helper")
        self.written = 0
        self.do(lambda: self.voice.emit(AgentStarted(task="t")))
        self.do(lambda: self.voice.emit(AgentThinking(text="hm", step=1)))
        for _ in range(readers):
            self.subscribe(0.0)

    @property
    def stored(self) -> list[str]:
        return self.telling.log.bodies[self.run_id]

    def subscribe(self, share: float) -> None:
        after = round(share * len(self.stored))
        self.readings.append(Reading(self.do(lambda: self.telling.reader.follower("ada", self.run_id, after))))

    @precondition(lambda self: not self.over)
    @rule(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
    def think(self, text: str) -> None:
        self.do(lambda: self.voice.emit(AgentThinking(text=text, step=2)))

    @precondition(lambda self: not self.over)
    @rule(pieces=st.lists(PIECES, min_size=1, max_size=4), thinking=st.booleans())
    def write(self, pieces: list[str], thinking: bool) -> None:
        if self.writer is None:
            self.written += 1
            self.writer = self.voice.writer(show=True, key=str(self.written))
            self.raw = ""
        for piece in pieces:
            if thinking:
                self.do(lambda piece=piece: self.writer.thinking(piece))
            else:
                self.do(lambda piece=piece: self.writer.text(piece))
                self.raw += piece
        for ident, live in self.emitter.feed.texts.items():
            self.began.setdefault(ident, live.after_seq)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def reset(self) -> None:
        self.do(self.writer.reset)
        self.raw = ""

    @precondition(lambda self: self.writer is not None)
    @rule(tells=st.booleans())
    def finish(self, tells: bool) -> None:
        ident = self.do(self.writer.finish)
        self.writer = None
        if self.raw and tells:
            self.do(lambda: self.voice.emit(MessageCompleted(message_id=ident, content=self.raw)))

    @precondition(lambda self: self.telling.log.waiting)
    @rule(count=st.integers(1, 6))
    def store(self, count: int) -> None:
        for _ in range(min(count, len(self.telling.log.waiting))):
            self.do(self.telling.log.store)

    @precondition(lambda self: not self.over and self.writer is None)
    @rule()
    def end(self) -> None:
        self.over = True
        self.do(lambda: self.voice.emit(AgentCompleted(output=1, usage=NO_USAGE, duration_ms=1)))

    @rule(which=st.integers(0, 2))
    def look(self, which: int) -> None:
        reading = self.readings[which % len(self.readings)]
        if reading.follower.ended:
            return
        told = self.do(lambda: self.telling.reader.advance("ada", reading.follower))
        for seq, body in told:
            assert SECRET not in body
            reading.take(seq, json.loads(body), body, self.stored, self.began)
        assert (reading.seq, reading.ended) == (reading.follower.seq, reading.follower.ended)
        feed_of = reading.follower.feed
        if reading.follower.behind or reading.ended or feed_of is None:
            return
        # It has caught up: it has every stored event, and the whole of each text that may be shown.
        assert reading.seq == len(self.stored)
        for ident, live in feed_of.texts.items():
            if live.after_seq <= reading.seq and not live.done and live.pieces:
                assert reading.texts[ident] == (live.attempt, "".join(live.pieces))

    @rule(which=st.integers(0, 2), share=st.floats(0, 1))
    def come_back(self, which: int, share: float) -> None:
        self.readings.pop(which % len(self.readings))
        self.subscribe(share)

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "emitter"):
            assert len(self.emitter.feed._tail) <= feed.TAIL_EVENTS

    @precondition(lambda self: self.over and not self.telling.log.waiting)
    @rule()
    def everybody_hears_the_end(self) -> None:
        for number, reading in enumerate(self.readings):
            for _ in range(len(self.stored) + 2):
                self.look(number)
            assert reading.ended
            assert reading.seq == len(self.stored)
        assert len(self.telling.hub) == 0


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
