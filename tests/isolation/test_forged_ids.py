"""Somebody else's id is an id that does not exist: on every route and in every frame, with the same answer (G5).

The tables name every operation and every frame type that there is: a new one without a row fails here.
"""

import asyncio
import json
from pathlib import Path
from typing import get_args

import aiohttp
import msgspec
import pytest
from tests.support.bounded import passed
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import check_run

from netra_apex.settings import Settings
from netra_apex.stores import open_stores
from netra_apex.stream import protocol

APP = Path(__file__).with_name("served_app.py")
SSE = {"Accept": "text/event-stream"}
KEYED = {"Idempotency-Key": "victims-key"}
APPROVES = {"type": "mcp_approval_response", "approval_request_id": "{approval_id}", "approve": True}
ANSWERS = {"type": "function_call_output", "call_id": "{question_id}", "output": "no"}
# Operations that name nothing of anybody: they act on the caller's own, or on nobody's.
NAMELESS = {
    "login", "refresh", "logout", "me", "setup", "list_agents", "create_thread", "healthz", "readyz", "metrics",
    "list_mcp_servers", "usage", "list_keys", "add_key", "list_sessions", "change_password", "openai_list_models",
    "openai_create_chat_completion", "agui_capabilities",
}  # fmt: skip


def _resume(thread, run, asked):
    entry = {"interruptId": f"int-{run}-{asked}", "status": "resolved", "payload": {"approved": True}}
    return {"threadId": thread, "runId": "forged", "messages": [], "resume": [entry]}


