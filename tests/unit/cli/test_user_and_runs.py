"""`netra user` and `netra runs` on a real database."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from tests.unit.cli.command import netra

from netra_apex.cli.user import NewUser, read_users
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentCompleted, AgentFailed, AgentStarted, AgentThinking, DurableEvent, encode
from netra_apex.core.messages import NO_USAGE
from netra_apex.errors import ConfigurationError
from netra_apex.server.passwords import verify
from netra_apex.settings import Settings
from netra_apex.stores import open_stores

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")  # as HTTP has it
PASSWORD = "correct horse battery staple"


def stored_hash(folder: Path, name: str) -> str | None:
    async def main() -> str | None:
        async with open_stores(Settings(home=folder / "home")) as stores:
            return await stores.accounts.password_hash(name)

    return asyncio.run(main())


def listed(folder: Path) -> dict[str, dict[str, object]]:
    done = netra("user", "list", "--json", cwd=folder)
    assert done.code == 0
    return {user["name"]: user for user in json.loads(done.out)["items"]}


def test_a_user_is_added_listed_given_a_new_password_disabled_and_enabled(tmp_path: Path) -> None:
    args = ("Ada", "--admin", "--permission", "orders:read", "--password-stdin")
    done = netra("user", "add", *args, cwd=tmp_path, stdin=f"{PASSWORD}\n")
    assert (done.code, done.out, done.err) == (0, "", "added ada\n")
    assert TIME.fullmatch(str(listed(tmp_path)["ada"]["created_at"]))
    assert listed(tmp_path)["ada"]["permissions"] == ["admin", "orders:read"]
    assert verify(stored_hash(tmp_path, "ada") or "", PASSWORD)
    again = netra("user", "add", "ada", "--password-stdin", cwd=tmp_path, stdin=f"{PASSWORD}\n")
    assert (again.code, again.err) == (1, "there is a user ada already; nobody was added\n")
    changed = netra("user", "password", "ADA", "--password-stdin", cwd=tmp_path, stdin="another long one\n")
    assert changed.code == 0
    assert verify(stored_hash(tmp_path, "ada") or "", "another long one")
    assert netra("user", "disable", "ada", cwd=tmp_path).code == 0
    assert listed(tmp_path)["ada"]["disabled"] is True
    assert netra("user", "enable", "ada", cwd=tmp_path).code == 0
    table = netra("user", "list", cwd=tmp_path)
    assert table.out.splitlines()[1].split()[:2] == ["ada", "active"]
    assert PASSWORD not in table.out


@pytest.mark.parametrize(
    "command",
    [
        *(("user", "list"), ("user", "disable", "ada"), ("user", "enable", "ada")),
        *(
            ("user", "password", "ada", "--password-stdin"),
            ("runs", "list"),
            ("runs", "show", "r"),
            ("runs", "cancel", "r"),
        ),
    ],
)
def test_where_there_is_no_database_one_is_not_made_and_the_command_ends_with_1(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = netra(*command, cwd=tmp_path, stdin=f"{PASSWORD}\n")
    sentence = f"there is no database {tmp_path}/home/netra.db: the first netra serve, or netra user add, makes it\n"
    assert (done.code, done.out, done.err) == (1, "", sentence)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", [("password", "--password-stdin"), ("disable",), ("enable",)])
def test_a_user_who_is_not_there_ends_with_1(command: tuple[str, ...], tmp_path: Path) -> None:
    assert netra("user", "add", "ada", "--password-stdin", cwd=tmp_path, stdin=f"{PASSWORD}\n").code == 0
    done = netra("user", command[0], "nobody", *command[1:], cwd=tmp_path, stdin=f"{PASSWORD}\n")
    assert (done.code, done.err) == (1, "there is no user nobody\n")


@pytest.mark.parametrize(
    ("args", "stdin", "reason"),
    [
        (("bob smith", "--password-stdin"), PASSWORD, "a user name is 1 to 64 letters"),
        (("bob", "--password-stdin"), "short", "at least 12 characters"),
        (("bob", "--password-stdin"), "", "no password on the first line"),
        (("bob",), "", "give it on stdin, --password-stdin"),
        (("bob", "--permission", "NOT ONE", "--password-stdin"), PASSWORD, "'NOT ONE' is no permission"),
        (("--from", "none.jsonl"), "", "none.jsonl cannot be read"),
        (("bob", "--from", "none.jsonl"), "", "name one user, or a file"),
        (("--from", "none.jsonl", "--admin"), "", "come from the file"),
    ],
)
def test_bad_input_adds_nobody_and_ends_with_2(args: tuple[str, ...], stdin: str, reason: str, tmp_path: Path) -> None:
    done = netra("user", "add", *args, cwd=tmp_path, stdin=stdin)
    assert done.code == 2
    assert reason in done.err
    assert not (tmp_path / "home").exists()


def test_a_file_of_users_is_added_as_a_whole(tmp_path: Path) -> None:
    lines = [{"name": f"u{n}", "password": PASSWORD, "permissions": ["orders:read"]} for n in range(3)]
    text = "\n\n".join(map(json.dumps, lines)) + '\n{"name":"u3","password":"correct horse battery"}\n'
    (tmp_path / "users.jsonl").write_text(text)
    done = netra("user", "add", "--from", "users.jsonl", cwd=tmp_path)
    assert (done.code, done.err) == (0, "added 4 users\n")
    assert list(listed(tmp_path)) == ["u0", "u1", "u2", "u3"]
    again = netra("user", "add", "--from", "users.jsonl", cwd=tmp_path)
    assert again.code == 1
    assert again.err == "there are users u0, u1, u2, u3 already; nobody was added\n"


def test_each_bad_line_of_a_file_is_named_and_nobody_is_added(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    good = json.dumps({"name": "ada", "password": PASSWORD})
    lines = [good, "nonsense", '{"name":"bob"}', good, '{"name":"b","password":"short"}', '{"nam":"b"}', ""]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError) as refused:
        read_users(path)
    said = str(refused.value).splitlines()
    assert [line.partition(": ")[0].rpartition(" ")[2] for line in said[:-1]] == ["2", "3", "4", "5", "6"]
    assert "password" in said[1]
    assert "ada is on line 1 already" in said[2]
    assert said[-1] == "nobody was added"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="names nobody"):
        read_users(path)


def test_a_password_is_not_in_the_repr_of_who_is_added() -> None:
    assert PASSWORD not in repr(NewUser("ada", PASSWORD, frozenset()))


def stamped(context: UserExecutionContext, seq: int, event: DurableEvent) -> tuple[DurableEvent, str]:
    import msgspec

    header = {"run_id": context.run_id, "thread_id": context.thread_id, "agent": "greeter"}
    event = msgspec.structs.replace(event, seq=seq, at="2030-01-02T03:04:05.678Z", **header)
    return event, encode(event)


@pytest.fixture
def with_runs(tmp_path: Path) -> tuple[Path, list[str]]:
    """A home with a completed, a failed and a running run of ada."""
    contexts: list[UserExecutionContext] = []

    async def main() -> None:
        async with open_stores(Settings(home=tmp_path / "home")) as stores:
            await stores.accounts.add_user("ada", "hash", frozenset())
            endings: list[list[DurableEvent]] = [
                [AgentCompleted(output="x", usage=NO_USAGE, duration_ms=12)],
                [AgentFailed(code="model_error", message="it is down", retryable=True)],
                [],
            ]
            for ending in endings:
                context = UserExecutionContext.new("ada")
                contexts.append(context)
                await stores.runs.begin(context, "greeter", "a secret question")
                told: list[DurableEvent] = [
                    AgentStarted(task="a secret question"),
                    AgentThinking(text="hm", step=1),
                    *ending,
                ]
                await stores.runs.append(context, [stamped(context, n, event) for n, event in enumerate(told, 1)])

    asyncio.run(main())
    return tmp_path, [context.run_id for context in contexts]


def test_runs_are_listed_by_status(with_runs: tuple[Path, list[str]]) -> None:
    folder, ids = with_runs
    done = netra("runs", "list", "--json", cwd=folder)
    assert done.code == 0
    assert {run["run_id"]: run["status"] for run in json.loads(done.out)["items"]} == dict(
        zip(ids, ("completed", "failed", "running"), strict=True)
    )
    times = [(run["created_at"], run["ended_at"]) for run in json.loads(done.out)["items"]]
    assert all(TIME.fullmatch(made) and (ended is None or TIME.fullmatch(ended)) for made, ended in times)
    table = netra("runs", "list", "--status", "failed", "--limit", "5", cwd=folder)
    assert [line.split()[0] for line in table.out.splitlines()] == ["RUN", ids[1]]


def test_a_run_is_shown_with_its_events_and_what_was_said_only_as_json(with_runs: tuple[Path, list[str]]) -> None:
    folder, ids = with_runs
    done = netra("runs", "show", ids[1], cwd=folder)
    assert done.code == 0
    assert "model_error: it is down" in done.out
    assert "a secret question" not in done.out
    shown = json.loads(netra("runs", "show", ids[0], "--json", cwd=folder).out)
    assert [event["type"] for event in shown["events"]] == ["agent_started", "agent_thinking", "agent_completed"]
    assert shown["events"][0]["task"] == "a secret question"
    missing = netra("runs", "show", "run_none", cwd=folder)
    assert (missing.code, missing.err) == (1, "there is no run run_none\n")


def test_only_a_run_that_has_not_ended_can_be_cancelled(with_runs: tuple[Path, list[str]]) -> None:
    folder, ids = with_runs
    assert netra("runs", "cancel", ids[2], cwd=folder).code == 0
    done = netra("runs", "cancel", ids[0], cwd=folder)
    assert (done.code, done.err) == (1, f"there is no run {ids[0]} that has not ended\n")


def test_a_database_that_is_none_is_a_sentence_and_1(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "netra.db").write_bytes(os.urandom(4096))
    done = netra("user", "list", cwd=tmp_path)
    assert done.code == 1
    assert "netra.db" in done.err
    assert "Traceback" not in done.err
