"""What administrators do, on both databases: only they, only with a row in the audit, which nobody changes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, opened, raw

from netra_apex.core.administration import OPERATOR, Actor
from netra_apex.core.runs import RunStatus
from netra_apex.errors import Forbidden, Invalid, NotFound, StoreError
from netra_apex.stores import Stores
from netra_apex.stores.sqlite import SQLite

ADMIN = frozenset({"admin"})
ROOT = Actor(user_id="root", permissions=ADMIN)
NOBODYS = ("list_users", "list_runs", "read_audit", "watch", "drain_process", "resume_process")


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await stores.accounts.add_user("root", "h", ADMIN)
            await stores.accounts.add_user("second", "h", ADMIN)
            await stores.accounts.add_user("ada", "h", frozenset({"orders:read"}))
            await stores.processes.enter("exe_tests", 1, {})
            await main(stores)

    run(bounded(), limit=60)


async def actions(stores: Stores) -> list[tuple[str, str, str | None]]:
    rows = await raw(stores, "select actor, action, subject from audit order by at, audit_id")
    return [(row[0], row[1], row[2]) for row in rows]


def each_of(stores: Stores, run_id: str) -> dict[str, Callable[[Actor], Awaitable[object]]]:
    there = stores.administration
    return {
        "list_users": lambda actor: there.users(actor),
        "disable_user": lambda actor: there.set_disabled(actor, "ada", disabled=True),
        "enable_user": lambda actor: there.set_disabled(actor, "ada", disabled=False),
        "list_runs": lambda actor: there.runs(actor),
        "cancel_run": lambda actor: there.cancel_run(actor, run_id),
        "read_audit": lambda actor: there.audit(actor),
        "watch": lambda actor: there.look(actor, "watch", {}),
        "show_run": lambda actor: there.show_run(actor, run_id),
        "read_events": lambda actor: there.read_events(actor, run_id),
        "drain_process": lambda actor: there.drain(actor, "exe_tests", draining=True),
        "resume_process": lambda actor: there.drain(actor, "exe_tests", draining=False),
    }


def test_each_access_leaves_one_row_and_the_run_that_made_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, "ada")
        actor = Actor(user_id="root", permissions=ADMIN, run_id="run_of_root")
        for action, ask in each_of(stores, accepted.run_id).items():
            before = Counter(await actions(stores))
            await ask(actor)
            ((last, count),) = (Counter(await actions(stores)) - before).items()
            assert count == 1
            assert last[:2] == ("root", action)
            assert last[2] == (None if action in NOBODYS else "ada")
        entries = (await stores.administration.audit(actor, limit=200)).items
        assert {entry.run_id for entry in entries} == {"run_of_root"}
        cancelled = next(entry for entry in entries if entry.action == "cancel_run")
        assert cancelled.details == {"run_id": accepted.run_id, "status": "queued"}

    with_stores(tmp_path, main)


@pytest.mark.parametrize(
    "actor",
    [
        Actor(user_id="ada", permissions=frozenset({"orders:read"})),
        Actor(user_id="ada", permissions=ADMIN),  # whose account has it not, or no more
        Actor(user_id="root", permissions=frozenset()),  # whose context was narrowed
        Actor(user_id="root", permissions=frozenset({"admin:all", "administrator"})),
        Actor(user_id="nobody-there", permissions=ADMIN),
    ],
    ids=lambda actor: f"{actor.user_id}-{'-'.join(sorted(actor.permissions))}",
)
def test_whoever_is_no_administrator_sees_and_changes_nothing(tmp_path: Path, actor: Actor) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, "ada")
        for ask in each_of(stores, accepted.run_id).values():
            with pytest.raises(Forbidden):
                await ask(actor)
        assert await actions(stores) == []
        user = await stores.accounts.user("ada")
        assert user is not None
        assert not user.disabled
        assert await stores.runs.cancels_requested() == ()

    with_stores(tmp_path, main)


def test_a_disabled_administrator_is_none(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await stores.administration.set_disabled(Actor(user_id="second", permissions=ADMIN), "root", disabled=True)
        with pytest.raises(Forbidden):
            await stores.administration.users(ROOT)

    with_stores(tmp_path, main)


def test_without_its_row_nothing_is_done_and_nothing_shown(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, "ada")
        await raw(stores, "alter table audit rename to gone")
        for ask in each_of(stores, accepted.run_id).values():
            with pytest.raises(StoreError):
                await ask(ROOT)
        user = await stores.accounts.user("ada")
        assert user is not None
        assert not user.disabled
        assert await stores.runs.cancels_requested() == ()

    with_stores(tmp_path, main)


def test_what_is_refused_leaves_no_row(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        with pytest.raises(NotFound):
            await stores.administration.set_disabled(ROOT, "eve", disabled=True)
        for name in ("", "\x00", "\ud800", "a b"):
            with pytest.raises(NotFound):
                await stores.administration.set_disabled(ROOT, name, disabled=True)
        for run_id in ("run_none", "\x00", "\ud800"):
            with pytest.raises(NotFound):
                await stores.administration.cancel_run(ROOT, run_id)
        with pytest.raises(Invalid):
            await stores.administration.set_disabled(ROOT, "ROOT", disabled=True)
        with pytest.raises(Invalid):
            await stores.administration.users(ROOT, cursor="nonsense")
        assert await actions(stores) == []

    with_stores(tmp_path, main)


def test_of_two_administrators_who_disable_one_another_at_once_one_is_left(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        second = Actor(user_id="second", permissions=ADMIN)
        async with opened(tmp_path) as other:
            for _ in range(10):
                came = await asyncio.gather(
                    stores.administration.set_disabled(ROOT, "second", disabled=True),
                    other.administration.set_disabled(second, "root", disabled=True),
                    return_exceptions=True,
                )
                assert sorted(type(each).__name__ for each in came) == ["Forbidden", "User"]
                assert await stores.accounts.has_admin()
                for name in ("root", "second"):
                    await stores.accounts.set_disabled(name, disabled=False)

    with_stores(tmp_path, main)


def test_disabling_ends_the_logins_and_enabling_lets_in_again(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        changes: list[None] = []
        stores.administration.on_changed = lambda: changes.append(None)
        done = await stores.administration.set_disabled(ROOT, "Ada", disabled=True)
        assert (done.user_id, done.disabled) == ("ada", True)
        assert await stores.accounts.password_hash("ada") is None
        assert not (await stores.administration.set_disabled(ROOT, "ada", disabled=False)).disabled
        assert await stores.accounts.password_hash("ada") == "h"
        assert len(changes) == 2

    with_stores(tmp_path, main)


def test_a_cancel_is_asked_for_as_the_operators_is(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, "ada")
        run = await stores.administration.cancel_run(ROOT, accepted.run_id)
        assert (run.user_id, run.status) == ("ada", RunStatus.QUEUED)
        assert await stores.runs.cancels_requested() == ((accepted.run_id, OPERATOR),)

    with_stores(tmp_path, main)


def test_lists_come_in_pages_that_are_complete(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        there = stores.administration
        runs = [(await accept(stores, "ada")).run_id for _ in range(5)]
        for ask in (there.users, there.runs):
            seen, cursor = [], None
            while True:
                page = await ask(ROOT, limit=2, cursor=cursor)
                seen += page.items
                if (cursor := page.next_cursor) is None:
                    break
            if ask == there.users:
                assert [user.user_id for user in seen] == ["ada", "root", "second"]
            else:
                assert sorted(run.run_id for run in seen) == sorted(runs)
        assert len((await there.runs(ROOT, statuses=[RunStatus.QUEUED])).items) == 5
        assert (await there.runs(ROOT, statuses=[RunStatus.FAILED, RunStatus.COMPLETED])).items == ()
        first = await there.audit(ROOT, limit=3)
        rest = await there.audit(ROOT, limit=50, cursor=first.next_cursor)
        ids = [entry.audit_id for entry in (*first.items, *rest.items)]
        assert len(ids) == len(set(ids)) == 7
        assert ids == sorted(ids, reverse=True)

    with_stores(tmp_path, main)


@pytest.mark.parametrize("statement", ["update audit set actor = 'eve'", "delete from audit"])
def test_the_audit_is_only_added_to(tmp_path: Path, statement: str) -> None:
    async def main(stores: Stores) -> None:
        await stores.administration.users(ROOT)
        for user in (None, "root", "ada"):
            if isinstance(stores.database, SQLite):
                with pytest.raises(StoreError, match="only added to"):
                    await stores.database.write(lambda tx: tx.run(statement, {}), user=user, alone=True)
            else:  # as the tables' owner, who finds nothing to change; a role that serves is not even allowed to
                assert await stores.database.write(lambda tx: tx.run(statement, {}), user=user, alone=True) == 0
        assert [row[:2] for row in await actions(stores)] == [("root", "list_users")]

    with_stores(tmp_path, main)


def test_nobody_writes_a_row_in_anothers_name(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        if isinstance(stores.database, SQLite):
            return  # which has no roles to hold anybody to this
        forged = "insert into audit (audit_id, at, actor, action, details) values ('adt_1', 1, 'root', 'x', '{}')"
        for user in (None, "ada", "second"):
            with pytest.raises(StoreError, match="row-level security"):
                await stores.database.write(lambda tx: tx.run(forged, {}), user=user, alone=True)
        await stores.administration.users(ROOT)
        for user in (None, "ada"):
            assert await stores.database.read(lambda tx: tx.all("select * from audit", {}), user=user) == []

    with_stores(tmp_path, main)


def test_an_overview_is_for_administrators_and_is_no_row(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, "ada", "my own words")
        overview = await stores.administration.overview(ROOT)
        assert [state.run.run_id for state in overview.runs] == [accepted.run_id]
        ((load),) = overview.loads
        assert (load.user_id, load.queued + load.running, load.waiting) == ("ada", 1, 0)
        ((process),) = overview.processes
        assert (process.executor, process.silent_ms, process.draining) == ("exe_tests", 0, False)
        assert [(each.kind, each.executor) for each in overview.incidents] == [("started", "exe_tests")]
        for stranger in (Actor(user_id="ada", permissions=ADMIN), Actor(user_id="root", permissions=frozenset())):
            with pytest.raises(Forbidden):
                await stores.administration.overview(stranger)
            assert not await stores.administration.is_administrator(stranger)
        assert await stores.administration.is_administrator(ROOT)
        assert await actions(stores) == []

    with_stores(tmp_path, main)


def test_a_process_is_asked_to_drain_and_hears_of_it_with_its_next_report(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        processes = stores.processes
        assert await processes.report("exe_tests", 1, {"pid": 7}) is False
        assert (await stores.administration.drain(ROOT, "exe_tests", draining=True)).figures == {"pid": 7}
        assert await processes.report("exe_tests", 1, {"pid": 8}) is True
        assert await processes.is_asked_to_drain("exe_tests")
        with pytest.raises(NotFound):
            await stores.administration.drain(ROOT, "exe_none", draining=True)
        await processes.lost("exe_tests", 3)
        assert await processes.known() == frozenset()
        incidents = (await stores.administration.overview(ROOT)).incidents
        assert {(each.kind, each.runs) for each in incidents} == {("started", 0), ("lost", 3)}

    with_stores(tmp_path, main)
