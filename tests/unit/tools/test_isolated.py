"""Isolated tools: each call in a process of its own, whose value, failure or death comes back, and nothing else."""

import asyncio
import datetime
import os
import socket
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from tests.support.bounded import run
from tests.unit.tools import isolated_tools as tools
from tests.unit.tools.isolated_tools import Order, Pair, Row, Size
from tests.unit.tools.processes import begun, children_of
from tests.unit.tools.support import after, bench, hosting, is_as_before

from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, ToolDefinitionError
from netra_apex.settings import environment_for_tools
from netra_apex.tools import ToolHost, tool
from netra_apex.tools.processes import ToolProcesses

MEBI = 1024**2
ORDER = Order(number=7, price=Decimal("1.10"), day=datetime.date(2026, 1, 31))


async def called(*calls: tuple[Any, ...], host: ToolHost | None = None) -> list[Any]:
    """What an agent's code gets of each call, one after another: a value, or the failure as `code: sentence`."""
    got: list[Any] = []
    async with hosting() as own:
        for made, *args in calls:
            dispatcher = bench(made, host=host or own).dispatcher
            try:
                got.append(await dispatcher.call(made, *args))
            except CallFailed as failed:
                got.append(f"{failed.code}: {failed.message}")
    return got


# Values


def test_a_call_runs_in_a_process_of_its_own_and_its_value_comes_back() -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(tools.add, tools.who, host=host)
            assert await made.dispatcher.call(tools.add, 1) == 3
            assert await made.ask(("add", '{"a": 40, "b": 2}')) == ["42"]
            first, second = [await made.dispatcher.call(tools.who) for _ in range(2)]
            assert len({first["pid"], second["pid"], os.getpid(), first["parent"]}) == 4
            assert first["parent"] == second["parent"]
            assert first["session"] == first["pid"]
            assert made.recorder.codes() == ["ok"] * 4

    run(main())


def test_an_async_function_runs_too_and_one_that_a_decorator_hides() -> None:
    assert run(called((tools.later, "ada"), (tools.hidden, "ada"))) == ["ADA", "hidden ada"]


def test_values_arrive_as_what_the_signature_says_both_ways() -> None:
    repriced = ORDER.model_copy(update={"price": Decimal("2.20"), "size": Size.LARGE})
    got = run(
        called(
            (tools.reprice, ORDER, Decimal(2)),
            # What JSON would not bring across: bytes of any kind, and a secret.
            (tools.pair, ORDER, b"\xff\x00", SecretStr("hush")),
            (tools.row, "ada"),
        )
    )
    assert got == [repriced, Pair("2 hush", ORDER), Row("ada", {1, 2})]
    assert [type(value) for value in got] == [Order, Pair, Row]


def test_a_model_is_told_the_same_as_of_any_other_tool() -> None:
    async def main() -> None:
        async with hosting(result_bytes=300) as host:
            made = bench(tools.reprice, tools.text_of, tools.gives, host=host)
            asked = '{"order": {"number": 1, "price": "2.5", "day": "2026-01-31"}, "by": "2"}'
            long, *answers = await made.ask(
                ("text_of", '{"size": 1000}'),
                ("reprice", asked),
                ("reprice", '{"order": {"number": "one"}, "by": "2"}'),
                ("gives", '{"what": "half a pair"}'),
                ("gives", '{"what": "nan"}'),
                ("gives", '{"what": "nothing"}'),
                ("gives", '{"what": "an object"}'),
            )
            assert long.endswith("of 1000 bytes]")
            assert answers[0] == '{"number":1,"price":"5.0","day":"2026-01-31","size":"large"}'
            assert answers[1].startswith("Error (invalid_arguments): order.number")
            assert answers[2:5] == ["half ?", "null", "null"]
            assert answers[5].startswith("Error (error): the tool returned a object that is no JSON")

    run(main())


def test_a_value_is_kept_in_the_journal_and_given_again() -> None:
    async def main() -> None:
        async with hosting() as host:
            before = bench(tools.reprice, host=host)
            value = await before.dispatcher.call(tools.reprice, ORDER, Decimal(3))
            again = after(before, host=host)
            assert await again.dispatcher.call(tools.reprice, ORDER, Decimal(3)) == value
            is_as_before(before, again)

    run(main())


def test_the_module_is_imported_for_its_calls_when_a_run_that_may_call_it_begins() -> None:
    async def main() -> None:
        async with hosting() as host:
            before = set(children_of(os.getpid()))
            made = [bench(tools.add, tools.who, user=user, host=host) for user in ("ada", "bob")]
            (prepared,) = set(children_of(os.getpid())) - before
            assert (await made[0].dispatcher.call(tools.who))["parent"] == prepared
            assert set(children_of(os.getpid())) - before == {prepared}

    run(main())


