"""`harness`: a whole runtime in a folder of its own, for tests of an application's agents. No server, no network."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from netra_apex.agents import AgentRegistry
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import AgentCompleted, CallError, DurableEvent, decode
from netra_apex.core.voices import Model
from netra_apex.runtime import Runtime
from netra_apex.settings import Settings

E = TypeVar("E", bound=DurableEvent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a user was told of one run: its durable events, in order."""

    run_id: str
    thread_id: str
    events: tuple[DurableEvent, ...]

    @property
    def ok(self) -> bool:
        """Whether the run completed."""
        return isinstance(self.events[-1], AgentCompleted)

    @property
    def output(self) -> Any:
        """The run's output; None where it did not complete."""
        last = self.events[-1]
        return last.output if isinstance(last, AgentCompleted) else None

    @property
    def types(self) -> tuple[str, ...]:
        """The events' types, as a client reads them."""
        return tuple(str(event.__struct_config__.tag) for event in self.events)

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """The events of one class: `outcome.of(ToolCompleted)`."""
        return tuple(event for event in self.events if isinstance(event, kind))

    def errors(self) -> tuple[CallError, ...]:
        """The errors of tool calls that failed."""
        found = (getattr(event, "error", None) for event in self.events)
        return tuple(error for error in found if isinstance(error, CallError))


class Harness:
    """Asks agents as users do. `runtime` is there for everything else."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def ask(
        self,
        content: str,
        *,
        user: str = "ada",
        permissions: Iterable[str] = (),
        agent: str | None = None,
        thread_id: str | None = None,
        seconds: float = 30.0,
    ) -> Outcome:
        """Posts a message as `user` and waits for the run's end.

        Raises:
            Refused: the post is not accepted.
            TimeoutError: the run has not ended in `seconds`.
        """
        accepted = await self.post(content, user=user, permissions=permissions, agent=agent, thread_id=thread_id)
        return await self.outcome(user, accepted, seconds=seconds)

    async def post(
        self,
        content: str,
        *,
        user: str = "ada",
        permissions: Iterable[str] = (),
        agent: str | None = None,
        thread_id: str | None = None,
    ) -> Accepted:
        """Posts a message as `user`, and leaves its run to itself."""
        post = Post(content=content, thread_id=thread_id, agent=agent)
        return await self.runtime.admission.post(user, frozenset(permissions), post)

    async def outcome(self, user: str, accepted: Accepted, *, seconds: float = 30.0) -> Outcome:
        """Waits for the end of a run that was posted.

        Raises:
            TimeoutError: it has not ended in `seconds`.
        """
        async with asyncio.timeout(seconds):
            told = [frame async for frame in self.runtime.reader.follow(user, accepted.run_id, 0)]
        events = tuple(decode(text) for seq, text in told if seq is not None)
        return Outcome(accepted.run_id, accepted.thread_id, events)


@contextlib.asynccontextmanager
async def harness(registry: AgentRegistry, *, model: Model | None = None, **settings: Any) -> AsyncGenerator[Harness]:
    """A runtime in a temporary home: `async with harness(registry, model=ScriptedModel([...])) as app`.

    `settings` are those of `Settings`, such as `agent_timeout_seconds=1`. Without `model`, the one of the settings
    answers: the offline demo model, unless NETRA_MODEL says otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="netra-test-") as home:
        given: dict[str, Any] = {"home": Path(home), "drain_seconds": 5.0} | settings
        async with Runtime(registry, Settings.load(**given), model=model) as runtime:
            yield Harness(runtime)
