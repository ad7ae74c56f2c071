"""`UserWebSocketEmitter`: the only writer of a run's events. It redacts, stamps, stores, and then tells."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

import structlog
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import (
    DurableEvent,
    EventKind,
    MessageCompleted,
    encode,
    is_terminal,
    told_now,
)
from netra_apex.core.ids import derived_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage
from netra_apex.core.ports import Runs
from netra_apex.core.redaction import RedactingStream, Redactor
from netra_apex.core.runs import RunStream
from netra_apex.errors import ModelFailed, ScopeClosed
from netra_apex.stream.feed import Hub, LiveText, RunFeed
from netra_apex.stream.meter import Meter
from netra_apex.stream.redacting import redacted, redacted_message

MAX_ANSWER = 4 * 1024 * 1024  # characters of one answer, thinking included: what a broken model may cost in memory
ATTEMPTS_APART = 100  # between the attempts of one process and those of the one that takes its run up
EARLY = 0.2  # by this share of the pace a text may be shown early, where waiting would cost a timer

log = structlog.get_logger()


class UserWebSocketEmitter:
    """The voice of one run of one user. It is bound to them at construction and cannot address anybody else.

    An event is admitted by the run's `RunStream` (so a stream that is not well formed cannot be told), redacted,
    stamped, stored, and only then published (G1). If storing fails, nothing more can be told through this emitter.
    """

    def __init__(
        self,
        context: UserExecutionContext,
        runs: Runs,
        hub: Hub,
        redactor: Redactor,
        meter: Meter,
        stream: RunStream | None = None,
    ) -> None:
        self.context = context
        self._meter = meter
        self.stream = RunStream() if stream is None else stream
        self.redactor = redactor
        self._runs = runs
        self._hub = hub
        last = self.stream.last_seq
        self.feed: RunFeed = hub.open(context.user_id, context.thread_id, context.run_id, base=last)
        hub.adopt(self.feed, last)
        self._unstored: BaseException | None = None
        self._bill: Bill | None = None
        self._shown_at: int | None = None
        self._closed = False
        self._released = False

    def voice(
        self, agent: str, *, depth: int = 0, parent_agent: str | None = None, parent_call_id: str | None = None
    ) -> "AgentVoice":
        """The part of the stream that one agent of the run tells."""
        return AgentVoice(self, agent, depth, parent_agent, parent_call_id)

    def emit_stamped(self, events: tuple[DurableEvent, ...], steps: Sequence[Step] = ()) -> Awaitable[None]:
        """Stores and then tells events that carry their agent, with steps; see `core.voices.Emitter.emit`.

        Raises:
            ScopeClosed: the run has ended.
            IllegalTransition: the stream may not tell this now.
            StoreError: an earlier event could not be stored.
        """
        if self._closed:
            raise ScopeClosed("emitter", self.context.run_id)
        if self._unstored is not None:
            raise self._unstored
        if not events and not steps:
            return _NOTHING
        at = told_now()
        events = tuple(self.stream.rounded(events))
        stamped: list[tuple[DurableEvent, str]] = []
        for seq, event in enumerate(events, self.stream.last_seq + 1):
            whole = replace(
                event,
                seq=seq,
                run_id=self.context.run_id,
                thread_id=self.context.thread_id,
                at=at,
                **redacted(event, self.redactor),
            )
            stamped.append((whole, encode(whole)))
        # Last, so that an event that cannot be redacted or encoded takes no number.
        if events:
            self.stream.admit_all(events)
        self._closed = bool(stamped) and is_terminal(stamped[-1][0])
        bill = self._bill if self._closed else None
        epoch = self.stream.epoch
        storing = self._runs.append(self.context, stamped, steps, epoch=epoch, bill=bill, shown_at=self._shown_at)
        stored = asyncio.ensure_future(storing)
        began = time.perf_counter()
        stored.add_done_callback(lambda done: self._tell(done, stamped, began))
        return _Stored(stored, self._runs.hurry)

    @property
    def pace(self) -> float:
        """Seconds between two showings of a text that grows."""
        return self._hub.pace

    def text(self, kind: EventKind, voice: "AgentVoice", message_id: str, *, anew: bool) -> LiveText:
        """A text that is about to be written, shown after everything that was told before it."""
        if kind == "message" and self._shown_at is None:
            self._shown_at = time.time_ns() // 1_000_000
        live = LiveText(
            kind=kind,
            run_id=self.context.run_id,
            message_id=message_id,
            agent=voice.agent,
            depth=voice.depth,
            parent_call_id=voice.parent_call_id,
            after_seq=self.stream.last_seq,
            anew=anew,
        )
        self.feed.texts[live.message_id] = live
        return live

    def keep(self, transcript: Sequence[ModelMessage]) -> None:
        """Stores what later runs of the thread are to know, redacted, in one commit with what is emitted next."""
        redacted = [redacted_message(said, self.redactor) for said in transcript]
        asyncio.ensure_future(self._runs.keep_transcript(self.context, redacted)).add_done_callback(self._kept)

    def charge(self, bill: Bill) -> None:
        """See `core.voices.RunEmitter.charge`."""
        self._bill = bill

    def close(self) -> None:
        """Nothing can be told any more through this emitter."""
        self._closed = True
        if self._released:
            return  # the feed may be another's by now, who has taken the run up
        self._released = True
        self._hub.release(self.feed)
        if not self.stream.last_seq and not (self._hub.shared and self.feed.followed):
            # A feed that has begun stays until its run has ended: who ends a run that broke tells its readers there.
            self._hub.close(self.feed)

    def _kept(self, stored: "asyncio.Future[None]") -> None:
        if not stored.cancelled() and (error := stored.exception()) is not None:
            # The ending, which is stored next, most likely fails too, and that is told.
            log.warning("a transcript cannot be stored", run_id=self.context.run_id, error=str(error))

    def _tell(self, stored: "asyncio.Future[None]", events: list[tuple[DurableEvent, str]], began: float) -> None:
        if stored.cancelled():
            return
        self._meter.storing.observe(time.perf_counter() - began)
        if (error := stored.exception()) is not None:
            self._unstored = error
            return
        if not events:
            return
        ended = False
        for event, _ in events:
            if isinstance(event, MessageCompleted) and (live := self.feed.texts.get(event.message_id)):
                # Its text is in the log now; a reader that is behind takes it from there.
                live.done = True
                live.pieces.clear()
            self._meter.count(event)
            ended = ended or is_terminal(event)
        self.feed.publish([(event.seq, body) for event, body in events], ended=ended)
        if ended:
            self._hub.close(self.feed)


class _Stored:
    """What `emit` answers: awaiting it waits for the disk, and who is cancelled meanwhile does not undo the storing."""

    __slots__ = ("_done", "_hurry")

    def __init__(self, done: "asyncio.Future[None]", hurry: Callable[[], None]) -> None:
        self._done = done
        self._hurry = hurry

    def __await__(self) -> Generator[Any, None, None]:
        self._hurry()
        return asyncio.shield(self._done).__await__()


class _Nothing:
    """What `emit` answers where there is nothing to store."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_NOTHING = _Nothing()


