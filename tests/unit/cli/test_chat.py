"""`netra chat` as a process: in a pipe, and at a terminal."""

import asyncio
import os
import pty
import re
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.cli.command import NETRA, SECONDS, Done, environment, netra_async
from tests.unit.client.peer import PASSWORD, USAGE, Peer, Script, Stage, golden

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07)")


def pipe(stdin: str, *args: str, script: Script = golden, cwd: Path) -> tuple[Done, Peer]:
    async def main() -> tuple[Done, Peer]:
        async with asyncio.timeout(SECONDS), Peer(script).serving() as peer:
            options = ("--url", peer.url, "--user", "ada", "--password-stdin", *args)
            return await netra_async("chat", *options, cwd=cwd, stdin=f"{PASSWORD}\n{stdin}"), peer

    return asyncio.run(main())


def test_in_a_pipe_each_line_is_a_message_and_stdout_has_the_answers(tmp_path: Path) -> None:
    done, peer = pipe("one\n\ntwo\n", cwd=tmp_path)
    assert (done.code, done.out) == (0, "You said: one\nYou said: two\n")
    assert "\x1b" not in done.out + done.err
    assert '→ clock(zone="UTC")' in done.err
    assert "2 model requests" in done.err
    asked = [frame for frame in peer.frames if frame["type"] == "user_message"]
    assert "thread_id" not in asked[0]
    assert asked[1]["thread_id"] == next(iter(peer.runs.values())).thread_id


def test_in_a_pipe_the_last_line_needs_no_line_end(tmp_path: Path) -> None:
    assert pipe("one", cwd=tmp_path)[0].out == "You said: one\n"


async def _failing(stage: Stage) -> None:
    await stage.tell("agent_started", task="t")
    await stage.tell("agent_failed", code="model_unavailable", message="it is down", retryable=True)


