"""Processes that die, drain, are refused a start, and models that fail: each run ends once, and says how."""

import asyncio
import os
import signal
import socket as sockets
import time

import pytest
from tests.support.server import Server, refused_start
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, words

CANCEL_SECONDS = 2.0  # G9


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("lifecycle"), wire=wire, people=40, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, wire):
    """A server that gives an agent a second and a half."""
    with Server(tmp_path_factory.mktemp("hasty"), wire=wire, people=10, agent_timeout_seconds=1.5) as server:
        yield server
        assert "Traceback" not in server.log()


# What a run is doing when the process dies, the frame that shows it, how its calls end, and how it ends.
DYING = {
    "writing its answer": ("[[call=lookup chunks=60 delay=20]]", "message_delta", ["ok"], None),
    "in a tool": ("[[call=hold chunks=3]]", "tool_executing", ["unknown_outcome"], "tool_outcome_unknown"),
    "in two tools": ("[[call=hold,hold chunks=3]]", "tool_executing", ["unknown_outcome"] * 2, "tool_outcome_unknown"),
    "in a tool that may be repeated": ("[[call=retried chunks=3]]", "tool_executing", ["ok"], None),
    "waiting for the model": ("[[fault=hang times=1 chunks=3]]", "agent_thinking", [], None),
}


@pytest.mark.parametrize("doing", DYING)
def test_a_run_whose_process_was_killed_goes_on_from_its_last_step_without_a_gap(tmp_path, wire, doing):
    directive, sign, outcomes, failure = DYING[doing]
    directive = directive.replace("]]", f" tag={tmp_path.name}]]")  # a fault is counted by the message
    server = Server(tmp_path, wire=wire, people=1)
    name = server.person()

    async def before(client):
        login = await client.login(name)
        socket = await client.socket(login)
        accepted = await socket.ask(f"a long story {directive}")
        queued = await socket.ask("after that [[chunks=2]]", thread_id=accepted["thread_id"])
        await socket.frame("run_queued", run_id=queued["run_id"])
        await socket.frame(sign, run_id=accepted["run_id"])
        async with asyncio.timeout(5):  # a call is told before its function begins
            while len(server.tool_lines()) < len(outcomes):  # noqa: ASYNC110 - another process's file
                await asyncio.sleep(0.01)
        server.kill()
        await socket.closed()
        return login, accepted, queued, socket.of(accepted["run_id"])

    async def after(client):
        # The secret is in the home, so the login outlives the process.
        socket = await client.socket(login)
        known = max(frame.get("seq", 0) for frame in told)
        await socket.follow(run_id=accepted["run_id"], after=known)
        ending = await socket.ended(accepted["run_id"])
        assert (ending["type"], ending.get("code")) == ("agent_failed" if failure else "agent_completed", failure)
        events = [frame for frame in told if "seq" in frame] + socket.of(accepted["run_id"])
        events = check_run([frame for frame in events if "seq" in frame], ending=ending["type"])
        ends = [event for event in events if event["type"] == "tool_completed"]
        assert ["ok" if event["ok"] else event["error"]["code"] for event in ends] == outcomes
        assert await client.events(login, accepted["run_id"]) == events
        await socket.follow(run_id=queued["run_id"])
        assert (await socket.ended(queued["run_id"]))["type"] == "agent_completed"
        check_run(socket.of(queued["run_id"]))
        # The conversation goes on, with a history that the model accepts.
        again = await socket.ask("where were we? [[chunks=2]]", thread_id=accepted["thread_id"])
        assert (await socket.ended(again["run_id"]))["type"] == "agent_completed"
        return events, socket.of(accepted["run_id"])

    with server:
        login, accepted, queued, told = play(server, before)
    ran = server.tool_lines()
    assert len(ran) == len(outcomes)
    with server:
        events, later = play(server, after)
        server.kill()
    with server:  # once more: what has ended stays ended
        assert server.events(accepted["run_id"]) == events
        assert "Traceback" not in server.log()
    if "repeated" in doing:
        first, again = server.tool_lines()
        assert first == again, "the same call has the same idempotency key"
    else:
        assert server.tool_lines() == ran
    if "writing" in doing:
        assert answer_of(events) == words(60, tmp_path.name)
        # Who was shown the beginning is told that the text is written anew, under the same id.
        (message_id,) = {frame["message_id"] for frame in told if frame["type"] == "message_delta"}
        passing = [frame for frame in later if "seq" not in frame]
        assert (passing[0]["type"], passing[0]["message_id"]) == ("message_reset", message_id)
        assert passing[1]["offset"] == 0
        assert {frame["attempt"] for frame in passing} == {passing[0]["attempt"]}


