"""The Postgres schema, who owns it, and who serves from it."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import structlog
from tests.support.bounded import run
from tests.support.postgres import HOST, Database, PostgresServer, sql
from tests.support.relay import relay

from netra_apex.errors import ConfigurationError, StoreError
from netra_apex.settings import Settings
from netra_apex.stores import open_stores, statements, upgrading
from netra_apex.stores.connecting import Server
from netra_apex.stores.roles import identifier
from netra_apex.stores.statements import Migration, content_tables, migrations, tables
from netra_apex.stores.upgrading import prepared, upgrade, upgrade_file

ALL = tuple(each.label for each in migrations("postgres"))
LAST = max(each.version for each in migrations("postgres"))


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Database]:
    """A database and the role that owns it."""
    with postgres.database() as database:
        yield database


class Roles:
    """Makes roles of a server, which are gone after the test, with all that is theirs in its database."""

    def __init__(self, place: Database) -> None:
        self._place = place
        self._names: list[str] = []

    def name(self, stem: str = "app") -> str:
        """A name that no other test has; dropped in the end, whoever makes the role."""
        self._names.append(name := f"{stem}_{secrets.token_hex(6)}")
        return name

    def made(self, attributes: str = "login", *, password: str = "a word") -> str:
        """A role with these attributes."""
        sql(self._place.admin_url, f"create role {(name := self.name())} {attributes} password '{password}'")
        return name

    def url(self, name: str, password: str | None = "a word") -> str:
        """The address of the test's database for a role."""
        word = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{quote(name, safe='')}{word}@{self._place.url.rpartition('@')[2]}"

    def drop(self) -> None:
        """Drops all of them."""
        there = {row[0] for row in sql(self._place.admin_url, "select rolname from pg_roles")}
        for name in (identifier(name) for name in self._names if name in there):
            sql(
                self._place.admin_url,
                f"reassign owned by {name} to postgres",
                f"drop owned by {name}",
                f"drop role {name}",
            )


@pytest.fixture
def roles(place: Database) -> Iterator[Roles]:
    made = Roles(place)
    yield made
    made.drop()


def up(url: str, admin_url: str | None = None, **how: bool) -> tuple[str, ...]:
    return run(upgrade(Server(url), None if admin_url is None else Server(admin_url), **how))


