"""What a run's own agent says, as it says it: a machine without I/O, fed with the run's events and passing frames."""

from dataclasses import dataclass

from netra_apex.core.events import AgentCompleted, MessageCompleted, MessageDelta, MessageReset, ThinkingDelta
from netra_apex.core.messages import as_said
from netra_apex.server.protocols.following import Event


@dataclass(frozen=True, slots=True)
class Said:
    """A message: all of its text so far, and whether that is all of it."""

    message_id: str
    text: str
    done: bool


class Texts:
    """One message after the other, each as far as it has come; what members of a team say among themselves is not it.

    Of several that are written at once the first is told while it grows, and each other one when it is complete.
    """

    def __init__(self) -> None:
        self._growing: dict[str, list[str]] = {}
        self._last: str | None = None  # what was said last, whole

    def hear(self, event: Event) -> Said | None:
        """An event of the run: what it adds."""
        if event.depth or isinstance(event, ThinkingDelta):
            return None
        match event:
            case MessageDelta(message_id=message_id, offset=offset, text=text):
                pieces = self._growing.setdefault(message_id, [])
                if not offset:
                    pieces.clear()
                pieces.append(text)
                if next(iter(self._growing)) != message_id:
                    return None
                pieces[:] = ["".join(pieces)]
                return Said(message_id, pieces[0], done=False)
            case MessageReset(message_id=message_id):
                self._growing.pop(message_id, None)
                return None
            case MessageCompleted(message_id=message_id, content=content):
                self._growing.pop(message_id, None)
                self._last = content
                return Said(message_id, content, done=True)
            case AgentCompleted(output=output):
                return self._unsaid(event, output)
            case _:
                return None

    def _unsaid(self, event: AgentCompleted, output: object) -> Said | None:
        """The output of an agent that no model has said: an answer, too."""
        if output is None or output == "":
            return None
        if self._last is not None and (self._last == output or not isinstance(output, str)):
            return None
        return Said(f"msg_{event.run_id}", as_said(output), done=True)
