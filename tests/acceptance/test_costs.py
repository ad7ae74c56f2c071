"""The built-in team analyses an uploaded export in a real server: offline and with a model behind the wire format."""

import io
from decimal import Decimal

import aiohttp
import pytest
from tests.support.server import PASSWORD, Server
from tests.support.socket_client import play
from tests.support.streams import check_run
from tests.unit.demo import exports

from netra_apex.demo.sample import sample_csv

TEAM = ["triage", "data", "optimisation", "actions", "report"]
ROWS = 2_000


@pytest.fixture(scope="module")
def data():
    return sample_csv(rows=ROWS, seed=7)


async def upload(client, login, thread_id, data, name="usage.csv"):
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(data), filename=name, content_type="text/csv")
    answer = await client.post(f"/api/threads/{thread_id}/files", login, data=form)
    assert answer.status == 201, answer.text
    return answer.json["file_id"]


def check_team(events, *, depth, data):
    """Each member's events in order at their depth, and the figures in what it gave."""
    members = [e for e in events if e["type"] == "agent_started" and e["agent"] in TEAM]
    assert [e["agent"] for e in members] == TEAM
    for member in members:
        told = [e for e in events if e.get("parent_call_id") == member["parent_call_id"]]
        assert {(e["depth"], e["agent"], e["parent_agent"]) for e in told} == {
            (depth, member["agent"], "cost-analysis")
        }
        kinds = [e["type"] for e in told]
        calls = kinds.count("tool_executing")
        assert calls >= 1
        assert kinds == [
            "agent_started", "agent_thinking", *["tool_executing"] * calls, *["tool_completed"] * calls,
            "agent_completed",
        ]  # fmt: skip
        assert all(e["ok"] for e in told if e["type"] == "tool_completed"), told
    results = {e["tool"]: e["result"] for e in events if e["type"] == "tool_completed"}
    rows = exports.rows_of(data)
    costs = results["measure_costs"]
    assert costs["rows"] == len(rows)
    assert costs["total"] == pytest.approx(float(sum(Decimal(row["spend"]) for row in rows)), abs=1e-6)
    for by, told in (("model", costs["models"]), ("day", costs["periods"])):
        spent = exports.spent(rows, by)
        assert {line["name"]: line["cost"] for line in told} == pytest.approx(
            {name: float(cost) for name, cost in spent.items()}, abs=1e-6
        )
    times, again = exports.repeated(rows)
    assert results["find_duplicates"]["repetitions"] == times
    assert results["find_duplicates"]["cost"] == pytest.approx(float(again), abs=1e-6)
    return f"**${sum(Decimal(row['spend']) for row in rows):,.2f}** from "


@pytest.mark.parametrize(("agent", "depth"), [("cost-analysis", 1), (None, 2)])
def test_offline_an_uploaded_export_is_analysed_over_the_socket(tmp_path, data, agent, depth):
    async def scenario(client):
        login = await client.login("person000")
        thread_id = await client.thread(login)
        await upload(client, login, thread_id, data)
        socket = await client.socket(login)
        more = {} if agent is None else {"agent": agent}
        accepted = await socket.ask("Analyze my AI costs", thread_id=thread_id, **more)
        ending = await socket.ended(accepted["run_id"], seconds=30)
        events = check_run(socket.of(accepted["run_id"]))
        total = check_team(events, depth=depth, data=data)
        assert total in ending["output"]
        assert len({e["result"] for e in events if e["type"] == "tool_completed" and e["tool"] == "write_report"}) == 1
        listed = await client.get(f"/api/threads/{thread_id}/files", login)
        assert [file["media_type"] for file in listed.json["items"]] == ["text/csv", "text/markdown"]
        agents = await client.get("/api/agents", login)
        assert "cost-analysis" in agents.text

    with Server(tmp_path, app=None, people=1) as server:
        play(server, scenario)


def test_with_a_model_behind_the_wire_format_the_model_calls_the_tools(tmp_path, data, wire):
    wire.forget()

    async def scenario(client):
        login = await client.login("person000")
        thread_id = await client.thread(login)
        await upload(client, login, thread_id, data)
        socket = await client.socket(login)
        asked = "Analyze my AI costs [[call=offered]]"
        accepted = await socket.ask(asked, thread_id=thread_id, agent="cost-analysis")
        ending = await socket.ended(accepted["run_id"], seconds=30)
        total = check_team(check_run(socket.of(accepted["run_id"])), depth=1, data=data)
        assert total in ending["output"]

    with Server(tmp_path, app=None, wire=wire, people=1) as server:
        play(server, scenario)
    requests = [each for each in wire.requests() if "Analyze my AI costs" in each["asked"]]
    assert [len(each["tools"]) for each in requests] == [1, 3, 3, 1, 1]
    assert not any("gpt-4o" in str(each["messages"]) for each in requests), "no row and no figure goes to the model"


def test_in_netra_chat_an_uploaded_export_is_analysed_and_without_one_it_asks(tmp_path, data):
    async def uploaded(client):
        login = await client.login("person000")
        thread_id = await client.thread(login)
        await upload(client, login, thread_id, data)
        return thread_id

    with Server(tmp_path, app=None, people=1) as server:
        options = ("--url", server.url, "--user", "person000", "--password-stdin")
        said = f"{PASSWORD}\nAnalyze my AI costs\n"
        done = server.netra("chat", *options, "--thread", play(server, uploaded), stdin=said)
        assert done.returncode == 0, done.stderr
        assert "# AI cost analysis: usage.csv" in done.stdout
        started = [line.split(":")[0].split()[-1] for line in done.stderr.splitlines() if "▸" in line]
        assert started == ["cost-analysis", *TEAM]
        done = server.netra("chat", *options, stdin=f"{said}sample\n")
    assert done.returncode == 0, done.stderr
    assert "There is no usage to analyse yet." in done.stderr
    assert "**This is a made-up sample, not your usage.**" in done.stdout