def refused(url: str, admin_url: str | None = None, kind: type[Exception] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        up(url, admin_url)
    return str(caught.value)


def unprepared(url: str, *, upgrading: bool) -> str:
    with pytest.raises(StoreError) as caught:
        run(prepared(Server(url), upgrading=upgrading))
    return str(caught.value)


def applied(place: Database) -> list[int]:
    (there,) = sql(place.admin_url, "select to_regclass('schema_migrations') is not null")[0]
    return [row[0] for row in sql(place.admin_url, "select version from schema_migrations order by 1")] if there else []


def serves(url: str) -> None:
    """Somebody's account is made, and read."""

    async def main() -> None:
        async with open_stores(Settings(database_url=url), upgrading=False) as stores:
            name = f"ada{secrets.token_hex(4)}"
            await stores.accounts.add_user(name, "hash", frozenset())
            assert (await stores.accounts.user(name)) is not None

    run(main())


def with_more(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    """As a newer version is, which knows more migrations."""
    known = migrations("postgres")

    def newer(dialect: str = "sqlite") -> tuple[Migration, ...]:
        return (*known, *more) if dialect == "postgres" else migrations("sqlite")

    monkeypatch.setattr(upgrading, "migrations", newer)
    monkeypatch.setattr(statements, "migrations", newer)


def a_table(version: int, phase: Any = "expand", name: str = "more", script: str = "") -> Migration:
    return Migration(version, phase, name, script or f"create table {name} (user_id text primary key);")


def test_the_owner_of_a_database_brings_it_up_to_date_and_a_second_time_changes_nothing(place: Database) -> None:
    assert up(place.url) == ALL
    assert up(place.url) == ()
    assert applied(place) == list(range(1, LAST + 1))
    serves(place.url)


def test_of_upgrades_that_come_together_one_does_it_and_the_others_find_it_done(place: Database) -> None:
    async def main() -> list[tuple[str, ...]]:
        servers = [Server(place.url) for _ in range(6)]
        done = asyncio.gather(*(upgrade(server) for server in servers))
        starts = asyncio.gather(*(prepared(server, upgrading=True) for server in servers))
        await starts
        return await done

    done = run(main())
    assert applied(place) == list(range(1, LAST + 1))
    assert sorted(done)[:-1] == [()] * 5


def test_the_tables_that_rights_are_given_on_are_those_that_the_schema_makes(place: Database) -> None:
    up(place.url)
    found = sql(
        place.admin_url,
        "select relname, relrowsecurity from pg_class"
        " where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
    )
    assert {row[0] for row in found} == tables() | {"schema_migrations"}
    assert {row[0] for row in found if row[1]} == content_tables()


@pytest.mark.parametrize(
    ("stem", "password"),
    [
        ("app", "plain"),
        ("app", "it's \\ \"100%\" p@ss:w/ord?#&+ $$ \\'"),
        ("App \"the\" 'first' %41 @ ünï", "Zoë’s пароль ½ \u00a0 ﬁ"),
        ("app", "\u0627\u0628 1"),  # SASLprep refuses it, and it is sent as it is
        ("select", "SCRAM-SHA-256$4096:no$no:no"),
    ],
)
def test_the_admin_makes_a_login_of_any_name_and_password_that_serves(
    place: Database, roles: Roles, postgres: PostgresServer, stem: str, password: str
) -> None:
    name = roles.name(stem)
    assert up(roles.url(name, password), place.admin_url) == ALL
    serves(roles.url(name, password))
    ((kept,),) = sql(place.admin_url, f"select rolpassword from pg_authid where rolname = {asyncpg_text(name)}")
    assert kept.startswith("SCRAM-SHA-256$4096:")
    assert password not in postgres.log()


def asyncpg_text(name: str) -> str:
    doubled = name.replace("'", "''")
    return f"'{doubled}'"


def test_a_login_may_read_and_write_rows_and_nothing_else(place: Database, roles: Roles) -> None:
    url = roles.url(roles.name())
    up(url, place.admin_url)
    refusals = (
        *("create table mine (x int)", "create schema mine", "alter table users add x int", "drop table events"),
        *("truncate users cascade", "create index on users (created_at)", "update schema_migrations set version = 9"),
        *("alter table messages no force row level security", "drop policy owner on messages", "set role postgres"),
        *("delete from schema_migrations", f"alter role {Server(url).address.user} bypassrls", "vacuum full x"),
        *(
            "create role other",
            "create trigger t before insert on users execute function suppress_redundant_updates_trigger()",
        ),
    )
    major = sql(url, "select current_setting('server_version_num')::int / 10000")[0][0]
    passed = [statement for statement in refusals[0 if major >= 15 else 1 :] if not is_refused(url, statement)]
    assert passed == []


def is_refused(url: str, statement: str) -> bool:
    try:
        sql(url, statement)
    except asyncpg.PostgresError:
        return True
    return False


def test_the_admin_may_do_it_again_and_rights_are_given_on_what_is_new(
    place: Database, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = roles.url(roles.name())
    up(url, place.admin_url)
    assert up(url, place.admin_url) == ()
    with_more(monkeypatch, a_table(LAST + 1))
    assert "may not change its schema" in refused(url)
    assert unprepared(url, upgrading=True) == (
        f"the schema of {Server(url)} lacks {LAST + 1:04}_expand_more: run netra db upgrade --admin-url URL"
    )
    # By an admin who names nobody that serves: the new table is his alone.
    up(place.admin_url)
    assert "may not read and write its tables: run netra db upgrade --admin-url URL" in unprepared(url, upgrading=True)
    assert up(url, place.admin_url) == ()
    serves(url)
    sql(url, "insert into more values ('ada')")
    sql(place.admin_url, "drop owned by netra_app")


def test_what_takes_away_waits_until_it_is_asked_for(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    up(place.url)
    gone = a_table(LAST + 1, "contract", "less", "alter table workers drop column seen_at;")
    with_more(monkeypatch, gone, a_table(LAST + 2))
    assert up(place.url) == (f"{LAST + 2:04}_expand_more",)
    serves(place.url)
    assert up(place.url, contract=True) == (f"{LAST + 1:04}_contract_less",)
    assert up(place.url, contract=True) == ()


def test_what_a_newer_version_has_added_does_no_harm_and_what_it_took_away_does(
    place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        with_more(newer, a_table(LAST + 1), a_table(LAST + 2, "contract", "less", "drop table more;"))
        up(place.url)
        newer.undo()
        assert up(place.url) == ()
        serves(place.url)
        with_more(newer, a_table(LAST + 1), a_table(LAST + 2, "contract", "less", "drop table more;"))
        up(place.url, contract=True)
    sentence = f"has schema {LAST + 2}, made by a newer version, which took away what this one uses"
    assert sentence in refused(place.url)
    assert sentence in unprepared(place.url, upgrading=True)


def test_an_upgrade_that_fails_leaves_nothing_behind(
    place: Database, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(monkeypatch, a_table(LAST + 1), a_table(LAST + 2, script="alter table nonesuch add x int;"))
    name = roles.name()
    assert 'refused: relation "nonesuch" does not exist' in refused(roles.url(name), place.admin_url)
    assert applied(place) == []
    assert sql(place.admin_url, f"select 1 from pg_roles where rolname = '{name}'") == []


@pytest.mark.parametrize(
    ("attributes", "then", "reason"),
    [
        ("login superuser", "", "is above row-level security"),
        ("login bypassrls", "", "is above row-level security"),
        ("login createrole", "", "may make and change roles"),
        ("login", "grant {boss} to {name}", "may act as {boss}, who is above row-level security"),
        ("login", "grant {between} to {name}; grant {boss} to {between}", "may act as {boss}, who is above"),
        ("login noinherit", "grant {boss} to {name}", "may act as {boss}, who is above row-level security"),
        ("login", "grant {owner} to {name}", "owns the"),
        ("login", "alter database {database} owner to {name}", "owns the"),
        ("login", "create table events (x int); alter table events owner to {name}", None),
        ("nologin", "", "is there already, and may not log in"),
    ],
)
def test_a_login_that_could_do_more_than_rows_is_refused_and_nothing_is_changed(
    place: Database, roles: Roles, attributes: str, then: str, reason: str | None
) -> None:
    words = {
        "boss": roles.made("nologin superuser"),
        "between": roles.made("nologin"),
        "owner": place.role,
        "database": place.name,
        "name": roles.made(attributes),
    }
    if then:
        sql(place.admin_url, *then.format(**words).split("; "))
    said = refused(roles.url(words["name"]), place.admin_url)
    if reason is None:
        assert 'relation "events" already exists' in said
    else:
        assert f"role {words['name']} {reason.format(**words)}" in said
    assert applied(place) == []


def test_a_login_that_owned_the_tables_before_is_refused_until_they_are_somebody_elses(
    place: Database, roles: Roles
) -> None:
    up(place.url)
    assert f"role {place.role} owns the table" in refused(place.url, place.admin_url)
    sql(place.admin_url, f"reassign owned by {place.role} to postgres")
    assert up(place.url, place.admin_url) == ()
    serves(place.url)
    assert is_refused(place.url, "alter table messages disable row level security")
    sql(place.admin_url, f"alter database {place.name} owner to {place.role}")


def test_a_login_that_is_there_keeps_its_password_and_another_one_is_told(place: Database, roles: Roles) -> None:
    name = roles.made("login", password="the old one")
    said = refused(roles.url(name, "the new one"), place.admin_url)
    assert said.startswith("the schema is up to date, but cannot be served from: the database ")
    assert "password authentication failed" in said
    assert "the new one" not in said
    assert up(roles.url(name, "the old one"), place.admin_url) == ()
    serves(roles.url(name, "the old one"))


def test_a_password_is_in_neither_the_error_nor_the_servers_log_where_a_login_may_not_be_made(
    place: Database, roles: Roles, postgres: PostgresServer
) -> None:
    word = f"word{secrets.token_hex(8)}"
    said = refused(roles.url(roles.name(), word), place.url)
    assert "permission denied to create role" in said
    assert word not in said
    assert word not in postgres.log()
    assert applied(place) == []


def test_the_two_addresses_must_go_together(place: Database, roles: Roles) -> None:
    url = roles.url(roles.name())
    assert "both log in as" in refused(place.url, place.url, ConfigurationError)
    elsewhere = f"{place.admin_url.rpartition('/')[0]}/postgres"
    assert f"{place.name}, and --admin-url postgres" in refused(url, elsewhere, ConfigurationError)
    nobody = f"postgresql:///{place.name}?host={HOST}"
    assert "names no user" in refused(nobody, place.admin_url, ConfigurationError)


def test_tables_stay_in_their_schema_whatever_the_search_path_says_later(
    place: Database, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = roles.url(roles.name())
    up(url, place.admin_url)
    with_more(monkeypatch, a_table(LAST + 1))
    sql(place.admin_url, "create schema postgres")  # first in the admin's path, by its name
    assert up(url, place.admin_url) == (f"{LAST + 1:04}_expand_more",)
    assert sql(place.admin_url, "select 1 from pg_class where relnamespace = 'postgres'::regnamespace") == []
    serves(url)


def test_a_schema_that_the_address_names_is_the_one_that_is_used(place: Database, roles: Roles) -> None:
    sql(place.admin_url, 'create schema "My own"')
    path = f"?search_path={quote(identifier('My own'))}"
    url = roles.url(roles.name())
    assert up(url + path, place.admin_url + path) == ALL
    serves(url + path)
    assert sql(place.admin_url, "select 1 from pg_class where relnamespace = 'public'::regnamespace") == []
    nowhere = "?search_path=nonesuch"
    assert "there is no schema for the tables" in refused(place.url + nowhere)
    # Made where who serves does not look.
    assert "cannot be served from" in refused(url, place.admin_url + path)


def test_a_superuser_as_the_only_login_acts_as_a_role_that_is_held_and_says_so_once(
    place: Database,
) -> None:
    async def main() -> list[Any]:
        async with open_stores(Settings(database_url=place.admin_url), executing=True) as stores:
            return await stores.database.read(lambda tx: tx.all("select current_user, session_user", {}), user="ada")

    with structlog.testing.capture_logs() as logged:
        assert run(main()) == [("netra_app", "postgres")]
    assert [line["log_level"] for line in logged] == ["warning"]
    assert "above row-level security: this process acts as the role netra_app" in logged[0]["event"]
    with structlog.testing.capture_logs() as logged:
        serves(place.admin_url)  # a command says nothing of it
    assert logged == []
    sql(place.admin_url, "drop owned by netra_app")


def test_a_role_that_bypasses_row_security_and_is_no_superuser_acts_as_the_role_too(
    place: Database, roles: Roles
) -> None:
    name = roles.made("login bypassrls createrole")
    sql(place.admin_url, "drop role if exists netra_app", f"grant create on schema public to {name}")
    sql(place.admin_url, f"alter database {place.name} owner to {name}")
    assert up(roles.url(name)) == ALL
    serves(roles.url(name))
    sql(place.admin_url, "drop owned by netra_app", f"alter database {place.name} owner to {place.role}")


def test_a_role_by_the_restricted_ones_name_that_is_above_the_rules_is_not_acted_as(place: Database) -> None:
    sql(place.admin_url, "drop role if exists netra_app", "create role netra_app superuser")
    try:
        assert "role netra_app is above row-level security" in refused(place.admin_url)
        assert applied(place) == []
    finally:
        sql(place.admin_url, "drop role netra_app")


def test_two_databases_of_one_server_that_are_upgraded_together_share_the_role(
    postgres: PostgresServer, place: Database
) -> None:
    sql(place.admin_url, "drop role if exists netra_app")
    with ExitStack() as stack:
        others = [stack.enter_context(postgres.database()) for _ in range(4)]

        async def main() -> None:
            await asyncio.gather(*(upgrade(Server(each.admin_url)) for each in [place, *others]))

        run(main())
        for each in [place, *others]:
            serves(each.admin_url)
            sql(each.admin_url, "drop owned by netra_app")


def test_who_does_not_upgrade_says_what_is_to_be_done(place: Database, roles: Roles) -> None:
    lacks = f"the schema of {Server(place.url)} lacks {', '.join(ALL)}: "
    assert unprepared(place.url, upgrading=False) == lacks + "run netra db upgrade, or start netra serve"
    assert applied(place) == []
    stranger = roles.url(roles.made())
    sql(place.admin_url, "revoke create on schema public from public")
    assert unprepared(stranger, upgrading=True).endswith("run netra db upgrade --admin-url URL")
    assert "may not change its schema" in refused(stranger)
    up(place.url)
    assert "may not read and write its tables: run netra db upgrade --admin-url" in unprepared(stranger, upgrading=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.replace("_owner:", "_owner:x"), "refused: password authentication failed for user"),
        (lambda url: url + "x", "refused: database"),
        (lambda url: f"{url}?sslmode=require", "rejected SSL upgrade"),
        (lambda url: f"{url}?sslmode=nonsense", "refused: `sslmode` parameter must be one of"),
        (lambda url: f"{url}?nonsense=1", "refused: unrecognized configuration parameter"),
        (lambda url: url.replace(f"@{HOST}:", "@nonesuch.invalid:"), "cannot be reached: "),
        (lambda url: re.sub(r":\d+/", ":1/", url), "cannot be reached: "),
    ],
)
def test_a_database_that_cannot_be_had_is_a_sentence_without_a_password(
    place: Database, change: Any, sentence: str
) -> None:
    url = change(place.url)
    for said in (refused(url), unprepared(url, upgrading=True)):
        assert sentence in said
        assert said.startswith(f"the database {Server(url)} ")
        assert "\n" not in said
        assert str(Server(place.url).address.password) not in said


def test_a_socket_of_the_file_system_leads_to_the_database(
    place: Database, roles: Roles, postgres: PostgresServer, tmp_path: Path
) -> None:
    name = roles.name()

    async def main() -> None:
        async with relay(postgres.port, socket=tmp_path / ".s.PGSQL.5432"):
            url = f"postgresql:///{place.name}?host={tmp_path}&user={name}&password=it%27s"
            admin = f"postgresql:///{place.name}?host={tmp_path}&user=postgres&password={Server(place.admin_url).address.password}"
            assert str(Server(url)) == f"{name}@{tmp_path}/{place.name}"
            assert await upgrade(Server(url), Server(admin)) == ALL
            async with open_stores(Settings(database_url=url)) as stores:
                assert await stores.accounts.users() == ()

    run(main())


def test_an_address_of_ipv6_leads_to_the_database(place: Database, postgres: PostgresServer) -> None:
    async def main() -> None:
        try:
            there = await (made := relay(postgres.port, host="::1")).__aenter__()
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        try:
            login = place.url.partition("@")[0]
            url = f"{login}@[::1]:{there.port}/{place.name}?sslmode=disable"
            assert await upgrade(Server(url)) == ALL
        finally:
            await made.__aexit__(None, None, None)

    run(main())


def test_a_file_is_brought_up_to_date_and_a_second_time_nothing_is_done(tmp_path: Path) -> None:
    path = tmp_path / "home" / "netra.db"
    assert upgrade_file(path) == tuple(each.label for each in migrations())
    assert upgrade_file(path) == ()
    assert path.stat().st_mode & 0o777 == 0o600
