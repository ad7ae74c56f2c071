"""What the doors of other protocols are held to: bodies that are no text, requests that wait, logins that end."""

import asyncio
import json

import pytest
from tests.integration.http.serving import Patient, serving, talk

from netra_apex import BaseAgent

CHAT, A2A = "/v1/chat/completions", "/api/a2a"
JSON = {"Content-Type": "application/json", "A2A-Version": "1.0"}
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
HALF = '"\\ud800"'  # of a surrogate pair: JSON can say it, no text has it
ADMITTED = 23  # runs of one user: three at once, and twenty that wait


class Nested(BaseAgent):
    """Gives what JSON can say and few can read."""

    name = "nested"

    async def run(self, task, scope):
        value = []
        for _ in range(200):
            value = [value]
        return {"deep": value, "large": 10**400}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("home"), agents=(Patient, Nested)) as served:
        yield served


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, f'{{"model": {HALF}, "messages": [{{"role": "user", "content": "x"}}]}}', 404),
        (CHAT, f'{{{HALF}: 1, "model": "patient"}}', 400),
        (CHAT, f'{{"model": "patient", "messages": [{{"type": {HALF}}}]}}', 400),
        ("/v1/responses", f'{{"model": "patient", "input": "x", "previous_response_id": {HALF}}}', 404),
    ],
)
def test_what_is_no_text_is_refused_in_the_words_of_openai(shared, path, body, status):
    async def scenario(client):
        await client.login()
        answer = await client.post(path, data=body, headers=JSON)
        assert answer.status == status, answer.text
        assert answer.json["error"]["type"] == "invalid_request_error"

    talk(shared, scenario)


@pytest.mark.parametrize("body", [f'{{"jsonrpc": "2.0", "id": {HALF}, "method": "GetTask"}}', b"\xff", "[" * 100_000])
def test_a_body_of_a2a_that_is_no_json_is_its_senders_fault(shared, body):
    async def scenario(client):
        await client.login()
        answer = await client.post(A2A, data=body, headers=JSON)
        assert (answer.status, answer.json["error"]["code"]) == (200, -32700)
        answer = await client.post(f"{A2A}/message:send", data=body, headers=JSON)
        assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")

    talk(shared, scenario)


def asked(method, **params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def message(ident, agent):
    return {
        "message": {"messageId": ident, "role": "ROLE_USER", "parts": [{"text": "hi"}]},
        "metadata": {"agent": agent},
    }


def test_an_output_that_protobuf_cannot_hold_leaves_the_task_and_the_list_readable(shared):
    async def scenario(client):
        await client.login("bob")
        sent = await client.post(A2A, asked("SendMessage", **message("nested", "nested")), headers=JSON)
        task = sent.json["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        (data,) = [part["data"] for part in task["artifacts"][0]["parts"] if "data" in part]
        assert data["large"] == str(10**400)
        found = (await client.post(A2A, asked("ListTasks"), headers=JSON)).json["result"]["tasks"]
        assert task["id"] in [each["id"] for each in found]

    talk(shared, scenario)


def chat(client, key):
    body = {"model": "patient", "messages": [{"role": "user", "content": "hi"}]}
    return client.post(CHAT, body, headers={"Idempotency-Key": key})


async def waiting(served, count):
    """Once so many requests wait for runs."""
    held = served.services().runtime.manager._held
    while held.total() != count:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


def test_requests_that_wait_for_one_run_are_no_more_than_runs_may_be(tmp_path):
    async def scenario(client):
        await client.login()
        many = [asyncio.create_task(chat(client, "one")) for _ in range(ADMITTED)]
        await waiting(served, ADMITTED)
        refused = await chat(client, "one")
        assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
        for each in many:
            each.cancel()
        await waiting(served, 0)

    with serving(tmp_path, agents=(Patient,)) as served:
        talk(served, scenario)


def test_a_client_of_a2a_that_goes_away_leaves_nothing_behind_that_waits(tmp_path):
    async def scenario(client):
        await client.login()
        body = asked("SendMessage", **message("gone", "patient"))
        request = asyncio.create_task(client.post(A2A, body, headers=JSON))
        await waiting(served, 1)
        request.cancel()
        await waiting(served, 0)
        (run,) = (await client.post(A2A, asked("ListTasks"), headers=JSON)).json["result"]["tasks"]
        assert run["status"]["state"] == "TASK_STATE_WORKING"

    with serving(tmp_path, agents=(Patient,)) as served:
        talk(served, scenario)


def test_a_request_that_waits_ends_with_its_login(tmp_path, monkeypatch):
    monkeypatch.setattr("netra_apex.server.protocols.following.CHECK_SECONDS", 0.05)

    async def scenario(client):
        await client.login()
        call = asked("tools/call", name="patient", arguments={"task": "hi"})
        tasks = [
            asyncio.create_task(chat(client, "one")),
            asyncio.create_task(client.post("/v1/responses", {"model": "patient", "input": "hi"})),
            asyncio.create_task(client.post("/mcp", call, headers=MCP)),
            asyncio.create_task(client.post(A2A, asked("SendMessage", **message("m", "patient")), headers=JSON)),
        ]
        await waiting(served, len(tasks))
        await (await type(client)(client.http, client.url).login("root")).post("/api/admin/users/ada/disable")
        plain, response, tool, task = await asyncio.gather(*tasks)
        assert (plain.status, response.status) == (401, 401)
        assert json.loads(tool.text.partition("data: ")[2])["error"]["data"]["code"] == "unauthenticated"
        assert "login has ended" in task.json["error"]["message"]

    with serving(tmp_path, agents=(Patient,)) as served:
        talk(served, scenario)
