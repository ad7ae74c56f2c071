"""An isolated call that nobody waits for any more is killed, with all that it has started, whatever the reason."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.bounded import run, turns
from tests.unit.tools import isolated_tools as tools
from tests.unit.tools.processes import begun, children_of, gone, kill, noted, program
from tests.unit.tools.support import bench, hosting, until

from netra_apex.errors import CallFailed
from netra_apex.tools import ToolHost
from netra_apex.tools.processes import ToolProcesses

KILL_SECONDS = 2.0  # G9
WAYS = ["computing", "holding the interpreter", "refusing", "sleeping"]


async def all_gone(pids: list[int]) -> None:
    """Bounded by `KILL_SECONDS`, with a half for a machine that is busy with other tests."""
    async with asyncio.timeout(KILL_SECONDS * 1.5):
        await until(lambda: all(map(gone, pids)))


@pytest.mark.parametrize("how", WAYS)
def test_a_time_out_kills_whatever_the_process_is_doing(tmp_path: Path, how: str) -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(tools.briefly, tools.add, host=host)
            assert await made.dispatcher.call(tools.add, 1) == 3, "the module is imported"
            with pytest.raises(CallFailed) as late:
                await made.dispatcher.call(tools.briefly, str(tmp_path / "pid"), how)
            assert (late.value.code, late.value.message) == ("timeout", "briefly took longer than 1.5 s")
            (pid,) = noted(tmp_path / "pid")
            await all_gone([pid])
            await until(lambda: not host.processes.running)
            assert made.recorder.codes() == ["ok", "timeout"]

    run(main())


@pytest.mark.parametrize("how", [*WAYS, "waiting"])
def test_a_cancel_kills_within_two_seconds(tmp_path: Path, how: str) -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(tools.forever, tools.waits, host=host)
            path = str(tmp_path / "pid")
            calling = asyncio.create_task(
                made.dispatcher.call(tools.waits, path)
                if how == "waiting"
                else made.dispatcher.call(tools.forever, path, how)
            )
            (pid,) = await begun(tmp_path / "pid")
            assert not gone(pid)
            began = time.monotonic()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await all_gone([pid])
            assert time.monotonic() - began < KILL_SECONDS
            assert made.recorder.codes() == ["cancelled"]
            assert not host.processes.running
            assert await host.processes.run("ada", tools.add, {"a": 1}) == 3

    run(main())


@pytest.mark.parametrize("stays", [True, False], ids=["cancelled", "ended"])
def test_what_a_call_has_started_ends_with_it_in_whatever_session(tmp_path: Path, *, stays: bool) -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(tools.with_others, host=host)
            calling = asyncio.create_task(made.dispatcher.call(tools.with_others, str(tmp_path / "pids"), stays=stays))
            pids = await begun(tmp_path / "pids")
            assert len(set(pids)) == 5
            if stays:
                assert not any(map(gone, pids))
                calling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await calling
            else:
                assert await calling == "done"
            await all_gone(pids)

    run(main())


def test_one_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting() as host:

            def start(name: str) -> "asyncio.Task[str]":
                arguments = {"path": str(tmp_path / name), "release": str(tmp_path / "release")}
                return asyncio.create_task(host.processes.run(name, tools.until_there, arguments))

            one, other = start("one"), start("other")
            ((first,), (second,)) = await begun(tmp_path / "one"), await begun(tmp_path / "other")
            beside = asyncio.create_task(
                host.processes.run("ada", tools.with_others, {"path": str(tmp_path / "pids"), "stays": True})
            )
            pids = await begun(tmp_path / "pids")
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            await all_gone([first])
            assert await host.processes.run("ada", tools.add, {"a": 1}) == 3
            assert not any(map(gone, [second, *pids])), "nor what others have started"
            beside.cancel()
            await asyncio.wait({beside})
            (tmp_path / "release").touch()
            assert await other == str(tmp_path / "other")

    run(main())


def test_a_call_that_is_cancelled_before_its_process_is_forked_has_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(tools.forever, host=host)
            calling = asyncio.create_task(made.dispatcher.call(tools.forever, str(tmp_path / "pid"), "sleeping"))
            await until(lambda: host.processes.running == 1)
            await asyncio.sleep(0)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            # What was asked for before has been served before this.
            assert await host.processes.run("ada", tools.add, {"a": 1}) == 3
            assert not (tmp_path / "pid").exists()

    run(main())


def test_the_end_of_the_host_kills_and_leaves_no_process_behind(tmp_path: Path) -> None:
    before = set(children_of(os.getpid()))

    async def main() -> None:
        host = ToolHost()
        calling = asyncio.create_task(
            host.processes.run("ada", tools.forever, {"path": str(tmp_path / "pid"), "how": "sleeping"})
        )
        (pid,) = await begun(tmp_path / "pid")
        began = time.monotonic()
        await host.aclose()
        assert time.monotonic() - began < KILL_SECONDS
        await all_gone([pid])
        assert set(children_of(os.getpid())) == before
        with pytest.raises(CallFailed):
            await host.processes.run("ada", tools.add, {"a": 1})
        calling.cancel()
        await asyncio.wait({calling})

    run(main())


def test_a_fork_server_that_dies_fails_its_calls_and_another_takes_its_place(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting() as host:
            with capture_logs() as logs:
                parent = (await host.processes.run("ada", tools.who, {}))["parent"]
                made = bench(tools.forever, host=host)
                calling = asyncio.create_task(made.dispatcher.call(tools.forever, str(tmp_path / "pid"), "sleeping"))
                (pid,) = await begun(tmp_path / "pid")
                os.kill(parent, signal.SIGKILL)
                with pytest.raises(CallFailed, match=r"the process of forever was lost: .* has died"):
                    await calling
            await all_gone([pid])
            assert [entry["event"] for entry in logs] == ["tool failed"]
            assert (await host.processes.run("ada", tools.who, {}))["parent"] != parent

    run(main())


def test_a_service_managers_signal_to_every_process_ends_no_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting() as host:
            arguments = {"path": str(tmp_path / "pid"), "release": str(tmp_path / "release")}
            calling = asyncio.create_task(host.processes.run("ada", tools.until_there, arguments))
            (pid,) = await begun(tmp_path / "pid")
            parent = (await host.processes.run("ada", tools.who, {}))["parent"]
            for each in (parent, pid):
                os.kill(each, signal.SIGTERM)
                os.kill(each, signal.SIGINT)
            (tmp_path / "release").touch()
            assert await calling == str(tmp_path / "pid")
            assert (await host.processes.run("ada", tools.who, {}))["parent"] == parent

    run(main())


SERVER = """
import asyncio, sys
from netra_apex.tools.processes import ToolProcesses
from tests.unit.tools import isolated_tools as tools

