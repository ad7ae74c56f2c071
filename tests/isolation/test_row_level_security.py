"""A forgotten owner predicate leaks nothing on Postgres: shown by statements that go past the stores (G5).

Three ways in which this process may act there: the role that owns the tables, on which row-level security is forced;
the restricted role that `netra db upgrade --admin-url` makes; and netra_app, which a superuser's connections act as.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from tests.support.bounded import run
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.stores import accept, context_of, stamped

from netra_apex.core.belongings import NewFile
from netra_apex.core.budgets import Bill, Bound, Limits, Reservation
from netra_apex.core.events import AgentFailed, AgentStarted, ApprovalRequested, QuestionAsked
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import Usage, UserMessage
from netra_apex.settings import Settings
from netra_apex.stores import open_stores
from netra_apex.stores.connecting import RESTRICTED, Server
from netra_apex.stores.roles import unprotected
from netra_apex.stores.upgrading import upgrade

# Accounts, and the ids, states and times of runs: what the system works on by itself. No content of anybody's.
OPERATIONAL = {"users", "sessions", "spent_tokens", "setup_token", "runs", "workers", "commits", "schema_migrations"}
OPERATIONAL |= {"api_keys"}  # looked up by their hash, before it is known whose they are
OPERATIONAL |= {"audit"}  # which has rules of its own: tests/unit/stores/test_administration.py
OPERATIONAL |= {"incidents"}  # what became of processes
OPERATIONAL |= {"day_parts"}  # what everybody's day has come to, naming nobody
CONTENT = (
    "threads",
    "messages",
    "events",
    "transcripts",
    "idempotency",
    "steps",
    "approvals",
    "charges",
    "questions",
    "credentials",
    "usage_by_day",
    "files",
    "file_chunks",
    "memories",
    "memory_words",
    "openings",
)
PEOPLE = ("ada", "bob")
WAYS = ("owner", "restricted", "superuser")
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)


@dataclass(frozen=True, slots=True)
class Way:
    """How to connect as this process does."""

    name: str
    url: str
    role: str | None

    async def connect(self) -> Any:
        return await Server(self.url, role=self.role).connect()


@pytest.fixture(scope="module")
def place(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database() as database:
        yield database


@pytest.fixture(scope="module")
def ways(place: Database) -> Iterator[dict[str, Way]]:
    """A database in which ada and bob have a row in every table, and the ways into it."""
    name, word = f"app_{secrets.token_hex(6)}", secrets.token_hex(8)
    url = f"postgresql://{name}:{word}@{place.url.rpartition('@')[2]}"
    run(upgrade(Server(place.url)))
    run(upgrade(Server(url), Server(place.admin_url)))
    run(upgrade(Server(place.admin_url)))
    run(filled(place.url))
    sql(place.admin_url, "analyze")
    yield {
        "owner": Way("owner", place.url, None),
        "restricted": Way("restricted", url, None),
        "superuser": Way("superuser", place.admin_url, RESTRICTED),
    }
    sql(place.admin_url, f"drop owned by {name}, {RESTRICTED}", f"drop role {name}")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, ways: dict[str, Way]) -> Way:
    return ways[request.param]


async def filled(url: str) -> None:
    async with open_stores(Settings(database_url=url), secret="x" * 40) as stores:
        for user in PEOPLE:
            accepted = await accept(stores, user, f"{user}'s secret", idempotency_key="the same key")
            context = context_of(accepted, user)
            step = Step(key="0001", kind="step", name="look", digest="d", state="finished", result=f"{user}'s")
            asked = ApprovalRequested(
                approval_id=new_id("apr"),
                call_id="call_1",
                tool="pay",
                arguments={"to": f"{user}'s"},
                expires_at="2100-01-01T00:00:00.000Z",
            )
            question = QuestionAsked(question_id=new_id("que"), call_id="call_2", text=f"{user}'s?")
            await stores.runs.append(context, stamped(AgentStarted(task=f"{user}'s task"), asked, question), [step])
            await stores.runs.keep_transcript(context, [UserMessage(f"{user}'s secret")])
            await stores.memories.remember(user, f"{user}'s secret")
            new = NewFile(file_id=new_id("fil"), name=f"{user}'s file", media_type="text/csv")
            await stores.files.add_file(user, context.thread_id, new, content(user))
            wanted = Reservation(user_id=user, run_id=context.run_id, key="2", epoch=1, usage=Usage(10, 10, 1))
            assert await stores.budgets.reserve(wanted, Limits(user=Bound(tokens=100))) is None
            other = await accept(stores, user, "and this", before=(UserMessage(f"{user}'s secret"),))
            ending = AgentFailed(code="agent_error", message="it broke", retryable=False)
            bill = Bill(usage=Usage(1, 1, 1), charged=False)
            await stores.runs.append(context_of(other, user), stamped(ending), bill=bill)
            await stores.credentials.put(user, "github", "there", f"{user}'s secret")


async def content(user: str) -> AsyncIterator[bytes]:
    yield f"{user}'s secret".encode()


@asynccontextmanager
async def acting(way: Way, user: str | None) -> AsyncIterator[Any]:
    """A connection in a transaction on behalf of somebody, which is undone; None: of nobody, who was never named."""
    connection = await way.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        if user is not None:
            await connection.execute("select set_config('app.user_id', $1, true)", user)
        yield connection
        await transaction.rollback()
    finally:
        await connection.close()


def tries(way: Way, user: str | None, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """What some work gives, on behalf of this user."""

    async def main() -> Any:
        async with acting(way, user) as connection:
            return await work(connection)

    return run(main())


def owners(way: Way, user: str | None, statement: str, *values: Any) -> set[str]:
    """The users whose rows a statement gives."""
    return {row[0] for row in tries(way, user, lambda connection: connection.fetch(statement, *values))}


def changed(way: Way, user: str | None, statement: str) -> int:
    """How many rows a statement changes."""
    return int(tries(way, user, lambda connection: connection.execute(statement)).rpartition(" ")[2])


async def refused(connection: Any, statement: str) -> bool:
    """Whether a statement is refused; what is done after it is done as if it had not been tried."""
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except asyncpg.PostgresError:
        return True
    return False


def test_what_the_tests_look_at_is_there(place: Database, ways: dict[str, Way]) -> None:
    for table in CONTENT:
        assert {row[0] for row in sql(place.admin_url, f"select user_id from {table}")} == set(PEOPLE), table


@pytest.mark.parametrize("table", CONTENT)
def test_without_a_where_one_sees_ones_own(way: Way, table: str) -> None:
    assert owners(way, "ada", f"select user_id from {table}") == {"ada"}
    assert owners(way, "ada", f"table {table}") >= {"ada"}
    assert tries(way, "ada", lambda c: c.fetchval(f"select count(*) from {table} where user_id <> 'ada'")) == 0


@pytest.mark.parametrize("table", CONTENT)
def test_nobody_sees_nothing(way: Way, table: str) -> None:
    for user in (None, "", " ", "%", "ADA", "ada ", "ada' or true --"):
        assert owners(way, user, f"select user_id from {table}") == set(), user


@pytest.mark.parametrize("table", CONTENT)
def test_somebody_elses_rows_are_not_found_changed_or_deleted(way: Way, table: str) -> None:
    assert owners(way, "ada", f"select user_id from {table} where user_id = 'bob'") == set()
    assert changed(way, "ada", f"update {table} set user_id = user_id where user_id = 'bob'") == 0
    assert changed(way, "ada", f"delete from {table} where user_id = 'bob'") == 0
    for user in (None, ""):
        assert changed(way, user, f"update {table} set user_id = user_id") == 0
        assert changed(way, user, f"delete from {table}") == 0
    # Without a predicate one's own are changed, and these alone.
    mine = tries(way, "ada", lambda c: c.fetchval(f"select count(*) from {table}"))
    assert changed(way, "ada", f"update {table} set user_id = user_id") == mine > 0


@pytest.mark.parametrize("table", CONTENT)
def test_nothing_is_written_for_somebody_else_or_for_nobody(way: Way, table: str, place: Database) -> None:
    columns = [
        row[0]
        for row in sql(
            place.admin_url,
            f"select attname from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 order by attnum",
        )
    ]
    others = ", ".join(columns[1:])
    copied = f"insert into {table} ({columns[0]}, {others}) select $1, {others} from {table}"

    async def writes(connection: Any, owner: str, statement: str) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="violates row-level security"):
            async with connection.transaction():
                await connection.execute(statement, owner)

    tries(way, "ada", lambda c: writes(c, "bob", copied))
    tries(way, "ada", lambda c: writes(c, "bob", f"update {table} set user_id = $1"))
    values = ", ".join("null" for _ in columns[1:])
    for user in (None, ""):
        for owner in ("", "ada"):
            tries(way, user, lambda c, owner=owner: writes(c, owner, f"insert into {table} values ($1, {values})"))


@pytest.mark.parametrize("table", CONTENT)
def test_no_detour_leads_to_somebody_elses_rows(way: Way, table: str) -> None:
    async def looks(connection: Any) -> None:
        await connection.execute(f"create temp view seen as select * from {table}")
        await connection.execute(
            f"create function pg_temp.everybody() returns setof text language sql security definer"
            f" set search_path = public, pg_temp as 'select user_id from {table}'"
        )
        await connection.execute(
            "create function pg_temp.leaky(text) returns boolean language plpgsql cost 0.0000001"
            " as $$ begin raise notice 'saw %', $1; return true; end $$"
        )
        noticed: list[str] = []
        connection.add_log_listener(lambda _, message: noticed.append(message.message))
        for statement in (
            "select user_id from seen",
            "select * from pg_temp.everybody()",
            f"select user_id from {table} where pg_temp.leaky(user_id)",
            f"select other.user_id from {table} mine join {table} other on true",
            f"select content.user_id from runs left join {table} content using (user_id)",
            f"select user_id from runs where exists (select 1 from {table} t where t.user_id = runs.user_id)",
            f"with recursive r as (select user_id from {table} union select t.user_id from {table} t, r) table r",
            f"select user_id from {table} for share",
            f"select user_id from (select * from {table} offset 0) x union all select user_id from {table}",
        ):
            assert {row[0] for row in await connection.fetch(statement)} <= {"ada", None}, statement
        assert noticed == [f"saw {row[0]}" for row in await connection.fetch(f"select user_id from {table}")]
        statistics = (
            f"select most_common_vals::text || histogram_bounds::text from pg_stats where tablename = '{table}'"
        )
        assert await connection.fetch(statistics) == []

    tries(way, "ada", looks)


def test_rows_are_not_copied_out_either(way: Way) -> None:
    async def copies(connection: Any) -> bytes:
        found = bytearray()

        async def keep(piece: bytes) -> None:
            found.extend(piece)

        await connection.copy_from_table("messages", output=keep)
        return bytes(found)

    text = tries(way, "ada", copies)
    assert b"ada's secret" in text
    assert b"bob" not in text


def test_after_the_transaction_its_connection_has_nobody(way: Way) -> None:
    async def main() -> None:
        connection = await way.connect()
        try:
            for end in ("commit", "rollback"):
                await connection.execute(f"begin; set local app.user_id = 'ada'; select 1 from messages; {end}")
                for table in CONTENT:
                    assert await connection.fetch(f"select 1 from {table}") == []
            # A transaction that names nobody after one that named somebody, as the system's own does.
            await connection.execute("begin; set local app.user_id = ''")
            assert await connection.fetch("select 1 from messages") == []
            await connection.execute("rollback")
        finally:
            await connection.close()

    run(main())


def test_a_savepoint_that_is_undone_gives_the_user_back(way: Way) -> None:
    async def work(connection: Any) -> None:
        await connection.execute("savepoint s; set local app.user_id = 'bob'; rollback to s")
        assert {row[0] for row in await connection.fetch("select user_id from messages")} == {"ada"}

    tries(way, "ada", work)


@pytest.mark.parametrize("table", CONTENT)
def test_row_security_cannot_be_turned_off_for_a_statement(way: Way, table: str) -> None:
    async def work(connection: Any) -> None:
        await connection.execute("set local row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="affected by row-level security"):
            await connection.fetch(f"select 1 from {table}")

    tries(way, "ada", work)


WEAKENING = (
    "alter table {table} disable row level security",
    "alter table {table} no force row level security",
    "drop policy owner on {table}",
    "create policy everybody on {table} using (true)",
    "alter policy owner on {table} using (true)",
    "alter table {table} owner to current_user",
    "truncate {table} cascade",
    "create rule r as on select to {table} do instead select 1",
    "drop table {table} cascade",
)
ESCAPES = ("set role postgres", "set session authorization postgres", "alter role current_user bypassrls")


@pytest.mark.parametrize("name", ["restricted", "superuser"])
@pytest.mark.parametrize("table", CONTENT)
def test_a_role_that_does_not_own_the_tables_cannot_open_them(ways: dict[str, Way], name: str, table: str) -> None:
    async def work(connection: Any) -> list[str]:
        statements = [statement.format(table=table) for statement in WEAKENING]
        return [statement for statement in statements if not await refused(connection, statement)]

    assert tries(ways[name], "ada", work) == []


@pytest.mark.parametrize("name", ["restricted", "owner"])
def test_a_login_of_its_own_cannot_become_another_role(ways: dict[str, Way], name: str) -> None:
    async def work(connection: Any) -> list[str]:
        return [statement for statement in ESCAPES if not await refused(connection, statement)]

    assert tries(ways[name], "ada", work) == []


def test_what_weaker_ways_may_do_is_what_the_documents_say(ways: dict[str, Way]) -> None:
    """The owner may open its tables, and a superuser's connection may stop acting as netra_app: statements of ours do
    neither, and somebody who could slip in statements of his own could do both."""

    async def opens(connection: Any) -> set[str]:
        await connection.execute("alter table messages no force row level security")
        return {row[0] for row in await connection.fetch("select user_id from messages")}

    async def becomes(connection: Any) -> set[str]:
        await connection.execute("reset role; set local role none")
        await connection.execute("set local role postgres")
        return {row[0] for row in await connection.fetch("select user_id from messages")}

    assert tries(ways["owner"], "ada", opens) == set(PEOPLE)
    assert tries(ways["superuser"], "ada", becomes) == set(PEOPLE)


def test_users_at_once_on_one_pool_see_their_own_rows_alone(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the stores' own database, with a statement that forgot its owner, interleaved and cancelled."""

    async def main() -> None:
        async with open_stores(Settings(database_url=way.url)) as stores:
            both = asyncio.Barrier(len(PEOPLE))

            def looks(user: str, *, meet: bool) -> Any:
                async def job(tx: Any) -> set[str]:
                    first = await tx.all("select user_id from messages", {})
                    if meet:
                        await both.wait()
                    return {row[0] for row in [*first, *await tx.all("select user_id from events", {})]}

                return stores.database.read(job, user=user)

            assert await asyncio.gather(*(looks(user, meet=True) for user in PEOPLE)) == [{user} for user in PEOPLE]
            asked = [(user, asyncio.ensure_future(looks(user, meet=False))) for user in PEOPLE * 50]
            for _, each in asked[::3]:
                each.cancel()
            await asyncio.wait([each for _, each in asked])
            assert all(each.cancelled() or each.result() == {user} for user, each in asked)

    run(main())


