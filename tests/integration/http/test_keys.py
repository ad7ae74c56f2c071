"""API keys, and a user's own logins and password: over HTTP, on sockets, and from the command line."""

import asyncio
import json
import os
import subprocess
import sys

import aiohttp
import pytest
from tests.integration.http.serving import PASSWORD, serving, talk

from netra_apex import BaseAgent, RunScope, ask_user, tool


@tool(needs_approval=True)
def refund(order: int) -> str:
    """Pays an order back."""
    return f"order {order} is paid back"


class Payer(BaseAgent):
    """For those who may read orders: pays one back, if a person approves, and asks a person."""

    name = "payer"
    requires = "orders:read"
    tools = (refund, ask_user)

    async def run(self, task: str, scope: RunScope) -> str:
        if task == "refund":
            return await scope.tools.call(refund, 7)
        return await scope.tools.call(ask_user, "When?")


COMMAND = [sys.executable, "-c", "from netra_apex.cli import main; main()", "user", "key"]
NEW = "a new and better password"


def by_key(client, key):
    """A client of its own that has the key and nothing else."""
    return type(client)(client.http, client.url, key)


async def made(client, **body):
    answer = await client.post("/api/me/keys", {"name": "for a script"} | body)
    assert answer.status == 201, answer.text
    return answer.json


async def socket_of(client):
    headers = {"Authorization": f"Bearer {client.token}"}
    socket = await client.http.ws_connect(client.url.replace("http", "ws") + "/ws", headers=headers)
    greeting = await socket.receive_json(timeout=10)
    assert greeting["type"] == "connection_established"
    return socket


