import asyncio
import re

from prometheus_client.parser import text_string_to_metric_families
from tests.integration.http.serving import SilentModel, serving, talk


def test_a_server_is_alive_and_ready(tmp_path):
    async def scenario(client):
        assert (await client.get("/healthz")).json == {"status": "ok"}
        ready = await client.get("/readyz")
        assert (ready.status, ready.json) == (200, {"status": "ready", "reasons": []})

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_model_that_is_set_and_cannot_be_reached_makes_it_unready_and_not_dead(tmp_path):
    async def scenario(client):
        ready = await client.get("/readyz")
        assert ready.status == 503
        assert ready.json == {
            "status": "not_ready",
            "reasons": ["model: test:silent does not answer; the log and `netra doctor` say why"],
        }
        assert (await client.get("/healthz")).status == 200
        await client.login()

    with serving(tmp_path, model=SilentModel("connection refused")) as served:
        talk(served, scenario)


def test_the_figures_are_told_in_prometheus_format_and_name_no_person(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread("a private title")
        await client.ended(await client.run(thread_id))
        await client.run(thread_id, agent="patient")
        bearer = {"Authorization": f"Bearer {client.token}"}
        async with client.http.ws_connect(client.url + "/ws", headers=bearer) as ws:
            await ws.receive_json()
            answer = await client.get("/metrics", bearer=False)
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=1.0.0")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in families.values()
            for sample in family.samples
        }
        assert values["netra_runs_active",] == 1
        assert values["netra_connections",] == 1
        assert values["netra_runs_total", "agent_completed"] == 1
        assert values["netra_events_total", "agent_started"] >= 1
        assert families["netra_runs"].type == "counter"
        assert families["netra_connections"].type == "gauge"
        assert "process_cpu_seconds" in families
        assert not re.search(r"ada|private|thr_|run_0|con_", answer.text)

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_two_servers_of_one_process_keep_their_figures_apart(tmp_path):
    async def busy(client):
        await client.login()
        await client.run(await client.thread(), agent="patient")

    async def idle(client):
        assert "netra_runs_active 0.0" in (await client.get("/metrics")).text

    with serving(tmp_path / "a") as first, serving(tmp_path / "b") as second:
        talk(first, busy)
        talk(second, idle)


def test_probes_answer_while_passwords_are_being_checked(tmp_path):
    async def scenario(client):
        loop = asyncio.get_running_loop()
        logins = [asyncio.create_task(client.login()) for _ in range(30)]
        await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
        began = loop.time()
        assert (await client.get("/healthz")).status == 200
        assert loop.time() - began < 0.5
        assert not all(login.done() for login in logins)
        await asyncio.gather(*logins)

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_health_can_be_asked_for_by_head_alone(tmp_path):
    async def scenario(client):
        for path in ("/healthz", "/readyz"):
            answer = await client.call("HEAD", path)
            assert (answer.status, answer.text) == (200, "")

    with serving(tmp_path) as served:
        talk(served, scenario)
