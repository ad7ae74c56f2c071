import asyncio
import contextlib
import socket
import sqlite3
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.http.serving import Echo, serving, talk

from netra_apex import ChatAgent
from netra_apex.providers.openai import OpenAIModel


class Talker(ChatAgent):
    """Asks its model."""

    name = "talker"
    instructions = "Answer."


async def levels(client, query="since=1h"):
    answer = await client.get(f"/api/admin/service-levels?{query}")
    assert answer.status == 200, answer.text
    return answer.json


def test_a_run_that_is_answered_is_good_and_has_its_figures(tmp_path):
    async def scenario(client):
        await client.login()
        await client.ended(await client.run(await client.thread()))
        await client.login("root")
        shown = await levels(client, "since=1h&points=12&compare=true")
        total = shown["total"]
        assert (total["runs"], total["good"], total["bad"], total["success_rate"], total["users"]) == (1, 1, 0, 1.0, 1)
        assert total["completion_ms"]["p50"] >= total["queued_ms"]["p50"] >= 0
        assert shown["before"]["runs"] == 0
        assert shown["before"]["success_rate"] is None
        assert (len(shown["series"]), shown["bucket_seconds"]) == (12, 300)
        assert sum(point["runs"] for point in shown["series"]) == 1
        assert [part["name"] for part in shown["agents"]] == ["echo"]
        assert [part["name"] for part in shown["users"]] == ["ada"]
        assert [(each["type"], each["due"], each["told"]) for each in shown["events"]] == [
            ("agent_started", 1, 1),
            ("agent_thinking", 1, 1),
            ("tool_executing", 0, 0),
            ("tool_completed", 0, 0),
            ("agent_completed", 1, 1),
        ]
        assert [(rate["window"], rate["good"], rate["burn_rate"]) for rate in shown["burn_rates"]] == [
            (window, 1, 0.0) for window in ("5m", "30m", "1h", "6h", "3d")
        ]
        assert shown["blockers"] == []
        row = (await client.get("/api/admin/audit")).json["items"][0]
        assert (row["action"], row["actor"], row["details"].keys()) == (
            "read_service_levels",
            "root",
            {"since", "until"},
        )
        assert shown["golden_path"] == {"limit_seconds": 60.0, "objective": 0.999}

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_cancel_of_its_user_is_no_breach_and_leaves_the_rate_alone(tmp_path):
    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread(), agent="patient")
        await client.post(f"/api/runs/{run_id}/cancel")
        async with asyncio.timeout(5):
            await client.ended(run_id)
        await client.login("root")
        shown = await levels(client)
        assert (shown["total"]["excluded"], shown["total"]["bad"], shown["total"]["success_rate"]) == (1, 0, None)
        assert [(each["cause"], each["counted"]) for each in shown["failures"]] == [("cancelled", False)]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_what_is_no_period_gets_a_sentence(tmp_path):
    async def scenario(client):
        await client.login("root")
        for query in ("since=yesterday", "since=91d", "since=0h", "until=tomorrow", "since=2026-11-22T05:00:00"):
            refused = await client.get(f"/api/admin/service-levels?{query}")
            assert (refused.status, refused.json["code"]) == (422, "invalid"), query
            assert refused.json["detail"]
        for query in ("points=0", "points=501", "since=" + "9" * 50):
            assert (await client.get(f"/api/admin/service-levels?{query}")).status == 422
        assert (await client.get("/api/admin/audit")).json["items"] == []

    with serving(tmp_path) as served:
        talk(served, scenario)


async def shown_within(client, seconds, fits):
    """The figures, once they show what they should; `seconds` is what the operator is promised."""
    async with asyncio.timeout(seconds):
        while True:
            shown = await levels(client)
            if fits(shown):
                return shown
            await asyncio.sleep(0.05)


def kinds(shown):
    return [each["kind"] for each in shown["blockers"]]


def test_a_model_that_cannot_be_reached_is_in_the_figures_with_its_cause_within_five_seconds(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: whoever connects is refused
        model = OpenAIModel("openai:gone", api_key="k", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")

        async def scenario(client):
            root = (await client.login("root")).token
            ada = (await client.login()).token
            thread_id = await client.thread()
            assert (await client.run(thread_id, agent="talker")).startswith("run_")
            client.token = root
            shown = await shown_within(client, 5, lambda shown: shown["total"]["bad"])
            assert [(each["cause"], each["counted"]) for each in shown["failures"]] == [("model_unavailable", True)]
            assert kinds(shown) == ["model_unreachable"]
            assert "openai:gone cannot be reached" in shown["blockers"][0]["message"]
            assert shown["total"]["success_rate"] == 0
            assert [part["name"] for part in shown["models"]] == ["openai:gone"]
            assert shown["burn_rates"][0]["burn_rate"] == pytest.approx(1000)
            metrics = (await client.get("/metrics", bearer=False)).text
            assert 'netra_shared_blocked{kind="model_unreachable"} 1.0' in metrics
            assert 'netra_golden_path_breaches_total{cause="model_unavailable"} 1.0' in metrics
            client.token = ada
            assert (await client.get("/api/admin/service-levels")).status == 403

        with serving(tmp_path, agents=(Talker, Echo), model=model) as served:
            talk(served, scenario)
            served.on_loop(model.aclose())


def test_a_database_that_is_slow_is_in_the_figures_with_its_cause_within_five_seconds(tmp_path):
    async def scenario(client):
        await client.login("root")
        assert kinds(await levels(client)) == []
        over = threading.Event()

        def hold():
            """Another one that keeps the database to itself again and again, and lets others in between."""
            with contextlib.closing(sqlite3.connect(tmp_path / "netra.db", isolation_level=None, timeout=5)) as other:
                while not over.is_set():
                    other.execute("begin immediate")
                    over.wait(0.6)
                    other.execute("commit")
                    over.wait(0.3)

        holding = asyncio.create_task(asyncio.to_thread(hold))
        try:
            shown = await shown_within(client, 5, lambda shown: "database_slow" in kinds(shown))
        finally:
            over.set()
            await holding
        assert shown["now"]["database_ms"] > 250
        assert "the database is slow" in shown["blockers"][0]["message"]
        await shown_within(client, 5, lambda shown: kinds(shown) == [])

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_what_metrics_tell_of_the_golden_path_is_what_the_runs_were(tmp_path):
    async def scenario(client):
        await client.login()
        await client.ended(await client.run(await client.thread()))
        run_id = await client.run(await client.thread(), agent="patient")
        await client.post(f"/api/runs/{run_id}/cancel")
        await client.ended(run_id)
        families = {
            family.name: family
            for family in text_string_to_metric_families((await client.get("/metrics", bearer=False)).text)
        }

        def value(name, **labels):
            [found] = [s.value for f in families.values() for s in f.samples if (s.name, s.labels) == (name, labels)]
            return found

        assert value("netra_golden_path_runs_total", outcome="good") == 1
        assert value("netra_golden_path_runs_total", outcome="bad") == 0
        assert value("netra_golden_path_runs_total", outcome="excluded") == 1
        assert value("netra_golden_path_events_told_total", type="agent_completed") == 1
        assert value("netra_run_completion_seconds_count") == 1
        assert value("netra_run_first_event_seconds_count") == 2
        assert value("netra_store_seconds_count") >= 2
        assert value("netra_shared_burn_rate", window="5m") == 0
        assert value("netra_database_up") == 1
        assert value("netra_runs_queued") == 0

    with serving(tmp_path) as served:
        talk(served, scenario)
