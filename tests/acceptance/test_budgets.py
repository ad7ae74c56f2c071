"""Budgets as people meet them: on a real server, over the socket and HTTP, with a model of OpenAI's wire format."""

import asyncio
import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime

import pytest
from tests.support.server import NETRA, PASSWORD, Server, environment
from tests.support.socket_client import play
from tests.support.streams import check_run

ASK = "where is my order? [[call=lookup chunks=4]]"
PRICES = "openai:wire=2/8"  # the wire model tells 50 tokens of input and 64 of output for each answer
COST = 2 * (50 * 2 + 64 * 8) / 1e6


def told(frames):
    """The events of a run, which holds to the contract however it ended."""
    return check_run(frames, ending=[frame["type"] for frame in frames if "seq" in frame][-1])


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    limits = {"user_tokens_per_day": 2000, "model_output_tokens": 500, "run_cost_usd": 1, "model_prices": PRICES}
    with Server(tmp_path_factory.mktemp("budgets"), wire=wire, people=10, **limits) as server:
        yield server
        assert "Traceback" not in server.log()


def test_who_has_used_up_his_day_is_told_so_in_the_stream_and_nobody_else_is_touched(server, wire):
    async def scenario(client):
        ada, bob = await client.login(server.person()), await client.login(server.person())
        today = datetime.now(UTC).date().isoformat()
        before = (await client.get("/api/me/usage", ada)).json
        assert before == {
            "day": today,
            "used": {"input_tokens": 0, "output_tokens": 0, "requests": 0, "cost_usd": None},
            "limits": {
                "tokens_per_day": 2000,
                "cost_usd_per_day": None,
                "tokens_per_run": None,
                "cost_usd_per_run": 1.0,
            },
            "left": {"tokens": 2000, "cost_usd": None},
            "reserved": {"tokens": 0, "cost_usd": 0.0},
            "renews_at": before["renews_at"],
        }
        socket = await client.socket(ada)
        endings = []
        for _ in range(10):
            wire.forget()
            run_id = (await socket.ask(ASK))["run_id"]
            await socket.ended(run_id)
            events = told(socket.of(run_id))
            endings.append(events[-1])
            if events[-1]["type"] == "agent_failed":
                break
            usage = events[-1]["usage"]
            assert usage == {"input_tokens": 100, "output_tokens": 128, "requests": 2, "cost_usd": pytest.approx(COST)}
        assert endings[-1]["code"] == "budget_exceeded"
        assert endings[-1]["retryable"] is False
        assert "NETRA_USER_TOKENS_PER_DAY" in endings[-1]["message"]
        after = (await client.get("/api/me/usage", ada)).json
        used = after["used"]["input_tokens"] + after["used"]["output_tokens"]
        assert used >= 228 * (len(endings) - 1) > 0
        assert after["left"]["tokens"] == 2000 - used
        assert after["reserved"] == {"tokens": 0, "cost_usd": 0.0}
        # From now on nothing of his is sent.
        wire.forget()
        run_id = (await socket.ask(ASK))["run_id"]
        await socket.ended(run_id)
        assert [event["type"] for event in told(socket.of(run_id))][-1] == "agent_failed"
        assert wire.requests() == []
        others = await client.socket(bob)
        run_id = (await others.ask(ASK))["run_id"]
        await others.ended(run_id)
        assert told(others.of(run_id))[-1]["type"] == "agent_completed"
        assert (await client.get("/api/me/usage", bob)).json["used"]["requests"] == 2

    play(server, scenario)


def test_runs_of_one_user_at_once_never_exceed_his_budget(server):
    async def scenario(client):
        user = await client.login(server.person())
        socket = await client.socket(user)
        run_ids = [(await socket.ask(f"{ASK} {number}"))["run_id"] for number in range(12)]
        for run_id in run_ids:
            await socket.ended(run_id)
        codes = [told(socket.of(run_id))[-1].get("code", "ok") for run_id in run_ids]
        assert set(codes) == {"ok", "budget_exceeded"}
        usage = (await client.get("/api/me/usage", user)).json
        assert usage["used"]["input_tokens"] + usage["used"]["output_tokens"] <= 2000
        assert usage["reserved"]["tokens"] == 0

    play(server, scenario)


def test_a_killed_server_leaks_no_reservation_and_charges_nothing_twice(tmp_path, wire):
    limits = {"user_tokens_per_day": 1400, "model_output_tokens": 500, "day_tokens": 1400, "model_prices": PRICES}
    with Server(tmp_path, wire=wire, people=1, **limits) as server:
        name = server.person()

        async def asks(client):
            login = await client.login(name)
            socket = await client.socket(login)
            run_id = (await socket.ask("where is it? [[call=lookup fault=hang phase=text]]"))["run_id"]
            await asyncio.to_thread(until_asked, 2)
            assert (await client.get("/api/me/usage", login)).json["reserved"]["tokens"] > 500
            return run_id

        def until_asked(count):
            deadline = time.monotonic() + 20
            while len(wire.requests()) < count or not wire.open_requests():
                assert time.monotonic() < deadline
                time.sleep(0.02)

        wire.forget()
        run_id = play(server, asks)
        server.kill()
        server.start()

        async def looks(client):
            login = await client.login(name)
            events = [json.loads(data) for ident, data in [each async for each in client.sse(login, run_id)] if ident]
            usage = events[-1]["usage"]
            assert usage == {"input_tokens": 100, "output_tokens": 128, "requests": 2, "cost_usd": pytest.approx(COST)}
            day = (await client.get("/api/me/usage", login)).json
            assert day["used"] == usage
            assert day["reserved"] == {"tokens": 0, "cost_usd": 0.0}

        play(server, looks)


def test_the_usage_of_nobody_is_nobodys_business(server):
    async def scenario(client):
        assert (await client.get("/api/me/usage", None)).status == 401

    play(server, scenario)


@pytest.mark.parametrize(("prices", "state"), [("", "wrong"), (PRICES, "ok")])
def test_the_doctor_says_that_a_budget_of_money_needs_a_price(tmp_path, wire, prices, state):
    settings = {
        "NETRA_HOME": str(tmp_path / "home"),
        "NETRA_MODEL": "openai:wire",
        "OPENAI_BASE_URL": wire.url,
        "NETRA_DAY_COST_USD": "5",
        "NETRA_MODEL_PRICES": prices,
    }
    done = subprocess.run(
        [NETRA, "doctor"], env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("price "))
    assert state in line
    assert done.returncode == (1 if state == "wrong" else 0)


def test_the_terminal_says_what_was_used_and_what_is_left(server):
    name = server.person()
    done = subprocess.run(
        [NETRA, "chat", "--url", server.url, "--user", name, "--password-stdin"],
        input=f"{PASSWORD}\n{ASK}\n/usage\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.search(
        rf"^228 tokens in 2 requests today, \${COST:.4f}; 1,772 tokens left until ", done.stdout, re.MULTILINE
    ), done
    shown = subprocess.run(
        [NETRA, "runs", "list", "--json"], env=environment(home=server.home), capture_output=True, text=True
    )
    run_id = next(run["run_id"] for run in json.loads(shown.stdout)["items"] if run["user_id"] == name)
    shown = subprocess.run(
        [NETRA, "runs", "show", run_id], env=environment(home=server.home), capture_output=True, text=True
    )
    assert f"ms, 228 tokens, ${COST:.4f}" in shown.stdout
