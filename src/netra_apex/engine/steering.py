"""`Steering`: what a user says to a run while it is under way, and where in its conversation that stands."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage, UserMessage

Read = Callable[[int], Awaitable[Sequence[tuple[int, UserMessage]]]]


class Steering:
    """The messages that a run was given; they are put before the model with its next request, and stay there.

    An agent's code knows nothing of them: it goes on with its own list of messages, in which each has the place where
    that list ended when it came. Which request took which is kept in that request's step, so that a run that is taken
    up tells its model the same.
    """

    def __init__(self, read: Read, *, waits: bool) -> None:
        self._read = read
        self._waits = waits
        self._heard = 0
        self._said: list[tuple[int, UserMessage]] = []  # (where in the agent's list, what)
        self._unnoted: list[tuple[int, int, UserMessage]] = []  # (ordinal, where, what), which no step has kept yet

    @classmethod
    def deaf(cls) -> "Steering":
        """Of an agent whom no user talks to."""

        async def nothing(_: int) -> Sequence[tuple[int, UserMessage]]:
            return ()

        return cls(nothing, waits=False)

    def wake(self) -> None:
        """There is something to hear."""
        self._waits = True

    async def hear(self, place: int) -> list[UserMessage]:
        """What has been said since, which stands at this place of the agent's messages."""
        if not self._waits:
            return []
        self._waits = False
        new = await self._read(self._heard)
        for ordinal, message in new:
            self._heard = ordinal
            self._said.append((place, message))
            self._unnoted.append((ordinal, place, message))
        return [message for _, message in new]

    def into(self, messages: Sequence[ModelMessage]) -> tuple[ModelMessage, ...]:
        """The agent's messages with what was said between them."""
        told = list(messages)
        # From the end, so that the places before stay what they are. In a shorter list, another conversation of the
        # agent's, they have no place.
        for place, message in reversed(self._said):
            if place <= len(messages):
                told.insert(place, message)
        return tuple(told)

    def noted(self, step: Step) -> Step:
        """The step of a request, with what was heard for it."""
        if not self._unnoted:
            return step
        steered, self._unnoted = self._unnoted, []
        return replace(step, result=step.result | {"steered": steered}, heard=self._heard)

    def remember(self, result: Any) -> list[UserMessage]:
        """What a step from before has heard."""
        steered: list[tuple[int, int, Any]] = result.get("steered", [])
        heard: list[UserMessage] = []
        for ordinal, place, said in steered:
            self._heard = max(self._heard, ordinal)
            # A version before this one kept the text alone.
            message = UserMessage(said) if isinstance(said, str) else msgspec.convert(said, UserMessage)
            self._said.append((place, message))
            heard.append(message)
        return heard
