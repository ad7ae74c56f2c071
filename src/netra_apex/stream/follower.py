"""What one reader of one run is told next: a machine without I/O, used by socket and SSE alike."""

from collections.abc import Iterable

from netra_apex.core.events import (
    MessageCompleted,
    MessageDelta,
    MessageReset,
    ThinkingDelta,
    decode,
    encode,
    is_terminal,
)
from netra_apex.errors import IllegalTransition
from netra_apex.stream.feed import LiveText, RunFeed

# What `encode` writes first: enough to know the few events that need a closer look, without decoding them all.
_COMPLETED = '{"type":"message_completed"'
_ENDINGS = ('{"type":"agent_completed"', '{"type":"agent_failed"', '{"type":"agent_cancelled"')

Told = tuple[int | None, str]  # (seq, or None for a passing frame; the frame's JSON)


class _Shown:
    """How much of one message's text this reader has been told."""

    __slots__ = ("attempt", "length", "live", "pieces")

    def __init__(self, live: LiveText) -> None:
        self.live = live
        self.attempt = live.attempt
        self.pieces = 0
        self.length = 0

    def follow(self, live: LiveText) -> None:
        """The same message, which another process writes by now, or which was heard of anew: in other pieces."""
        self.live = live
        self.pieces = 0

    def rest(self) -> str:
        """What has been added to the text since."""
        if self.pieces:
            return "".join(self.live.pieces[self.pieces :])
        return "".join(self.live.pieces)[self.length :]

    def begins(self, content: str) -> bool:
        """Whether the message is what was shown of it, and more; as far as that is known here."""
        return content.startswith("".join(self.live.pieces)[: self.length])


class Follower:
    """A cursor in one run: `seq` is the last durable event told, `ended` whether that was the run's ending.

    `behind` says that the last look took its events from the log, where more may be waiting already.
    """

    __slots__ = ("_shown", "behind", "ended", "feed", "run_id", "seq")

    def __init__(self, run_id: str, after: int, feed: RunFeed | None) -> None:
        self.run_id = run_id
        self.seq = after
        self.ended = False
        self.behind = False
        self.feed = feed
        self._shown: dict[str, _Shown] = {}

    def stored(self, events: Iterable[tuple[int, str]]) -> list[Told]:
        """What is told for these stored events: those it lacks, in order, each after the rest of its text.

        Raises:
            IllegalTransition: one is missing between them, which must not be told as if it were not (G2).
        """
        told: list[Told] = []
        for seq, body in events:
            if seq <= self.seq:
                continue
            if seq != self.seq + 1:
                raise IllegalTransition(f"told up to {self.seq}", f"event {seq}", "events between are missing")
            if self._shown and body.startswith(_COMPLETED):
                self._complete(body, told)
            self.ended = body.startswith(_ENDINGS) and is_terminal(decode(body))
            if self.ended:
                self._take_back(told)
            told.append((seq, body))
            self.seq = seq
            if self.ended:
                break
        return told

    def passing(self, texts: Iterable[LiveText]) -> list[Told]:
        """What is told of the texts that are being written: the whole of it first, then what was added."""
        told: list[Told] = []
        for live in texts:
            if live.done or live.after_seq > self.seq:
                continue
            shown = self._shown.get(live.message_id)
            if shown is None:
                if not live.length:
                    continue
                shown = self._shown[live.message_id] = _Shown(live)
                if live.anew:
                    self._reset(shown, told)
            else:
                if shown.live is not live:
                    shown.follow(live)
                if shown.attempt != live.attempt:
                    self._reset(shown, told)
            if shown.length < live.length:
                text = shown.rest()
                told.append((None, _delta(live, shown.length, text)))
                shown.pieces = len(live.pieces)
                shown.length = live.length
        return told

    def _complete(self, body: str, told: list[Told]) -> None:
        """Before `message_completed`, the text that this reader has not been told, so that the deltas add up."""
        event = decode(body)
        assert isinstance(event, MessageCompleted)
        shown = self._shown.pop(event.message_id, None)
        if shown is None:
            return
        if shown.attempt != shown.live.attempt:
            self._reset(shown, told)
        elif not shown.begins(event.content):
            # Its process is gone, and another has written it anew: that was not heard here.
            shown.live.attempt += 1
            self._reset(shown, told)
        if rest := event.content[shown.length :]:
            told.append((None, _delta(shown.live, shown.length, rest)))

    def _take_back(self, told: list[Told]) -> None:
        """Before the ending, the texts that have become void since this reader was told of them."""
        for shown in self._shown.values():
            if shown.attempt != shown.live.attempt:
                self._reset(shown, told)

    def _reset(self, shown: _Shown, told: list[Told]) -> None:
        live = shown.live
        shown.attempt, shown.pieces, shown.length = live.attempt, 0, 0
        reset = MessageReset(
            run_id=live.run_id,
            message_id=live.message_id,
            attempt=live.attempt,
            agent=live.agent,
            depth=live.depth,
            parent_call_id=live.parent_call_id,
        )
        told.append((None, encode(reset)))


def _delta(live: LiveText, offset: int, text: str) -> str:
    kind = MessageDelta if live.kind == "message" else ThinkingDelta
    return encode(
        kind(
            run_id=live.run_id,
            message_id=live.message_id,
            attempt=live.attempt,
            offset=offset,
            text=text,
            agent=live.agent,
            depth=live.depth,
            parent_call_id=live.parent_call_id,
        )
    )
