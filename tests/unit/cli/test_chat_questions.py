"""`netra chat` and questions: shown as they are asked, and answered by the next line that is typed."""

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


async def _asking(stage: Stage) -> None:
    if stage.content != "costs":
        await golden(stage)
        stage.status = "ended"
        return
    await _start(stage)
    await _end(stage, f"heard: {await stage.question(f'que_{stage.run_id}', 'Which month?')}")


async def _twice(stage: Stage) -> None:
    await _start(stage)
    said = [await stage.question(ident, f"{ident}?") for ident in ("que_b", "que_a")]
    await _end(stage, " ".join(said))


async def _both(stage: Stage) -> None:
    await _start(stage)
    decision = await stage.ask("apr_1", amount=1)
    await _end(stage, f"{decision['decision']} {await stage.question('que_1', 'Which month?')}")


def first(peer: Peer) -> Stage:
    return next(iter(peer.runs.values()))


SHOWN = "? assistant asks: Which month?\n"


def test_in_a_pipe_the_next_line_answers_and_the_one_after_is_a_message(tmp_path: Path) -> None:
    done, peer = pipe("costs\n  in May \nhello\n", script=_asking, cwd=tmp_path)
    assert done.out == "heard: in May\nYou said: hello\n"
    assert (done.code, done.err.count(SHOWN)) == (0, 1)
    assert "← ask_user: in May" in done.err
    kinds = [frame["type"] for frame in peer.frames if frame["type"] in ("user_message", "answer")]
    assert kinds == ["user_message", "answer", "user_message"]


def test_in_a_pipe_that_ends_while_a_question_is_open_it_says_where_to_answer_and_ends_with_1(tmp_path: Path) -> None:
    done, peer = pipe("costs\n", script=_asking, cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    hint = f"Which month? still waits: answer with netra chat --thread {first(peer).thread_id}\n"
    assert done.err.endswith(SHOWN + hint)


def test_two_are_answered_in_the_order_in_which_they_were_asked(tmp_path: Path) -> None:
    done, peer = pipe("ask\none\ntwo\n", script=_twice, cwd=tmp_path)
    assert (done.code, done.out) == (0, "one two\n")
    assert [frame["question_id"] for frame in peer.frames if frame["type"] == "answer"] == ["que_b", "que_a"]


def test_a_call_is_decided_on_and_then_a_question_is_answered_also_with_a_slash(tmp_path: Path) -> None:
    done, _ = pipe("both\n/approve\n/answer /var/log\n", script=_both, cwd=tmp_path)
    assert (done.code, done.out) == (0, "approve /var/log\n")


def test_questions_of_other_conversations_are_listed_and_no_line_answers_them(tmp_path: Path) -> None:
    done, _ = pipe("costs\n/new\nhello\n/questions\n/answer May\n", script=_asking, cwd=tmp_path)
    assert done.out.startswith("You said: hello\n")
    assert re.search(r"^thr_\d  2030-01-02 03:04  Which month\?\n", done.out, re.MULTILINE)
    assert "nobody waits for your answer here; /questions lists other conversations' questions" in done.err
    assert done.code == 1


def test_what_was_answered_elsewhere_meanwhile_is_shown_and_the_line_becomes_no_message(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("costs\r")
        await screen.until("\n>", after="asks: Which month?")
        peer.questions.clear()
        first(peer).decisions.put_nowait({"content": "by telephone"})
        screen.type("in May\r")
        await screen.until("it was answered before")
        await screen.until("heard: by telephone")
        screen.type("/quit\r")
        assert await screen.process.wait() == 0
        assert [frame["type"] for frame in peer.frames].count("user_message") == 1

    terminal(test, _asking, tmp_path)


def test_a_conversation_that_is_gone_on_with_shows_what_is_asked_in_it(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("costs\r")
        await screen.until("\n>", after="asks: Which month?")
        thread_id = first(peer).thread_id
        screen.type("/new\r")
        screen.type(f"/thread {thread_id}\r")
        await screen.until("assistant asks: Which month?", after="hello before")
        screen.type("in June\r")
        await screen.until("heard: in June")

    terminal(test, _asking, tmp_path)


def test_after_a_lost_connection_the_question_is_still_answered(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("costs\r")
        await screen.until("\n>", after="asks: Which month?")
        await first(peer).cut()
        screen.type("in July\r")
        await screen.until("heard: in July")

    terminal(test, _asking, tmp_path)