# The schema


def test_every_table_is_operational_or_stands_under_row_level_security(place: Database, ways: dict[str, Way]) -> None:
    found = sql(
        place.admin_url,
        "select relname, relrowsecurity and relforcerowsecurity, array("
        "    select concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid),"
        "                     pg_get_expr(polwithcheck, polrelid)) from pg_policy where polrelid = pg_class.oid)"
        " from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
    )
    policy = "* t (user_id = NULLIF(current_setting('app.user_id'::text, true), ''::text))"
    guarded = {name: (forced, policies) for name, forced, policies in found if name not in OPERATIONAL}
    assert guarded == dict.fromkeys(CONTENT, (True, [policy]))
    assert {row[0] for row in found} >= OPERATIONAL


def test_every_key_of_what_people_say_begins_with_its_owner(place: Database, ways: dict[str, Way]) -> None:
    found = sql(
        place.admin_url,
        "select conrelid::regclass::text, attname from pg_constraint"
        " join pg_attribute on attrelid = conrelid and attnum = conkey[1] where contype = 'p'",
    )
    assert {table: column for table, column in found if table in CONTENT} == dict.fromkeys(CONTENT, "user_id")


def test_nothing_else_shows_rows_of_these_tables(place: Database, ways: dict[str, Way]) -> None:
    public = "relnamespace = 'public'::regnamespace"
    assert sql(place.admin_url, f"select relname from pg_class where relkind in ('v', 'm', 'f') and {public}") == []
    assert sql(place.admin_url, "select proname from pg_proc where pronamespace = 'public'::regnamespace") == []
    assert sql(place.admin_url, "select tgname from pg_trigger where not tgisinternal") == []


