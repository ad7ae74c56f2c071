"""Each example does what it says, run as its reader would run it."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import orders, other_frameworks, plain_agent, product_team, typed_output

from netra_apex import AgentRegistry, AssistantMessage, Team, UserMessage
from netra_apex.client import Client
from netra_apex.core.events import AgentCompleted, AgentThinking, ToolCompleted, ToolExecuting
from netra_apex.testing import Outcome, ScriptedModel, harness

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery"
SECONDS = 30


def ask(
    registry: AgentRegistry,
    content: str,
    *,
    steps: tuple[object, ...] = (),
    permissions: tuple[str, ...] = (),
    agent: str | None = None,
) -> tuple[Outcome, ScriptedModel]:
    """One message of ada's, with a scripted model, which must have said all that it was to say."""

    async def main() -> tuple[Outcome, ScriptedModel]:
        async with ScriptedModel(steps) as model, harness(registry, model=model) as app:
            return await app.ask(content, permissions=permissions, agent=agent), model

    return asyncio.run(main())


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "NETRA_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def command(home: Path, *args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in args],
        input=stdin,
        text=True,
        capture_output=True,
        cwd=ROOT,
        env=environment(home),
        timeout=SECONDS,
        check=False,
    )


def add_ada(home: Path, *options: str) -> None:
    added = command(home, BIN / "netra", "user", "add", "ada", *options, "--password-stdin", stdin=PASSWORD)
    assert added.returncode == 0, added.stderr