async def main():
    processes = ToolProcesses()
    made, arguments = getattr(tools, sys.argv[1]), {"path": sys.argv[2]}
    arguments |= {"stays": True} if made is tools.with_others else {"how": sys.argv[3]}
    await processes.run("ada", made, arguments)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [*WAYS, "others"])
def test_a_server_that_is_killed_leaves_no_process_behind(tmp_path: Path, how: str) -> None:
    tool = "with_others" if how == "others" else "forever"
    server = program("-c", SERVER, tool, str(tmp_path / "pid"), how)

    async def main() -> None:
        pids = await begun(tmp_path / "pid")
        (parent,) = children_of(server.pid)
        assert not any(map(gone, [*pids, parent]))
        kill(server)
        await all_gone([*pids, parent])

    try:
        run(main())
    finally:
        kill(server)


# In a tool's process, whose environment is empty, it does not come to its end.
SLOW = """
import os, time
from pathlib import Path
from netra_apex.tools import tool

@tool(isolated=True)
def never() -> None: ...

if "SERVER" not in os.environ:
    Path("part").write_text(str(os.getpid()))
    Path("part").rename("pid")
    time.sleep(600)
"""
SLOW_SERVER = """
import asyncio, os, sys
from pathlib import Path
os.environ["SERVER"] = "yes"
from slow import never
from netra_apex.tools.processes import ToolProcesses

async def main():
    processes = ToolProcesses()
    calling = asyncio.create_task(processes.run("ada", never, {}))
    while sys.argv[1] != "closed" or not Path("pid").exists():
        await asyncio.sleep(0.01)
    async with asyncio.timeout(1.5):
        await processes.aclose()
    await asyncio.wait({calling})
    print(type(calling.exception()).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_a_module_whose_import_does_not_end_outlives_no_server(tmp_path: Path, end: str) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    server = program("-c", SLOW_SERVER, end, cwd=tmp_path)

    async def main() -> None:
        (pid,) = await begun(tmp_path / "pid")
        if end == "killed":
            kill(server)
        else:
            assert server.communicate(timeout=10) == ("BrokeElsewhere\n", "")
        await all_gone([pid])

    try:
        run(main())
    finally:
        kill(server)


def test_a_call_holds_its_place_until_its_process_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting(processes=ToolProcesses(size=1)) as host:
            parent = (await host.processes.run("ada", tools.who, {}))["parent"]
            arguments = {"path": str(tmp_path / "pid"), "how": "sleeping"}
            calling = asyncio.create_task(host.processes.run("ada", tools.forever, arguments))
            (pid,) = await begun(tmp_path / "pid")
            # Who would kill it cannot for a moment.
            os.kill(parent, signal.SIGSTOP)
            try:
                calling.cancel()
                following = asyncio.create_task(host.processes.run("bob", tools.who, {}))
                await turns(50)
                assert not calling.done()
                assert not gone(pid)
                assert host.processes.running == 1
            finally:
                os.kill(parent, signal.SIGCONT)
            assert (await following)["pid"] != pid
            assert calling.cancelled()
            assert gone(pid)

    run(main())
