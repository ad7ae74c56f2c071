"""What the doors of other protocols are held to: bodies that are no text, outputs that are too deep."""

import pytest
from tests.integration.http.serving import Patient, serving, talk

from netra_apex import BaseAgent

CHAT, A2A = "/v1/chat/completions", "/api/a2a"
JSON = {"Content-Type": "application/json", "A2A-Version": "1.0"}
HALF = '"\\ud800"'  # of a surrogate pair: JSON can say it, no text has it


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
