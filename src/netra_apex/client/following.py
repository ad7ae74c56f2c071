"""What a frame means to somebody who follows a run: a machine without I/O.

It keeps two counts. `told` is the last `seq` of this subscription on the wire, where a gap or a duplicate is a breach;
`last_seq` is the last one that the consumer has, below which a replay is dropped. They differ only while a run is told
again from an earlier point, as after a message that was sent twice with one idempotency key.
"""

from dataclasses import dataclass, field

import msgspec

from netra_apex.client.errors import StreamBroken
from netra_apex.client.frames import Event, OtherEvent, kind_of
from netra_apex.core.events import (
    AgentCompleted,
    Ending,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    ThinkingDelta,
    is_terminal,
)

_MESSAGE, _THINKING = "message", "thinking"


@dataclass(slots=True)
class _Text:
    """The text of a message as it grows. `torn`: its deltas do not fit, so only `message_completed` can tell it.

    `cut`: the socket was lost while it grew, and nothing of it has come since.
    """

    attempt: int
    text: str = ""
    torn: bool = False
    cut: bool = False
    whole: bool = False


@dataclass(slots=True)
class Following:
    """One followed run: gives each durable event once and in order, and each piece of text once.

    A delta that does not fit ends nothing, since the whole text is in the log: the message's further deltas are held
    back, `message_completed` tells it, and `faults` has the reason.
    """

    run_id: str
    last_seq: int = 0
    ending: Ending | None = None
    faults: list[str] = field(default_factory=list[str])
    _told: int = field(init=False)
    _end_seq: int | None = None
    _texts: dict[tuple[str, str], _Text] = field(default_factory=dict[tuple[str, str], _Text])

    def __post_init__(self) -> None:
        self._told = self.last_seq

    def begin(self, after: int) -> None:
        """The server was asked to tell everything after `after`, over a new socket or again over this one."""
        self._told = after
        for text in self._texts.values():
            text.cut = True

    def text(self, message_id: str) -> str:
        """What is known of an answer's text so far."""
        known = self._texts.get((_MESSAGE, message_id))
        return known.text if known else ""

    def take(self, frame: Event | PassingFrame) -> tuple[Event | PassingFrame, ...]:
        """What the consumer gets of this frame: nothing where it has it already.

        Raises:
            StreamBroken: a gap, a duplicate, or anything after the ending; nothing has changed.
        """
        match frame:
            case MessageReset():
                self._not_ended(frame)
                return self._reset(frame)
            case MessageDelta():
                self._not_ended(frame)
                return self._delta(frame)
            case _:
                return self._event(frame)

    def _not_ended(self, frame: PassingFrame) -> None:
        if self._end_seq is not None and self._told >= self._end_seq:
            raise StreamBroken(self.run_id, None, None, kind_of(frame))

    def _event(self, event: Event) -> tuple[Event, ...]:
        if self._end_seq is not None and event.seq > self._end_seq:
            raise StreamBroken(self.run_id, None, event.seq, kind_of(event))
        if event.seq != self._told + 1:
            raise StreamBroken(self.run_id, self._told + 1, event.seq, kind_of(event))
        self._told = event.seq
        if event.seq <= self.last_seq:
            return ()
        self.last_seq = event.seq
        if isinstance(event, MessageCompleted):
            self._complete(event)
        elif not isinstance(event, OtherEvent) and is_terminal(event):
            self._end(event)
        return (event,)

    def _end(self, event: Event) -> None:
        assert isinstance(event, Ending)
        self.ending = event
        self._end_seq = event.seq
        if isinstance(event, AgentCompleted):
            self.faults += [
                f"message {ident} was streamed and has no message_completed"
                for (kind, ident), text in self._texts.items()
                if kind == _MESSAGE and text.text and not text.whole
            ]

    def _complete(self, event: MessageCompleted) -> None:
        text = self._texts.setdefault((_MESSAGE, event.message_id), _Text(1, event.content))
        if text.text != event.content and not text.torn and not text.cut:
            self.faults.append(
                f"the deltas of message {event.message_id} make {_short(text.text)}, "
                f"message_completed says {_short(event.content)}"
            )
        text.text, text.whole = event.content, True

    def _reset(self, frame: MessageReset) -> tuple[PassingFrame, ...]:
        known = self._texts.get((_MESSAGE, frame.message_id))
        if known and (known.whole or frame.attempt < known.attempt):
            return ()
        for kind in (_MESSAGE, _THINKING):
            if kind == _MESSAGE or (kind, frame.message_id) in self._texts:
                self._texts[kind, frame.message_id] = _Text(frame.attempt)
        return (frame,)

    def _delta(self, frame: MessageDelta) -> tuple[PassingFrame, ...]:
        kind = _THINKING if isinstance(frame, ThinkingDelta) else _MESSAGE
        known = self._texts.setdefault((kind, frame.message_id), _Text(frame.attempt))
        if known.whole or frame.attempt < known.attempt:
            return ()
        told: tuple[PassingFrame, ...] = ()
        if frame.attempt > known.attempt:
            # The reset itself was missed, while the socket was away: the consumer must hear that its text is void.
            told = self._reset(_reset_of(frame))
            known = self._texts.setdefault((kind, frame.message_id), _Text(frame.attempt))
        return (*told, *self._grow(known, frame))

    def _grow(self, known: _Text, frame: MessageDelta) -> tuple[PassingFrame, ...]:
        if known.torn:
            return ()
        have = known.text
        # One delta from offset 0 tells one who came late the text so far: he may have the beginning of it.
        told_again = frame.offset == 0 and frame.text.startswith(have)
        if frame.offset != len(have) and not told_again:
            known.torn = True
            self.faults.append(
                f"a delta of message {frame.message_id} at offset {frame.offset} follows {len(have)} characters"
            )
            return ()
        fresh = frame.text[len(have) :] if told_again else frame.text
        if not fresh:
            return ()
        known.text, known.cut = have + fresh, False
        return (msgspec.structs.replace(frame, offset=len(have), text=fresh),)


def _reset_of(frame: MessageDelta) -> MessageReset:
    return MessageReset(
        run_id=frame.run_id,
        message_id=frame.message_id,
        attempt=frame.attempt,
        agent=frame.agent,
        depth=frame.depth,
        parent_call_id=frame.parent_call_id,
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
