"""Isolated tools in a real server: killed with a cancel, with a drain and with the server, and free of its secrets."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import check_run

APP = '''
import os, re, time
from pathlib import Path
from netra_apex import AgentRegistry, ChatAgent, tool

PLACE = Path(__file__).parent

def note(name: str) -> None:
    (PLACE / "part").write_text(str(os.getpid()))
    (PLACE / "part").rename(PLACE / name)

@tool(isolated=True)
def holds(query: str) -> str:
    """Holds the interpreter's lock, for longer than anybody waits."""
    note("pid")
    re.match(r"(a+)+$", "a" * 64 + "b")
    return query

@tool(isolated=True)
def has(query: str) -> list[str]:
    """Names the environment that it has."""
    return sorted(name for name in os.environ if name.startswith(("NETRA", "OPENAI")))

@tool(isolated=True)
def grows(query: str) -> int:
    """Takes more memory than it may."""
    return len(bytearray(64 * 1024**2))

@tool
def blocks(query: str) -> str:
    """Cannot be stopped."""
    note("pid")
    time.sleep(20)
    return query

class Assistant(ChatAgent):
    name = "assistant"
    instructions = "Answer."
    tools = (holds, has, grows, blocks)

registry = AgentRegistry([Assistant])
'''


@pytest.fixture
def server(tmp_path, wire):
    (tmp_path / "isolated").mkdir()
    made = tmp_path / "made.py"
    made.write_text(APP)
    memory = 32 * 1024**2
    with Server(
        tmp_path / "isolated", app=made, wire=wire, people=2, tool_memory_bytes=memory, agent_timeout_seconds=60
    ) as server:
        yield server


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def noted(server: Server) -> int:
    """The process of the tool that is at work."""
    path = server.place / "pid"
    async with asyncio.timeout(10):
        while not path.exists():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)
    pid = int(path.read_text())
    path.unlink()
    return pid


async def all_gone(*pids: int) -> None:
    async with asyncio.timeout(3):
        while not all(map(gone, pids)):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)


def test_a_cancel_ends_the_run_within_two_seconds_and_the_process_with_it(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        for name in ("holds", "blocks"):
            accepted = await socket.ask(f"do it [[call={name}]]")
            pid = await noted(server)
            began = time.monotonic()
            await socket.answer("cancel", run_id=accepted["run_id"])
            await socket.ended(accepted["run_id"])
            assert time.monotonic() - began < 2
            if name == "holds":
                await all_gone(pid)
            events = check_run(socket.of(accepted["run_id"]), ending="agent_cancelled")
            (end,) = [event for event in events if event["type"] == "tool_completed"]
            assert (end["ok"], end["error"]["code"]) == (False, "cancelled")
            shown = await asyncio.to_thread(server.netra, "runs", "show", accepted["run_id"], "--json")
            steps = {step["name"]: step["state"] for step in json.loads(shown.stdout)["steps"]}
            assert steps[name] == "unknown"
            table = (await asyncio.to_thread(server.netra, "runs", "show", accepted["run_id"])).stdout
            assert [line.split()[2:4] for line in table.splitlines() if " call " in line] == [[name, "unknown"]]

    play(server, scenario)


def test_a_tool_has_none_of_the_servers_own_environment_and_no_more_memory_than_it_may(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("do it [[call=has,grows]]")
        await socket.ended(accepted["run_id"])
        ends = {
            event["tool"]: event
            for event in check_run(socket.of(accepted["run_id"]))
            if event["type"] == "tool_completed"
        }
        assert not {"OPENAI_API_KEY", "NETRA_SECRET_KEY", "NETRA_DATABASE_URL"} & set(ends["has"]["result"])
        assert "NETRA_DRAIN_SECONDS" in ends["has"]["result"]
        assert "memory limit of 33554432 bytes" in ends["grows"]["error"]["message"]

    play(server, scenario)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_server_is_the_end_of_its_tools_processes(server, how):
    async def before(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("do it [[call=holds]]")
        pid = await noted(server)
        parent = parent_of(pid)
        server.signal(how)
        await asyncio.to_thread(server.ended)
        await all_gone(pid, parent)
        return login, accepted

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=accepted["run_id"], after=0)
        ending = await socket.ended(accepted["run_id"])
        assert (ending["type"], ending["code"]) == ("agent_failed", "tool_outcome_unknown")

    login, accepted = play(server, before)
    with server:
        play(server, after)