@contextlib.contextmanager
def running(home: Path, *args: str | Path) -> Iterator[str]:
    """A server process for the time of the block; its address, as it tells it in its first lines."""
    process = subprocess.Popen(
        [str(part) for part in args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(home),
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found.group()
                break
        else:
            raise AssertionError("it told no address: " + "".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
        watchdog.cancel()


def test_the_orders_assistant_finds_the_users_own_order() -> None:
    steps = (("lookup", {"query": "bicycle"}), "It is on its way.")
    outcome, _ = ask(orders.registry, "Where is my bicycle?", steps=steps, permissions=("orders:read",))
    assert [done.result for done in outcome.of(ToolCompleted)] == ["1002: a green bicycle, on its way"]
    assert outcome.output == "It is on its way."


def test_the_orders_assistant_does_not_find_somebody_elses_order() -> None:
    steps = (("lookup", {"query": "telescope 1003"}), "I see no such order.")
    outcome, _ = ask(orders.registry, "Where is bob's telescope?", steps=steps, permissions=("orders:read",))
    assert [done.result for done in outcome.of(ToolCompleted)] == ["There is no such order."]


def test_who_may_not_read_orders_is_not_offered_the_tool() -> None:
    outcome, model = ask(orders.registry, "Where is my bicycle?", steps=("I cannot look that up.",))
    assert model.requests[0].tools == ()
    assert outcome.ok


def test_the_greeter_greets_without_a_model() -> None:
    outcome, model = ask(orders.registry, "hi", agent="greeter")
    assert outcome.output == "Hello ada: hi"
    assert [thought.text for thought in outcome.of(AgentThinking)] == ["choosing a greeting"]
    assert model.requests == []


def test_a_typed_answer_that_is_not_of_its_type_is_asked_for_again() -> None:
    steps = (
        '{"subject": "Late parcel", "mood": "cross", "urgent": true}',
        '{"subject": "Late parcel", "mood": "angry", "urgent": true}',
    )
    outcome, model = ask(typed_output.registry, "Where is it?!", steps=steps)
    assert outcome.output == {"subject": "Late parcel", "mood": "angry", "urgent": True}
    told_again = model.requests[1].messages[-2:]
    assert [type(message) for message in told_again] == [AssistantMessage, UserMessage]
    assert "mood" in told_again[1].content


def test_the_plain_agent_calls_its_tools_at_once_and_takes_its_step() -> None:
    outcome, model = ask(plain_agent.registry, "100 eur in usd, please")
    assert outcome.output == {"number": "Q-003", "amount": 108.0, "currency": "usd"}
    assert [event.arguments for event in outcome.of(ToolExecuting)] == [{"currency": "eur"}, {"currency": "usd"}]
    assert all(done.ok for done in outcome.of(ToolCompleted))
    assert model.requests == []


def test_the_plain_agent_says_what_it_did_not_understand() -> None:
    outcome, _ = ask(plain_agent.registry, "how much?")
    assert outcome.ok
    assert "such as" in outcome.output["answer"]


def test_a_program_runs_an_agent_without_a_server(tmp_path: Path) -> None:
    done = command(tmp_path, sys.executable, "examples/in_a_program.py")
    assert done.returncode == 0, done.stderr
    assert "8" in done.stdout.splitlines()[0]


def test_netra_serves_the_orders_example_and_its_probe_is_content(tmp_path: Path) -> None:
    add_ada(tmp_path, "--permission", "orders:read")
    with running(tmp_path, BIN / "netra", "serve", "examples/orders.py", "--port", "0") as url:
        question = ("--message", "Where is my green bicycle?")
        done = command(
            tmp_path, BIN / "netra", "probe", url, "--user", "ada", *question, "--password-stdin", stdin=PASSWORD
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ok, 0 failed" in done.stdout


CONTRACTS = {
    name: {"takes": f"{name} in", "gives": f"{name} out", "rules": ["fast"]} for name in ("store", "api", "page")
}
PRODUCT_TEAMS = {
    "python": product_team.registry,
    "toml": AgentRegistry([Team.from_toml(ROOT / "examples/product_team.toml")]),
}


@pytest.mark.parametrize("kind", PRODUCT_TEAMS)
def test_each_implementer_of_the_product_team_is_shown_its_own_contract_and_nothing_else(kind: str) -> None:
    built = json.dumps({"code": "pass", "notes": ""})
    steps = (
        json.dumps({"summary": "A list", "must": ["be shared"]}),
        json.dumps(CONTRACTS),
        json.dumps({"cases": ["two add at once"]}),
        *(built, built, built),
        json.dumps({"passed": True, "findings": []}),
        *((json.dumps({"accepted": True}),) if kind == "toml" else ()),
        "Here it is.",
    )
    outcome, model = ask(PRODUCT_TEAMS[kind], "A shopping list for two", steps=steps)
    assert outcome.output["percent"] == 100, outcome.output["text"]
    assert outcome.output["missions"][-1]["deliverable"] == "Here it is."
    asked = [request.messages[-1].content for request in model.requests[3:6]]
    assert asked == [
        f"# Mission: {name}\n\nBuild this part as its contract says.\n\n## design.{name}\n\n{json.dumps(contract)}"
        for name, contract in CONTRACTS.items()
    ]


@pytest.mark.parametrize("kind", PRODUCT_TEAMS)
def test_the_product_team_works_offline(kind: str) -> None:
    async def main() -> Outcome:
        async with harness(PRODUCT_TEAMS[kind]) as app:
            return await app.ask("A shopping list for two")

    outcome = asyncio.run(main())
    assert [each["status"] for each in outcome.output["missions"]] == ["done"] * 8


def test_netra_serves_a_team_that_is_nothing_but_a_file(tmp_path: Path) -> None:
    add_ada(tmp_path)
    with running(tmp_path, BIN / "netra", "serve", "examples/product_team.toml", "--port", "0") as url:
        question = ("--message", "A shopping list for two")
        done = command(
            tmp_path, BIN / "netra", "probe", url, "--user", "ada", *question, "--password-stdin", stdin=PASSWORD
        )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mounted_server_answers_under_its_path_beside_the_hosts_own_page(tmp_path: Path) -> None:
    async def talk(url: str) -> object:
        async with asyncio.timeout(SECONDS), Client(f"{url}/agents") as client:
            await client.login("ada", PASSWORD)
            async with client.connect() as connection:
                return await (await connection.send("hello")).ended()

    add_ada(tmp_path)
    with running(tmp_path, sys.executable, "-m", "uvicorn", "examples.mounted:app", "--port", "0") as url:
        ending = asyncio.run(talk(url))
        page = command(tmp_path, sys.executable, "-c", f"import urllib.request as r; print(r.urlopen({url!r}).read())")
    assert isinstance(ending, AgentCompleted)
    assert ending.output == "hello"
    assert "My own page" in page.stdout


def test_the_same_question_gives_the_same_events_in_every_framework() -> None:
    told = {}
    for name in other_frameworks.registry.names:
        steps = () if name == "plain" else (("find_order", {"number": 7}), "It is on its way.")
        outcome, _ = ask(other_frameworks.registry, "order 7", steps=steps, permissions=("orders:read",), agent=name)
        (call,) = outcome.of(ToolCompleted)
        assert call.result == "order 7 of ada is on its way"
        told[name] = [kind for kind in outcome.types if kind != "message_completed"]
    assert set(map(tuple, told.values())) == {
        ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")
    }
