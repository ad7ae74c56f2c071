"""MCP's own client against a real server: agents as tools, their progress, their questions, and what it is refused."""

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult
from tests.support.bounded import passed
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import check_run, five_in_order, words
from tests.support.waiting import serving

ASK = "where is my order? [[call=lookup chunks=40 delay=2]]"
RUN = "io.netra-apex/run_id"
KEY = "io.netra-apex/idempotency-key"
MADE = '''
from typing import Any
from pydantic import BaseModel
from netra_apex import AgentRegistry, BaseAgent, RunScope, ask_user, tool

class Pair(BaseModel):
    left: int
    right: int

@tool(needs_approval=True)
async def sign(text: str) -> str:
    """Sign something."""
    return f"signed {text}"

class Adder(BaseAgent):
    """Adds."""
    name = "adder"
    input_type = Pair
    async def run(self, task: Pair, scope: RunScope) -> dict[str, Any]:
        return {"sum": task.left + task.right}

class Signer(BaseAgent):
    """Signs, once it may, and asks then."""
    name = "signer"
    async def run(self, task: str, scope: RunScope) -> str:
        signed = await scope.tools.call(sign, task)
        month = await scope.tools.call(ask_user, "Which month?")
        return f"{signed} in {month}"

class Failing(BaseAgent):
    """Fails."""
    name = "failing"
    async def run(self, task: str, scope: RunScope) -> str:
        raise RuntimeError("the roof fell in")

registry = AgentRegistry([Adder, Signer, Failing])
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("mcp"), wire=wire, people=40, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()
        # Each request has a server of its own, and that is no news.
        assert "StreamableHTTP" not in server.log()


@pytest.fixture(scope="module")
def made(tmp_path_factory, wire):
    with serving(tmp_path_factory.mktemp("mcp-made"), wire, MADE) as server:
        yield server


@asynccontextmanager
async def client_of(server, login, *, headers=None, **more):
    """MCP's client, as this user."""
    given = (login.bearer if login else {}) | (headers or {})
    async with (
        httpx2.AsyncClient(headers=given, timeout=30) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http), **more) as theirs,
    ):
        yield theirs


def as_somebody(server, test, **more):
    async def played(client):
        login = await client.login(server.person())
        async with client_of(server, login, **more) as theirs:
            await test(client, login, theirs)

    play(server, played)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_is_a_tool_whose_call_is_a_run_with_its_five_events_told_as_progress(server, mode):
    async def test(client, login, theirs):
        tools = {tool.name: tool for tool in (await theirs.list_tools()).tools}
        agents = (await client.get("/api/agents", login)).json["items"]
        assert {name: tool.description for name, tool in tools.items()} == {a["name"]: a["description"] for a in agents}
        assert "guarded" not in tools
        assert tools["assistant"].input_schema["required"] == ["task"]
        heard = []

        async def progress(done, total, message):
            heard.append((done, message))

        result = await theirs.call_tool("assistant", {"task": ASK}, progress_callback=progress)
        assert (result.is_error, result.content[0].text) == (False, words(40))
        events = check_run(server.events(result.meta[RUN]))
        five_in_order(events)
        assert "calls lookup" in [message for _, message in heard]
        assert [done for done, _ in heard] == sorted({done for done, _ in heard})

    as_somebody(server, test, mode=mode)


def test_lists_may_be_kept_for_their_user_alone(server):
    async def test(client, login, theirs):
        listed = await theirs.list_tools()
        assert (listed.cache_scope, listed.ttl_ms > 0) == ("private", True)

    as_somebody(server, test)


def test_an_input_type_is_the_tools_schema_and_an_output_that_is_an_object_its_structured_content(made):
    async def test(client, login, theirs):
        tools = {tool.name: tool for tool in (await theirs.list_tools()).tools}
        assert tools["adder"].input_schema["required"] == ["left", "right"]
        result = await theirs.call_tool("adder", {"left": 1, "right": 2})
        assert (result.structured_content, result.content[0].text) == ({"sum": 3}, '{"sum": 3}')
        for wrong in ({}, {"left": "one", "right": 2}):
            with pytest.raises(MCPError):
                await theirs.call_tool("adder", wrong)
        assert len(made.rows("select run_id from runs where user_id = ?", login.name)) == 1

    as_somebody(made, test)


def test_a_run_that_fails_is_a_result_that_says_how(made):
    async def test(client, login, theirs):
        result = await theirs.call_tool("failing", {"task": "x"})
        assert result.is_error
        assert result.content[0].text.startswith("agent_error: ")
        check_run(made.events(result.meta[RUN]), ending="agent_failed")

    as_somebody(made, test)


@pytest.mark.parametrize("approves", [True, False])
def test_what_a_run_waits_for_is_asked_of_the_clients_user_and_it_goes_on(made, approves):
    asked = []

    async def answer(_, params):
        asked.append(params.message)
        if "approve" in params.requested_schema["properties"]:
            return ElicitResult(action="accept" if approves else "decline", content={"approve": True})
        return ElicitResult(action="accept", content={"answer": "May"})

    async def test(client, login, theirs):
        result = await theirs.call_tool("signer", {"task": "a letter"})
        events = check_run(made.events(result.meta[RUN]), ending="agent_completed" if approves else "agent_failed")
        decided = next(event for event in events if event["type"] == "approval_decided")
        assert (decided["decision"], decided["by"]) == ("approve" if approves else "reject", login.name)
        if approves:
            assert result.content[0].text == "signed a letter in May"
            assert asked == ['May sign be called with {"text": "a letter"}?', "Which month?"]
        assert len(made.rows("select run_id from runs where user_id = ?", login.name)) == 1

    as_somebody(made, test, elicitation_callback=answer)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_cannot_ask_its_user_is_told_where_to_decide(made, mode):
    async def test(client, login, theirs):
        result = await theirs.call_tool("signer", {"task": "a letter"})
        assert result.is_error
        assert "waiting_for_person" in result.content[0].text
        (waiting,) = (await client.get("/api/approvals", login)).json["items"]
        assert f"/api/approvals/{waiting['approval_id']}" in result.content[0].text
        assert waiting["run_id"] == result.meta[RUN]

    as_somebody(made, test, mode=mode)


def test_a_client_that_goes_away_cancels_its_run(server):
    async def test(client, login, theirs):
        calling = asyncio.create_task(theirs.call_tool("waiter", {"task": "x"}))
        run_id = await begun(server, login)
        calling.cancel()
        await asyncio.wait({calling})
        assert await status(client, login, run_id, "cancelled")

    as_somebody(server, test)


def test_a_call_that_is_made_again_with_its_key_is_the_same_run(server):
    async def test(client, login, theirs):
        task = {"task": "wait for me [[chunks=60 delay=30]]"}
        calling = asyncio.create_task(theirs.call_tool("assistant", task, meta={KEY: "once"}))
        run_id = await begun(server, login)
        calling.cancel()
        await asyncio.wait({calling})
        again = await theirs.call_tool("assistant", task, meta={KEY: "once"})
        assert (again.meta[RUN], again.content[0].text) == (run_id, words(60))
        assert len(server.rows("select run_id from runs where user_id = ?", login.name)) == 1
        with pytest.raises(MCPError) as refused:
            await theirs.call_tool("assistant", {"task": "something else"}, meta={KEY: "once"})
        assert refused.value.error.data["code"] == "idempotency_conflict"

    as_somebody(server, test)


def test_nobody_is_told_to_log_in_and_what_is_not_ones_own_is_not_there(made):
    async def test(client, login, theirs):
        anonymous = await client.call("POST", "/mcp", None, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert (anonymous.status, anonymous.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert anonymous.json["code"] == "unauthenticated"
        victim = await client.login(made.person())
        async with client_of(made, victim) as own:
            waits = await own.call_tool("signer", {"task": "of the victim"})
        (approval,) = (await client.get("/api/approvals", victim)).json["items"]
        forged = {approval["approval_id"]: ElicitResult(action="accept", content={"approve": True})}
        told = []
        for state in (waits.meta[RUN], "run_00000000000000000000000000000000"):
            with pytest.raises(MCPError) as refused:
                await theirs.call_tool("signer", {"task": "x"}, request_state=state, input_responses=forged)
            told.append(refused.value.error.message)
        assert told[0] == told[1]
        for name in ("nobody", "signer "):
            with pytest.raises(MCPError):
                await theirs.call_tool(name, {"task": "x"})
        assert (await client.get("/api/approvals", victim)).json["items"] == [approval]
        assert made.rows("select run_id from runs where user_id = ?", login.name) == []

    as_somebody(made, test)


def test_an_agent_that_its_caller_may_not_run_is_no_tool(server):
    async def test(client, login, theirs):
        told = []
        for name in ("guarded", "nobody"):
            with pytest.raises(MCPError) as refused:
                await theirs.call_tool(name, {"task": "x"})
            told.append(refused.value.error.message.replace(name, "NAME"))
        assert told[0] == told[1]

    as_somebody(server, test)


async def begun(server, login):
    """The id of this user's only run, once there is one."""
    async with asyncio.timeout(15):
        while not (found := server.rows("select run_id from runs where user_id = ? and last_seq > 0", login.name)):
            await passed(0.02)
    return found[0][0]


async def status(client, login, run_id, wanted):
    """Whether the run comes to stand so."""
    async with asyncio.timeout(15):
        while (await client.get(f"/api/runs/{run_id}", login)).json["status"] != wanted:
            await passed(0.02)
    return True