def test_in_a_pipe_a_failed_run_ends_with_1_and_its_reason(tmp_path: Path) -> None:
    done, peer = pipe("one\ntwo\n", script=_failing, cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "failed: it is down (model_unavailable)" in done.err
    assert len(peer.runs) == 1


def test_commands_list_and_choose_agents_and_threads(tmp_path: Path) -> None:
    lines = "/agents\n/agent greeter\nhi\n/new\nhi again\n/threads\n/help\n/quit\nnever sent\n"
    done, peer = pipe(lines, cwd=tmp_path)
    assert done.code == 0
    for asked_for in ("assistant        Answers.\n", "thr_1  2030-01-02", "/quit"):
        assert asked_for in done.out
        assert asked_for not in done.err
    assert "greeter answers from now on" in done.err
    asked = [frame for frame in peer.frames if frame["type"] == "user_message"]
    assert [frame["agent"] for frame in asked] == ["greeter", "greeter"]
    assert not any("thread_id" in frame for frame in asked)


def test_an_unknown_agent_and_an_unknown_thread_are_sentences(tmp_path: Path) -> None:
    done, _ = pipe("hi\n", "--agent", "nobody", cwd=tmp_path)
    assert done.code == 1
    assert "there is no agent nobody; there are assistant, greeter" in done.err
    done, _ = pipe("hi\n", "--thread", "thr_none", cwd=tmp_path)
    assert done.code == 1
    assert "there is no such thread (not_found)" in done.err


def test_in_a_pipe_an_unknown_command_is_told_and_the_next_line_is_sent_and_the_end_is_1(tmp_path: Path) -> None:
    done, peer = pipe("/nonsense\none\n/agent\ntwo\n", cwd=tmp_path)
    assert (done.code, done.out) == (1, "You said: one\nYou said: two\n")
    for name in ("/nonsense", "/agent"):
        assert f"{name} is no command, or something is missing: /help lists them\n" in done.err
    assert len(peer.runs) == 2


def test_a_conversation_goes_on_with_its_last_messages(tmp_path: Path) -> None:
    done, peer = pipe("hi\n", "--thread", "thr_1", cwd=tmp_path)
    assert done.code == 0
    assert "you: hello before" in done.err
    assert [frame["thread_id"] for frame in peer.frames] == ["thr_1"]


def test_a_wrong_password_is_a_sentence_and_1(tmp_path: Path) -> None:
    async def main() -> Done:
        async with asyncio.timeout(SECONDS), Peer().serving() as peer:
            args = ("--url", peer.url, "--user", "ada", "--password-stdin")
            return await netra_async("chat", *args, cwd=tmp_path, stdin="wrong\nhi\n")

    done = asyncio.run(main())
    assert (done.code, done.out) == (1, "")
    assert done.err == "the name or the password is wrong (unauthenticated)\n"


def test_what_is_not_text_on_stdin_is_a_sentence_and_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [NETRA, "chat", "--user", "ada", "--password-stdin"],
        input=b"\xff\xfe\n",
        capture_output=True,
        cwd=tmp_path,
        env=environment(tmp_path / "home", PYTHONIOENCODING="utf-8:strict"),
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert b"is not utf-8 text" in done.stderr


class Screen:
    """A terminal that `netra chat` runs in."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._master = master
        self._text = ""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
            return
        # prompt_toolkit asks where the cursor is, and waits for the answer of a terminal.
        if b"\x1b[6n" in data:
            os.write(self._master, b"\x1b[1;1R")
        self._text += _ESCAPES.sub("", data.decode(errors="replace")).replace("\r", "")
        self._news.set()

    @property
    def text(self) -> str:
        return self._text

    async def until(self, words: str, *, after: str = "") -> None:
        """Waits until the words are on the screen."""
        try:
            async with asyncio.timeout(SECONDS / 2):
                while words not in self._text.partition(after)[2] if after else words not in self._text:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} did not appear in:\n{self._text}") from None

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def code(self) -> int:
        async with asyncio.timeout(SECONDS / 2):
            return await self.process.wait()


@asynccontextmanager
async def on_a_screen(url: str, cwd: Path) -> AsyncGenerator[Screen]:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        NETRA,
        *("chat", "--url", url, "--user", "ada"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env=environment(cwd / "home", TERM="xterm-256color"),
        start_new_session=True,
        preexec_fn=lambda: _own_terminal(slave),
    )
    os.close(slave)
    screen = Screen(master, process)
    try:
        yield screen
    finally:
        asyncio.get_running_loop().remove_reader(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)


@asynccontextmanager
async def at_a_terminal(peer: Peer, cwd: Path) -> AsyncGenerator[Screen]:
    async with on_a_screen(peer.url, cwd) as screen:
        await screen.until("Password:")
        screen.type(PASSWORD + "\r")
        await screen.until(">", after="logged in as ada")
        yield screen


def _own_terminal(slave: int) -> None:
    # Ctrl-C reaches the process only through its controlling terminal.
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def terminal(test: Callable[[Screen, Peer], Awaitable[None]], script: Script, cwd: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), Peer(script).serving() as peer, at_a_terminal(peer, cwd) as screen:
            await test(screen, peer)

    asyncio.run(main())


def test_at_a_terminal_the_answer_is_shown_once_with_its_calls_and_figures(tmp_path: Path) -> None:
    async def test(screen: Screen, _: Peer) -> None:
        screen.type("hello\r")
        await screen.until("2 model requests")
        assert screen.text.count("You said: hello") == 1
        assert '→ clock(zone="UTC")' in screen.text
        assert PASSWORD not in screen.text
        await screen.until(">", after="2 model requests")
        screen.type("\x04")
        assert await screen.code() == 0

    terminal(test, golden, tmp_path)


async def _patient(stage: Stage) -> None:
    await stage.tell("agent_started", task="t")
    await stage.delta("Once upon", 0)
    await stage.cancelled.wait()
    await stage.tell("agent_cancelled", by="ada")


def test_ctrl_c_cancels_the_run_and_says_so_and_ctrl_c_at_the_prompt_leaves(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        screen.type("a story\r")
        await screen.until("Once upon")
        screen.type("\x03")
        await screen.until("cancelling…")
        await screen.until("cancelled by ada")
        assert next(iter(peer.runs.values())).cancelled.is_set()
        await screen.until(">", after="cancelled by ada")
        screen.type("\x03")
        assert await screen.code() == 0

    terminal(test, _patient, tmp_path)


async def _interrupted(stage: Stage) -> None:
    await stage.tell("agent_started", task="t")
    await stage.delta("Once ", 0)
    await stage.cut()
    stage.snapshot = None
    await stage.back()
    await stage.delta("upon", 5)
    await stage.tell("message_completed", message_id="m1", content="Once upon")
    await stage.tell("agent_completed", output="Once upon", usage=USAGE, duration_ms=1)


def test_a_lost_connection_is_told_in_one_line_and_the_answer_goes_on(tmp_path: Path) -> None:
    async def test(screen: Screen, _: Peer) -> None:
        screen.type("a story\r")
        await screen.until("2 model requests")
        assert screen.text.count("reconnecting…") == 1
        assert screen.text.count("back after") == 1
        assert screen.text.count("upon") == 1

    terminal(test, _interrupted, tmp_path)


def test_where_no_server_answers_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), on_a_screen("http://127.0.0.1:9", tmp_path) as screen:
            await screen.until("no server answers at http://127.0.0.1:9: Connection refused")
            assert await screen.code() == 1
            assert "Password" not in screen.text

    asyncio.run(main())


NOT_YET = "not sent yet; will be sent when the server is back"


def test_a_connection_that_is_lost_at_the_prompt_is_told_at_once_and_a_message_waits_for_its_return(
    tmp_path: Path,
) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        peer.shut = True
        peer.cut()
        await screen.until("reconnecting…")
        screen.type("hello\r")
        await screen.until(NOT_YET)
        assert not peer.frames
        peer.shut = False
        await screen.until("back after")
        await screen.until("2 model requests")
        assert screen.text.count("reconnecting…") == screen.text.count("back after") == 1
        assert [frame["content"] for frame in peer.frames] == ["hello"]

    terminal(test, golden, tmp_path)


def test_ctrl_c_takes_a_message_back_that_waits_for_the_server(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        peer.shut = True
        peer.cut()
        await screen.until("reconnecting…")
        screen.type("hello\r")
        await screen.until(NOT_YET)
        screen.type("\x03")
        await screen.until("it was not sent")
        peer.shut = False
        await screen.until("back after")
        screen.type("again\r")
        await screen.until("2 model requests")
        assert [frame["content"] for frame in peer.frames] == ["again"]

    terminal(test, golden, tmp_path)


def test_ctrl_c_before_an_answer_does_not_claim_that_nothing_was_sent(tmp_path: Path) -> None:
    async def test(screen: Screen, peer: Peer) -> None:
        peer.answers_messages = False
        screen.type("hello\r")
        await peer.until(lambda: bool(peer.frames))
        screen.type("\x03")
        await screen.until("it has no answer, and may have been sent")

    terminal(test, golden, tmp_path)
