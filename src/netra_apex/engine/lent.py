"""`Lent`: what the engine has lent one agent of a run, until the agent has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netra_apex.agents import BaseAgent
from netra_apex.core.administration import Administration
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentThinking
from netra_apex.core.journal import Journal, Step, note
from netra_apex.core.memories import Memories
from netra_apex.core.messages import (
    NO_USAGE,
    AssistantMessage,
    Attachment,
    ModelMessage,
    Reply,
    Usage,
    UserMessage,
    told_with,
)
from netra_apex.core.ports import Files
from netra_apex.core.redaction import Redactor
from netra_apex.core.voices import Deltas, Model, Voice
from netra_apex.engine.budgets import RunBudget
from netra_apex.engine.delegating import MemberTool
from netra_apex.engine.replies import is_failure, reply_of, was_shown
from netra_apex.engine.steering import Steering
from netra_apex.tools import Call, Tool, ToolDispatcher
from netra_apex.tools.mcp import Servers
from netra_apex.tools.quiet import Quiet
from netra_apex.tools.underway import Underway


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user has asked of the run's own agent, and the files that came with it."""

    task: str
    files: tuple[Attachment, ...] = ()

    @property
    def told(self) -> UserMessage:
        """As a model is told it."""
        return told_with(self.task, self.files)


@dataclass(frozen=True, slots=True)
class Belongings:
    """Where users keep what is theirs: what is behind `scope.store`.

    `image_bytes` is how much of their pictures goes into one model request.
    """

    files: Files
    memories: Memories
    administration: Administration
    redactor: Redactor
    image_bytes: int


@dataclass(frozen=True, slots=True)
class Handed:
    """Work that one agent hands to another, by a call with a context and a key in the journal of its own."""

    member: type[BaseAgent]
    task: Any
    history: tuple[ModelMessage, ...]
    context: UserExecutionContext
    key: str
    call_id: str


@dataclass(slots=True)
class NamedSteps:
    """The named steps of a run, which are all its agents': what each gave, and who is at it."""

    done: dict[str, bytes] = field(default_factory=dict[str, bytes])
    locks: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])


@dataclass(slots=True, kw_only=True)
class Lent:
    """What one agent of a run works with, shared by its own scope and those of its tool calls.

    `line` has the names of the agents that handed the work down, this one last. `thoughts` says how many thoughts the
    agent has told, before its run was taken up too. `catching_up`: the run was taken up, and nothing new has been asked
    or called yet, so that what comes next may have been begun before. `hand` has a member do its work; `ends_at` is
    when the agent's own time is over, by the loop's clock.
    """

    line: tuple[str, ...]
    voice: Voice
    thoughts: Callable[[], int]
    catching_up: bool
    journal: Journal
    model: Callable[[], Model]
    budget: RunBudget
    max_turns: int
    history: tuple[ModelMessage, ...]
    transcript: list[ModelMessage]
    quiet: Quiet
    steering: Steering
    named: NamedSteps
    hand: "Callable[[Lent, Handed], Awaitable[Any]]"
    members: Mapping[str, MemberTool]
    servers: Servers
    belongings: Belongings
    asked: Asked
    ends_at: float = float("inf")
    dispatcher: ToolDispatcher | None = None
    turns: int = 0
    usage: Usage = NO_USAGE
    closed: bool = False
    asking: Underway = field(default_factory=Underway)
    outlived: bool = False
    given_up: list[Deltas] = field(default_factory=list[Deltas])
    under: "list[Lent]" = field(default_factory=list["Lent"])
    delivered: dict[str, Any] = field(default_factory=dict[str, Any])
    served: dict[str, tuple[Tool[..., Any], ...]] = field(default_factory=dict[str, tuple[Tool[..., Any], ...]])

    def think(self, text: str, key: str) -> Awaitable[None]:
        """Tells a thought, once: not again when the run is taken up."""
        known = self.journal.take(key, "think", "think", "")
        return self.voice.emit() if known else self.voice.emit(self.thought(text), steps=(note(key, "think"),))

    def thought(self, text: str) -> AgentThinking:
        """This as the agent's next thought."""
        return AgentThinking(text=text, step=self.thoughts() + 1)

    def think_first(self, text: str) -> None:
        """Tells this thought if the agent has told none yet (G4)."""
        if not self.thoughts():
            self.voice.emit(self.thought(text))

    def replay(self, call: Call, steps: Sequence[Step]) -> None:
        """Counts in what was done before the run was taken up, inside a call that had finished."""
        for step in steps:
            if isinstance(call.tool, MemberTool):
                self.count(step)
            elif step.kind == "model" and not is_failure(step):
                self.turns += 1
                self.said(reply_of(step), shown=was_shown(step))

    def count(self, step: Step) -> None:
        """Counts in what a member's step used; all else of it is the member's own."""
        if step.kind == "model" and not is_failure(step):
            self.usage += reply_of(step).usage

    def went_on(self) -> None:
        """Something that was asked or called in this process has ended: it goes on from where it was."""
        self.catching_up = False

    def said(self, reply: Reply, *, shown: bool) -> None:
        """Counts in a model's answer."""
        self.usage += reply.usage
        if shown:
            self.transcript.append(AssistantMessage(reply.text, reply.tool_calls))

    def void_given_up(self) -> None:
        """Takes back the text of answers that broke off: the agent has gone on without them."""
        for writer in self.given_up:
            writer.reset()
        self.given_up.clear()

    def close(self) -> None:
        """Nothing more begins, here or in a member: the scopes' methods raise `ScopeClosed`."""
        self.closed = True
        if self.dispatcher is not None:
            self.dispatcher.close()
        for lent in self.under:
            lent.close()

    @property
    def used(self) -> Usage:
        """What it has used so far, members that are at work included."""
        return sum((lent.used for lent in self.under), self.usage)

    @property
    def underway(self) -> tuple[Underway, ...]:
        """Where requests and calls that have begun still are."""
        return (self.asking,) if self.dispatcher is None else (self.asking, self.dispatcher.underway)
