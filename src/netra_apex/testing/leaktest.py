"""`leaktest`: whether a user's words can reach another user through *your* agents and tools.

Many users ask all agents of a registry at once, each with a canary in everything that is his: messages, titles, files,
memories, answers, notes. A model that calls every tool and hands on all that it hears answers; a seeded scheduler
interleaves the runs at every await; cancels, lost connections and the process's end are mixed in. Then prompts, events,
rows, log lines, metrics and the application's modules are searched for canaries that are not where they belong.

It runs the application's own code, tools included, in this process: give it an application whose tools reach nothing
that they should not change.
"""

import asyncio
import gc
import logging
import os
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from netra_apex.agents import AgentRegistry
from netra_apex.testing.leaks.canaries import Crowd
from netra_apex.testing.leaks.curious import identities
from netra_apex.testing.leaks.interleaving import Interleaving
from netra_apex.testing.leaks.placing import where_kept, where_of
from netra_apex.testing.leaks.report import Finding, LeakReport
from netra_apex.testing.leaks.rounds import LogLines, Rounds
from netra_apex.testing.leaks.state import Kept, kept, modules_of, tools_of

__all__ = ["Finding", "LeakReport", "leaktest"]

USERS = 10
MANY = 150


def leaktest(registry: AgentRegistry, *, users: int = USERS, seed: int = 0, **settings: Any) -> LeakReport:
    """Plays the registry's agents with so many users; a report without findings is what to hope for.

    The same seed weaves the same way, as far as threads and the clock let it. `settings` are those of `Settings`. It
    runs an event loop of its own, so it is called from plain code, such as a test that is not async.

    Raises:
        ValueError: fewer than two users, between whom nothing could leak.
    """
    if users < 2:
        raise ValueError("a leak needs two users")
    crowd, weave, report = Crowd(users, seed), Interleaving(seed), LeakReport(users=users, seed=seed)
    _look_at_identities(registry, report)
    with tempfile.TemporaryDirectory(prefix="netra-leaks-") as home, _logged() as log:
        rounds = Rounds(registry, crowd, weave, report, Path(home), settings)

        async def main() -> None:
            weave.install(asyncio.get_running_loop())
            await rounds.play()

        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(main())
        _look_at_rows(Path(home) / "netra.db", crowd, report)
        _look_at_log(log.lines, crowd, report)
    gc.collect()
    _look_at_state(registry, crowd, report)
    return report


@contextmanager
def _logged() -> Generator[LogLines]:
    handler, root = LogLines(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)


def _look_at_identities(registry: AgentRegistry, report: LeakReport) -> None:
    for agent, tool in tools_of(registry):
        for name in identities(tool.spec):
            at = where_of(tool.function)
            said = f"the model says for whom it acts, by {name!r}: take it from scope.context.user_id"
            path, line = (None, None) if at is None else at
            report.add(
                Finding(
                    kind="identity", agent=agent, where=tool.name, message=said, seed=report.seed, path=path, line=line
                )
            )


def _look_at_rows(path: Path, crowd: Crowd, report: LeakReport) -> None:
    if not path.exists():
        return  # on a database of the settings, whose rows are others' too
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [name for (name,) in database.execute("select name from pragma_table_info(?)", (table,))]
            owners = columns.index("user_id") if "user_id" in columns else None
            for row in database.execute(f'select * from "{table}"'):  # noqa: S608 - a name that the database gave
                report.rows += 1
                owner = None if owners is None else crowd.of(row[owners])
                other = crowd.foreign(" ".join(_text(value) for value in row), owner)
                if other is not None:
                    whose = (other.user_id, "nobody" if owner is None else owner.user_id)
                    said = "a row of one user holds what is another's"
                    report.add(Finding(kind="row", where=table, message=said, users=whose, seed=report.seed))


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _look_at_log(lines: list[str], crowd: Crowd, report: LeakReport) -> None:
    for line in lines:
        report.log_lines += 1
        owners = crowd.owners(line)
        named = [person for person in crowd.people if f"'{person.user_id}'" in line]
        if len({*owners, *(named if owners else ())}) > 1:
            whose = tuple(person.user_id for person in dict.fromkeys((*owners, *named)))[:2]
            said = "a line about one user holds what is another's"
            report.add(Finding(kind="log", where="log", message=said, users=whose, seed=report.seed))


def _look_at_state(registry: AgentRegistry, crowd: Crowd, report: LeakReport) -> None:
    modules = modules_of(registry)
    for found in kept(modules, crowd):
        searched = (found.module,) if found.module is not os else modules
        places = (where_kept(module, found.name, found.attribute) for module in searched)
        at = next((place for place in places if place is not None), None)
        finding = Finding(
            kind="state",
            agent=_agent_of(registry, found),
            where=f"{found.module.__name__}.{found.path}",
            message="it keeps a user's words where every user's runs can reach them, and not under the user's id",
            users=(found.whose.user_id, "everybody"),
            seed=report.seed,
            path=None if at is None else at.path,
            line=None if at is None else at.line,
        )
        report.add(finding, like=f"{found.module.__name__}.{found.name}")


def _agent_of(registry: AgentRegistry, found: Kept) -> str | None:
    """The first agent whose methods or tools name the global."""
    for agent, tool in tools_of(registry):
        if _names(tool.function, found):
            return agent
    for name in registry.names:
        if any(_names(value, found) for value in vars(registry.get(name)).values()):
            return name
    return None


def _names(function: object, found: Kept) -> bool:
    return (
        isinstance(function, FunctionType)
        and function.__module__ == found.module.__name__
        and found.name in function.__code__.co_names
    )