# Failures


def test_an_exception_is_told_by_its_type_and_message_and_its_traceback_is_logged() -> None:
    with capture_logs() as logs:
        raised, exited, large = run(called((tools.fails, "raises"), (tools.fails, "exit"), (tools.fails, "large")))
    assert (raised, exited) == ("error: ValueError: no such order", "error: SystemExit: 3")
    assert large.startswith("error: ValueError: xxxx")
    assert large.endswith("bytes]")
    first, *_ = [entry for entry in logs if entry["event"] == "tool failed"]
    assert 'raise ValueError("no such order")' in first["traceback"]
    assert {"tool", "call_id", "user_id", "run_id"} < first.keys()


@pytest.mark.parametrize("code", ["error", "rejected", "timeout", "cancelled", "of its own"])
def test_a_tool_that_says_no_keeps_its_code_and_its_sentence(code: str) -> None:
    (got,) = run(called((tools.fails, code)))
    assert got == f"{code if code != 'of its own' else 'error'}: the order is already paid"


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("exit", "ended with exit code 7"),
        ("lets go", "ended with exit code 0"),
        ("segfault", "was ended by SIGSEGV"),
        ("real-time", "was ended by signal 36"),
    ],
)
def test_a_process_that_dies_is_a_failed_call_that_says_how(how: str, end: str) -> None:
    with capture_logs() as logs:
        died, value = run(called((tools.dies, how), (tools.add, 1)))
    assert died == f"error: the process of dies {end}"
    assert value == 3, "others are none the worse"
    assert [entry["tool"] for entry in logs if entry["event"] == "tool failed"] == ["dies"]


@pytest.mark.parametrize("how", ["at once", "by and by"])
def test_a_tool_that_takes_too_much_memory_is_told_of_the_limit(how: str) -> None:
    async def main() -> list[Any]:
        async with hosting(processes=ToolProcesses(memory_bytes=64 * MEBI)) as host:
            return await called((tools.grows, how), (tools.takes, 32 * MEBI), (tools.takes, 80 * MEBI), host=host)

    grown, small, large = run(main())
    assert grown == f"error: grows needed more than the memory limit of {64 * MEBI} bytes (NETRA_TOOL_MEMORY_BYTES)"
    assert small == 32 * MEBI, "what the module takes does not count"
    assert "memory limit" in large


def test_a_reply_that_is_too_large_is_an_error_that_says_how_large() -> None:
    async def main() -> list[Any]:
        async with hosting(processes=ToolProcesses(reply_bytes=100_000)) as host:
            return await called((tools.text_of, 90_000), (tools.text_of, 100_000), host=host)

    fits, large = run(main())
    assert fits == "x" * 90_000
    assert large.startswith("error: text_of gave 1000")
    assert large.endswith(" bytes; an isolated tool may give 100000 at most")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("garbage", "gave what is no reply"),
        ("a pickle", "gave what is no reply"),
        ("a size and nothing", "ended with exit code 0"),
        ("without end", f"gave {2**64 - 1} bytes; an isolated tool may give"),
    ],
)
def test_a_process_that_cheats_harms_its_own_call_alone(how: str, said: str) -> None:
    cheated, value = run(called((tools.cheats, how), (tools.add, 1)))
    assert said in cheated
    assert cheated.startswith("error: ")
    assert value == 3


def test_arguments_that_cannot_go_to_another_process_are_an_error() -> None:
    async def main() -> None:
        async with hosting() as host:
            with pytest.raises(CallFailed, match="the arguments of add cannot go to another process"):
                await host.processes.run("ada", tools.add, {"a": threading.Lock()})
            assert host.processes.running == 0

    run(main())


# Nothing of others


def test_calls_of_two_users_see_nothing_of_each_others_changes() -> None:
    async def main() -> None:
        async with hosting() as host:
            made = [bench(tools.remembers, user=user, host=host) for user in ("ada", "bob", "ada")]
            together = await asyncio.gather(
                *(each.dispatcher.call(tools.remembers, str(number)) for number, each in enumerate(made))
            )
            later = await made[0].dispatcher.call(tools.remembers, "again")
            assert together == [["0", "0"], ["1", "1"], ["2", "2"]]
            assert later == ["again", "again"]
            assert tools.seen == []

    run(main())


SECRETS = {"NETRA_SECRET_KEY", "netra_secret_key", "NETRA_DATABASE_URL", "OPENAI_API_KEY", "NETRA_HOST"}


