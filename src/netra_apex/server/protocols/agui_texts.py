"""A text of the model in AG-UI's events: an answer, or what it thinks aloud, as far as one stream has told it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ag_ui.core import (
    BaseEvent,
    ReasoningEndEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
)


@dataclass(slots=True)
class Text:
    """A text of the model as far as this stream has told it; `agent` is the call that started who writes it."""

    ident: str
    agent: str | None
    told: str = ""
    open: bool = False


def say(text: Text, more: str) -> Iterator[BaseEvent]:
    """More of an answer, which begins with it."""
    if not text.open:
        text.open = True
        yield TextMessageStartEvent(message_id=text.ident, role="assistant", subagent_run_id=text.agent)
    if more:
        text.told += more
        yield TextMessageContentEvent(message_id=text.ident, delta=more, subagent_run_id=text.agent)


def end_text(text: Text) -> Iterator[BaseEvent]:
    """The end of an answer, if it is open."""
    if text.open:
        text.open = False
        yield TextMessageEndEvent(message_id=text.ident, subagent_run_id=text.agent)


def think(text: Text, more: str) -> Iterator[BaseEvent]:
    """More of a thought, which begins with it."""
    if not more:
        return
    if not text.open:
        text.open = True
        yield ReasoningStartEvent(message_id=text.ident, subagent_run_id=text.agent)
        yield ReasoningMessageStartEvent(message_id=text.ident, role="reasoning", subagent_run_id=text.agent)
    text.told += more
    yield ReasoningMessageContentEvent(message_id=text.ident, delta=more, subagent_run_id=text.agent)


def end_thought(text: Text) -> Iterator[BaseEvent]:
    """The end of a thought, if it is open."""
    if text.open:
        text.open = False
        yield ReasoningMessageEndEvent(message_id=text.ident, subagent_run_id=text.agent)
        yield ReasoningEndEvent(message_id=text.ident, subagent_run_id=text.agent)
