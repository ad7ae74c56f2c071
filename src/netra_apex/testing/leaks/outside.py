"""The leak test of a server that runs somewhere, from outside: what its users can see, and what they must not."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import BaseModel

from netra_apex.client import Client, Connection, RequestRefused
from netra_apex.core.events import ApprovalRequested, QuestionAsked
from netra_apex.testing.leaks.canaries import Crowd, Person
from netra_apex.testing.leaks.report import Finding, LeakReport

ROUNDS = ("first", "again")
ENDED_SECONDS = 120.0


@dataclass
class _Visitor:
    """A user of the server, logged in."""

    person: Person
    client: Client
    connection: Connection
    agents: tuple[str, ...]
    threads: dict[str, str] = field(default_factory=dict[str, str])
    runs: list[str] = field(default_factory=list[str])
    files: list[str] = field(default_factory=list[str])


async def outside(url: str, accounts: list[tuple[str, str]], seed: int) -> LeakReport:
    """Plays all agents that the accounts `(name, password)` may run, and looks at whatever these users can read.

    Approvals are given and questions answered: point it at a server whose tools change nothing that they should not.

    Raises:
        ClientError: the server cannot be reached, or refuses a login.
    """
    crowd, report = Crowd(len(accounts), seed), LeakReport(users=len(accounts), seed=seed)
    async with AsyncExitStack() as stack:
        visitors = [
            await _arrive(stack, url, person, *account) for person, account in zip(crowd.people, accounts, strict=True)
        ]
        look = _Look(crowd, report)
        for agent in dict.fromkeys(agent for visitor in visitors for agent in visitor.agents):
            asking = [visitor for visitor in visitors if agent in visitor.agents]
            for label in ROUNDS:
                await asyncio.gather(*(_ask(look, visitor, agent, label) for visitor in asking))
        for at, visitor in enumerate(visitors):
            await _read_all(look, visitor)
            await _forge(look, visitor, visitors[at - 1])
    return report


async def _arrive(stack: AsyncExitStack, url: str, person: Person, name: str, password: str) -> _Visitor:
    client = await stack.enter_async_context(Client(url))
    await client.login(name, password)
    connection = await stack.enter_async_context(client.connect())
    return _Visitor(person, client, connection, tuple(agent.name for agent in await client.agents()))


@dataclass
class _Look:
    crowd: Crowd
    report: LeakReport

    def at(self, person: Person, kind: str, agent: str | None, where: str, told: object) -> None:
        """Searches what a user was told for what is another's."""
        text = told.model_dump_json() if isinstance(told, BaseModel) else msgspec.json.encode(told, enc_hook=_plain)
        other = self.crowd.foreign(text, person)
        if other is not None:
            self.add(kind, agent, where, "a user was told what is another's", (other, person))

    def add(self, kind: str, agent: str | None, where: str, said: str, users: tuple[Person, ...]) -> None:
        """Takes a finding in."""
        names, seed = tuple(person.user_id for person in users), self.report.seed
        self.report.add(Finding(kind=kind, agent=agent, where=where, message=said, users=names, seed=seed))


async def _ask(look: _Look, visitor: _Visitor, agent: str, label: str) -> None:
    person, client = visitor.person, visitor.client
    if agent not in visitor.threads:
        thread = await client.new_thread(person.word("title"))
        visitor.threads[agent] = thread.thread_id
        file = await client.upload(thread.thread_id, person.word("content").encode(), f"{person.word('file')}.txt")
        visitor.files.append(file.file_id)
    said = f"{person.word(label)}: what is 6 * 7, and what do you know of me?"
    run = await visitor.connection.send(said, thread_id=visitor.threads[agent], agent=agent)
    look.report.runs += 1
    visitor.runs.append(run.run_id)
    async with asyncio.timeout(ENDED_SECONDS):
        async for frame in run:
            look.report.events += 1
            where = getattr(frame, "tool", None) or type(frame).__name__
            look.at(person, "event", getattr(frame, "agent", agent), where, frame)
            with contextlib.suppress(RequestRefused):  # somebody of this user's has answered it meanwhile
                if isinstance(frame, ApprovalRequested):
                    await visitor.connection.decide(frame.approval_id, "approve", person.word("noted"))
                elif isinstance(frame, QuestionAsked):
                    await visitor.connection.answer(frame.question_id, person.word("answered"))


async def _read_all(look: _Look, visitor: _Visitor) -> None:
    """Every list and every item that is this user's."""
    person, client = visitor.person, visitor.client
    look.at(person, "event", None, "threads", list((await client.threads(limit=200)).items))
    for agent, thread_id in visitor.threads.items():
        look.at(person, "event", agent, "messages", list((await client.messages(thread_id, limit=200)).items))
        look.at(person, "event", agent, "files", list((await client.files(thread_id)).items))
    for run_id in visitor.runs:
        look.at(person, "event", None, "events", list(await client.events(run_id)))


async def _forge(look: _Look, visitor: _Visitor, other: _Visitor) -> None:
    """This user tries all ids of another's, each of which must answer as one that does not exist."""
    client = visitor.client
    tries: list[tuple[str, Callable[[], Awaitable[Any]]]] = []
    for agent, thread_id in other.threads.items():
        tries += [
            ("thread_id", lambda thread=thread_id: client.thread(thread)),
            ("thread_id", lambda thread=thread_id: client.messages(thread)),
            ("thread_id", lambda thread=thread_id: client.files(thread)),
            ("thread_id", lambda thread=thread_id, who=agent: _write(visitor, thread, who)),
        ]
    for run_id in other.runs:
        tries += [
            ("run_id", lambda run=run_id: client.run(run)),
            ("run_id", lambda run=run_id: client.events(run)),
            ("run_id", lambda run=run_id: client.cancel(run)),
            ("run_id", lambda run=run_id: visitor.connection.cancel(run)),
        ]
    for where, attempt in tries:
        try:
            await attempt()
        except RequestRefused as refused:
            if refused.code == "not_found":
                continue
        said = "what is another user's did not answer as what does not exist"
        look.add("refusal", None, where, said, (other.person, visitor.person))


async def _write(visitor: _Visitor, thread_id: str, agent: str) -> None:
    mine = agent if agent in visitor.agents else visitor.agents[0]
    await visitor.connection.send(visitor.person.word("forged"), thread_id=thread_id, agent=mine)


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