def test_what_a_killed_run_had_done_is_not_in_the_file_for_all_to_read(tmp_path, wire):
    """The journal keeps results whole, secrets included, and so it is sealed."""
    server = Server(tmp_path, wire=wire, people=1)

    async def scenario(client):
        socket = await client.socket(await client.login(server.person()))
        accepted = await socket.ask("a story [[call=lookup chunks=400 delay=20]]")
        await socket.frame("message_delta", run_id=accepted["run_id"])
        return accepted["run_id"]

    with server:
        run_id = play(server, scenario)
        server.kill()
    steps = server.rows("select step, kind, name, state, attempt, content from steps where run_id = ?", run_id)
    assert [row[:5] for row in steps] == [
        ("1", "model", "model", "finished", 1),
        ("2", "call", "lookup", "finished", 1),
    ]
    assert not any(b"lookup" in row[5] or b"one order" in row[5] for row in steps)


def test_sigterm_lets_runs_end_refuses_new_ones_and_then_closes_sockets_with_1001(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket, idle = await client.socket(login), await client.socket(login)
        thread_id = await client.thread(login)
        accepted = await socket.ask("a story [[chunks=80 delay=20]]")
        waiting = await socket.ask("and another [[chunks=2]]", thread_id=accepted["thread_id"])
        await socket.frame("message_delta", run_id=accepted["run_id"])
        server.signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while (await client.get("/readyz")).status == 200:  # noqa: ASYNC110 - a balancer asks again, too
                await asyncio.sleep(0.01)
        refused = await socket.answer("user_message", content="too late")
        assert (refused["type"], refused["code"]) == ("error", "draining")
        posted = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": "too late"})
        assert (posted.status, posted.json["code"], "Retry-After" in posted.headers) == (503, "draining", True)
        assert await socket.closed() == 1001
        assert await idle.closed() == 1001
        assert answer_of(check_run(socket.of(accepted["run_id"]))) == words(80)
        check_run(socket.of(waiting["run_id"]), ending=None)
        assert not any("too late" in content for (content,) in server.rows("select content from messages"))

        return waiting["run_id"]

    with Server(tmp_path, wire=wire, people=1, drain_seconds=20) as server:
        waiting = play(server, scenario)
        assert server.ended() == 0
    with server:  # whoever waited has his turn now
        assert check_run(_until_ended(server, waiting))[0]["type"] == "run_queued"
    assert "Traceback" not in server.log()


def test_a_drained_server_hangs_up_once_its_client_has_answered_the_close(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.stalled(login.bearer)
        assert (await socket.next())["type"] == "connection_established"
        server.signal(signal.SIGTERM)
        assert await socket.next() is None
        assert socket.code == 1001
        assert not await socket.hung_up_within(0.5)
        await socket.answer_close()
        assert await socket.hung_up_within(5)

    with Server(tmp_path, wire=wire, people=1) as server:
        play(server, scenario)
        assert server.ended() == 0


def test_what_has_not_ended_when_the_drain_is_over_goes_on_after_the_restart(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        told = {}
        for content, agent in (("wait", "waiter"), ("hold it [[call=hold]]", "assistant"), ("x [[fault=hang]]", None)):
            accepted = await socket.ask(content, **({"agent": agent} if agent else {}))
            await socket.frame("agent_thinking", run_id=accepted["run_id"])
            told[content] = accepted["run_id"]
        await socket.frame("tool_executing")
        server.signal(signal.SIGTERM)
        assert await socket.closed() == 1001
        for run_id in told.values():
            check_run(socket.of(run_id), ending=None)
        return list(told.values())

    with Server(tmp_path, wire=wire, people=1, drain_seconds=0.5) as server:
        waiter, held, hung = play(server, scenario)
        assert server.ended() == 0
    with server:
        check_run(_until_ended(server, hung))
        failed = check_run(_until_ended(server, held), ending="agent_failed")
        assert failed[-1]["code"] == "tool_outcome_unknown"
        assert server.netra("runs", "cancel", waiter).returncode == 0
        check_run(_until_ended(server, waiter), ending="agent_cancelled")
    assert "Traceback" not in server.log()


def _until_ended(server, run_id):
    """The run's events, once it has ended."""
    deadline = time.monotonic() + 15
    while not server.rows("select 1 from runs where run_id = ? and ended_at is not null", run_id):
        assert time.monotonic() < deadline, server.events(run_id)
        time.sleep(0.02)
    return server.events(run_id)


def _one_sentence(answer, *words_in_it):
    code, out, err = answer
    assert (code, out) == (2, ""), answer
    assert "Traceback" not in err
    for word in words_in_it:
        assert str(word) in err, answer


def test_a_second_process_on_the_same_home_ends_with_2_and_a_sentence(server):
    _one_sentence(refused_start(server.place, home=server.home), "another netra process", server.home)


def test_a_port_that_is_taken_ends_with_2_and_a_sentence(server, tmp_path):
    port = server.url.rpartition(":")[2]
    _one_sentence(refused_start(tmp_path, port=port), f"127.0.0.1:{port}")


SHARED_STATE = """
from netra_apex import AgentRegistry, BaseAgent

class Forgetful(BaseAgent):
    name = "forgetful"
    seen = []

    async def run(self, task, scope):
        return task

registry = AgentRegistry([Forgetful])
"""
BROKEN = {
    "no such file": (None, "missing.py"),
    "a syntax error": ("def broken(:\n", "SyntaxError"),
    "code that raises": ("raise RuntimeError('my own mistake')\n", "my own mistake"),
    "no registry": ("x = 1\n", "registry"),
    "another registry": ("registry = {}\n", "AgentRegistry"),
    "shared state": (SHARED_STATE, "seen"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_application_that_is_broken_ends_with_2_and_a_sentence(tmp_path, what):
    source, word = BROKEN[what]
    if source is not None:
        (tmp_path / "app.py").write_text(source)
    _one_sentence(refused_start(tmp_path, "app.py" if source is not None else "missing.py"), word)


def test_an_address_that_others_reach_is_refused_without_a_secret_and_origins(tmp_path):
    _one_sentence(refused_start(tmp_path, host="0.0.0.0"), "NETRA_SECRET_KEY", "NETRA_ALLOWED_ORIGINS")
    secret, origin = os.urandom(24).hex(), "https://app.example.org"
    _one_sentence(refused_start(tmp_path, host="0.0.0.0", secret_key=secret), "NETRA_ALLOWED_ORIGINS")
    _one_sentence(refused_start(tmp_path, host="::", allowed_origins=origin), "NETRA_SECRET_KEY")
    for weak in ("short", "changeme" * 8, "a" * 64):
        answer = refused_start(tmp_path, host="0.0.0.0", secret_key=weak, allowed_origins=origin)
        _one_sentence(answer, "NETRA_SECRET_KEY")
        assert weak not in answer[2]
    _one_sentence(refused_start(tmp_path, allowed_origins="*"), "NETRA_ALLOWED_ORIGINS")
    _one_sentence(refused_start(tmp_path, runs_per_user="many"), "NETRA_RUNS_PER_USER")


def test_a_model_that_is_set_and_cannot_be_reached_is_said_and_never_replaced_by_the_demo(tmp_path):
    with sockets.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        model = {"model": "openai:gone", "OPENAI_BASE_URL": address, "OPENAI_API_KEY": "a-key"}

        async def scenario(client):
            ready = await client.get("/readyz")
            assert ready.status == 503
            assert any("openai:gone" in reason for reason in ready.json["reasons"])
            assert (await client.get("/healthz")).status == 200
            login = await client.login(server.person())
            socket = await client.socket(login)
            accepted = await socket.ask("are you there?")
            await socket.ended(accepted["run_id"])
            events = check_run(socket.of(accepted["run_id"]), ending="agent_failed")
            assert events[-1]["code"] == "model_unavailable"
            assert address.removesuffix("/v1") in events[-1]["message"]
            assert "message_completed" not in [event["type"] for event in events]
            # An agent that asks no model is none the worse.
            greeted = await socket.ask("hello", agent="greeter")
            assert (await socket.ended(greeted["run_id"]))["type"] == "agent_completed"

        with Server(tmp_path, people=1, **model) as server:
            play(server, scenario)
            assert "a-key" not in server.log()
            assert "Traceback" not in server.log()


CANCELLED = {
    "writing": ("[[chunks=4000 delay=5]]", "message_delta", "assistant"),
    "not answered yet": ("[[fault=hang times=0]]", "agent_thinking", "assistant"),
    "in a tool": ("[[call=hold]]", "tool_executing", "assistant"),
    "in code": ("", "agent_thinking", "waiter"),
}


@pytest.mark.parametrize("door", ["socket", "http"])
@pytest.mark.parametrize("state", CANCELLED)
def test_a_cancelled_run_ends_within_two_seconds_and_so_does_its_request_to_the_model(server, wire, state, door):
    directive, sign, agent = CANCELLED[state]

    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        content = f"cancel {state} by {door} {directive}"
        accepted = await socket.ask(content, agent=agent)
        run_id = accepted["run_id"]
        await socket.frame(sign, run_id=run_id)
        if "chunks" in directive or "hang" in directive:
            await asyncio.to_thread(wire.until_open)
        began = time.monotonic()
        if door == "socket":
            assert (await socket.answer("cancel", run_id=run_id))["type"] == "ok"
        else:
            answer = await client.post(f"/api/runs/{run_id}/cancel", login)
            assert (answer.status, answer.json["status"]) == (200, "cancelled")
        ending = await socket.ended(run_id)
        assert time.monotonic() - began < CANCEL_SECONDS
        assert (ending["type"], ending["by"]) == ("agent_cancelled", login.name)
        events = check_run(socket.of(run_id), ending="agent_cancelled")
        assert [e["error"]["code"] for e in events if e["type"] == "tool_completed"] == ["cancelled"] * (
            state == "in a tool"
        )
        requests = (await asyncio.to_thread(wire.until_idle))["requests"]
        asked = [request for request in requests if request["asked"] == content]
        if sign == "message_delta" or "hang" in directive:
            assert [(request["done"], request["aborted"]) for request in asked] == [(False, True)]
        # Again, and on what has ended: it stays as it is.
        again = await client.post(f"/api/runs/{run_id}/cancel", login)
        assert (again.status, again.json["status"], again.json["last_seq"]) == (200, "cancelled", len(events))
        # History is left valid: the model accepts it.
        after = await socket.ask("go on [[chunks=2]]", thread_id=accepted["thread_id"], agent="assistant")
        assert (await socket.ended(after["run_id"]))["type"] == "agent_completed"

    play(server, scenario)


def test_a_run_that_waits_is_cancelled_without_ever_starting(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        running = await socket.ask("wait", agent="waiter")
        waiting = [await socket.ask("wait", agent="waiter", thread_id=running["thread_id"]) for _ in range(2)]
        await socket.frame("run_queued", run_id=waiting[1]["run_id"])
        await socket.answer("cancel", run_id=waiting[0]["run_id"])
        answer = await client.post(f"/api/runs/{waiting[1]['run_id']}/cancel", login)
        assert answer.json["status"] == "cancelled"
        for accepted in waiting:
            await socket.ended(accepted["run_id"])
            events = check_run(socket.of(accepted["run_id"]), ending="agent_cancelled")
            assert [event["type"] for event in events] == ["run_queued", "agent_cancelled"]
        await socket.answer("cancel", run_id=running["run_id"])
        await socket.ended(running["run_id"])

    play(server, scenario)


def test_an_operator_cancels_a_run_beside_the_server_within_a_second(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("wait", agent="waiter")
        await socket.frame("agent_thinking", run_id=accepted["run_id"])
        done = await asyncio.to_thread(server.netra, "runs", "cancel", accepted["run_id"])
        assert done.returncode == 0, done.stderr
        began = time.monotonic()
        ending = await socket.ended(accepted["run_id"])
        assert time.monotonic() - began < 1.5
        assert (ending["type"], ending["by"]) == ("agent_cancelled", "operator")
        check_run(socket.of(accepted["run_id"]), ending="agent_cancelled")
        again = await asyncio.to_thread(server.netra, "runs", "cancel", accepted["run_id"])
        assert again.returncode == 1

    play(server, scenario)


# Once, and the answer comes all the same: the fault, and how often the text begins anew.
PASSING_FAULTS = {
    "429 wait=0": 0,
    "500": 0,
    "503 wait=0": 0,
    "die after=3 delay=40": 1,
    "cut after=3 delay=40": 1,
    "error after=3 delay=40": 1,
}


@pytest.mark.parametrize("fault", PASSING_FAULTS)
def test_a_provider_that_fails_once_costs_the_user_nothing(server, fault):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask(f"try {fault} [[fault={fault} times=1 chunks=12 phase=text call=lookup]]")
        await socket.ended(accepted["run_id"])
        frames = socket.of(accepted["run_id"])
        assert answer_of(check_run(frames)) == words(12)
        resets = [frame["attempt"] for frame in frames if frame["type"] == "message_reset"]
        assert resets == [2] * PASSING_FAULTS[fault]
        assert len([line for line in server.tool_lines() if accepted["run_id"] in line]) == 1

    play(server, scenario)


# Always: the fault, and words of the provider's own or of the reason that the user is told.
LASTING_FAULTS = {
    "429 wait=0": "the model answers 429",
    "400": "the model answers 400",
    "500 wait=0": "the model answers 500",
    "die after=3": "closed the connection",
    "error after=3": "the model is overloaded",
    "garbage": "chat completions format",
}


@pytest.mark.parametrize("fault", LASTING_FAULTS)
def test_a_provider_that_keeps_failing_fails_the_run_in_its_own_words(server, fault):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask(f"try {fault} [[fault={fault} times=0 chunks=12]]")
        await socket.ended(accepted["run_id"], seconds=30)
        events = check_run(socket.of(accepted["run_id"]), ending="agent_failed")
        assert events[-1]["code"] == "model_error"
        assert LASTING_FAULTS[fault] in events[-1]["message"]
        assert "a-key" not in events[-1]["message"]
        assert (await client.get(f"/api/runs/{accepted['run_id']}", login)).json["status"] == "failed"
        after = await socket.ask("go on [[chunks=2]]", thread_id=accepted["thread_id"])
        assert (await socket.ended(after["run_id"]))["type"] == "agent_completed"

    play(server, scenario)


@pytest.mark.parametrize("fault", ["hang", "silent after=3", "endless"])
def test_a_provider_that_never_ends_is_given_up_when_the_agents_time_is_over(hasty, wire, fault):
    async def scenario(client):
        login = await client.login(hasty.person())
        socket = await client.socket(login)
        content = f"try {fault} [[fault={fault} times=0 chunks=12]]"
        accepted = await socket.ask(content)
        ending = await socket.ended(accepted["run_id"], seconds=8)
        check_run(socket.of(accepted["run_id"]), ending=ending["type"])
        expected = ("model_error",) if fault == "endless" else ("agent_timeout",)
        assert (ending["type"], ending["code"]) == ("agent_failed", *expected)
        await asyncio.to_thread(wire.until_idle)

    play(hasty, scenario)
