"""What OpenTelemetry is told of runs: by a real server, to a real receiver that reads its protobuf."""

import asyncio
import json
import os
import secrets

import pytest
from tests.support.mcp_server import Echo
from tests.support.otlp import Receiver, tree
from tests.support.server import refused_start
from tests.support.socket_client import play
from tests.support.waiting import begun, outcome, serving

from netra_apex.stream.telemetry import INSTALL

APP = '''
import asyncio
import logging

import structlog
from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, SupervisorAgent, tool

both = asyncio.Barrier(2)

@tool
async def lookup(query: str) -> str:
    """Find an order."""
    logging.getLogger("app").warning("looked up")
    structlog.get_logger().warning("looked again")
    return f"one order for {query}"

@tool
async def meet(query: str) -> str:
    """Waits for somebody else's call."""
    async with asyncio.timeout(20):
        await both.wait()
    return query

@tool
async def fall(query: str) -> str:
    """Fails."""
    raise ValueError(f"no {query}")

@tool(needs_approval=True)
async def pay(query: str) -> str:
    """Pay."""
    return f"paid {query}"

class Assistant(ChatAgent):
    name = "assistant"
    instructions = "Answer briefly."
    tools = (lookup, meet, fall, pay)

class Broken(BaseAgent):
    """Breaks."""
    name = "broken"

    async def run(self, task: str, scope: RunScope) -> str:
        raise RuntimeError(f"cannot do {task}")

class Lead(SupervisorAgent):
    """Hands work out."""
    name = "lead"
    members = (Assistant, Broken)

    async def run(self, task: str, scope: RunScope) -> str:
        found = await scope.delegate(Assistant, task)
        failed = await scope.delegate(Broken, task)
        return f"{found.output} {failed.ok}"

class Teller(BaseAgent):
    """Tells a secret."""
    name = "teller"

    async def run(self, task: str, scope: RunScope) -> str:
        return await scope.tools.call(lookup, query="password=hunter2hunter2") + " password=hunter2hunter2"

registry = AgentRegistry([Assistant, Lead, Broken, Teller])
'''
SECRET_WORDS = "the launch code is heliotrope"


def made(place, wire, receiver, **settings):
    place.mkdir(exist_ok=True)
    return serving(place, wire, APP, **(receiver.settings | settings))


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire, receiver):
    with made(tmp_path_factory.mktemp("traces"), wire, receiver) as server:
        yield server


async def done(client, login, content, *, agent, headers=None):
    """The id of a run of this user that has ended, asked for over a socket with these headers."""
    socket = await client.connect(login.bearer | (headers or {}))
    run_id = (await socket.ask(content, agent=agent))["run_id"]
    await socket.ended(run_id)
    await socket.close()
    return run_id


def one(spans, name):
    (found,) = [each for each in spans if each.name == name]
    return found


