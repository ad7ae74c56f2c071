import asyncio

from tests.integration.http.serving import serving, talk


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