def test_every_child_names_its_parent_by_owner_and_id_together(place: Database, ways: dict[str, Way]) -> None:
    found = sql(
        place.admin_url,
        "select conrelid::regclass::text, confrelid::regclass::text, confdeltype::text,"
        " array(select attname::text from unnest(conkey) with ordinality as key (number, at)"
        "       join pg_attribute on attrelid = conrelid and attnum = number order by at)"
        " from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace",
    )
    parents = {
        child: parent
        for child, parent, on_delete, columns in found
        if on_delete == "c" and columns[0] == "user_id" and len(columns) == 2
    }
    # These are their user's, and nothing else's.
    roots = ("threads", "usage_by_day", "credentials")
    elsewhere = {"runs": "threads", "files": "threads", "file_chunks": "files"}
    elsewhere |= {"memory_words": "memories", "openings": "threads"}
    of_runs = {table: "runs" for table in CONTENT if table not in (*roots, "memories")}
    assert parents == of_runs | elsewhere
    # And of accounts, whose id is the owner itself.
    others = {(child, parent) for child, parent, *_ in found} - set(parents.items())
    assert others == {
        ("sessions", "users"),
        ("spent_tokens", "users"),
        ("spent_tokens", "sessions"),
        ("api_keys", "users"),
    }


def test_a_role_that_serves_may_add_to_the_audit_and_never_change_it(ways: dict[str, Way]) -> None:
    async def work(connection: Any) -> None:
        add = "insert into audit (audit_id, at, actor, action, details) values ('adt_1', 1, 'ada', 'look', '{}')"
        await connection.execute(add)
        for statement in ("update audit set actor = 'bob'", "delete from audit", "truncate audit"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(statement)

    for name in ("restricted", "superuser"):
        tries(ways[name], "ada", work)


@pytest.mark.parametrize(
    "damage",
    [
        "alter table steps no force row level security",
        "alter table steps disable row level security",
        "drop policy owner on steps",
        "create policy everybody on steps using (true)",
        "create policy everybody on steps for insert with check (true)",
    ],
)
def test_the_doctor_sees_a_table_that_is_not_guarded(place: Database, ways: dict[str, Way], damage: str) -> None:
    async def main() -> None:
        async with acting(ways["owner"], None) as connection:
            assert await unprotected(connection) == ()
            await connection.execute(damage)
            assert await unprotected(connection) == ("steps",)

    run(main())
