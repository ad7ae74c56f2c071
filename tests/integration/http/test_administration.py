import asyncio

import pytest
from tests.integration.http.serving import PASSWORD, serving, talk

ROUTES = [
    ("GET", "/api/admin/users"),
    ("POST", "/api/admin/users/ada/disable"),
    ("POST", "/api/admin/users/ada/enable"),
    ("GET", "/api/admin/runs"),
    ("POST", "/api/admin/runs/run_1/cancel"),
    ("GET", "/api/admin/audit"),
    ("GET", "/api/admin/service-levels"),
    ("GET", "/api/admin/overview"),
    ("GET", "/api/admin/runs/run_1"),
    ("GET", "/api/admin/runs/run_1/events"),
    ("POST", "/api/admin/processes/exe_1/drain"),
    ("POST", "/api/admin/processes/exe_1/resume"),
]


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_whoever_is_no_administrator_is_refused_and_leaves_no_row(tmp_path, user):
    async def scenario(client):
        await client.login(user)
        for method, path in ROUTES:
            refused = await client.call(method, path)
            assert (refused.status, refused.json["code"]) == (403, "forbidden"), path
        await client.login("root")
        assert (await client.get("/api/admin/audit")).json["items"] == []

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_nobody_administers_without_a_login(tmp_path):
    async def scenario(client):
        for method, path in ROUTES:
            assert (await client.call(method, path)).status == 401

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_each_request_of_an_administrator_leaves_one_row(tmp_path):
    async def scenario(client):
        await client.login("root")
        users = (await client.get("/api/admin/users")).json["items"]
        assert [(user["username"], user["disabled"]) for user in users] == [
            ("ada", False),
            ("bob", False),
            ("root", False),
        ]
        assert users[0].keys() == {"user_id", "username", "permissions", "created_at", "disabled"}
        assert (await client.post("/api/admin/users/ada/disable")).json["disabled"] is True
        assert (await client.post("/api/admin/users/ada/enable")).json["disabled"] is False
        assert (await client.get("/api/admin/runs?status=failed")).json == {"items": [], "next_cursor": None}
        assert (await client.post("/api/admin/users/root/disable")).status == 422
        assert (await client.post("/api/admin/users/nobody-there/disable")).status == 404
        assert (await client.post("/api/admin/runs/run_none/cancel")).status == 404
        assert (await client.get("/api/admin/runs?status=nonsense")).status == 422
        audit = (await client.get("/api/admin/audit")).json["items"]
        assert [(row["action"], row["subject"]) for row in reversed(audit)] == [
            ("list_users", None),
            ("disable_user", "ada"),
            ("enable_user", "ada"),
            ("list_runs", None),
        ]
        assert {row["actor"] for row in audit} == {"root"}
        assert (await client.get("/api/admin/audit")).json["items"][0]["action"] == "read_audit"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_user_who_is_disabled_is_out_and_his_run_can_be_ended(tmp_path):
    async def scenario(client):
        ada = (await client.login()).token
        run_id = await client.run(await client.thread(), agent="patient")
        root = (await client.login("root")).token
        while not (running := (await client.get("/api/admin/runs?status=running")).json["items"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert [(run["run_id"], run["user_id"]) for run in running] == [(run_id, "ada")]
        cancelled = await client.post(f"/api/admin/runs/{run_id}/cancel")
        assert (cancelled.status, cancelled.json["status"]) == (200, "running")
        assert (await client.get(f"/api/runs/{run_id}")).status == 404  # it is no more the administrator's than before
        client.token = ada
        async with asyncio.timeout(2):
            assert (await client.ended(run_id))["status"] == "cancelled"
        client.token = root
        assert (await client.post("/api/admin/users/ada/disable")).status == 200
        client.token = ada
        assert (await client.get("/api/auth/me")).status == 401
        login = {"username": "ada", "password": PASSWORD}
        assert (await client.post("/api/auth/login", login)).status == 401
        client.token = root
        assert (await client.post("/api/admin/users/ada/enable")).status == 200
        await client.login()

    with serving(tmp_path) as served:
        talk(served, scenario)
