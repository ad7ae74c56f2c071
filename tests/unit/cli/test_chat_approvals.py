"""`netra chat` and calls that wait for a person: shown with what they would do, and decided at the prompt."""

import re
from pathlib import Path

from tests.unit.cli.test_chat import Screen, pipe, terminal
from tests.unit.client.peer import USAGE, Peer, Stage, golden


async def _start(stage: Stage) -> None:
    await stage.tell("agent_started", task=stage.content)
    await stage.tell("agent_thinking", text="hm", step=1)


async def _end(stage: Stage, output: str) -> None:
    await stage.tell("message_completed", message_id="m1", content=output)
    await stage.tell("agent_completed", output=output, usage=USAGE, duration_ms=1)
    stage.status = "ended"


async def _paying(stage: Stage) -> None:
    await _start(stage)
    decision = await stage.ask(f"apr_{stage.run_id}", order=7, euros=19.5)
    await _end(stage, f"decided: {decision['decision']}, {decision.get('note')}")


async def _twice(stage: Stage) -> None:
    await _start(stage)
    notes = [(await stage.ask(ident, number=number))["decision"] for number, ident in enumerate(("apr_b", "apr_a"))]
    await _end(stage, " ".join(notes))


def first(peer: Peer) -> Stage:
    return next(iter(peer.runs.values()))


SHOWN = "? pay(order=7, euros=19.5) needs your approval, until 2030-01-02 03:04 UTC\n"


def test_in_a_pipe_a_line_approves_with_its_note_and_the_answer_goes_on(tmp_path: Path) -> None:
    done, peer = pipe("pay\n/approve  she is a   good customer\nand again\n/reject\n", script=_paying, cwd=tmp_path)
    assert done.out == "decided: approve, she is a   good customer\ndecided: reject, None\n"
    assert done.code == 0
    assert done.err.count(SHOWN) == 2
    assert "approved by ada" in done.err
    assert "rejected by ada" in done.err
    asked = [frame for frame in peer.frames if frame["type"] == "user_message"]
    assert asked[1]["thread_id"] == first(peer).thread_id


def test_in_a_pipe_that_ends_while_a_call_waits_it_says_where_to_decide_and_ends_with_1(tmp_path: Path) -> None:
    done, peer = pipe("pay\n", script=_paying, cwd=tmp_path)
    (stage,) = peer.runs.values()
    assert (done.code, done.out) == (1, "")
    assert SHOWN in done.err
    hint = f"pay(order=7, euros=19.5) still waits: decide with netra chat --thread {stage.thread_id}\n"
    assert done.err.endswith(hint)


def test_a_message_behind_a_call_that_waits_is_not_sent(tmp_path: Path) -> None:
    done, peer = pipe("pay\nhello?\n/approve\n", script=_paying, cwd=tmp_path)
    assert done.code == 1
    assert "decide first on what waits, with /approve or /reject; or begin a /new conversation" in done.err
    assert [frame["type"] for frame in peer.frames].count("user_message") == 1


def test_a_new_conversation_goes_on_beside_it_and_the_call_still_waits_at_the_end(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await (_paying if stage.content == "pay" else golden)(stage)

    done, _ = pipe("pay\n/new\n/approve\nhello\n", script=script, cwd=tmp_path)
    assert "nothing waits for your decision here; /approvals lists other conversations' calls" in done.err
    assert done.code == 1
    done, _ = pipe("pay\n/new\nhello\n/approvals\n", script=script, cwd=tmp_path)
    assert done.out.startswith("You said: hello\n")
    assert re.search(r"^thr_\d  2030-01-02 03:04  pay\(order=7, euros=19.5\)\n", done.out, re.MULTILINE)
    assert "still waits" in done.err
    assert done.code == 1


def test_the_oldest_of_two_is_decided_first(tmp_path: Path) -> None:
    done, peer = pipe("pay\n/reject\n/approve\n", script=_twice, cwd=tmp_path)
    assert (done.code, done.out) == (0, "reject approve\n")
    decided = [frame["approval_id"] for frame in peer.frames if frame["type"] == "decide"]
    assert decided == ["apr_b", "apr_a"]


def test_what_was_decided_elsewhere_is_shown_and_the_next_message_is_sent(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        if stage.content != "pay":
            await golden(stage)
            return
        await _paying(stage)

    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("pay\r")
        await screen.until("needs your approval")
        await screen.until("> ")
        stage = first(peer)
        stage.decisions.put_nowait({"decision": "approve", "note": "by telephone"})
        peer.approvals.clear()
        screen.type("hello\r")
        await screen.until("decided: approve, by telephone")
        await screen.until("You said: hello")

    terminal(test, script, tmp_path)


def test_at_a_terminal_the_prompt_comes_back_and_decides(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("pay\r")
        await screen.until("needs your approval")
        await screen.until("> ")
        screen.type("/reject too much\r")
        await screen.until("decided: reject, too much")
        screen.type("/quit\r")
        assert await screen.process.wait() == 0

    terminal(test, _paying, tmp_path)


def test_a_conversation_that_is_gone_on_with_shows_what_waits_in_it(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("pay\r")
        await screen.until("needs your approval")
        await screen.until("> ")
        thread_id = first(peer).thread_id
        screen.type("/new\r")
        screen.type(f"/thread {thread_id}\r")
        await screen.until("needs your approval", after="hello before")
        screen.type("/approve\r")
        await screen.until("decided: approve, None")

    terminal(test, _paying, tmp_path)