def test_a_process_has_neither_the_servers_secrets_nor_its_open_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "must-not-be-seen-0123456789")
    monkeypatch.setenv("SHOP_TOKEN", "for-tools")

    async def main() -> dict[str, Any]:
        async with hosting(processes=ToolProcesses(environment=environment_for_tools())) as host:
            ours, theirs = socket.socketpair()
            with ours, theirs, (tmp_path / "database").open("w") as opened:
                for each in (ours, opened):
                    os.set_inheritable(each.fileno(), True)
                # Others are at work meanwhile: their sockets are none of its.
                beside = asyncio.create_task(
                    host.processes.run("bob", tools.until_there, {"path": f"{tmp_path}/b", "release": f"{tmp_path}/r"})
                )
                await begun(tmp_path / "b")
                (found,) = await called((tools.surroundings,), host=host)
                (tmp_path / "r").touch()
                await beside
                return found

    found = run(main())
    assert found["environment"]["SHOP_TOKEN"] == "for-tools"
    assert not SECRETS & found["environment"].keys()
    assert "must-not-be-seen" not in str(found)
    standard = {name: target for name, target in found["descriptors"].items() if int(name) <= 2}
    assert standard.keys() == {"0", "1", "2"}
    assert standard["0"] == "/dev/null"
    assert standard["1"] == standard["2"]
    (own,) = [target for name, target in found["descriptors"].items() if name not in standard]
    assert own.startswith("socket:")


def test_a_host_that_was_told_of_no_environment_gives_none() -> None:
    (found,) = run(called((tools.surroundings,)))
    assert not found["environment"].keys() - {"LC_CTYPE"}


# Limits


def test_never_more_processes_than_the_process_or_a_user_may_have_and_users_in_turn(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting(processes=ToolProcesses(size=3, per_user=2)) as host:
            processes = host.processes
            order: list[str] = []

            async def call(user: str, number: int) -> None:
                arguments = {"path": str(tmp_path / f"{user}{number}"), "release": str(tmp_path / f"release{user}")}
                await processes.run(user, tools.until_there, arguments, lambda: order.append(user))

            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(call("ada", number))
                await begun(tmp_path / "ada1")
                assert processes.running == 2, "he is at his bound"
                for user, number in (("bob", 0), ("bob", 1), ("cyd", 0)):
                    group.create_task(call(user, number))
                await begun(tmp_path / "bob0")
                assert (processes.running, order) == (3, ["ada", "ada", "bob"])
                (tmp_path / "releasebob").touch()
                await begun(tmp_path / "cyd0")
                assert order[3:] == ["bob", "cyd"], "ada's others came before, and are not before others"
                for user in ("ada", "cyd"):
                    (tmp_path / f"release{user}").touch()
            assert processes.running == 0
            assert order[5:] == ["ada", "ada"]

    run(main())


def test_closing_refuses_whoever_waits_and_whoever_comes(tmp_path: Path) -> None:
    async def main() -> None:
        processes = ToolProcesses(size=1)
        arguments = {"path": str(tmp_path / "a"), "release": str(tmp_path / "release")}
        running = asyncio.create_task(processes.run("ada", tools.until_there, arguments))
        await begun(tmp_path / "a")
        waiting = asyncio.create_task(processes.run("bob", tools.add, {"a": 1}))
        await asyncio.sleep(0)
        processes.close()
        processes.prepare(tools.add)
        for late in (waiting, processes.run("cyd", tools.add, {"a": 1})):
            with pytest.raises(CallFailed, match="stopping"):
                await late
        (tmp_path / "release").touch()
        assert await running == str(tmp_path / "a")
        await processes.aclose()

    run(main())


# Definition


def test_a_function_that_no_other_process_can_have_is_refused_when_it_is_defined() -> None:
    def inner(query: str) -> str:
        return query

    def scoped(query: str, scope: RunScope) -> str:
        return query

    scoped.__qualname__ = "scoped"

    def nowhere(query: str) -> str:
        return query

    nowhere.__qualname__ = "nowhere"
    nowhere.__module__ = "made_up"
    reasons: list[tuple[Callable[..., Any], str]] = [
        (inner, "defined inside a function"),
        (scoped, "scope is a RunScope, which no other process can have"),
        (nowhere, "no other process can import its module made_up"),
    ]
    for function, reason in reasons:
        with pytest.raises(ToolDefinitionError, match=reason):
            tool(isolated=True)(function)
    assert not tool(inner).isolated
    assert tools.add.isolated


def shadowed(query: str) -> str:
    return query


under_another_name = tool(isolated=True)(shadowed)


def test_a_tool_that_is_not_under_its_functions_name_is_a_failed_call() -> None:
    (got,) = run(called((under_another_name, "ada")))
    assert got.startswith(f"error: no other process can find shadowed: {__name__} has another shadowed")


def test_calling_it_in_a_test_calls_the_plain_function() -> None:
    assert tools.add(1) == 3
    assert tools.who()["pid"] == os.getpid()
    assert sys.modules["tests.unit.tools.isolated_tools"] is tools
