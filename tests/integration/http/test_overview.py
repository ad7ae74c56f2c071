"""What an operator watches over HTTP: figures of real runs, what is wrong and why, anybody's run as its owner."""

import asyncio
import json
import time
from contextlib import aclosing

from tests.integration.http.serving import Patient, SilentModel, serving, talk

from netra_apex import BaseAgent, ask_user, tool
from netra_apex.errors import StoreError

SSE = {"Accept": "text/event-stream"}


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


class Payer(BaseAgent):
    """Asks, and then pays."""

    name = "payer"

    async def run(self, task, scope):
        await asyncio.gather(scope.tools.call(pay, 12), scope.tools.call(ask_user, "To whom?"))
        return "secret-of-the-owner"


async def frames(client, path="/api/admin/overview"):
    """The frames of a stream."""
    headers = SSE | {"Authorization": f"Bearer {client.token}"}
    async with client.http.get(client.url + path, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        async for raw in response.content:
            if raw.startswith(b"data: "):
                yield json.loads(raw[6:])


async def seen(client, wanted):
    """The first frame that is as wanted."""
    async with aclosing(frames(client)) as told:
        async for frame in told:
            if wanted(frame):
                return frame
    raise AssertionError("the stream ended")


async def audited(client):
    items = (await client.get("/api/admin/audit?limit=200")).json["items"]
    return [row["action"] for row in reversed(items) if row["action"] != "read_audit"]


def test_the_overview_counts_who_runs_waits_and_is_asked(tmp_path):
    async def scenario(client):
        await client.login("bob")
        for _ in range(2):
            await client.run(await client.thread(), agent="patient")
        ada = (await client.login()).token
        asks = await client.run(await client.thread(), agent="payer")
        await client.login("root")
        frame = await seen(client, lambda frame: frame["loads"] and frame["loads"][0]["approvals"] == 1)
        loads = {load.pop("user_id"): load for load in frame["loads"]}
        since = loads["ada"].pop("waits_since")
        assert since is not None
        ages = {"queued_since": None}
        none = {"running": 0, "queued": 0, "left": 0, "waiting": 0, "approvals": 0, "questions": 0}
        assert loads["ada"] == none | ages | {"waiting": 1, "approvals": 1, "questions": 1}
        assert loads["bob"]["queued"] == 1
        assert loads["bob"]["running"] == 1
        assert loads["bob"]["queued_since"] is not None
        ((state),) = [run for run in frame["runs"] if run["run_id"] == asks]
        assert (state["status"], state["approvals"], state["waits_since"]) == ("waiting", 1, since)
        assert (frame["complete"], frame["problems"]) == (True, [])
        ((process),) = frame["processes"]
        assert process["executor"] == frame["executor"]
        figures = process["figures"]
        assert (figures["role"], figures["runs"], figures["executes"]) == ("server", 1, True)
        assert figures["memory_bytes"] > 1_000_000
        assert figures["tasks"] > 3
        assert [(each["kind"], each["executor"]) for each in frame["incidents"]] == [("started", frame["executor"])]
        assert "To whom" not in json.dumps(frame)
        client.token = ada
        await client.post(f"/api/runs/{asks}/cancel")

    with serving(tmp_path, agents=(Patient, Payer), runs_per_user=1) as served:
        talk(served, scenario)


def test_a_watch_is_one_row_of_the_audit_however_long_it_is(tmp_path):
    async def scenario(client):
        await client.login("root")
        async with aclosing(frames(client)) as told:
            for _ in range(3):
                await anext(told)
        assert (await client.get("/api/admin/overview")).status == 200
        assert await audited(client) == ["watch", "watch"]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_watch_ends_with_its_login_and_with_the_permission(tmp_path):
    async def scenario(client):
        root = (await client.login("root")).token

        async def watch():
            return [frame["at"] async for frame in frames(client)]

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        while "watch" not in await audited(client):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await client.post("/api/auth/logout")
        async with asyncio.timeout(10):
            await watching
        client.token = root
        assert (await client.get("/api/admin/overview")).status == 401

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_model_that_cannot_be_reached_is_told_with_its_cause(tmp_path):
    model = SilentModel()

    async def scenario(client):
        await client.login("root")
        assert (await seen(client, lambda frame: True))["problems"] == []
        model.reason = "the provider at 10.0.0.7 refuses: connection refused"
        ((problem),) = (await seen(client, lambda frame: frame["problems"]))["problems"]
        assert (problem["kind"], problem["cause"]) == ("model", model.reason)
        # Anybody may ask whether it is ready, and learns nothing of inner addresses.
        assert "10.0.0.7" not in (await client.get("/readyz", bearer=False)).text
        model.reason = None
        await seen(client, lambda frame: frame["problems"] == [])

    with serving(tmp_path, model=model) as served:
        talk(served, scenario)


def test_a_database_that_takes_nothing_is_told_and_the_watch_goes_on(tmp_path, monkeypatch):
    async def scenario(client):
        await client.login("root")
        database = served.services().runtime.stores.database

        async def full():
            raise StoreError("the database refused: database or disk is full")

        monkeypatch.setattr(database, "check", full)
        frame = await seen(client, lambda frame: frame["problems"])
        assert [(each["kind"], each["cause"]) for each in frame["problems"]] == [
            ("database", "the database refused: database or disk is full")
        ]
        assert frame["complete"] is False
        assert frame["runs"] == []
        monkeypatch.undo()
        await seen(client, lambda frame: frame["complete"])

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_loop_that_stood_still_is_told(tmp_path):
    async def scenario(client):
        await client.login("root")
        served.services().runtime.house.vitals.note(time.monotonic(), 1.7)
        frame = await seen(client, lambda frame: frame["problems"])
        ((problem),) = frame["problems"]
        assert problem["kind"] == "stalled"
        assert "1.7 s" in problem["cause"]
        assert frame["processes"][0]["figures"]["longest_stall_ms"] == 1700
        assert "netra_loop_stalls_total 1.0" in (await client.get("/metrics")).text

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_an_administrator_reads_a_run_as_its_owner_with_a_row_for_it(tmp_path):
    async def scenario(client):
        ada = (await client.login()).token
        run_id = await client.run(await client.thread(), "my own words", agent="echo")
        await client.ended(run_id)
        told = (await client.get(f"/api/runs/{run_id}/events")).text
        await client.login("root")
        assert (await client.get(f"/api/runs/{run_id}/events")).status == 404
        state = (await client.get(f"/api/admin/runs/{run_id}")).json
        assert (state["user_id"], state["status"], state["taken_up"]) == ("ada", "completed", 0)
        assert "my own words" not in json.dumps(state)
        assert (await client.get(f"/api/admin/runs/{run_id}/events")).text == told
        live = [frame async for frame in frames(client, f"/api/admin/runs/{run_id}/events")]
        assert live == json.loads(told)["events"]
        assert (await client.get("/api/admin/runs/run_none/events")).status == 404
        assert (await client.get(f"/api/admin/runs/{run_id}/events?after=99")).status == 422
        rows = (await client.get("/api/admin/audit")).json["items"]
        assert [(row["action"], row["subject"]) for row in reversed(rows)] == [
            ("show_run", "ada"),
            ("read_events", "ada"),
            ("read_events", "ada"),
            ("read_events", "ada"),
        ]
        assert {row["details"]["run_id"] for row in rows} == {run_id}
        client.token = ada

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_drained_process_takes_nothing_until_it_is_resumed_and_ends_what_it_has(tmp_path):
    async def scenario(client):
        ada = (await client.login()).token
        thread_id = await client.thread()
        run_id = await client.run(thread_id, agent="patient")
        root = (await client.login("root")).token
        executor = (await client.get("/api/admin/overview")).json["executor"]
        assert (await client.post(f"/api/admin/processes/{executor}/drain")).json["draining"] is True
        frame = await seen(client, lambda frame: frame["processes"][0]["figures"]["draining"])
        assert frame["processes"][0]["draining"] is True
        assert (await client.get("/readyz")).status == 503
        client.token = ada
        refused = await client.post(f"/api/threads/{thread_id}/runs", {"content": "more", "agent": "echo"})
        assert (refused.status, refused.json["code"]) == (503, "draining")
        assert (await client.get(f"/api/runs/{run_id}")).json["status"] == "running"
        client.token = root
        assert (await client.post(f"/api/admin/processes/{executor}/resume")).json["draining"] is False
        await seen(client, lambda frame: not frame["processes"][0]["figures"]["draining"])
        client.token = ada
        other = await client.run(await client.thread(), agent="echo")
        assert (await client.ended(other))["status"] == "completed"
        client.token = root
        assert (await client.post("/api/admin/processes/exe_none/drain")).status == 404
        assert await audited(client) == ["watch", "drain_process", "watch", "resume_process", "watch"]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_the_operators_page_is_the_apps(tmp_path):
    async def scenario(client):
        assert (await client.get("/admin")).text == (await client.get("/")).text
        beside = await client.get("/admin/")
        assert (beside.status, beside.headers["Location"]) == (307, "../admin")

    with serving(tmp_path) as served:
        talk(served, scenario)
