"""`Relay`: brings what a run tells from the process that carries it out to those whose users follow it.

A process that has readers of a run which it does not carry out says so, to all, every second. Whoever carries it out is
then a reader's far end: a follower with a cursor, as a socket's is, whose frames go over the bus. So what is told to
other processes is what somebody there reads, and nothing more. All of it may be lost: durable events are in the
log, which who lacks some reads, and texts are told anew from their beginning.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog

from netra_apex.core.events import (
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    ThinkingDelta,
    decode,
    is_terminal,
)
from netra_apex.core.processes import Bus
from netra_apex.stream.feed import Hub, LiveText, RunFeed
from netra_apex.stream.follower import Follower

ALL = "all"
INTEREST_SECONDS = 1.0
FORGET_SECONDS = 3.5  # after so long without word of a process its interest is over
SILENT_SECONDS = 2.5  # after so long without word of a run that is followed here, the log is looked into
RUNS_PER_WORD = 100
ANEW_SECONDS = 0.25  # within which a text is asked for anew at most once

log = structlog.get_logger()


class Follow(msgspec.Struct, tag_field="k", tag="follow"):
    """This process has readers of these runs."""

    by: str
    runs: list[str]
    anew: bool = False  # something was missed: texts are to be told from their beginning


class Here(msgspec.Struct, tag_field="k", tag="here"):
    """This process carries these runs out, of those that were asked for."""

    runs: list[str]


class Frames(msgspec.Struct, tag_field="k", tag="frames"):
    """What a run has told since: frames as a socket is told them, passing ones with seq 0.

    `at` is how far its log reaches.
    """

    run: str
    at: int
    told: list[tuple[int, str]]


class Accepted(msgspec.Struct, tag_field="k", tag="accepted"):
    """A run was accepted by this process, and waits for whoever has room where `waits`."""

    by: str
    user: str
    thread: str
    run: str
    waits: bool


class Left(msgspec.Struct, tag_field="k", tag="left"):
    """Runs wait for whoever has room: who had them is gone."""

    by: str


class Cancel(msgspec.Struct, tag_field="k", tag="cancel"):
    """Whoever carries this run out is to stop it."""

    run: str
    by: str


class Steer(msgspec.Struct, tag_field="k", tag="steer"):
    """The user of this run has said something to it."""

    run: str


Word = Follow | Here | Frames | Accepted | Left | Cancel | Steer
_words: "msgspec.json.Decoder[Word]" = msgspec.json.Decoder(Word)
_passing: "msgspec.json.Decoder[PassingFrame]" = msgspec.json.Decoder(PassingFrame)


class _Far:
    """A reader in another process: its cursor here, and until when it is believed to read on."""

    __slots__ = ("by", "follower", "until", "wake")

    def __init__(self, by: str, follower: Follower) -> None:
        self.by = by
        self.follower = follower
        self.until = 0.0
        self.wake = lambda: None


class Relay:
    """One per process, where there are several."""

    def __init__(self, hub: Hub, bus: Bus, me: str) -> None:
        self._hub = hub
        self._bus = bus
        self._me = me
        self._far: dict[tuple[str, str], _Far] = {}
        self._wanted: dict[str, dict[str, float]] = {}  # runs that are not here (yet): by whom, and until when
        self._dirty: dict[tuple[str, str], None] = {}
        self._gathering: asyncio.Handle | None = None
        self._new: list[str] = []
        self._asking: asyncio.Handle | None = None
        self._heard: dict[str, float] = {}  # runs that are followed here: when they were last heard of
        self._anew: dict[str, float] = {}  # and those of which texts were asked for anew: when
        hub.shared = True
        hub.on_followed = self._on_followed
        hub.on_local = self._on_local
        hub.on_released = self._on_released
        bus.listen(ALL, self.hear)
        bus.listen(me, self.hear)
        bus.on_back(self._on_back)
        self.alone: Callable[[], bool] = lambda: False
        self.on_waiting: Callable[[], None] = lambda: None
        self.on_back: Callable[[float], None] = lambda _: None
        self.on_cancel: Callable[[Cancel], None] = lambda _: None
        self.on_steer: Callable[[Steer], object] = lambda _: None

    def tell(self, word: Word, to: str = ALL) -> None:
        """Tells other processes, where there are any."""
        if not self.alone():
            self._bus.send(to, msgspec.json.encode(word).decode())

    async def run(self) -> None:
        """Says every second what is followed here, and forgets who has not said so; until it is cancelled."""
        while True:
            now = time.monotonic()
            away = self._hub.elsewhere()
            self._heard = {feed.run_id: self._heard.get(feed.run_id, now) for feed in away}
            self._anew = {run_id: at for run_id, at in self._anew.items() if now - at < ANEW_SECONDS}
            for feed in away:
                if now - self._heard[feed.run_id] > SILENT_SECONDS:
                    # Nobody carries it out, or has told its end before it died: the log knows.
                    self._heard[feed.run_id] = now
                    feed.lose_track()
            self._ask([feed.run_id for feed in away])
            for key in [key for key, far in self._far.items() if far.until < now]:
                self._forget(key)
            self._wanted = {
                run_id: waiting
                for run_id, by in self._wanted.items()
                if (waiting := {process: until for process, until in by.items() if until >= now})
            }
            await asyncio.sleep(INTEREST_SECONDS)

    def hear(self, text: str) -> None:
        """What another process tells."""
        match _words.decode(text):
            case Follow() as follow if follow.by != self._me:
                self._follow(follow)
            case Here(runs=runs):
                self._heard |= dict.fromkeys(self._heard.keys() & runs, time.monotonic())
            case Frames() as frames:
                self._show(frames)
            case Accepted() as accepted if accepted.by != self._me:
                self._hub.announce(accepted.user, accepted.thread, accepted.run, base=None)
                if accepted.waits:
                    self.on_waiting()
            case Left() as left if left.by != self._me:
                self.on_waiting()
            case Cancel() as cancel:
                self.on_cancel(cancel)
            case Steer() as steer:
                self.on_steer(steer)
            case _:
                pass

    # As the one whose users read.

    def _on_followed(self, feed: RunFeed) -> None:
        self._new.append(feed.run_id)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().call_soon(self._ask_new)

    def _ask_new(self) -> None:
        self._asking = None
        new, self._new = self._new, []
        self._ask(list(dict.fromkeys(new)))

    def _ask(self, runs: Sequence[str], *, anew: bool = False) -> None:
        for start in range(0, len(runs), RUNS_PER_WORD):
            self.tell(Follow(self._me, list(runs[start : start + RUNS_PER_WORD]), anew))

    def _on_back(self, seconds: float) -> None:
        """Something may have been missed: whoever reads here looks into the log, and texts are asked for anew."""
        away = self._hub.elsewhere()
        for feed in away:
            feed.lose_track()
        self._ask([feed.run_id for feed in away], anew=True)
        self.on_back(seconds)

    def _ask_anew(self, run_id: str) -> None:
        now = time.monotonic()
        if now - self._anew.get(run_id, 0.0) >= ANEW_SECONDS:
            self._anew[run_id] = now
            self._ask([run_id], anew=True)

    def _show(self, frames: Frames) -> None:
        feed = self._hub.find(frames.run)
        if feed is None or feed.local:
            return
        self._heard[frames.run] = time.monotonic()
        if not any(seq for seq, _ in frames.told):
            feed.skip_to(frames.at)  # before the texts, which follow what was told up to there
        for seq, body in frames.told:
            if not seq:
                if not write(feed, _passing.decode(body)):
                    self._ask_anew(frames.run)
                continue
            last = feed.last
            if last is not None and seq <= last:
                continue
            if last is not None and seq > last + 1:
                feed.skip_to(seq - 1)
            if _publish(feed, seq, body):
                self._hub.close(feed)
                return
        feed.wake()

    # As the one who carries runs out.

    def _follow(self, follow: Follow) -> None:
        until = time.monotonic() + FORGET_SECONDS
        here: list[str] = []
        for run_id in follow.runs:
            feed = self._hub.find(run_id)
            if feed is None or not feed.local:
                self._wanted.setdefault(run_id, {})[follow.by] = until
                continue
            here.append(run_id)
            if follow.anew:
                self._forget((run_id, follow.by))
            far = self._far.get((run_id, follow.by)) or self._begin(feed, follow.by)
            far.until = until
        if here:
            self.tell(Here(here), to=follow.by)

    def _on_local(self, feed: RunFeed) -> None:
        """This process carries a run out from now on: others may have asked for it already."""
        for by, until in self._wanted.pop(feed.run_id, {}).items():
            self._begin(feed, by).until = until

    def _on_released(self, feed: RunFeed) -> None:
        """Another process may carry it out from now on: who reads elsewhere is told by that one."""
        for key in [key for key in self._far if key[0] == feed.run_id]:
            if key in self._dirty:
                self._tell_far(key)  # what was told before it let go
            far = self._far.get(key)
            if far is not None:
                self._forget(key)
                self._wanted.setdefault(feed.run_id, {})[far.by] = far.until

    def _begin(self, feed: RunFeed, by: str) -> _Far:
        far = _Far(by, Follower(feed.run_id, feed.last or 0, feed))
        key = (feed.run_id, by)
        self._far[key] = far
        far.wake = partial(self._mark, key)
        feed.add_follower(far.wake)
        self._mark(key)
        return far

    def _mark(self, key: tuple[str, str]) -> None:
        self._dirty[key] = None
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._gathering = None
        dirty, self._dirty = self._dirty, {}
        for key in dirty:
            self._tell_far(key)

    def _tell_far(self, key: tuple[str, str]) -> None:
        far = self._far.get(key)
        if far is None:
            return
        feed = far.follower.feed
        assert feed is not None
        stored = feed.since(far.follower.seq)
        at = feed.last or 0
        if stored is None:
            # Further back than is held here: who reads there has the log.
            far.follower.seq = at
            stored = []
        told = far.follower.stored(stored)
        durable = bool(told)
        if not far.follower.ended:
            told += far.follower.passing(feed.texts.values())
        word = Frames(key[0], at, [(seq or 0, frame) for seq, frame in told])
        self._bus.send(far.by, msgspec.json.encode(word).decode(), urgent=durable)
        if far.follower.ended:
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        far = self._far.pop(key, None)
        if far is not None and far.follower.feed is not None:
            far.follower.feed.remove_follower(far.wake)


def _publish(feed: RunFeed, seq: int, body: str) -> bool:
    """Tells an event that is stored, as its emitter would; whether it was the run's ending."""
    event = decode(body)
    for live in feed.texts.values():
        # A thought that was shown while it came is over with the next event.
        over = live.kind == "thinking"
        if isinstance(event, MessageCompleted) and live.message_id == event.message_id:
            over = True
            if not event.content.startswith("".join(live.pieces)):
                # It was of a process that is gone, and another has written it anew: that was not heard here.
                live.attempt += 1
        if over:
            live.done = True
            live.pieces.clear()
    ended = is_terminal(event)
    feed.publish([(seq, body)], ended=ended)
    return ended


def write(feed: RunFeed, frame: PassingFrame) -> bool:
    """What a frame says of a text that is being written elsewhere, as it would stand here.

    False where something before it was missed.
    """
    live = feed.texts.get(frame.message_id)
    if live is None:
        live = feed.texts[frame.message_id] = LiveText(
            kind="thinking" if isinstance(frame, ThinkingDelta) else "message",
            run_id=frame.run_id,
            message_id=frame.message_id,
            agent=frame.agent,
            depth=frame.depth,
            parent_call_id=frame.parent_call_id,
            after_seq=feed.last or 0,
            attempt=frame.attempt,
            # Readers who come may have been shown an earlier attempt at another process.
            anew=isinstance(frame, MessageReset),
        )
    if frame.attempt < live.attempt:
        return True  # of a process that had the run before
    if frame.attempt > live.attempt:
        live.attempt, live.anew = frame.attempt, True
        live.pieces, live.length, live.done = [], 0, False
    if not isinstance(frame, MessageDelta):
        return True
    if frame.offset > live.length:
        return False
    if more := frame.text[live.length - frame.offset :]:
        live.pieces.append(more)
        live.length += len(more)
    return True
