"""`netra db`, `netra user`, `netra runs` and `netra doctor` on a Postgres database."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.bounded import run
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.stores import accept, context_of, stamped
from tests.unit.cli.command import Done, netra

from netra_apex.addresses import PostgresAddress
from netra_apex.core.events import AgentFailed, AgentStarted
from netra_apex.settings import Settings
from netra_apex.stores import open_stores
from netra_apex.stores.statements import migrations

ALL = [each.label for each in migrations("postgres")]
PASSWORD = "correct horse battery staple"
STATES = {"schema": "ok", "role": "ok", "row security": "ok", "round trip": "ok", "clock": "ok"}


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database() as database:
        yield database


@pytest.fixture
def login(place: Database) -> Iterator[str]:
    """The address of a login that is not there yet, and is gone afterwards."""
    name = f"app_{secrets.token_hex(6)}"
    yield f"postgresql://{name}:{quote('pass/word', safe='')}@{place.url.rpartition('@')[2]}"
    if sql(place.admin_url, f"select 1 from pg_roles where rolname = '{name}'"):
        sql(place.admin_url, f"drop owned by {name}", f"drop role {name}")


def on(url: str, *args: str, cwd: Path, stdin: str = "") -> Done:
    done = netra(*args, cwd=cwd, stdin=stdin, NETRA_DATABASE_URL=url)
    for word in PostgresAddress.read(url).secrets:
        assert word not in done.out + done.err
        assert quote(word, safe="") not in done.out + done.err
    assert "Traceback" not in done.err
    return done


def adds(url: str, cwd: Path) -> Done:
    return on(url, "user", "add", "ada", "--password-stdin", cwd=cwd, stdin=f"{PASSWORD}\n")


def doctor(url: str, cwd: Path) -> tuple[int, dict[str, dict[str, str]], str]:
    """Its exit code, its checks by name, and the address that it shows."""
    done = on(url, "doctor", "--json", cwd=cwd)
    report = json.loads(done.out)
    shown = next(each["value"] for each in report["settings"] if each["name"] == "NETRA_DATABASE_URL")
    return done.code, {check["name"]: check for check in report["checks"]}, shown


# netra db upgrade


def test_an_upgrade_prints_what_it_applied_and_the_second_time_nothing(place: Database, tmp_path: Path) -> None:
    where = str(PostgresAddress.read(place.url))
    done = on(place.url, "db", "upgrade", cwd=tmp_path)
    assert (done.code, done.out.split(), done.err) == (0, ALL, f"the schema of {where} is up to date\n")
    again = on(place.url, "db", "upgrade", "--json", cwd=tmp_path)
    assert (again.code, json.loads(again.out)) == (0, {"applied": []})
    assert again.err == f"the schema of {where} was up to date\n"
    assert adds(place.url, tmp_path).code == 0
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("stdin", [False, True])
def test_with_an_admin_it_makes_the_login_that_serves(place: Database, login: str, tmp_path: Path, stdin: bool) -> None:
    name = PostgresAddress.read(login).user
    given = ("-", f"{place.admin_url}\n") if stdin else (place.admin_url, "")
    done = on(login, "db", "upgrade", "--admin-url", given[0], "--json", cwd=tmp_path, stdin=given[1])
    assert (done.code, json.loads(done.out)) == (0, {"applied": ALL})
    assert done.err.splitlines()[1:] == [f"role {name} may read and write its rows, and nothing else"]
    assert adds(login, tmp_path).code == 0
    assert on(login, "db", "upgrade", "--admin-url", place.admin_url, cwd=tmp_path).code == 0
    # By itself it finds that there is nothing to do, which it may.
    assert on(login, "db", "upgrade", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda url: url.replace("_owner:", "_owner:no"), 1, "refused: password authentication failed for user"),
        (lambda url: url + "x", 1, "does not exist"),
        (lambda url: url.replace("127.0.0.1", "nonesuch.invalid"), 1, "cannot be reached: "),
        (
            lambda url: url.replace("_owner:", "_owner:@"),
            2,
            "NETRA_DATABASE_URL: it is no address: write postgresql://",
        ),
        (
            lambda url: url.replace("_owner:", "_owner:#"),
            2,
            "NETRA_DATABASE_URL: it is no address: write postgresql://",
        ),
        (
            lambda url: url.replace("_owner:", "_owner:/"),
            2,
            "NETRA_DATABASE_URL: it is no address: write postgresql://",
        ),
        (lambda url: f"{url}?sslmode=perhaps", 1, "`sslmode` parameter must be one of"),
    ],
)
def test_a_database_that_cannot_be_had_is_a_sentence(
    place: Database, tmp_path: Path, change: Any, code: int, sentence: str
) -> None:
    url = change(place.url)
    word = PostgresAddress.read(place.url).password or ""
    for command in (("db", "upgrade"), ("user", "list"), ("runs", "list")):
        done = netra(*command, cwd=tmp_path, NETRA_DATABASE_URL=url)
        assert (done.code, done.out) == (code, "")
        assert sentence in done.err
        assert len(done.err.splitlines()) == 1
        assert word not in done.err


def test_an_admin_address_that_is_wrong_is_a_sentence(place: Database, login: str, tmp_path: Path) -> None:
    def said(url: str, admin_url: str) -> tuple[int, str]:
        done = on(url, "db", "upgrade", "--admin-url", admin_url, cwd=tmp_path)
        assert done.out == ""
        assert (PostgresAddress.read(place.admin_url).password or "") not in done.err
        return done.code, done.err

    assert said(login, "mysql://x") == (2, "--admin-url: write postgresql://USER:PASSWORD@HOST:PORT/NAME\n")
    assert said(login, "") == (2, "--admin-url: write postgresql://USER:PASSWORD@HOST:PORT/NAME\n")
    assert said(place.url, place.url)[0] == 2
    assert said(login, place.admin_url.replace(place.name, "postgres"))[0] == 2
    code, sentence = said(login, place.url)
    assert (code, sentence.count("\n")) == (1, 1)
    assert "refused: permission denied to create role" in sentence
    assert (
        said(place.url, place.admin_url)[1].endswith(
            "owns the database " + place.name + ", or may act as who does: it cannot be the one that serves; "
            "name another in NETRA_DATABASE_URL\n"
        )
        or "owns the schema" in said(place.url, place.admin_url)[1]
    )


def test_a_file_is_brought_up_to_date_too_and_has_no_admin(tmp_path: Path) -> None:
    refused = netra("db", "upgrade", "--admin-url", "postgresql://x/y", cwd=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert "a SQLite file has no roles" in refused.err
    assert not (tmp_path / "home").exists()
    done = netra("db", "upgrade", cwd=tmp_path)
    assert (done.code, done.out.split()) == (0, [each.label for each in migrations()])
    assert done.err == f"the schema of {tmp_path}/home/netra.db is up to date\n"
    again = netra("db", "upgrade", "--json", cwd=tmp_path)
    assert (again.code, json.loads(again.out)) == (0, {"applied": []})
    with sqlite3.connect(tmp_path / "home" / "netra.db") as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    newer = netra("db", "upgrade", cwd=tmp_path)
    assert (newer.code, newer.out) == (1, "")
    assert "made by a newer version" in newer.err


# netra user, netra runs


def test_the_first_user_makes_the_schema_where_the_role_owns_its_database_and_nothing_else_does(
    place: Database, login: str, tmp_path: Path
) -> None:
    for command in (("user", "list"), ("user", "disable", "ada"), ("runs", "list"), ("runs", "show", "r")):
        done = on(place.url, *command, cwd=tmp_path)
        assert (done.code, done.out) == (1, "")
        assert done.err.endswith(f"lacks {', '.join(ALL)}: run netra db upgrade, or start netra serve\n")
    assert sql(place.url, "select to_regclass('users')")[0][0] is None
    assert adds(place.url, tmp_path).err == "added ada\n"
    assert "there is a user ada already" in adds(place.url, tmp_path).err
    assert on(place.url, "user", "list", cwd=tmp_path).out.splitlines()[1].startswith("ada ")


def test_a_login_that_owns_nothing_makes_no_schema(place: Database, login: str, tmp_path: Path) -> None:
    name, word = PostgresAddress.read(login).user, PostgresAddress.read(login).password
    sql(place.admin_url, f"create role {name} login password '{word}'", "revoke create on schema public from public")
    done = adds(login, tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("run netra db upgrade --admin-url URL\n")


@pytest.mark.parametrize("who", ["owner", "restricted", "superuser"])
def test_an_operator_sees_and_cancels_everybodys_runs(place: Database, login: str, tmp_path: Path, who: str) -> None:
    url = {"owner": place.url, "restricted": login, "superuser": place.admin_url}[who]
    admin = ("--admin-url", place.admin_url) if who == "restricted" else ()
    assert on(url, "db", "upgrade", *admin, cwd=tmp_path).code == 0

    async def main() -> list[str]:
        async with open_stores(Settings(database_url=url)) as stores:
            found = []
            for user in ("ada", "bob"):
                accepted = await accept(stores, user, f"{user}'s question")
                await stores.runs.append(context_of(accepted, user), stamped(AgentStarted(task=f"{user}'s question")))
                found.append(accepted.run_id)
            return found

    ids = run(main())
    listed = json.loads(on(url, "runs", "list", "--json", cwd=tmp_path).out)["items"]
    assert [each["user_id"] for each in listed] == ["bob", "ada"]
    for user, run_id in zip(("ada", "bob"), ids, strict=True):
        shown = json.loads(on(url, "runs", "show", run_id, "--json", cwd=tmp_path).out)
        assert [event["task"] for event in shown["events"]] == [f"{user}'s question"]
    assert on(url, "runs", "cancel", ids[0], cwd=tmp_path).code == 0
    assert on(url, "runs", "cancel", "run_none", cwd=tmp_path).code == 1
    if who == "superuser":
        sql(place.admin_url, "drop owned by netra_app")


# netra doctor


def test_the_doctor_tells_of_a_database_without_touching_it(place: Database, tmp_path: Path) -> None:
    code, checks, shown = doctor(place.url, tmp_path)
    assert code == 0
    assert shown == place.url.replace(str(PostgresAddress.read(place.url).password), "********")
    assert checks["database"]["state"] == "ok"
    assert "answers, PostgreSQL 1" in checks["database"]["detail"]
    assert checks["schema"]["state"] == "warning"
    assert "lacks 0001_expand_first" in checks["schema"]["detail"]
    assert sql(place.url, "select to_regclass('users')")[0][0] is None
    assert not {"disk", "executor", "row security"} & set(checks)
    on(place.url, "db", "upgrade", cwd=tmp_path)
    code, checks, _ = doctor(place.url, tmp_path)
    assert code == 0
    assert {name: checks[name]["state"] for name in STATES} == STATES
    assert "owns its tables" in checks["role"]["detail"]


def test_the_doctor_tells_of_the_role(place: Database, login: str, tmp_path: Path) -> None:
    on(login, "db", "upgrade", "--admin-url", place.admin_url, cwd=tmp_path)
    _, checks, _ = doctor(login, tmp_path)
    assert {name: checks[name]["state"] for name in STATES} == STATES
    assert "may read and write rows, and nothing else" in checks["role"]["detail"]
    code, checks, _ = doctor(place.admin_url, tmp_path)
    assert (code, checks["role"]["state"]) == (0, "warning")
    assert "is above row-level security, so it acts as netra_app" in checks["role"]["detail"]


def test_the_doctor_finds_what_is_wrong(place: Database, login: str, tmp_path: Path) -> None:
    on(login, "db", "upgrade", "--admin-url", place.admin_url, cwd=tmp_path)
    sql(place.admin_url, "alter table messages no force row level security", "drop policy owner on steps")
    code, checks, _ = doctor(login, tmp_path)
    assert (code, checks["row security"]["state"]) == (1, "wrong")
    assert checks["row security"]["detail"] == "people's rows are not guarded in messages, steps"
    sql(place.admin_url, f"revoke insert on events from {PostgresAddress.read(login).user}")
    code, checks, _ = doctor(login, tmp_path)
    assert (code, checks["schema"]["state"]) == (1, "wrong")
    assert "may not read and write its tables: run netra db upgrade --admin-url URL" in checks["schema"]["detail"]
    code, checks, _ = doctor(f"{place.url}x", tmp_path)
    assert (code, checks["database"]["state"]) == (1, "wrong")
    assert not set(STATES) & set(checks)


def test_a_password_behind_the_question_mark_is_masked_too(place: Database, tmp_path: Path) -> None:
    address = PostgresAddress.read(place.url)
    url = f"postgresql://{place.url.rpartition('@')[2]}?user={address.user}&password={address.password}"
    code, checks, shown = doctor(url, tmp_path)
    assert (code, checks["database"]["state"]) == (0, "ok")
    assert shown.endswith("&password=********")


# netra report


def test_an_operator_has_a_report_of_everybodys_runs_that_changes_nothing(
    place: Database, login: str, tmp_path: Path
) -> None:
    upgraded = on(login, "db", "upgrade", "--admin-url", place.admin_url, cwd=tmp_path)
    assert upgraded.code == 0

    async def main() -> None:
        async with open_stores(Settings(home=tmp_path / "home", database_url=login)) as stores:
            for user in ("ada", "bob"):
                accepted = await accept(stores, user)
                failed = AgentFailed(code="agent_error", message="said in private", retryable=False)
                await stores.runs.append(context_of(accepted, user), stamped(AgentStarted(task="hi"), failed))

    run(main())
    before = sql(place.admin_url, "select * from runs order by run_id")
    told = json.loads(on(login, "report", "--json", cwd=tmp_path).out)
    assert (told["total"]["runs"], told["total"]["bad"], told["total"]["users"]) == (2, 2, 2)
    assert [each["cause"] for each in told["failures"]] == ["agent_error"]
    text = on(login, "report", "--format", "html", cwd=tmp_path)
    assert text.code == 0
    assert "private" not in text.out
    assert sql(place.admin_url, "select * from runs order by run_id") == before