class AgentVoice:
    """What one agent of a run tells: `core.voices.Emitter`, with the agent's name, depth and parent on each event."""

    def __init__(
        self,
        emitter: UserWebSocketEmitter,
        agent: str,
        depth: int,
        parent_agent: str | None,
        parent_call_id: str | None,
    ) -> None:
        self.agent = agent
        self.depth = depth
        self.parent_call_id = parent_call_id
        self.emitter = emitter
        self._header: dict[str, Any] = {
            "agent": agent,
            "depth": depth,
            "parent_agent": _or_unset(parent_agent),
            "parent_call_id": _or_unset(parent_call_id),
        }

    def emit(self, *events: DurableEvent, steps: Sequence[Step] = ()) -> Awaitable[None]:
        """See `core.voices.Emitter.emit`."""
        return self.emitter.emit_stamped(tuple(replace(event, **self._header) for event in events), steps)

    def writer(self, *, show: bool, key: str, anew: bool = False) -> "TextWriter":
        """Where the model's answer of this step goes while it comes (`core.voices.Deltas`)."""
        return TextWriter(self, show=show, key=key, anew=anew)


class TextWriter:
    """Shows a model's answer while it comes: redacted, and told to readers as the text that they lack.

    What comes within `Hub.pace` seconds of what was shown last is shown together: a screen does not show more, and
    each showing costs a redaction, a frame and a system call for every reader.
    """

    def __init__(self, voice: AgentVoice, *, show: bool, key: str, anew: bool) -> None:
        self._voice = voice
        self._show = show
        self._key = key
        self._anew = anew
        self._texts: dict[EventKind, tuple[LiveText, RedactingStream]] = {}
        self._kind: EventKind = "message"
        self._pieces: list[str] = []
        self._show_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._length = 0
        # A step that is done again after a crash writes its text anew, under the same id.
        self.attempt = 1 + ATTEMPTS_APART * (voice.emitter.stream.epoch - 1) if anew else 1

    @property
    def pace(self) -> float:
        """See `core.voices.Deltas.pace`."""
        return self._voice.emitter.pace

    def text(self, piece: str) -> None:
        """More of the answer.

        Raises:
            ModelFailed: it has become longer than any answer may.
        """
        self._grow(piece)
        if self._show:
            self._write("message", piece)

    def thinking(self, piece: str) -> None:
        """More of what the model thinks aloud. Raises: as `text`."""
        self._grow(piece)
        if self._show:
            self._write("thinking", piece)

    def reset(self) -> None:
        """What came so far is void; readers are told so with the next text."""
        self.attempt += 1
        self._pieces.clear()
        for kind, (live, _) in list(self._texts.items()):
            live.attempt = self.attempt
            live.pieces = []
            live.length = 0
            self._texts[kind] = (live, RedactingStream(self._voice.emitter.redactor))
        self._voice.emitter.feed.wake()

    def _grow(self, piece: str) -> None:
        self._length += len(piece)
        if self._length > MAX_ANSWER:
            raise ModelFailed(f"the model's answer is longer than {MAX_ANSWER} characters", model="", status=200)

    def finish(self) -> str:
        """Tells what was held back, and returns the id that the answer's `message_completed` is to have."""
        self._show_pieces()
        for live, redacting in self._texts.values():
            self._add(live, redacting.end())
            if live.kind == "thinking":
                if self.pace:
                    # After those who were woken have been told the rest.
                    asyncio.get_running_loop().call_soon(_end, live)
                else:
                    _end(live)
        return self._message_id("message")

    def _message_id(self, kind: EventKind) -> str:
        return derived_id("msg", self._voice.emitter.context.run_id, self._key, kind)

    def _write(self, kind: EventKind, piece: str) -> None:
        if kind != self._kind:
            self._show_pieces()
            self._kind = kind
        self._pieces.append(piece)
        pace = self.pace
        if not pace:
            self._show_pieces()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            now = loop.time()
            if now >= self._show_at - pace * EARLY:
                self._show_at = now + pace
                self._show_pieces()
            else:
                self._timer = loop.call_at(self._show_at, self._show_pieces)
                self._show_at += pace

    def _show_pieces(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if self._kind not in self._texts:
            emitter = self._voice.emitter
            live = emitter.text(self._kind, self._voice, self._message_id(self._kind), anew=self._anew)
            live.attempt = self.attempt
            self._texts[self._kind] = (live, RedactingStream(emitter.redactor))
        live, redacting = self._texts[self._kind]
        self._add(live, redacting.feed(text))

    def _add(self, live: LiveText, text: str) -> None:
        if text:
            live.pieces.append(text)
            live.length += len(text)
            self._voice.emitter.feed.wake()


def _end(live: LiveText) -> None:
    live.done = True


def _or_unset(value: str | None) -> str | UnsetType:
    return UNSET if value is None else value