async def closed_with(socket):
    async with asyncio.timeout(10):
        while (await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    return socket.close_code


def test_a_key_does_what_its_user_does_over_http_and_on_a_socket_until_it_is_revoked(tmp_path):
    async def scenario(client):
        await client.login()
        key = await made(client)
        assert key["key"].startswith("netra_")
        assert len(key["key"]) > 40
        assert key.keys() == {"key_id", "name", "permissions", "created_at", "expires_at", "last_used_at", "key"}
        program = by_key(client, key["key"])
        assert (await program.get("/api/auth/me")).json["username"] == "ada"
        run_id = await program.run(await program.thread(), agent="guarded")
        assert (await program.ended(run_id))["status"] == "completed"
        socket = await socket_of(program)
        (listed,) = (await client.get("/api/me/keys")).json["items"]
        assert listed["key_id"] == key["key_id"]
        assert listed["last_used_at"] is not None
        assert "key" not in listed
        assert (await client.call("DELETE", f"/api/me/keys/{key['key_id']}")).status == 204
        refused = await program.get("/api/auth/me")
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
        assert await closed_with(socket) == 4401
        assert (await client.call("DELETE", f"/api/me/keys/{key['key_id']}")).status == 404
        assert (await client.call("DELETE", "/api/me/keys/%00")).status == 404
        assert (await client.get("/api/me/keys")).json["items"] == []

    with serving(tmp_path) as served:
        talk(served, scenario)
        log = (tmp_path / "netra.db").read_bytes()
        assert b"for a script" not in log or b"netra_" not in log


def test_a_key_may_no_more_than_it_was_given_and_never_more_than_its_user(tmp_path):
    async def scenario(client):
        await client.login()
        narrow = by_key(client, (await made(client, permissions=[]))["key"])
        assert [agent["name"] for agent in (await narrow.get("/api/agents")).json["items"]] == ["echo", "patient"]
        assert (
            await narrow.post(f"/api/threads/{await narrow.thread()}/runs", {"content": "x", "agent": "guarded"})
        ).status == 403
        whole = by_key(client, (await made(client, permissions=["orders:read"]))["key"])
        assert "guarded" in [agent["name"] for agent in (await whole.get("/api/agents")).json["items"]]
        refused = await client.post("/api/me/keys", {"name": "x", "permissions": ["orders:write"]})
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert (await client.post("/api/me/keys", {"name": "x", "permissions": ["No Such"]})).status == 422
        assert (await client.post("/api/me/keys", {"name": ""})).status == 422
        assert (await client.post("/api/me/keys", {"name": "x", "days": 0})).status == 422

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_key_decides_and_answers_for_no_run_that_may_what_it_may_not(tmp_path):
    async def pending(client, what):
        async with asyncio.timeout(10):
            while not (items := (await client.get(f"/api/{what}")).json["items"]):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        return items[0]

    async def scenario(client):
        await client.login()
        narrow = by_key(client, (await made(client, permissions=[]))["key"])
        wide = by_key(client, (await made(client))["key"])
        for what, content, ident, body in (
            ("approvals", "refund", "approval_id", {"decision": "approve"}),
            ("questions", "ask", "question_id", {"content": "Now"}),
        ):
            run_id = await client.run(await client.thread(), content, agent="payer")
            path = f"/api/{what}/{(await pending(client, what))[ident]}"
            refused = await narrow.post(path, body)
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
            assert "orders:read" in refused.text
            assert (await client.get(f"/api/runs/{run_id}")).json["ended_at"] is None
            assert (await wide.post(path, body)).status == 200
            assert (await client.ended(run_id))["status"] == "completed"

    with serving(tmp_path, agents=(Payer,)) as served:
        talk(served, scenario)


def test_an_administrators_key_administers_only_where_that_was_asked_for(tmp_path):
    async def scenario(client):
        await client.login("root")
        plain, admin = await made(client), await made(client, permissions=["admin"])
        assert (await by_key(client, plain["key"]).get("/api/admin/users")).status == 403
        assert (await by_key(client, admin["key"]).get("/api/admin/users")).status == 200

    with serving(tmp_path) as served:
        talk(served, scenario)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/me/keys"), ("POST", "/api/me/keys"), ("DELETE", "/api/me/keys/key_1"),
        ("GET", "/api/me/sessions"), ("DELETE", "/api/me/sessions/ses_1"), ("POST", "/api/me/password"),
    ],
)  # fmt: skip
def test_who_has_found_a_key_cannot_outlive_it(tmp_path, method, path):
    async def scenario(client):
        await client.login()
        program = by_key(client, (await made(client))["key"])
        body = {"name": "x"} if "keys" in path else {"current_password": PASSWORD, "new_password": NEW}
        refused = await program.call(method, path, body if method == "POST" else None)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert (await by_key(client, None).call(method, path, body if method == "POST" else None)).status == 401

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_key_that_is_none_a_disabled_users_and_an_expired_one_are_refused_alike(tmp_path):
    async def scenario(client):
        await client.login("bob")
        key = (await made(client, days=1))["key"]
        socket = await socket_of(by_key(client, key))
        assert (await by_key(client, key).get("/api/auth/me")).status == 200
        await by_key(client, None).login("root")
        root = await by_key(client, None).login("root")
        assert (await root.post("/api/admin/users/bob/disable")).status == 200
        assert await closed_with(socket) == 4401
        for wrong in (key, "netra_" + "x" * 43, "netra_", "netra_" + "x" * 5000):
            refused = await by_key(client, wrong).get("/api/auth/me")
            assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
            assert wrong not in refused.text or wrong == "netra_"

    with serving(tmp_path) as served:
        talk(served, scenario)
        store = served.services().runtime.stores
        past = "update api_keys set expires_at = 1000 returning user_id"

        async def expire(tx):
            return await tx.all(past, {})

        served.on_loop(store.accounts.set_disabled("bob", disabled=False))
        assert served.on_loop(_written(store, expire))

        async def later(client):
            await client.login("bob")
            assert (await client.get("/api/me/keys")).json["items"] == []

        talk(served, later)


async def _written(store, job):
    return await store.database.write(job, user=None)


