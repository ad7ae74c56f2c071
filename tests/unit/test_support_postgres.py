"""The server that tests of PostgreSQL are given: real, private, there again when it was stopped, and gone with them."""

import asyncio
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from tests.support import postgres as support
from tests.support.postgres import PostgresServer, PostgresUnavailable, sql

ROOT = Path(__file__).parents[2]
SECONDS = 30

KILLED = """
import signal
from tests.support.postgres import PostgresServer, sql
with PostgresServer() as server:
    others = sql(server.admin_url(), "select pid from pg_stat_activity where pid <> pg_backend_pid()")
    print(server.folder, server.port, server._postmaster.pid, *[row["pid"] for row in others], flush=True)
    signal.pause()
"""


def refused(port):
    """Whether nobody listens there."""
    try:
        socket.create_connection((support.HOST, port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("found", [support.system_binaries, support.package_binaries])
def test_a_server_starts_from_each_kind_of_programs(found):
    binaries = next((folder for folder in found() if (folder / "initdb").exists()), None)
    if not binaries:
        pytest.skip("not installed")
    with PostgresServer(binaries) as server, server.database() as database:
        assert sql(database.url, "select 1 as one")[0]["one"] == 1
        folder, port = server.folder, server.port
    assert not folder.exists()
    assert refused(port)


def test_programs_that_cannot_run_are_said_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(PostgresUnavailable, match="nowhere"), PostgresServer(tmp_path / "nowhere"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_owned_by_an_ordinary_role_with_a_password(postgres):
    with postgres.database() as database:
        rows = sql(
            database.url,
            "create table things (id int)",
            "select rolname, rolsuper or rolbypassrls as mighty from pg_roles where rolname = current_user",
        )
        assert [tuple(row) for row in rows] == [(database.role, False)]
        assert sql(database.admin_url, "select current_user as me")[0]["me"] == "postgres"
        with pytest.raises(asyncpg.InvalidPasswordError):
            sql(database.url.replace(f"{database.role}:", f"{database.role}:not"), "select 1")


def test_a_database_and_its_role_are_dropped_under_an_open_connection(postgres):
    async def main():
        with postgres.database() as database:
            connection = await asyncpg.connect(database.url)
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
            await connection.fetch("select 1")
        return database

    database = asyncio.run(main())
    named = "select datname as name from pg_database union select rolname from pg_roles"
    names = {row["name"] for row in sql(postgres.admin_url(), named)}
    assert not names & {database.name, database.role}


def test_a_copy_has_its_templates_rows_and_owner_and_leaves_both(postgres):
    with postgres.database() as template:
        sql(template.url, "create table things (id int)", "insert into things values (1)")
        with postgres.database(template=template.name) as copy:
            sql(copy.url, "insert into things values (2)")
            assert len(sql(copy.url, "select * from things")) == 2
            assert copy.role == template.role
        assert len(sql(template.url, "select * from things")) == 1


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_what_was_committed_is_there_after_the_server_was_away(postgres, mode):
    with postgres.database() as database:
        sql(database.url, "create table things (id int)", *["insert into things values (1)"] * 20)
        postgres.stop(mode)
        assert not postgres.running
        assert refused(postgres.port)
        postgres.start()
        assert len(sql(database.url, "select * from things")) == 20


def test_a_test_that_ends_while_the_server_is_stopped_leaves_it_running(postgres):
    with postgres.database():
        postgres.stop()
    assert postgres.running


def test_a_taken_port_is_left_for_another(postgres):
    with socket.create_server((support.HOST, 0)) as taken:
        port = postgres.port
        postgres.stop()
        postgres._start_on(taken.getsockname()[1], port)
        assert postgres.port == port
        assert sql(postgres.admin_url(), "select 1 as one")[0]["one"] == 1


def test_the_processor_time_counts_what_has_ended_and_what_was_restarted(postgres):
    before = postgres.cpu_seconds()
    sql(postgres.admin_url(), "select sum(sqrt(number)) from generate_series(1, 2000000) as number")
    worked = postgres.cpu_seconds()
    assert worked > before + 0.05
    postgres.restart()
    assert postgres.cpu_seconds() >= worked


def test_the_server_dies_with_a_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        try:
            assert select.select([tests.stdout], [], [], SECONDS)[0], "the server did not start"
            folder, port, *pids = tests.stdout.readline().split()
            assert len(pids) > 3
            assert all(Path("/proc", pid).exists() for pid in pids)
        finally:
            tests.kill()
    deadline = time.monotonic() + SECONDS
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.01)
    assert refused(int(port))
    assert [pid for pid in pids if Path("/proc", pid).exists()] == []