def test_a_run_is_one_trace_of_its_agents_requests_and_calls(server, receiver, wire):
    async def scenario(client):
        login = await client.login(server.person())
        return login.name, await done(client, login, f"{SECRET_WORDS} [[call=lookup chunks=2]]", agent="lead")

    user_id, run_id = play(server, scenario)
    spans = receiver.of(run_id, "invoke_agent lead")
    assert tree(spans) == [
        [
            "invoke_agent lead",
            [
                [
                    "execute_tool delegate_assistant",
                    [["invoke_agent assistant", [["chat wire", []], ["execute_tool lookup", []], ["chat wire", []]]]],
                ],
                ["execute_tool delegate_broken", [["invoke_agent broken", []]]],
            ],
        ]
    ]
    assert len({each.trace for each in spans}) == 1
    assert {each.attributes.get("netra.run.id", run_id) for each in spans} == {run_id}
    assert {each.service for each in spans} == {"netra-apex"}
    assert {each.name: each.attributes["error.type"] for each in spans if each.failed} == {
        "execute_tool delegate_broken": "error",
        "invoke_agent broken": "agent_error",
    }
    lead = one(spans, "invoke_agent lead")
    assert lead.attributes["gen_ai.usage.output_tokens"] > 0
    assert len(lead.attributes["user.id"]) == 32
    first, last = [each.attributes for each in spans if each.name == "chat wire"]
    assert first["gen_ai.provider.name"] == "openai"
    assert first["gen_ai.request.model"] == "wire"
    assert first["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert last["gen_ai.response.finish_reasons"] == ["stop"]
    assert last["gen_ai.response.time_to_first_chunk"] > 0
    # Each request to the model carries its own span.
    chats = [f"00-{each.trace}-{each.span}" for each in spans if each.name == "chat wire"]
    assert [each["traceparent"][:-3] for each in wire.requests() if SECRET_WORDS in each["asked"]] == chats
    # What people and tools say is in none of it, and neither is who they are.
    for word in (SECRET_WORDS, "heliotrope", user_id, "one order for", "cannot do"):
        assert not any(word.encode() in body for body in receiver.bodies), word


def test_measures_have_labels_of_models_agents_and_tools_alone(server, receiver):
    async def scenario(client):
        login = await client.login(server.person())
        await done(client, login, "measured [[call=fall,lookup chunks=2]]", agent="assistant")

    play(server, scenario)
    names = {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
        "gen_ai.execute_tool.duration",
        "gen_ai.invoke_agent.duration",
    }
    receiver.until(
        lambda _: (
            names <= receiver.labels.keys()
            and {"gen_ai.tool.name": "fall"}.items()
            <= {pair for each in receiver.labels["gen_ai.execute_tool.duration"] for pair in each.items()}
        )
    )
    labels = {label for points in receiver.labels.values() for each in points for label in each}
    assert labels <= {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.agent.name",
        "gen_ai.tool.name",
        "gen_ai.token.type",
        "error.type",
        "http.route",
        "http.request.method",
        "http.response.status_code",
        "network.protocol.version",
        "url.scheme",
    }


@pytest.mark.parametrize("way", ["socket", "http"])
def test_a_run_is_in_the_trace_that_its_request_names(server, receiver, way):
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{parent}-01"}

    async def scenario(client):
        login = await client.login(server.person())
        if way == "socket":
            return await done(client, login, "hello [[chunks=1]]", agent="assistant", headers=headers)
        thread = await client.thread(login)
        path = f"/api/threads/{thread}/runs"
        answer = await client.post(path, login, {"content": "hello [[chunks=1]]"}, headers=headers)
        assert answer.status == 202, answer.text
        assert [_ async for _ in client.sse(login, answer.json["run_id"])]
        return answer.json["run_id"]

    spans = receiver.of(play(server, scenario), "invoke_agent assistant")
    root = one(spans, "invoke_agent assistant")
    assert (root.trace, root.parent) == (trace, parent)


@pytest.mark.parametrize("wrong", ["00-0-0-01", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01", "x" * 4096])
def test_a_header_that_is_no_trace_context_is_as_none(server, receiver, wrong):
    async def scenario(client):
        login = await client.login(server.person())
        return await done(client, login, "hello [[chunks=1]]", agent="assistant", headers={"traceparent": wrong})

    spans = receiver.of(play(server, scenario), "invoke_agent assistant")
    assert one(spans, "invoke_agent assistant").parent == ""


def test_the_traces_of_two_users_who_are_at_the_same_place_at_once_never_mix(server, receiver):
    async def scenario(client):
        logins = [await client.login(server.person()) for _ in range(2)]
        content = "meet [[call=meet chunks=2]]"
        return await asyncio.gather(*(done(client, login, content, agent="assistant") for login in logins))

    names = ("invoke_agent assistant", "chat wire", "execute_tool meet", "chat wire")
    found = [receiver.of(run_id, *names) for run_id in play(server, scenario)]
    for spans in found:
        assert tree(spans) == [
            ["invoke_agent assistant", [["chat wire", []], ["execute_tool meet", []], ["chat wire", []]]]
        ]
        assert len({each.attributes["netra.run.id"] for each in spans if "netra.run.id" in each.attributes}) == 1
    (one_call, other_call) = [one(spans, "execute_tool meet") for spans in found]
    assert max(one_call.began, other_call.began) < min(one_call.ended, other_call.ended)
    users = {one(spans, "invoke_agent assistant").attributes["user.id"] for spans in found}
    assert len(users) == len({spans[0].trace for spans in found}) == 2


def test_log_lines_have_the_ids_of_their_span_and_run(server, receiver):
    async def scenario(client):
        login = await client.login(server.person())
        return await done(client, login, "log [[call=lookup chunks=1]]", agent="assistant")

    run_id = play(server, scenario)
    call = one(receiver.of(run_id, "execute_tool lookup"), "execute_tool lookup")
    lines = [json.loads(line) for line in server.log().splitlines() if run_id in line]
    for event in ("looked up", "looked again"):
        (line,) = [each for each in lines if each["event"] == event]
        assert (line["trace_id"], line["span_id"]) == (call.trace, call.span)
        assert line["thread_id"].startswith("thr_")


def test_a_trace_goes_on_after_an_approval_over_a_restart_and_tells_no_step_twice(tmp_path, wire, receiver):
    place = tmp_path
    with made(place, wire, receiver) as server:

        async def before(client):
            login = await client.login("person000")
            socket = await client.socket(login)
            content = "pay it [[call=pay chunks=1]]"
            return await begun(client, login, socket, content, agent="assistant", tells="approval_requested")

        run_id, event = play(server, before)
        assert server.stop() == 0
        server.start()

        async def after(client):
            login = await client.login("person000")
            socket = await client.socket(login)
            await socket.follow(run_id=run_id, after=0)
            body = {"decision": "approve"}
            assert (await client.post(f"/api/approvals/{event['approval_id']}", login, body)).status == 200
            return await outcome(socket, run_id)

        assert play(server, after) == "word0 "
    names = ["invoke_agent assistant", "chat wire", "invoke_agent assistant", "execute_tool pay", "chat wire"]
    spans = receiver.of(run_id, *names)
    assert [each.name for each in spans] == names
    assert len({each.trace for each in spans}) == 1
    first, second = [each for each in spans if each.name == "invoke_agent assistant"]
    assert (first.parent, second.parent) == ("", first.span)
    assert second.links == ((first.trace, first.span),)
    assert first.attributes["netra.run.left"] == "waiting"
    assert not any(each.failed for each in spans)


def test_a_killed_process_s_run_goes_on_in_its_trace(tmp_path, wire, receiver):
    with made(tmp_path, wire, receiver) as server:

        async def before(client):
            login = await client.login("person000")
            socket = await client.socket(login)
            run_id = (await socket.ask("pay it [[call=lookup chunks=400 delay=20]]", agent="assistant"))["run_id"]
            await socket.frame("message_delta", run_id=run_id)
            return run_id

        run_id = play(server, before)
        receiver.of(run_id, "execute_tool lookup")
        server.kill()
        server.start()

        async def after(client):
            login = await client.login("person000")
            socket = await client.socket(login)
            await socket.follow(run_id=run_id, after=0)
            await socket.frame("message_reset", run_id=run_id)
            assert (await socket.answer("cancel", run_id=run_id))["type"] == "ok"
            await socket.ended(run_id)

        play(server, after)
    spans = receiver.of(run_id, "chat wire", "execute_tool lookup", "invoke_agent assistant", "chat wire")
    # The killed segment's own span was never sent, and what it had finished is not done again.
    assert [each.name for each in spans] == ["chat wire", "execute_tool lookup", "invoke_agent assistant", "chat wire"]
    assert len({each.trace for each in spans}) == 1
    second = one(spans, "invoke_agent assistant")
    assert second.links == ((second.trace, second.parent),)
    assert {each.parent for each in spans if each.name == "execute_tool lookup"} == {second.parent}
    assert second.attributes["error.type"] == "cancelled"


def test_content_is_told_where_the_operator_wants_it_and_then_redacted(tmp_path, wire):
    with Receiver() as receiver, made(tmp_path, wire, receiver, telemetry="content") as server:

        async def scenario(client):
            login = await client.login("person000")
            content = "my password=hunter2hunter2 is heliotrope [[call=lookup chunks=2]]"
            run_id = await done(client, login, content, agent="assistant")
            return run_id, await done(client, login, "tell me", agent="teller")

        run_id, told = play(server, scenario)
        receiver.of(told, "invoke_agent teller")
        spans = receiver.of(run_id, "invoke_agent assistant")
        call, root = one(spans, "execute_tool lookup"), one(spans, "invoke_agent assistant")
        assert "query" in json.loads(call.attributes["gen_ai.tool.call.arguments"])
        assert call.attributes["gen_ai.tool.call.result"].startswith("one order for")
        assert "heliotrope" in root.attributes["gen_ai.input.messages"]
        assert json.loads(root.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == "word0 word1 "
        chat = next(each for each in spans if each.name == "chat wire")
        assert json.loads(chat.attributes["gen_ai.input.messages"])[0]["role"] == "system"
        assert not any(b"hunter2" in body for body in receiver.bodies)


@pytest.mark.parametrize("how", ["stalled", "gone"])
def test_a_receiver_that_is_stalled_or_gone_holds_up_no_run_and_no_end(tmp_path, wire, how):
    with Receiver(stalled=how == "stalled") as receiver:
        queue = {"OTEL_BSP_MAX_QUEUE_SIZE": 16, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 4}
        settings = queue | ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if how == "gone" else {})
        with made(tmp_path, wire, receiver, **settings) as server:

            async def scenario(client):
                login = await client.login("person000")
                socket = await client.socket(login)
                for _ in range(10):
                    run_id = (await socket.ask("on [[call=lookup chunks=2]]", agent="assistant"))["run_id"]
                    await socket.ended(run_id)

            play(server, scenario)
            assert how == "gone" or receiver.asked.wait(15)
            # By itself, before anybody ends the process for it.
            assert server.stop() == 0
            assert "the process ends without it" not in server.log()


def test_telemetry_without_its_packages_does_not_start_and_says_so(tmp_path, wire, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk'] = None\nsys.modules['opentelemetry.exporter'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    code, _, said = refused_start(tmp_path / "place", telemetry="on")
    assert code == 2
    assert said == f"NETRA_TELEMETRY=on needs packages that are not installed: {INSTALL}\n"


def test_a_call_of_an_mcp_server_is_a_span_of_its_run_and_carries_the_context(tmp_path, wire):
    app = APP.replace("    tools = (lookup,", '    mcp_servers = (MCPServer("echo", url="URL"),)\n    tools = (lookup,')
    app = app.replace("ChatAgent, RunScope", "ChatAgent, MCPServer, RunScope")
    with Receiver() as receiver, Echo.over_http(tmp_path) as echo:
        with serving(tmp_path, wire, app.replace("URL", echo.url), **receiver.settings) as server:

            async def scenario(client):
                login = await client.login("person000")
                return await done(client, login, "mcp [[call=echo__traced chunks=1]]", agent="assistant")

            run_id = play(server, scenario)
            spans = receiver.of(
                run_id, "execute_tool echo__traced", "MCP send tools/call traced", "invoke_agent assistant"
            )
        call, sent = one(spans, "execute_tool echo__traced"), one(spans, "MCP send tools/call traced")
        assert (sent.parent, sent.trace) == (call.span, call.trace)
        assert sent.attributes["mcp.method.name"] == "tools/call"
        assert [line.split()[1][:-3] for line in echo.lines()] == [f"00-{sent.trace}-{sent.span}"]
        # What the server said of its failure is in no span.
        assert not any(b"heliotrope" in body for body in receiver.bodies)