def test_a_user_has_at_most_fifty_keys_that_last(tmp_path):
    async def scenario(client):
        await client.login()
        for _ in range(50):
            await made(client)
        refused = await client.post("/api/me/keys", {"name": "one more"})
        assert (refused.status, refused.json["code"]) == (422, "invalid")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_user_sees_where_he_is_logged_in_and_ends_a_login_with_its_sockets(tmp_path):
    async def scenario(client):
        other = await by_key(client, None).login()
        await client.login()
        listed = (await client.get("/api/me/sessions")).json["items"]
        assert [each["current"] for each in listed] == [True, False]
        assert listed[0].keys() == {"session_id", "created_at", "renewed_at", "expires_at", "current"}
        socket = await socket_of(other)
        path = f"/api/me/sessions/{listed[1]['session_id']}"
        assert (await client.call("DELETE", path)).status == 204
        assert await closed_with(socket) == 4401
        assert (await other.get("/api/auth/me")).status == 401
        assert (await client.get("/api/auth/me")).status == 200
        assert (await client.call("DELETE", path)).status == 404

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_new_password_ends_every_login_but_the_one_that_it_begins(tmp_path):
    async def scenario(client):
        other = await by_key(client, None).login()
        await client.login()
        key = (await made(client))["key"]
        socket = await socket_of(other)
        wrong = await client.post("/api/me/password", {"current_password": "not this one", "new_password": NEW})
        assert (wrong.status, wrong.json["code"]) == (403, "forbidden")
        short = await client.post("/api/me/password", {"current_password": PASSWORD, "new_password": "short"})
        assert short.status == 422
        assert (await other.get("/api/auth/me")).status == 200
        answer = await client.post("/api/me/password", {"current_password": PASSWORD, "new_password": NEW})
        assert answer.status == 200
        assert await closed_with(socket) == 4401
        assert (await client.get("/api/auth/me")).status == 401
        client.token = answer.json["access_token"]
        assert (await client.get("/api/auth/me")).status == 200
        assert len((await client.get("/api/me/sessions")).json["items"]) == 1
        assert (await by_key(client, key).get("/api/auth/me")).status == 200
        tried = await client.post("/api/auth/login", {"username": "ada", "password": PASSWORD})
        assert tried.status == 401
        await client.login(password=NEW)

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_guessing_the_current_password_is_throttled_as_a_login_is(tmp_path):
    async def scenario(client):
        await client.login()
        body = {"current_password": "not this one", "new_password": NEW}
        statuses = [(await client.post("/api/me/password", body)).status for _ in range(12)]
        assert statuses[0] == 403
        assert statuses[-1] == 429

    with serving(tmp_path) as served:
        talk(served, scenario)


def ran(home, *arguments):
    environment = os.environ | {"NETRA_HOME": str(home)}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=home
    )


def test_the_operator_makes_lists_and_revokes_keys_beside_a_running_server(tmp_path):
    with serving(tmp_path) as served:
        done = ran(tmp_path, "ada", "--label", "nightly", "--permission", "orders:read", "--days", "3")
        assert done.returncode == 0, done.stderr
        key = done.stdout.strip()
        assert key.startswith("netra_")
        (listed,) = json.loads(ran(tmp_path, "ada", "--list", "--json").stdout)["items"]
        assert (listed["name"], listed["permissions"]) == ("nightly", ["orders:read"])

        async def works(client):
            assert (await by_key(client, key).get("/api/auth/me")).json["username"] == "ada"
            socket = await socket_of(by_key(client, key))
            revoked = await asyncio.to_thread(ran, tmp_path, "ada", "--revoke", listed["key_id"])
            assert revoked.returncode == 0
            assert await closed_with(socket) == 4401
            assert (await by_key(client, key).get("/api/auth/me")).status == 401

        talk(served, works)
        assert ran(tmp_path, "ada", "--revoke", listed["key_id"]).returncode == 1
        assert ran(tmp_path, "nobody-there").returncode == 1
        assert ran(tmp_path, "ada", "--list", "--revoke", "x").returncode == 2
        assert ran(tmp_path, "ada", "--permission", "NOT ONE").returncode == 1