# (method, path, body, headers) of each request that can name somebody else's thing; `{name}` is filled in.
FORGED = {
    "list_threads": [("GET", "/api/threads?cursor={cursor}", None, {})],
    "get_thread": [("GET", "/api/threads/{thread_id}", None, {})],
    "rename_thread": [("PATCH", "/api/threads/{thread_id}", {"title": "taken over"}, {})],
    "delete_thread": [("DELETE", "/api/threads/{thread_id}", None, {}), ("DELETE", "/api/threads/{busy_id}", None, {})],
    "list_messages": [
        ("GET", "/api/threads/{thread_id}/messages", None, {}),
        ("GET", "/api/threads/{thread_id}/messages?limit=1&cursor={message_cursor}", None, {}),
        ("GET", "/api/threads/{thread_id}/messages?order=desc", None, {}),
    ],
    "create_run": [
        ("POST", "/api/threads/{thread_id}/runs", {"content": "let me in"}, {}),
        ("POST", "/api/threads/{busy_id}/runs", {"content": "let me in", "if_busy": "reject"}, {}),
        ("POST", "/api/threads/{thread_id}/runs", {"content": "x", "idempotency_key": "victims-key"}, {}),
        ("POST", "/api/threads/{thread_id}/runs", {"content": "x", "replace": "{message_id}"}, {}),
        ("POST", "/api/threads/{own_thread_id}/runs", {"content": "x", "replace": "{message_id}"}, {}),
        ("POST", "/api/threads/{thread_id}/runs", {"content": "x", "files": ["{file_id}"]}, {}),
        ("POST", "/api/threads/{own_thread_id}/runs", {"content": "x", "files": ["{file_id}"]}, {}),
    ],
    "upload_file": [("POST", "/api/threads/{thread_id}/files", None, {})],
    "list_files": [
        ("GET", "/api/threads/{thread_id}/files", None, {}),
        ("GET", "/api/threads/{thread_id}/files?limit=1&cursor={message_cursor}", None, {}),
    ],
    "download_file": [
        ("GET", "/api/threads/{thread_id}/files/{file_id}", None, {}),
        ("GET", "/api/threads/{own_thread_id}/files/{file_id}", None, {}),
    ],
    "delete_file": [
        ("DELETE", "/api/threads/{thread_id}/files/{file_id}", None, {}),
        ("DELETE", "/api/threads/{own_thread_id}/files/{file_id}", None, {}),
    ],
    "get_run": [("GET", "/api/runs/{run_id}", None, {}), ("GET", "/api/runs/{live_id}", None, {})],
    "cancel_run": [("POST", "/api/runs/{run_id}/cancel", None, {}), ("POST", "/api/runs/{live_id}/cancel", None, {})],
    "list_questions": [("GET", "/api/questions?cursor={cursor}", None, {})],
    "answer": [
        ("POST", "/api/questions/{question_id}", {"content": "no"}, {}),
        ("POST", "/api/questions/{answered_id}", {"content": "no"}, {}),
    ],
    "list_approvals": [("GET", "/api/approvals?cursor={cursor}", None, {})],
    "decide": [
        ("POST", "/api/approvals/{approval_id}", {"decision": "approve"}, {}),
        ("POST", "/api/approvals/{approval_id}", {"decision": "reject", "note": "no"}, {}),
        ("POST", "/api/approvals/{decided_id}", {"decision": "approve"}, {}),
    ],
    "put_mcp_credential": [("PUT", "/api/mcp/servers/{thread_id}/credential", {"token": "mine-to-take"}, {})],
    "authorize_mcp_server": [("POST", "/api/mcp/servers/{thread_id}/authorize", None, {})],
    "mcp_callback": [("GET", "/api/mcp/callback?state={run_id}&code=x", None, {})],
    "delete_mcp_credential": [("DELETE", "/api/mcp/servers/{thread_id}/credential", None, {})],
    "list_memories": [
        ("GET", "/api/me/memories?cursor={cursor}", None, {}),
        ("GET", "/api/me/memories?q=victim&cursor={cursor}", None, {}),
    ],
    "revoke_key": [("DELETE", "/api/me/keys/{key_id}", None, {})],
    "end_session": [("DELETE", "/api/me/sessions/{session_id}", None, {})],
    "forget": [("DELETE", "/api/me/memories/{memory_id}", None, {})],
    "openai_get_model": [("GET", "/v1/models/{thread_id}", None, {})],
    "openai_create_response": [
        ("POST", "/v1/responses", {"model": "assistant", "input": "x", "previous_response_id": "{run_id}"}, {}),
        ("POST", "/v1/responses", {"input": "x", "previous_response_id": "{live_id}", "stream": True}, {}),
        ("POST", "/v1/responses", {"model": "assistant", "input": "x", "conversation": "{thread_id}"}, {}),
        ("POST", "/v1/responses", {"model": "assistant", "input": "x", "conversation": {"id": "{busy_id}"}}, {}),
        ("POST", "/v1/responses", {"model": "assistant", "input": "x", "conversation": "{thread_id}"}, KEYED),
        ("POST", "/v1/responses", {"input": [APPROVES], "previous_response_id": "{waiting_id}"}, {}),
        ("POST", "/v1/responses", {"input": [ANSWERS], "previous_response_id": "{asking_id}"}, {}),
        ("POST", "/v1/responses", {"input": [APPROVES], "previous_response_id": "{own_run_id}"}, {}),
        ("POST", "/v1/responses", {"input": [ANSWERS], "previous_response_id": "{own_run_id}"}, {}),
    ],
    "openai_get_response": [
        ("GET", "/v1/responses/{run_id}", None, {}),
        ("GET", "/v1/responses/{live_id}?stream=true", None, {}),
        ("GET", "/v1/responses/{run_id}?stream=true&starting_after=1", None, {}),
    ],
    "openai_cancel_response": [
        ("POST", "/v1/responses/{run_id}/cancel", None, {}),
        ("POST", "/v1/responses/{live_id}/cancel", None, {}),
    ],
    "openai_delete_response": [
        ("DELETE", "/v1/responses/{run_id}", None, {}),
        ("DELETE", "/v1/responses/{live_id}", None, {}),
    ],
    # A thread of somebody else's is a name like any other there: tests/acceptance/test_agui.py.
    "agui_run": [
        ("POST", "/api/agui/signer", _resume("{own_thread_id}", "{run_id}", "{approval_id}"), {}),
        ("POST", "/api/agui/signer", _resume("{thread_id}", "{run_id}", "{approval_id}"), {}),
        ("POST", "/api/agui/asker", _resume("{own_thread_id}", "{live_id}", "{question_id}"), SSE),
        ("POST", "/api/agui/signer", _resume("{own_thread_id}", "{run_id}", "{decided_id}"), {"Last-Event-ID": "1"}),
    ],
    "agui_attach": [
        ("GET", "/api/agui/runs/{run_id}", None, SSE),
        ("GET", "/api/agui/runs/{run_id}?after=999", None, {}),
        ("GET", "/api/agui/runs/{live_id}?thread={thread_id}", None, SSE | {"Last-Event-ID": "1"}),
    ],
    "list_events": [
        ("GET", "/api/runs/{run_id}/events", None, {}),
        ("GET", "/api/runs/{run_id}/events?after=999", None, {}),
        ("GET", "/api/runs/{live_id}/events", None, SSE),
        ("GET", "/api/runs/{run_id}/events", None, SSE | {"Last-Event-ID": "1"}),
    ],
}
# What the permission `admin` is for, and nobody else may: tests/integration/http/test_administration.py.
ADMINISTRATIVE = {
    "admin_list_users", "admin_disable_user", "admin_enable_user", "admin_list_runs", "admin_cancel_run",
    "admin_read_audit", "admin_service_levels", "admin_overview", "admin_get_run", "admin_list_events",
    "admin_drain_process", "admin_resume_process",
}  # fmt: skip
FRAMES = {
    "authenticate": [],  # a token, which proves its owner
    "ping": [],
    "user_message": [
        {"content": "let me in", "thread_id": "{thread_id}"},
        {"content": "let me in", "thread_id": "{busy_id}", "if_busy": "reject"},
        {"content": "x", "thread_id": "{thread_id}", "idempotency_key": "victims-key"},
        {"content": "x", "thread_id": "{thread_id}", "replace": "{message_id}"},
        {"content": "x", "thread_id": "{own_thread_id}", "replace": "{message_id}"},
        {"content": "x", "thread_id": "{thread_id}", "files": ["{file_id}"]},
        {"content": "x", "thread_id": "{own_thread_id}", "files": ["{file_id}"]},
    ],
    "subscribe": [
        {"run_id": "{run_id}"},
        {"run_id": "{run_id}", "after": 999},
        {"run_id": "{live_id}", "after": 1},
        {"thread_id": "{thread_id}"},
        {"thread_id": "{busy_id}", "after": {"{live_id}": 1}},
        {"thread_id": "{own_thread_id}", "after": {"{live_id}": 1}},
        {"thread_id": "{own_thread_id}", "after": {"{run_id}": 0}},
    ],
    "unsubscribe": [{"run_id": "{live_id}"}, {"thread_id": "{thread_id}"}],
    "cancel": [{"run_id": "{live_id}"}, {"run_id": "{run_id}"}],
    "answer": [
        {"question_id": "{question_id}", "content": "no"},
        {"question_id": "{answered_id}", "content": "no"},
    ],
    "decide": [
        {"approval_id": "{approval_id}", "decision": "approve"},
        {"approval_id": "{decided_id}", "decision": "reject", "note": "no"},
    ],
}
# Fields of frames that name a thing, and so must be forged above.
NAMING = {"thread_id", "run_id", "replace", "idempotency_key", "after", "approval_id", "question_id", "files"}
NOT_NAMING = {"id", "token", "content", "agent", "if_busy", "decision", "note"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    users = {"victim": (), "intruder": (), "root": {"admin"}}
    with Server(tmp_path_factory.mktemp("forged"), app=APP, wire=wire, users=users, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()


def _fill(value, names):
    if isinstance(value, str):
        return value.format(**names) if "{" in value else value
    if isinstance(value, dict):
        return {_fill(key, names): _fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    return value


def _code(answer):
    """What an answer says is wrong, in our words."""
    code = answer.json["error"]["code"] if "error" in answer.json else answer.json["code"]
    return "unauthenticated" if code == "invalid_api_key" else code


def _rows(server):
    """All that is stored, but for logins."""
    tables = server.rows("select name from sqlite_master where type = 'table' and name != 'sessions'")
    return {table: server.rows(f"select * from {table}") for (table,) in tables}


def _blank(text, names):
    """An answer without the ids that were asked for."""
    for name in sorted(names.values(), key=len, reverse=True):
        text = text.replace(name, "ID")
    return text


async def waits(client, login, run_id):
    """Returns once the run does nothing but wait: from then on nothing of it changes."""
    async with asyncio.timeout(10):
        while (await client.get(f"/api/runs/{run_id}", login)).json["status"] != "waiting":
            await passed(0.02)


async def _remembered(server):
    """Something that is remembered of the victim."""
    async with open_stores(Settings(home=server.home)) as stores:
        return await stores.memories.remember("victim", "said by victim")


async def _victim(client, server):
    """The victim's things, and names of the same shape for things that do not exist."""
    login = await client.login("victim")
    socket = await client.socket(login)
    done = await socket.ask("said by victim [[call=consult chunks=2]]", idempotency_key="first")
    await socket.ended(done["run_id"])
    keyed = await socket.ask("x", thread_id=done["thread_id"], idempotency_key="victims-key")
    await socket.ended(keyed["run_id"])
    live = await socket.ask("wait", agent="troublemaker")
    await socket.frame("agent_thinking", run_id=live["run_id"])
    approvals = []
    for verdict in ("reject", None):
        asks = await socket.ask("sign for victim", agent="signer")
        asked = await socket.frame("approval_requested", run_id=asks["run_id"])
        approvals.append(asked["approval_id"])
        waiting_id = asks["run_id"]
        if verdict is not None:
            assert (await socket.answer("decide", approval_id=asked["approval_id"], decision=verdict))["type"] == "ok"
            await socket.ended(asks["run_id"])
    await waits(client, login, asks["run_id"])
    form = aiohttp.FormData()
    form.add_field("file", b"said by victim", filename="victim.txt")
    file = (await client.post(f"/api/threads/{done['thread_id']}/files", login, data=form)).json
    questions = []
    for content in ("May", None):
        asks = await socket.ask("asked of victim", agent="asker")
        asked = await socket.frame("question_asked", run_id=asks["run_id"])
        questions.append(asked["question_id"])
        asking_id = asks["run_id"]
        if content is not None:
            assert (await socket.answer("answer", question_id=asked["question_id"], content=content))["type"] == "ok"
            await socket.ended(asks["run_id"])
    await waits(client, login, asks["run_id"])
    key = (await client.post("/api/me/keys", login, {"name": "victim's"})).json
    sessions = (await client.get("/api/me/sessions", login)).json["items"]
    threads = (await client.get("/api/threads?limit=1", login)).json
    messages = (await client.get(f"/api/threads/{done['thread_id']}/messages?limit=1", login)).json
    theirs = {
        "thread_id": done["thread_id"],
        "run_id": done["run_id"],
        "message_id": done["message_id"],
        "live_id": live["run_id"],
        "busy_id": live["thread_id"],
        "decided_id": approvals[0],
        "approval_id": approvals[1],
        "file_id": file["file_id"],
        "answered_id": questions[0],
        "question_id": questions[1],
        "memory_id": (await _remembered(server)).memory_id,
        "key_id": key["key_id"],
        "session_id": sessions[0]["session_id"],
        "waiting_id": waiting_id,
        "asking_id": asking_id,
        "cursor": threads["next_cursor"],
        "message_cursor": messages["next_cursor"],
    }
    # The cursors stay: they are no secret, and must show their reader nothing but the reader's own.
    missing = {
        name: value if "cursor" in name else f"{value.partition('_')[0]}_{number:032x}"
        for number, (name, value) in enumerate(theirs.items())
    }
    return login, socket, live, theirs, missing


def test_every_operation_and_every_frame_is_in_these_tables(server):
    async def scenario(client):
        return (await client.get("/api/openapi.json")).json

    document = play(server, scenario)
    operations = {
        operation["operationId"]: path
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert operations.keys() == NAMELESS | FORGED.keys() | ADMINISTRATIVE
    assert {name for name, path in operations.items() if path.startswith("/api/admin/")} == ADMINISTRATIVE
    named = [path for name, path in operations.items() if name in NAMELESS and "{" in path]
    assert named == ["/api/agui/{agent}"]  # an agent is nobody's
    frames = {frame.__struct_config__.tag: frame for frame in get_args(protocol.ClientFrame)}
    assert frames.keys() == FRAMES.keys() == protocol.TYPES
    for kind, frame in frames.items():
        fields = {field.name for field in msgspec.structs.fields(frame)}
        assert fields <= NAMING | NOT_NAMING, kind
        assert fields & NAMING <= {name for forged in FRAMES[kind] for name in forged}, kind


@pytest.mark.parametrize("intruder", ["intruder", "root"])
def test_somebody_elses_id_is_answered_as_one_that_does_not_exist_and_changes_nothing(server, intruder):
    async def scenario(client):
        login, socket, live, theirs, missing = await _victim(client, server)
        stranger = await client.login(intruder)
        own = {"own_thread_id": await client.thread(stranger)}
        mine = {"model": "assistant", "input": "hi", "conversation": await client.thread(stranger)}
        own["own_run_id"] = (await client.post("/v1/responses", stranger, mine)).json["id"]
        before = _rows(server)
        for requests in FORGED.values():
            for method, path, body, headers in requests:
                answers = []
                for names in (theirs, missing):
                    filled = _fill(path, names | own), _fill(body, names | own)
                    answer = await client.call(method, filled[0], stranger, filled[1], headers=headers)
                    # Of headers, all but the time of day.
                    kept = {name: value for name, value in answer.headers.items() if name != "Date"}
                    answers.append((answer.status, kept, _blank(answer.text, names)))
                    assert "victim" not in answer.text
                assert answers[0] == answers[1], (method, path)
                if "cursor=" not in path or "{thread_id}" in path:
                    assert answers[0][0] == 404, (method, path, answers[0])
        forger = await client.socket(stranger)
        for kind, forged in FRAMES.items():
            for fields in forged:
                answers = []
                for names in (theirs, missing):
                    answer = await forger.answer(kind, **_fill(fields, names | own))
                    answers.append(_blank(json.dumps(answer | {"id": None}), names))
                assert answers[0] == answers[1], (kind, fields)
                wanted = "ok" if kind == "unsubscribe" else "not_found"
                assert wanted in answers[0], (kind, answers[0])
        assert _rows(server) == before
        # The victim's run went on untouched, and what it tells now, nobody else is told.
        assert (await client.get(f"/api/runs/{live['run_id']}", login)).json["status"] == "running"
        await socket.answer("cancel", run_id=live["run_id"])
        await socket.ended(live["run_id"])
        check_run(socket.of(live["run_id"]), ending="agent_cancelled")
        following = await socket.ask("one more by victim [[chunks=2]]", thread_id=theirs["thread_id"])
        await socket.ended(following["run_id"])
        await forger.settled()
        assert "victim" not in "".join(forger.texts)
        shown = {frame.get("run_id") for frame in forger.frames if "seq" in frame}
        assert shown & {theirs["run_id"], live["run_id"], following["run_id"]} == set()
        listed = (await client.get("/api/threads", stranger)).json["items"]
        assert {thread["thread_id"] for thread in listed} & {theirs["thread_id"], theirs["busy_id"]} == set()
        for route in ("/api/me/memories", "/api/me/memories?q=victim"):
            assert (await client.get(route, stranger)).json == {"items": [], "next_cursor": None}
        assert (await client.get("/api/approvals", stranger)).json == {"items": [], "next_cursor": None}
        assert (await client.get("/api/questions", stranger)).json == {"items": [], "next_cursor": None}
        asked = (await client.get("/api/questions", login)).json["items"]
        assert theirs["question_id"] in [each["question_id"] for each in asked]
        asked = (await client.get("/api/approvals", login)).json["items"]
        assert theirs["approval_id"] in [each["approval_id"] for each in asked]

    play(server, scenario)


def test_without_a_login_every_id_is_answered_alike_and_with_somebody_elses_token_nothing_is_his(server):
    async def scenario(client):
        _, socket, live, theirs, missing = await _victim(client, server)
        own = {"own_thread_id": "thr_0", "own_run_id": "run_0"}
        before = _rows(server)
        for requests in FORGED.values():
            for method, path, body, headers in requests:
                for names in (theirs, missing):
                    filled = _fill(path, names | own), _fill(body, names | own)
                    answer = await client.call(method, filled[0], None, filled[1], headers=headers)
                    assert (answer.status, _code(answer)) == (401, "unauthenticated")
        assert _rows(server) == before
        # An open connection cannot become another user's.
        stranger = await client.login("intruder")
        forger = await client.socket(stranger)
        victims_token = (await client.login("victim")).token
        refused = await forger.answer("authenticate", token=victims_token)
        assert (refused["type"], refused["code"]) == ("error", "unauthenticated")
        refused = await forger.answer("subscribe", run_id=theirs["run_id"])
        assert (refused["type"], refused["code"]) == ("error", "not_found")
        assert (await client.get("/api/auth/me", stranger)).json["user_id"] == "intruder"
        await socket.answer("cancel", run_id=live["run_id"])
        await socket.ended(live["run_id"])

    play(server, scenario)
