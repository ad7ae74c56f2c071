"""Agents use the tools of real MCP servers, in other processes: as other tools, whatever a server does."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.bounded import passed, run, until
from tests.support.mcp_server import Echo, command, digest, lines

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, ConfigurationError, MCPServer, RunScope
from netra_apex.core.events import ApprovalRequested, ToolCompleted, ToolExecuting
from netra_apex.core.messages import ModelRequest
from netra_apex.testing import ScriptedModel, harness
from netra_apex.testing.scripted import calls


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    with Echo.over_http(tmp_path) as echo:
        yield echo


def chat(*servers: MCPServer | str) -> AgentRegistry:
    """An agent that is offered the tools of these."""

    class Chat(ChatAgent):
        """Uses them."""

        name = "chat"
        mcp_servers: ClassVar[tuple[MCPServer | str, ...]] = servers

    return AgentRegistry([Chat])


def code(server: MCPServer, timeout: float | None = None) -> AgentRegistry:
    """An agent whose tasks are the names of the server's tools to call, one after another."""

    class Code(BaseAgent):
        """Calls them."""

        name = "code"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> list[Any]:
            return [await scope.tools.call(server.tool(name)) for name in task.split()]

    return AgentRegistry([Code])


def names(request: ModelRequest) -> list[str]:
    return [each.name for each in request.tools]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_model_is_offered_a_servers_tools_and_calls_them_as_any_other(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url)
    model = ScriptedModel([calls(("echo__whoami", {}), ("echo__fail", {"why": "no reason"})), "done"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            outcome = await app.ask("who am I?")
            assert outcome.output == "done"
            assert "echo__whoami" in names(model.requests[0])
            described = {each.name: each for each in model.requests[0].tools}["echo__whoami"]
            assert described.description.startswith("Says by whose credential")
            assert "together" in described.parameters["properties"]
            well, ill = sorted(outcome.of(ToolCompleted), key=lambda each: each.tool, reverse=True)
            assert (well.tool, well.ok) == ("echo__whoami", True)
            assert well.result["bearer"] == digest("")
            assert (ill.ok, ill.error.code) == (False, "error")
            assert "no reason" in ill.error.message

    run(main())


def test_the_tools_that_an_agent_declares_are_those_that_it_has(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, tools=("whoami",))
    model = ScriptedModel([("echo__count", {}), "done"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            outcome = await app.ask("count")
            assert names(model.requests[0]) == ["echo__whoami"]
            assert outcome.errors()[0].code == "unknown_tool"
            other = AgentRegistry([type("Other", (type(app.runtime.registry.create("chat")),), {"name": "other"})])
            assert other.names == ("other",)
        async with harness(code(server)) as app:
            (error,) = (await app.ask("count")).errors()
            assert "none of the tools of echo" in error.message
        assert "count" not in " ".join(echo.lines())

    run(main())


def test_who_lacks_a_servers_permission_is_offered_nothing_of_it_and_calls_nothing(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, requires="echo:use")
    model = ScriptedModel(["nothing", "something"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            await app.ask("hello")
            await app.ask("hello", permissions=("echo:use",))
        assert names(model.requests[0]) == []
        assert "echo__whoami" in names(model.requests[1])
        async with harness(code(server)) as app:
            assert (await app.ask("count")).errors()[0].code == "denied"
        assert echo.lines() == []

    run(main())


def test_a_call_that_needs_approval_waits_for_its_user_and_is_made_once(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, needs_approval=("count",))
    model = ScriptedModel([calls(("echo__count", {}), ("echo__whoami", {})), "done"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            accepted = await app.post("count")
            while not (pending := (await app.runtime.stores.approvals.pending("ada")).items):
                await passed(0.01)
            assert echo.lines() == []
            assert pending[0].tool == "echo__count"
            await app.runtime.house.decide("ada", pending[0].approval_id, "approve", None)
            outcome = await app.outcome("ada", accepted)
            assert outcome.output == "done"
            assert len(outcome.of(ApprovalRequested)) == 1
            assert [line.split()[0] for line in echo.lines()] == ["count"]

    run(main())


def test_a_run_that_is_taken_up_offers_what_it_has_offered_whatever_the_server_says_by_then(tmp_path: Path) -> None:
    model = ScriptedModel([("echo__count", {}), "done"])

    async def main() -> None:
        with Echo.over_http(tmp_path) as echo:
            server = MCPServer("echo", url=echo.url, needs_approval=True)
            async with harness(chat(server), model=model) as app:
                accepted = await app.post("count")
                while not (pending := (await app.runtime.stores.approvals.pending("ada")).items):
                    await passed(0.01)
                echo.kill()
                await app.runtime.house.decide("ada", pending[0].approval_id, "approve", None)
                outcome = await app.outcome("ada", accepted)
        (ended,) = outcome.of(ToolCompleted)
        assert ended.error is not None
        assert ended.error.code == "error"
        assert "the connection to echo was lost" in ended.error.message
        assert outcome.output == "done"
        assert names(model.requests[1]) == names(model.requests[0])

    run(main())


def test_requests_side_by_side_are_offered_the_same_tools_and_are_not_made_again(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, needs_approval=("count",))

    class Twice(BaseAgent):
        """Asks twice at once, and then waits for a person."""

        name = "twice"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> str:
            replies = await asyncio.gather(*[scope.model(word, tools=[server]) for word in task.split()])
            await scope.tools.call(server.tool("count"))
            return " ".join(reply.text for reply in replies)

    async def main() -> None:
        model = ScriptedModel(["re one", "re two"])
        async with harness(AgentRegistry([Twice]), model=model) as app:
            accepted = await app.post("one two")
            while not (pending := (await app.runtime.stores.approvals.pending("ada")).items):
                await passed(0.01)
            await app.runtime.house.decide("ada", pending[0].approval_id, "approve", None)
            outcome = await app.outcome("ada", accepted)
        assert outcome.output == "re one re two"
        assert [names(request) for request in model.requests] == [names(model.requests[0])] * 2

    run(main())


def test_a_session_is_kept_between_a_users_runs_and_closed_when_nobody_has_used_it_for_a_while() -> None:
    server = MCPServer("echo", command=command())

    async def main() -> None:
        async with harness(code(server), mcp_idle_seconds=1.0) as app:
            first = (await app.ask("whoami count")).output
            second = (await app.ask("whoami count")).output
            assert [first[1]["result"], second[1]["result"]] == [1, 2]
            assert first[0]["pid"] == second[0]["pid"]
            await until(lambda: app.runtime.servers.open_sessions == 0)
            assert not alive(first[0]["pid"])

    run(main())


def test_a_session_that_is_kept_for_no_time_is_closed_with_its_run() -> None:
    server = MCPServer("echo", command=command())

    async def main() -> None:
        async with harness(code(server), mcp_idle_seconds=0) as app:
            outcome = await app.ask("count count whoami")
            assert [each.get("result") for each in outcome.output] == [1, 2, None]
            await until(lambda: app.runtime.servers.open_sessions == 0)
            assert not alive(outcome.output[2]["pid"])

    run(main())


def test_no_process_is_left_when_the_runtime_ends() -> None:
    server = MCPServer("echo", command=command())

    async def main() -> int:
        async with harness(code(server)) as app:
            return (await app.ask("whoami")).output[0]["pid"]

    assert not alive(run(main()))


def test_more_sessions_than_allowed_make_room_or_are_refused() -> None:
    one, two = (MCPServer(name, command=command()) for name in ("one", "two"))

    class Both(BaseAgent):
        """Uses one server, or both in one run."""

        name = "both"
        mcp_servers = (one, two)

        async def run(self, task: str, scope: RunScope) -> list[Any]:
            servers = {server.name: server for server in self.mcp_servers}
            return [(await scope.tools.call(servers[name].tool("whoami")))["pid"] for name in task.split()]

    async def main() -> None:
        async with harness(AgentRegistry([Both]), mcp_sessions_per_user=1) as app:
            (first,) = (await app.ask("one")).output
            await app.ask("two")
            await until(lambda: not alive(first))
            (error,) = (await app.ask("one two")).errors()
            assert error.message == "this user has 1 sessions with MCP servers already, all in use"

    run(main(), limit=60)


def test_a_server_that_dies_in_a_call_is_a_tool_error_and_the_next_call_has_another(tmp_path: Path) -> None:
    notes = tmp_path / "notes.log"
    server = MCPServer("echo", command=command(), env={"NOTES": str(notes)})
    model = ScriptedModel([("echo__die", {}), ("echo__count", {}), "done"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            outcome = await app.ask("die")
            died, counted = outcome.of(ToolCompleted)
            assert died.error is not None
            assert "the connection to echo was lost" in died.error.message
            assert counted.result == {"result": 1}
            assert [line.split()[0] for line in lines(notes)] == ["begins", "die", "begins", "count"]

    run(main())


def test_a_call_that_a_lost_connection_cut_off_is_made_again_only_where_it_is_idempotent(tmp_path: Path) -> None:
    async def died(number: int, idempotent: tuple[str, ...]) -> list[str]:
        notes = tmp_path / f"{number}.log"
        server = MCPServer("echo", command=command(), env={"NOTES": str(notes)}, idempotent=idempotent)
        async with harness(code(server)) as app:
            assert len((await app.ask("die")).errors()) == 1
        return [line for line in lines(notes) if line == "die"]

    async def main() -> None:
        assert await died(1, ()) == ["die"]
        assert await died(2, ("die",)) == ["die", "die"]

    run(main())


def test_a_server_over_http_that_was_restarted_is_reached_again(tmp_path: Path) -> None:
    async def main() -> None:
        with Echo.over_http(tmp_path) as echo:
            server = MCPServer("echo", url=echo.url)
            port = int(echo.url.split(":")[2].split("/")[0])
            async with harness(code(server)) as app:
                assert (await app.ask("count")).output == [{"result": 1}]
                echo.kill()
                (error,) = (await app.ask("count")).errors()
                assert error.code == "error"
                with Echo.over_http(tmp_path, port=port):
                    assert (await app.ask("count")).output == [{"result": 1}]

    run(main())


def test_a_server_that_is_not_there_is_told_to_the_model_which_answers_all_the_same() -> None:
    server = MCPServer("gone", url="http://127.0.0.1:9/mcp")
    model = ScriptedModel([("gone__unavailable", {}), "I cannot reach it."])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            outcome = await app.ask("hello")
        (offered,) = model.requests[0].tools
        assert "the connection to gone was lost" in offered.description
        assert outcome.errors()[0].message == offered.description.partition(": ")[2]
        assert outcome.output == "I cannot reach it."

    run(main())


def test_a_server_that_hangs_at_its_start_costs_no_more_than_its_time_out() -> None:
    server = MCPServer("deaf", command=("sleep", "60"), timeout=0.5)
    model = ScriptedModel(["It does not answer."])

    async def main() -> None:
        began = time.monotonic()
        async with harness(chat(server), model=model) as app:
            assert (await app.ask("hello")).output == "It does not answer."
            assert time.monotonic() - began < 5
        assert "it did not answer in time" in model.requests[0].tools[0].description

    run(main())


def test_a_call_that_takes_too_long_is_told_as_a_time_out_and_the_server_lets_it_go(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, timeout=0.5)

    async def main() -> None:
        async with harness(code(server)) as app:
            (error,) = (await app.ask("hold")).errors()
            assert error.code == "timeout"
            await until(lambda: echo.lines() == ["hold", "let go"])
            assert (await app.ask("count")).ok

    run(main())


@pytest.mark.parametrize("way", ["http", "stdio"])
def test_a_cancelled_run_cancels_its_call_within_two_seconds(way: str, echo: Echo, tmp_path: Path) -> None:
    notes = echo.notes if way == "http" else tmp_path / "other.log"
    over = {"url": echo.url} if way == "http" else {"command": command(), "env": {"NOTES": str(notes)}}
    server = MCPServer("echo", **over)

    async def main() -> None:
        async with harness(code(server)) as app:
            accepted = await app.post("hold")
            await until(lambda: "hold" in lines(notes))
            began = time.monotonic()
            await app.runtime.admission.cancel("ada", accepted.run_id)
            outcome = await app.outcome("ada", accepted)
            assert outcome.types[-1] == "agent_cancelled"
            await until(lambda: "let go" in lines(notes))
            assert time.monotonic() - began < 2
            assert (await app.ask("count")).ok

    run(main())


@pytest.mark.parametrize("way", ["http", "stdio"])
def test_a_list_that_has_changed_is_offered_from_the_next_run_on(way: str, echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url) if way == "http" else MCPServer("echo", command=command())
    model = ScriptedModel([("echo__grow", {}), "grown", "offered"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            assert (await app.ask("grow")).ok
            assert "echo__grown" not in names(model.requests[1])
            await until(lambda: not app.runtime.servers._lists)
            await app.ask("go on")
            assert "echo__grown" in names(model.requests[2])

    run(main())


def test_a_list_is_asked_for_once_for_many_runs_of_a_user(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url)
    model = ScriptedModel(["one", "two", "three"])

    async def main() -> None:
        async with harness(chat(server), model=model, mcp_idle_seconds=0) as app:
            await app.ask("one")
            await until(lambda: app.runtime.servers.open_sessions == 0)
            echo.kill()
            await app.ask("two")
            assert names(model.requests[1]) == names(model.requests[0])
            await app.ask("three", user="bob")
            assert names(model.requests[2]) == ["echo__unavailable"]

    run(main())


def test_a_server_is_given_none_of_this_processs_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRA_SECRET_KEY", "0123456789" * 4 + "abcdefghij")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    server = MCPServer("echo", command=command(), env={"GIVEN": "yes"})

    async def main() -> None:
        async with harness(code(server)) as app:
            (found,) = (await app.ask("environment")).output
        assert "GIVEN" in found["result"]
        assert not [name for name in found["result"] if name.startswith(("NETRA_", "OPENAI_"))]

    run(main())


def test_a_refused_credential_is_told_with_the_way_to_another_one(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url, credential="user")

    async def main() -> None:
        async with harness(code(server)) as app:
            await app.runtime.servers.connect("ada", server, "revoked-credential")
            (error,) = (await app.ask("count")).errors()
            assert error.message.startswith("echo wants another credential: connect it again: PUT ")
            await app.runtime.servers.connect("ada", server, "a-good-credential")
            assert (await app.ask("count")).ok

    run(main())


def test_servers_of_the_file_are_those_that_agents_name(echo: Echo, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ECHO_WORD", "a-shared-word-of-all")
    path = tmp_path / "mcp.json"
    entry = {"url": echo.url, "headers": {"Authorization": "Bearer ${ECHO_WORD}"}, "tools": ["whoami", "blurt"]}
    path.write_text(json.dumps({"mcpServers": {"echo": entry}}))
    model = ScriptedModel([calls(("echo__whoami", {}), ("echo__blurt", {})), "done"])

    async def main() -> None:
        async with harness(chat("echo"), model=model, mcp_servers=path) as app:
            outcome = await app.ask("who am I?")
            assert names(model.requests[0]) == ["echo__whoami", "echo__blurt"]
            found = {each.tool: each.result for each in outcome.of(ToolCompleted)}
            assert found["echo__whoami"]["bearer"] == digest("a-shared-word-of-all")
            assert found["echo__blurt"] == {"result": "it is [redacted], indeed"}
            assert {each.tool for each in outcome.of(ToolExecuting)} == found.keys()

    run(main())


def test_a_server_that_nobody_knows_stops_the_start() -> None:
    async def main() -> None:
        async with harness(chat("unknown")):
            raise AssertionError("it started")

    with pytest.raises(ConfigurationError, match="there is no MCP server 'unknown'"):
        run(main())


@pytest.mark.parametrize(("answer", "result"), [("42", "size 42"), ("decline", "decline")])
@pytest.mark.parametrize("way", ["http", "stdio"])
def test_what_a_server_asks_in_a_call_is_put_to_the_user_and_the_call_goes_on_with_his_answer(
    way: str, answer: str, result: str, echo: Echo
) -> None:
    over = {"url": echo.url} if way == "http" else {"command": command(), "env": {"NOTES": str(echo.notes)}}
    server = MCPServer("echo", **over)
    model = ScriptedModel([("echo__measure", {}), "done"])

    async def main() -> None:
        async with harness(chat(server), model=model) as app:
            accepted = await app.post("measure")
            question = await asked(app)
            assert question.text == "echo asks: Which size?\n(Size: integer; or: decline)"
            assert "measure" not in echo.lines()
            await app.runtime.house.answer("ada", question.question_id, answer)
            outcome = await app.outcome("ada", accepted)
            said = {each.tool: each for each in outcome.of(ToolCompleted)}
            assert said["echo__measure"].result == {"result": result}
            assert outcome.output == "done"
            assert echo.lines().count("measure") == 1

    run(main())


def test_an_answer_that_is_none_fails_the_call(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url)

    async def main() -> None:
        async with harness(code(server)) as app:
            accepted = await app.post("measure")
            await app.runtime.house.answer("ada", (await asked(app)).question_id, "large")
            error = (await app.outcome("ada", accepted)).errors()[-1]
            assert error.message == "the answer is none for Size: integer"

    run(main())


async def asked(app: Any) -> Any:
    while not (pending := (await app.runtime.stores.questions.pending("ada")).items):
        await passed(0.01)
    return pending[0]


@pytest.mark.parametrize("idempotent", [(), ("hold",)])
def test_a_call_that_a_restart_cut_off_is_made_again_only_where_it_is_idempotent(
    idempotent: tuple[str, ...], echo: Echo, tmp_path: Path
) -> None:
    server = MCPServer("echo", url=echo.url, idempotent=idempotent, timeout=60)
    home = tmp_path / "home"

    async def main() -> None:
        async with harness(code(server), home=home, drain_seconds=0.01) as app:
            accepted = await app.post("hold")
            await until(lambda: "hold" in echo.lines())
        async with harness(code(server), home=home) as app:
            if idempotent:
                await until(lambda: echo.lines().count("hold") == 2)
                await app.runtime.admission.cancel("ada", accepted.run_id)
            outcome = await app.outcome("ada", accepted)
            assert echo.lines().count("hold") == (2 if idempotent else 1)
            if not idempotent:
                assert outcome.errors()[0].code == "unknown_outcome"
                assert outcome.events[-1].code == "tool_outcome_unknown"

    run(main())


def test_many_calls_of_a_run_at_once_share_its_session(echo: Echo) -> None:
    server = MCPServer("echo", url=echo.url)

    class Wide(BaseAgent):
        """Calls side by side."""

        name = "wide"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> int:
            tool = server.tool("whoami")
            await asyncio.gather(*(scope.tools.call(tool, together=int(task)) for _ in range(int(task))))
            return int(task)

    async def main() -> None:
        async with harness(AgentRegistry([Wide])) as app:
            assert (await app.ask("20")).output == 20
            assert app.runtime.servers.open_sessions == 1

    run(main())
