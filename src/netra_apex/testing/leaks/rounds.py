"""The rounds of a leak test: everybody asks everything at once, again, with cancels, and through the process's end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from netra_apex.agents import AgentRegistry, ChatAgent
from netra_apex.core.belongings import NewFile
from netra_apex.core.conversations import Post
from netra_apex.core.ids import new_id
from netra_apex.errors import AlreadyDecided, NotFound, QueueFull
from netra_apex.runtime import Runtime
from netra_apex.settings import Settings
from netra_apex.testing.leaks.canaries import Crowd, Person
from netra_apex.testing.leaks.curious import CuriousModel
from netra_apex.testing.leaks.interleaving import Interleaving
from netra_apex.testing.leaks.placing import where_of
from netra_apex.testing.leaks.report import Finding, LeakReport
from netra_apex.testing.leaks.state import tools_of

RUN_SECONDS = 120.0
MOST_TURNS = 200  # of the loop, before a run is cancelled or the process ends
CANCEL_ROUNDS = 4
CUT_SHORT = 0.7
CALL_TURNS = 60  # of the loop, before a call is cancelled
RECONNECTS = 0.2


@dataclass(eq=False)
class Rounds:
    """Plays a registry's agents in runtimes of its own, and looks at all that is told meanwhile."""

    registry: AgentRegistry
    crowd: Crowd
    weave: Interleaving
    report: LeakReport
    home: Path
    given: dict[str, Any]
    _ids: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _threads: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def __post_init__(self) -> None:
        self.model = CuriousModel(self.crowd, lambda person, name: self._ids.get(person.user_id, {}).get(name))
        self._tools = {each.name: each for _, each in tools_of(self.registry)}
        self.permissions = frozenset(
            needed
            for needed in (
                *(each.requires for each in self._tools.values()),
                *(getattr(self.registry.get(name), "requires", None) for name in self.registry.names),
            )
            if needed is not None
        )

    async def play(self) -> None:
        """All rounds. The report has what they came upon."""
        async with self._runtime() as runtime:
            for agent in self.registry.names:
                await self._open(runtime, agent)
                await self._round(runtime, agent, "first")
                seen = len(self.model.prompts)
                await self._round(runtime, agent, "again")
                self._check_remembered(agent, self.model.prompts[seen:])
                for _ in range(CANCEL_ROUNDS):
                    await self._round(runtime, agent, "cancelled", cancels=True)
                self._note_prompts(agent)
            await self._forge(runtime)
            self._look(None, "metric", "metrics", str(await runtime.house.metrics()))
        await self._end_in_between()

    async def _end_in_between(self) -> None:
        """The process ends while everybody's runs are under way; another one goes on with them."""
        agents = self.registry.names
        async with self._runtime(drain_seconds=0.001) as runtime:
            posted = [
                (person, agents[at % len(agents)], await self._post(runtime, person, agents[at % len(agents)], "ended"))
                for at, person in enumerate(self.crowd.people)
            ]
            for _ in range(self.weave.below(MOST_TURNS)):
                await asyncio.sleep(0)
        async with self._runtime() as runtime:
            await asyncio.gather(*(self._hear(runtime, *each) for each in posted))
        for agent in agents:
            self._note_prompts(agent)

    @contextlib.asynccontextmanager
    async def _runtime(self, **more: Any) -> AsyncGenerator[Runtime]:
        given = {"runs_per_process": max(250, 2 * len(self.crowd.people)), "drain_seconds": 5.0} | self.given | more
        settings = Settings.load(home=self.home, **given)
        async with Runtime(self.registry, settings, model=self.model) as runtime:
            yield runtime

    async def _open(self, runtime: Runtime, agent: str) -> None:
        """A thread for each user, with a file in it, and something remembered."""
        stores = runtime.stores
        for person in self.crowd.people:
            thread_id, file_id = new_id("thr"), new_id("fil")
            await stores.conversations.add_thread(person.user_id, thread_id, person.word("title"))
            new = NewFile(file_id=file_id, name=f"{person.word('file')}.txt", media_type="text/plain")
            await stores.files.add_file(person.user_id, thread_id, new, _once(person.word("content").encode()))
            memory = await stores.memories.remember(person.user_id, person.word("memory"), "note")
            self._threads[person.user_id, agent] = thread_id
            known = {"thread_id": thread_id, "conversation_id": thread_id, "file_id": file_id}
            self._ids.setdefault(person.user_id, {}).update(known | {"memory_id": memory.memory_id})

    async def _round(self, runtime: Runtime, agent: str, label: str, *, cancels: bool = False) -> None:
        async with asyncio.TaskGroup() as group:
            if cancels:
                self.model.on_calls = lambda person: group.create_task(self._cut_short(runtime, person))
            for person in self.crowd.people:
                group.create_task(self._ask(runtime, person, agent, label, cancels=cancels))
        self.model.on_calls = None

    async def _cut_short(self, runtime: Runtime, person: Person) -> None:
        """Cancels a user's run somewhere in the midst of the calls that its model has just asked for, or does not."""
        if self.weave.chance(CUT_SHORT):
            for _ in range(self.weave.below(CALL_TURNS)):
                await asyncio.sleep(0)
            await runtime.admission.cancel(person.user_id, self._ids[person.user_id]["run_id"], wait=False)

    async def _ask(self, runtime: Runtime, person: Person, agent: str, label: str, *, cancels: bool) -> None:
        run_id = await self._post(runtime, person, agent, label)
        if cancels and self.weave.chance(0.2):
            for _ in range(self.weave.below(MOST_TURNS)):
                await asyncio.sleep(0)
            await runtime.admission.cancel(person.user_id, run_id)
        await self._hear(runtime, person, agent, run_id)

    async def _post(self, runtime: Runtime, person: Person, agent: str, label: str) -> str:
        thread_id, ids = self._threads[person.user_id, agent], self._ids[person.user_id]
        said = f"{person.word(label)}: what is 6 * 7, and what do you know of me?"
        post = Post(content=said, thread_id=thread_id, agent=agent, files=(ids["file_id"],) if label == "first" else ())
        while True:
            try:
                accepted = await runtime.admission.post(person.user_id, self.permissions, post)
                break
            except QueueFull:
                await asyncio.sleep(0.01)
        self.report.runs += 1
        ids["run_id"] = accepted.run_id
        return accepted.run_id

    async def _hear(self, runtime: Runtime, person: Person, agent: str, run_id: str) -> None:
        """Follows a run to its end, with connections that are lost on the way, and answers what it asks."""
        after, ended = 0, False
        async with asyncio.timeout(RUN_SECONDS):
            while not ended:
                async with aclosing(runtime.reader.follow(person.user_id, run_id, after)) as frames:
                    ended = True
                    async for seq, text in frames:
                        self.report.events += 1
                        self._look_at_frame(person, agent, text)
                        await self._answer(runtime, person, text)
                        after = seq or after
                        if self.weave.chance(RECONNECTS):
                            run = await runtime.stores.runs.run(person.user_id, run_id)
                            ended = run is not None and run.status.ended and run.last_seq == after
                            break

    async def _answer(self, runtime: Runtime, person: Person, text: str | bytes) -> None:
        frame = msgspec.json.decode(text)
        with contextlib.suppress(AlreadyDecided, NotFound):  # it was told before the connection was lost
            house, user_id, may = runtime.house, person.user_id, self.permissions
            if frame["type"] == "approval_requested":
                await house.decide(user_id, frame["approval_id"], "approve", person.word("noted"), may=may)
            elif frame["type"] == "question_asked":
                await house.answer(user_id, frame["question_id"], person.word("answered"), may=may)

    async def _forge(self, runtime: Runtime) -> None:
        """Everybody writes into somebody else's thread, which must not be there."""
        agent = self.registry.default
        for person in self.crowd.people:
            other = self.crowd.neighbour(person)
            post = Post(content=person.word("forged"), thread_id=self._threads[other.user_id, agent], agent=agent)
            try:
                await runtime.admission.post(person.user_id, self.permissions, post)
            except NotFound:
                continue
            said = "a message was taken into another user's thread"
            self._add("refusal", agent, "thread_id", said, (other.user_id, person.user_id), None)

    def _look_at_frame(self, person: Person, agent: str, text: str | bytes) -> None:
        other = self.crowd.foreign(text, person)
        if other is None:
            return
        frame = msgspec.json.decode(text)
        tool = self._tools.get(frame.get("tool", ""))
        where = frame.get("tool") or frame["type"]
        said = f"{frame['type']} of a run of one user holds what is another's"
        at = None if tool is None else where_of(tool.function)
        self._add("event", frame.get("agent", agent), where, said, (other.user_id, person.user_id), at)

    def _note_prompts(self, agent: str) -> None:
        self.report.prompts += len(self.model.prompts)
        for owner, other, what, _ in self.model.prompts:
            if owner is not None and other is not None:
                tool = self._tools.get(what)
                at = None if tool is None else where_of(tool.function)
                said = "a model was told another user's words"
                self._add("prompt", agent, what, said, (other.user_id, owner.user_id), at)
        self.model.prompts.clear()

    def _check_remembered(self, agent: str, prompts: list[Any]) -> None:
        if self.registry.get(agent).run is not ChatAgent.run:  # what else runs decides itself what its model is told
            return
        for person in self.crowd.people:
            heard = [words for owner, _, _, words in prompts if owner is person]
            first = person.word("first")
            if heard and not any(first in word for words in heard for word in words):
                said = "what its user had said before in the thread was not told to the model"
                self._add("lost", agent, "history", said, (person.user_id,), None)

    def _look(self, person: Person | None, kind: str, where: str, text: str) -> None:
        other = self.crowd.foreign(text, person)
        if other is not None:
            self._add(kind, None, where, "it holds a user's words", (other.user_id,), None)

    def _add(self, kind: str, agent: str | None, where: str, said: str, users: tuple[str, ...], at: Any) -> None:
        path, line = (None, None) if at is None else (at.path, at.line)
        finding = Finding(
            kind=kind, agent=agent, where=where, message=said, users=users, seed=self.report.seed, path=path, line=line
        )
        self.report.add(finding)


class LogLines(logging.Handler):
    """What is logged meanwhile, as text with all its fields."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        self.lines.append(f"{record.__dict__} {self.format(record)}")


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
