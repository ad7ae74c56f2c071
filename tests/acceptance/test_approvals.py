"""Calls that a person approves, in a real server: over HTTP and the socket, over restarts, and each made once."""

import asyncio
import json
import random
import re
import signal
from pathlib import Path

import pytest
from tests.support.server import PASSWORD
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run
from tests.support.waiting import begun, outcome, serving, waits

from netra_apex import Settings
from netra_apex.stores import open_stores

APP = '''
import asyncio
from pathlib import Path
from netra_apex import AgentRegistry, BaseAgent, CallFailed, ChatAgent, RunScope, tool

PLACE = Path(__file__).parent

def note(name: str, query: str) -> int:
    """How often this was done, this time included."""
    with (PLACE / "tool.log").open("a") as log:
        log.write(f"{name} {query}\\n")
    return (PLACE / "tool.log").read_text().splitlines().count(f"{name} {query}")

@tool(needs_approval=True)
async def pay(query: str) -> str:
    """Pay."""
    note("pay", query)
    return f"paid {query}"

@tool(on_unknown="ask")
async def wire(query: str) -> str:
    """Wire money; the first time it takes for ever."""
    if note("wire", query) == 1:
        await asyncio.Event().wait()
    return f"wired {query}"

@tool
async def slow(query: str) -> str:
    """Takes for ever."""
    note("slow", query)
    await asyncio.Event().wait()
    return query

class Assistant(ChatAgent):
    name = "assistant"
    instructions = "Pay."
    tools = (pay, wire, slow)

class Payer(BaseAgent):
    """Pays, or wires."""
    name = "payer"

    async def run(self, task: str, scope: RunScope) -> str:
        kind, _, query = task.partition(" ")
        try:
            return await scope.tools.call({"pay": pay, "wire": wire}[kind], query)
        except CallFailed as failed:
            return f"{failed.code}: {failed.message}"

registry = AgentRegistry([Assistant, Payer])
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with serving(tmp_path_factory.mktemp("approvals"), wire, APP) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def mortal(tmp_path, wire):
    """A server that does not outlive the test."""
    return serving(tmp_path, wire, APP)


async def pending(client, login):
    return (await client.get("/api/approvals", login)).json["items"]


async def asked(client, login, socket, content, agent="payer"):
    """A run that waits, and what it asks."""
    return await begun(client, login, socket, content, agent=agent, tells="approval_requested")


async def logged(server, count):
    async with asyncio.timeout(10):
        while len(server.tool_lines()) < count:  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["http", "socket"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_model_asks_a_person_decides_and_the_model_goes_on(server, way, decision):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "pay it [[call=pay chunks=3]]", agent="assistant")
        (listed,) = await pending(client, login)
        shared = ("approval_id", "call_id", "tool", "arguments", "expires_at", "run_id", "thread_id")
        assert {name: listed[name] for name in shared} == {name: event[name] for name in shared}
        assert (listed["decision"], listed["tool"]) == (None, "pay")
        assert [
            run["status"] for run in (await client.get(f"/api/threads/{listed['thread_id']}", login)).json["runs"]
        ] == ["waiting"]
        before = len(server.tool_lines())
        body = {"decision": decision, "note": "as you like"}
        if way == "http":
            answer = await client.post(f"/api/approvals/{listed['approval_id']}", login, body)
            assert (answer.status, answer.json) == (200, listed | {"decision": decision})
        else:
            assert (await socket.answer("decide", approval_id=listed["approval_id"], **body))["type"] == "ok"
        await socket.ended(run_id)
        events = check_run(socket.of(run_id))
        assert answer_of(events) == "word0 word1 word2 "
        (decided,) = [event for event in events if event["type"] == "approval_decided"]
        assert (decided["decision"], decided["by"]) == (decision, login.name)
        (end,) = [event for event in events if event["type"] == "tool_completed"]
        assert end["ok"] == (decision == "approve")
        if not end["ok"]:
            assert end["error"] == {"code": "rejected", "message": f"{login.name} rejected pay: as you like"}
        assert len(server.tool_lines()) - before == end["ok"]
        assert await pending(client, login) == []
        assert await client.events(login, run_id) == events

    play(server, scenario)


def test_what_is_no_decision_is_refused_with_a_code_and_decides_nothing(server):
    async def scenario(client):
        login, other = await client.login(server.person()), await client.login(server.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "pay refusals")
        path = f"/api/approvals/{event['approval_id']}"
        approve = {"decision": "approve"}

        async def refused(status, code, path, who, body):
            answer = await client.post(path, who, body)
            assert (answer.status, answer.json["code"]) == (status, code), answer.text

        await refused(401, "unauthenticated", path, None, approve)
        await refused(404, "not_found", path, other, approve)
        for wrong in (
            "/api/approvals/apr_1",
            "/api/approvals/a%00b",
            "/api/approvals/%ff",
            "/api/approvals/%F0%9F%98%80",
        ):
            await refused(404, "not_found", wrong, login, approve)
        wrong_bodies = [
            {},
            {"decision": "expired"},
            {"decision": "approve", "by": "root"},
            {"decision": None},
            [],
            "approve",
        ]
        wrong_bodies += [approve | {"note": note} for note in (1, "x" * 2001, "a\0b", ["no"])]
        for body in wrong_bodies:
            await refused(422, "invalid", path, login, body)
        stranger = await client.socket(other)
        answer = await stranger.answer("decide", approval_id=event["approval_id"], decision="approve")
        assert (answer["type"], answer["code"]) == ("error", "not_found")
        for fields in (
            {"decision": "expired"},
            {"decision": "approve", "by": "root"},
            {"decision": "approve", "note": "a\0b"},
        ):
            answer = await socket.answer("decide", approval_id=event["approval_id"], **fields)
            assert (answer["type"], answer["code"]) == ("error", "invalid"), answer
        assert len(await pending(client, login)) == 1
        await waits(client, login, run_id)
        assert (await client.post(path, login, approve)).status == 200
        await refused(409, "already_decided", path, login, approve)
        assert await outcome(socket, run_id) == "paid refusals"
        await refused(409, "already_decided", path, login, {"decision": "reject"})
        answer = await socket.answer("decide", approval_id=event["approval_id"], decision="approve")
        assert (answer["type"], answer["code"]) == ("error", "already_decided")

    play(server, scenario)


def test_decisions_that_come_at_once_over_http_and_sockets_are_one(server):
    async def scenario(client):
        login = await client.login(server.person())
        sockets = [await client.socket(login) for _ in range(3)]
        for number in range(8):
            run_id, event = await asked(client, login, sockets[0], f"pay at-once-{number}")

            async def over_http(verdict, event=event):
                answer = await client.post(f"/api/approvals/{event['approval_id']}", login, {"decision": verdict})
                return answer.json.get("code", "ok")

            async def over_socket(socket, verdict, event=event):
                answer = await socket.answer("decide", approval_id=event["approval_id"], decision=verdict)
                return answer.get("code", "ok")

            deeds = [over_http("approve"), over_http("reject")]
            deeds += [
                over_socket(socket, verdict) for socket, verdict in zip(sockets[1:], ("approve", "reject"), strict=True)
            ]
            random.shuffle(deeds)
            answers = await asyncio.gather(*deeds)
            assert sorted(answers) == ["already_decided"] * 3 + ["ok"]
            output = await outcome(sockets[0], run_id)
            times = server.tool_lines().count(f"pay at-once-{number}")
            assert times == output.startswith("paid"), (times, output)

    play(server, scenario)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_waits_outlives_its_server_and_is_made_once_when_it_is_approved(mortal, how):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "pay later")
        mortal.signal(how)
        await asyncio.to_thread(mortal.ended)
        return login, run_id, event

    async def between(client):
        assert [each["approval_id"] for each in await pending(client, login)] == [event["approval_id"]]
        mortal.signal(how)
        await asyncio.to_thread(mortal.ended)

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        await waits(client, login, run_id)
        listed = await asyncio.to_thread(mortal.netra, "runs", "list", "--status", "waiting", "--json")
        assert [run["run_id"] for run in json.loads(listed.stdout)["items"]] == [run_id]
        answer = await client.post(f"/api/approvals/{event['approval_id']}", login, {"decision": "approve"})
        assert answer.status == 200
        assert await outcome(socket, run_id) == "paid later"

    with mortal:
        login, run_id, event = play(mortal, before)
    with mortal:
        play(mortal, between)
    with mortal:
        play(mortal, after)
        mortal.kill()
    with mortal:
        assert mortal.tool_lines() == ["pay later"]
        assert "Traceback" not in mortal.log()


def test_a_decision_that_was_stored_as_its_server_died_is_carried_out_at_the_next_start(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "pay decided")
        mortal.kill()
        async with open_stores(Settings(home=mortal.home)) as stores:
            await stores.approvals.decide(login.name, event["approval_id"], "approve", None)
        return login, run_id

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        assert await outcome(socket, run_id) == "paid decided"

    with mortal:
        login, run_id = play(mortal, before)
    with mortal:
        play(mortal, after)
    assert mortal.tool_lines() == ["pay decided"]


def test_killed_right_after_a_decision_a_call_is_made_once_or_told_as_unknown(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        ids = []
        for number in range(3):
            run_id, event = await asked(client, login, socket, f"pay soon-{number}")
            ids.append((run_id, event["approval_id"]))
        answers = [
            asyncio.create_task(socket.answer("decide", approval_id=each, decision="approve")) for _, each in ids[:1]
        ]
        await asyncio.gather(*answers)
        for _, each in ids[1:]:
            await socket.send("decide", approval_id=each, decision="approve")
        mortal.kill()
        return login, [run_id for run_id, _ in ids]

    async def after(client):
        socket = await client.socket(login)
        for number, run_id in enumerate(run_ids):
            await socket.follow(run_id=run_id, after=0)
            left = await pending(client, login)
            for each in left:
                if each["run_id"] == run_id:
                    await client.post(f"/api/approvals/{each['approval_id']}", login, {"decision": "approve"})
            ending = await socket.ended(run_id)
            check_run(socket.of(run_id), ending=ending["type"])
            times = mortal.tool_lines().count(f"pay soon-{number}")
            if ending["type"] == "agent_completed":
                assert (ending["output"], times) == (f"paid soon-{number}", 1)
            else:
                assert ending["code"] == "tool_outcome_unknown"
                assert times <= 1

    with mortal:
        login, run_ids = play(mortal, before)
    with mortal:
        play(mortal, after)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_of_a_call_that_a_kill_cut_off_its_user_is_asked(mortal, decision):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        accepted = await socket.ask("wire it", agent="payer")
        await logged(mortal, 1)
        mortal.kill()
        return login, accepted["run_id"]

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        event = await socket.frame("approval_requested", run_id=run_id)
        await waits(client, login, run_id)
        assert mortal.tool_lines() == ["wire it"]
        body = {"decision": decision, "note": "the bank says so"}
        assert (await client.post(f"/api/approvals/{event['approval_id']}", login, body)).status == 200
        output = await outcome(socket, run_id)
        shown = json.loads((await asyncio.to_thread(mortal.netra, "runs", "show", run_id, "--json")).stdout)
        (step,) = [step for step in shown["steps"] if step["name"] == "wire"]
        table = (await asyncio.to_thread(mortal.netra, "runs", "show", run_id)).stdout
        assert f"{decision} by {login.name}" in table
        if decision == "approve":
            assert (output, step["state"], step["attempt"]) == ("wired it", "finished", 2)
            assert mortal.tool_lines() == ["wire it"] * 2
        else:
            assert output.startswith("unknown_outcome: nobody saw how wire ended")
            assert output.endswith(": the bank says so")
            assert (step["state"], step["attempt"]) == ("unknown", 1)
            assert mortal.tool_lines() == ["wire it"]

    with mortal:
        login, run_id = play(mortal, before)
    with mortal:
        play(mortal, after)
        assert "Traceback" not in mortal.log()


def test_a_drain_leaves_a_run_that_waits_beside_a_call_under_way_to_the_next_start(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        accepted = await socket.ask("both [[call=pay,slow chunks=2]]", agent="assistant")
        event = await socket.frame("approval_requested", run_id=accepted["run_id"])
        await logged(mortal, 1)
        assert (await client.get(f"/api/runs/{accepted['run_id']}", login)).json["status"] == "running"
        assert await asyncio.to_thread(mortal.stop) == 0
        return login, accepted["run_id"], event

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        ending = await socket.ended(run_id)
        assert (ending["type"], ending["code"]) == ("agent_failed", "tool_outcome_unknown")
        check_run(socket.of(run_id), ending="agent_failed")
        assert await pending(client, login) == []
        answer = await client.post(f"/api/approvals/{event['approval_id']}", login, {"decision": "approve"})
        assert (answer.status, answer.json["code"]) == (409, "already_decided")

    with mortal:
        login, run_id, event = play(mortal, before)
    with mortal:
        play(mortal, after)
    assert not [line for line in mortal.tool_lines() if line.startswith("pay")]


def test_an_approval_is_asked_for_in_every_thread_at_once_and_listed_in_pages(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        events = [(await asked(client, login, socket, f"pay page-{number}"))[1] for number in range(5)]
        found, cursor = [], ""
        while cursor is not None:
            page = (await client.get(f"/api/approvals?limit=2{cursor and '&cursor=' + cursor}", login)).json
            found += [each["approval_id"] for each in page["items"]]
            cursor = page["next_cursor"]
        assert found == [event["approval_id"] for event in events]
        for event in events:
            await socket.answer("cancel", run_id=event["run_id"])
            ending = await socket.ended(event["run_id"])
            assert (ending["type"], ending["by"]) == ("agent_cancelled", login.name)
            (end,) = [each for each in socket.of(event["run_id"]) if each["type"] == "tool_completed"]
            assert end["error"]["code"] == "cancelled"
        assert await pending(client, login) == []

    play(server, scenario)


def test_what_was_asked_about_is_not_in_the_file_for_all_to_read(mortal):
    async def scenario(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "pay password=hunter2-hunter2")
        assert "hunter2" not in json.dumps([event, *await pending(client, login)])
        await socket.answer("decide", approval_id=event["approval_id"], decision="approve")
        await outcome(socket, run_id)
        return event

    with mortal:
        play(mortal, scenario)
    (line,) = mortal.tool_lines()
    assert line.startswith("pay password=")
    files = b"".join(path.read_bytes() for path in Path(mortal.home).glob("netra.db*"))
    assert b"hunter2" not in files


def test_a_person_decides_in_the_terminal(server):
    name = server.person()
    options = ("--url", server.url, "--user", name, "--agent", "payer", "--password-stdin")

    def chat(*lines, thread=()):
        return server.netra("chat", *options, *thread, stdin="\n".join((PASSWORD, *lines)) + "\n")

    done = chat("pay in a terminal", "/approvals", "/approve go on")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "paid in a terminal"), done.stderr
    assert 'pay(query="in a terminal")' in done.stdout.splitlines()[0]
    assert '? pay(query="in a terminal") needs your approval, until ' in done.stderr
    done = chat("pay later")
    assert (done.returncode, done.stdout) == (1, "")
    found = re.search(r'pay\(query="later"\) still waits: decide with netra chat --thread (\S+)\n$', done.stderr)
    assert found is not None, done.stderr
    done = chat("/reject no", thread=("--thread", found[1]))
    assert (done.returncode, done.stdout) == (0, f"rejected: {name} rejected pay: no\n"), done.stderr
