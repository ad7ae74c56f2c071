"""The probe against a server that breaks one promise at a time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.command import Done, netra_async
from tests.unit.client.peer import PASSWORD, USAGE, Peer, Script, Stage, golden

from netra_apex.cli.probing import Attempt, Question, attempt

TOLD = "You said: time?"
GOLDEN: list[tuple[str, dict[str, Any]]] = [
    ("agent_started", {"task": "time?"}),
    ("agent_thinking", {"text": "hm", "step": 1}),
    ("tool_executing", {"call_id": "c1", "tool": "clock", "arguments": {}}),
    ("tool_completed", {"call_id": "c1", "tool": "clock", "ok": True, "result": "12", "duration_ms": 1}),
    ("message_completed", {"message_id": "m1", "content": TOLD}),
    ("agent_completed", {"output": TOLD, "usage": USAGE, "duration_ms": 5}),
]

Deviation = Callable[[Stage, str, dict[str, Any]], Awaitable[bool]]


def tell(deviation: Deviation) -> Script:
    """The golden path, in which `deviation` may take an event out of our hands."""

    async def script(stage: Stage) -> None:
        for kind, fields in GOLDEN:
            if kind == "message_completed":
                await stage.delta(TOLD, 0)
            if not await deviation(stage, kind, fields):
                await stage.tell(kind, **fields)

    return script


def probe(script: Script, *, timeout: float = 5, without_tool: bool = False) -> Attempt:
    async def main() -> Attempt:
        async with asyncio.timeout(20), Peer(script).serving() as peer:
            question = Question(peer.url, "ada", None, "time?", timeout, without_tool=without_tool)
            return await attempt(1, question, PASSWORD)

    return asyncio.run(main())


def reasons(done: Attempt) -> str:
    return "; ".join(breach.reason for breach in done.breaches)


def missing(done: Attempt) -> set[str | None]:
    return {breach.missing for breach in done.breaches}


def test_the_golden_path_is_well_and_has_every_figure() -> None:
    done = probe(golden)
    assert done.well, reasons(done)
    assert list(done.figures) == ["login", "connect", "accepted", "first_event", "first_token", "completion"]
    assert all(value > 0 for value in done.figures.values())


@pytest.mark.parametrize("withheld", ["agent_started", "agent_thinking", "tool_executing", "tool_completed"])
def test_an_event_that_is_never_told_is_named(withheld: str) -> None:
    async def deviation(_: Stage, kind: str, __: dict[str, Any]) -> bool:
        return kind == withheld

    done = probe(tell(deviation))
    assert withheld in missing(done)
    assert f"no {withheld} was told" in reasons(done)


@pytest.mark.parametrize("withheld", ["agent_started", "agent_thinking", "tool_executing", "tool_completed"])
def test_an_event_that_is_stored_and_not_told_is_a_gap_and_named(withheld: str) -> None:
    async def deviation(stage: Stage, kind: str, fields: dict[str, Any]) -> bool:
        if kind == withheld:
            await stage.store(kind, **fields)
        return kind == withheld

    done = probe(tell(deviation))
    assert f"{withheld} with seq" in reasons(done)
    assert "is in the log, and the socket did not tell it" in reasons(done)
    assert "was expected" in reasons(done)
    assert missing(done) == {None, withheld}


def test_a_run_that_does_not_end_is_a_breach_after_the_time_out() -> None:
    async def deviation(_: Stage, kind: str, __: dict[str, Any]) -> bool:
        return kind == "agent_completed"

    done = probe(tell(deviation), timeout=0.5)
    assert "no agent_completed, nor another ending, came after 5 events within 0.5 s" in reasons(done)
    assert missing(done) == {"agent_completed"}
    assert done.run_id is not None


def test_an_ending_that_is_stored_and_not_told_is_named() -> None:
    async def deviation(stage: Stage, kind: str, fields: dict[str, Any]) -> bool:
        if kind == "agent_completed":
            await stage.store(kind, **fields)
        return kind == "agent_completed"

    done = probe(tell(deviation), timeout=0.5)
    assert "agent_completed with seq 6 is in the log, and the socket did not tell it" in reasons(done)


def test_a_gap_names_the_run_and_the_numbers() -> None:
    async def deviation(stage: Stage, kind: str, fields: dict[str, Any]) -> bool:
        if kind == "tool_executing":
            await stage.tell(kind, seq=4, **fields)
        return kind == "tool_executing"

    done = probe(tell(deviation))
    assert reasons(done).startswith(f"run {done.run_id} told tool_executing with seq 4 where seq 3 was expected")


def test_a_doubled_seq_is_a_breach() -> None:
    async def deviation(stage: Stage, kind: str, fields: dict[str, Any]) -> bool:
        if kind == "tool_executing":
            await stage.send(stage.event("agent_thinking", seq=2, text="again", step=2))
        return False

    assert "told agent_thinking with seq 2 where seq 3 was expected" in reasons(probe(tell(deviation)))


@pytest.mark.parametrize("late", ["agent_completed", "agent_thinking"])
def test_a_second_ending_and_an_event_after_the_ending_are_breaches(late: str) -> None:
    async def script(stage: Stage) -> None:
        await golden(stage)
        fields = {"output": "x", "usage": USAGE, "duration_ms": 1} if late == "agent_completed" else {"text": "x"}
        await stage.tell(late, **{"step": 2} if late == "agent_thinking" else {}, **fields)

    assert f"had ended, and then came {late} with seq 7" in reasons(probe(script))


def test_deltas_that_make_another_text_are_a_breach() -> None:
    async def deviation(stage: Stage, kind: str, _: dict[str, Any]) -> bool:
        if kind == "message_completed":
            await stage.delta("!", len(TOLD))
        return False

    assert "the deltas of message m1 make" in reasons(probe(tell(deviation)))


def test_a_lost_piece_of_text_is_a_breach() -> None:
    async def deviation(stage: Stage, kind: str, _: dict[str, Any]) -> bool:
        if kind == "message_completed":
            await stage.delta("!", len(TOLD) + 3)
        return False

    assert "at offset 18 follows 15 characters" in reasons(probe(tell(deviation)))


def test_an_event_that_the_log_tells_otherwise_is_a_breach() -> None:
    async def deviation(stage: Stage, kind: str, _: dict[str, Any]) -> bool:
        if kind == "agent_completed":
            stage.log[1]["text"] = "something else"
        return False

    assert "seq 2 is one event on the socket and another in the log" in reasons(probe(tell(deviation)))


def test_an_agent_without_tools_is_well_only_when_told_so() -> None:
    async def deviation(_: Stage, kind: str, __: dict[str, Any]) -> bool:
        return kind.startswith("tool_")

    assert probe(tell(deviation), without_tool=True).well
    assert missing(probe(tell(deviation))) == {"tool_executing", "tool_completed"}


def test_a_lost_socket_that_comes_back_is_counted_and_is_no_breach() -> None:
    async def deviation(stage: Stage, kind: str, _: dict[str, Any]) -> bool:
        if kind == "tool_completed":
            await stage.cut()
            await stage.back()
        return False

    done = probe(tell(deviation))
    assert done.well, reasons(done)
    assert done.reconnects == 1


def command(script: Script, *args: str, password: str = PASSWORD) -> tuple[Done, Peer]:
    async def main() -> tuple[Done, Peer]:
        async with asyncio.timeout(30), Peer(script).serving() as peer:
            options = ("--user", "ada", "--password-stdin", *args)
            return await netra_async("probe", peer.url, *options, cwd=Path("/tmp"), stdin=f"{password}\n"), peer

    return asyncio.run(main())


def test_each_round_logs_in_and_connects_anew_and_all_well_ends_with_0() -> None:
    done, peer = command(golden, "--count", "3", "--agent", "greeter")
    assert (done.code, done.err) == (0, "")
    assert (peer.logins, peer.sockets) == (3, 3)
    assert done.out.startswith(f"{peer.url}: 3 ok, 0 failed\n")
    assert "first token" in done.out
    asked = [frame for frame in peer.frames if frame["type"] == "user_message"]
    assert {frame["agent"] for frame in asked} == {"greeter"}
    assert asked[0]["content"] == "What time is it? This is netra probe."


def test_a_breach_ends_with_1_and_json_has_its_reason_and_run() -> None:
    async def deviation(_: Stage, kind: str, __: dict[str, Any]) -> bool:
        return kind == "agent_thinking"

    done, peer = command(tell(deviation), "--count", "2", "--json")
    assert done.code == 1
    report = json.loads(done.out)
    assert (report["rounds"], report["ok"], report["failed"]) == (2, 0, 2)
    assert report["breaches"][0] == {
        "round": 1,
        "run_id": next(iter(peer.runs)),
        "reason": "no agent_thinking was told",
        "missing": "agent_thinking",
    }
    assert set(report["figures_ms"]["completion"]) == {"p50", "p95", "p99"}


def test_a_refused_login_ends_the_probe_at_once() -> None:
    done, peer = command(golden, "--count", "5", password="wrong")
    assert done.code == 1
    assert "0 ok, 1 failed" in done.out
    assert "round 1, run -: the name or the password is wrong (unauthenticated)" in done.out
    assert peer.sockets == 0
