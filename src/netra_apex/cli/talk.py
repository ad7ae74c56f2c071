"""The conversation of `netra chat`: reading lines, sending them, showing what comes, and the `/` commands."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console

from netra_apex.cli.attaching import Attaching, names_of
from netra_apex.cli.deciding import Waiting, open_questions, waiting_calls
from netra_apex.cli.pens import PlainPen, TerminalPen
from netra_apex.cli.terminal import one_line, printable, read_line, unechoed
from netra_apex.cli.transcript import BAD, DIM, Pen, Transcript, about_connection, call_of
from netra_apex.client import Client, Connection, ConnectionLost, LiveRun, RequestRefused, ServerUnreachable, UsageInfo
from netra_apex.client.live import Notice
from netra_apex.core.conversations import Verdict
from netra_apex.core.events import AgentCompleted

HELP = """\
/new           begin another conversation
/threads       your conversations; /thread ID goes on with one
/agents        who can answer; /agent NAME chooses
/attach PATH   sends a file with your next message; without PATH: what is attached
/approvals     the calls that wait for your decision, in all conversations
/approve NOTE  lets the oldest of this conversation be made; /reject NOTE does not (with a note or without)
/questions     the questions that wait for your answer, in all conversations
/answer TEXT   answers the oldest of this conversation, as a line without a / does
/usage         what you have used of models today, and what is left
/help          this
/quit          leave (so does Ctrl-D)
While an answer comes, Ctrl-C cancels it. Alt-Enter begins a new line."""

Read = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for."""

    url: str
    user: str
    thread_id: str | None = None
    agent: str | None = None


async def reach(url: str) -> None:
    """Returns once a server answers.

    Raises:
        ServerUnreachable: none does.
    """
    async with Client(url) as client:
        await client.reach()


async def talk(wishes: Wishes, password: str) -> bool:
    """Logs in and talks until the person leaves or stdin ends; False where, in a pipe, something failed.

    Raises:
        ClientError: there is no server, the login is refused, or the connection is lost for good.
    """
    interactive = sys.stdin.isatty()
    pen: Pen = TerminalPen(Console(highlight=False)) if interactive else PlainPen()
    read = _prompt() if interactive else _lines()
    async with Client(wishes.url) as client:
        await client.login(wishes.user, password)

        def idle(notice: Notice) -> None:
            pen.line(printable(about_connection(notice)), DIM)

        async with client.connect(notices=True, idle=idle) as connection:
            conversation = Conversation(client, connection, pen, wishes)
            conversation.attaching.most_bytes = (await connection.established()).limits.get("upload_bytes")
            if wishes.agent is not None:
                await conversation.choose(wishes.agent)
            if wishes.thread_id is not None:
                await conversation.go_on(wishes.thread_id)
            if interactive:
                pen.line(f"logged in as {wishes.user} at {wishes.url}; /help lists what you can do", "dim")
            return await converse(conversation, read, interactive=interactive)


async def converse(conversation: "Conversation", read: Read, *, interactive: bool) -> bool:
    """Takes line after line.

    In a pipe the first message that fails ends it; an unknown command makes it fail at its end, and so does a call that
    still waits for a decision or an answer then.
    """
    all_well = True
    while (line := await read()) is not None:
        text = line.strip()
        if not text:
            continue
        if text in ("/quit", "/exit"):
            break
        try:
            well = await (conversation.command(text) if text.startswith("/") else conversation.say(text))
        except (RequestRefused, ServerUnreachable) as error:
            conversation.pen.line(str(error), "red")
            well = False
        except UnknownCommand as error:
            conversation.pen.line(str(error), BAD)
            all_well = interactive
            continue
        if not well and not interactive:
            return False
    waits = await conversation.tell_what_waits()
    return all_well and (interactive or not waits)


class UnknownCommand(Exception):
    """A line that begins with `/` and is none of the commands."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} is no command, or something is missing: /help lists them"


class Conversation:
    """One person's conversation: which thread it is, who answers, and what is being answered."""

    def __init__(self, client: Client, connection: Connection, pen: Pen, wishes: Wishes) -> None:
        self.pen = pen
        self._client = client
        self._connection = connection
        self._thread_id: str | None = None
        self._agent: str | None = None
        self.attaching = Attaching(client, pen)
        self._waiting: dict[str, Waiting] = {}

    async def tell_what_waits(self) -> bool:
        """Tells which calls of the runs that were shown still wait for a person; whether there are any."""
        await self._show_on(list(self._waiting.values()))
        for waiting in self._waiting.values():
            for asked in waiting.transcript.asked.values():
                self.pen.line(f"{call_of(asked)} still waits: decide with netra chat --thread {asked.thread_id}", BAD)
            for question in waiting.transcript.questions.values():
                text = one_line(question.text, 100)
                self.pen.line(f"{text} still waits: answer with netra chat --thread {question.thread_id}", BAD)
        return bool(self._waiting)

    async def say(self, text: str) -> bool:
        """Answers the oldest question of this conversation, or sends a message; and shows the run.

        Whether it completed, or waits for a person.
        """
        if (waiting := self._asking()) is not None:
            return await self._answer(waiting, text)
        if not await self._free():
            self.pen.line("decide first on what waits, with /approve or /reject; or begin a /new conversation", BAD)
            return False
        async with unechoed():
            run = await self._send(text)
        if run is None:
            return False
        self._thread_id = run.thread_id
        self.attaching.sent()
        return await self._show(run)

    async def go_on(self, thread_id: str) -> None:
        """Makes this the conversation, shows its last messages, and the runs in it that have not ended."""
        thread = await self._client.thread(thread_id)
        messages = await self._client.messages(thread_id, limit=6, order="desc")
        self._leave(thread_id)
        for message in reversed(messages.items):
            who = "you" if message.role == "user" else "agent"
            self.pen.line(f"{who}: {one_line(message.content, 200)}{names_of(message.files)}", "dim")
        for run in thread.runs:
            if (waiting := self._waiting.pop(run.run_id, None)) is not None:
                waiting.transcript.ask_again()
                await self._show(waiting.run, waiting.transcript)
            else:
                await self._show(await self._connection.follow(run.run_id))
            if run.run_id in self._waiting:
                break  # those behind it wait for it

    async def choose(self, name: str) -> None:
        """Makes this agent the one who answers. Raises: RequestRefused: there is none of this name for this user."""
        names = [agent.name for agent in await self._client.agents()]
        if name not in names:
            raise RequestRefused("not_found", f"there is no agent {name}; there are {', '.join(names) or 'none'}")
        self._agent = name

    async def command(self, line: str) -> bool:
        """Carries out a line that begins with `/`. Raises: UnknownCommand: it is none of ours."""
        match line.split():
            case ["/help"]:
                self.pen.data(HELP)
            case ["/new"]:
                self._leave(None)
                self.pen.line("a new conversation", "dim")
            case ["/attach"]:
                self.attaching.show()
            case ["/attach", *_]:
                return await self._attach(line.partition(" ")[2].strip())
            case ["/agents"]:
                for agent in await self._client.agents():
                    self.pen.data(f"{agent.name:<16} {one_line(agent.description, 100)}".rstrip())
            case ["/agent", name]:
                await self.choose(name)
                self.pen.line(f"{name} answers from now on", "dim")
            case ["/threads"]:
                for thread in (await self._client.threads()).items:
                    self.pen.data(
                        f"{thread.thread_id}  {thread.created_at:%Y-%m-%d %H:%M}  {one_line(thread.title, 80)}"
                    )
            case ["/thread", thread_id]:
                await self.go_on(thread_id)
            case ["/approvals"]:
                async for each in waiting_calls(self._client):
                    self.pen.data(f"{each.thread_id}  {each.requested_at:%Y-%m-%d %H:%M}  {call_of(each)}")
            case ["/usage"]:
                self.pen.data(usage_line(await self._client.usage()))
            case ["/approve", *_]:
                return await self._decide("approve", line)
            case ["/reject", *_]:
                return await self._decide("reject", line)
            case ["/questions"]:
                async for each in open_questions(self._client):
                    self.pen.data(f"{each.thread_id}  {each.asked_at:%Y-%m-%d %H:%M}  {one_line(each.text, 100)}")
            case ["/answer", _, *_] if (waiting := self._asking()) is not None:
                return await self._answer(waiting, line.partition(" ")[2].strip())
            case ["/answer", _, *_]:
                self.pen.line("nobody waits for your answer here; /questions lists other conversations' questions", BAD)
                return False
            case words:
                raise UnknownCommand(words[0])
        return True

    def _leave(self, thread_id: str | None) -> None:
        """Makes this the conversation."""
        if thread_id != self._thread_id:
            self.attaching.leave()
        self._thread_id = thread_id

    async def _attach(self, path: str) -> bool:
        self._thread_id, attached = await self.attaching.attach(path, self._thread_id)
        return attached

    async def _send(self, text: str) -> LiveRun | None:
        """The run that a message becomes, as soon as there is a server; None where Ctrl-C took it back before."""
        connection = self._connection
        held, came_back = not connection.up, connection.reconnects
        message = connection.send(text, thread_id=self._thread_id, agent=self._agent, files=self.attaching.ids)
        sending = asyncio.ensure_future(message)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, sending.cancel)
        try:
            if held:
                # Not before Ctrl-C does what is said here.
                self.pen.line("not sent yet; will be sent when the server is back (Ctrl-C takes it back)", DIM)
            await asyncio.wait({sending})
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            sending.cancel()
        unsent = held and not connection.up and connection.reconnects == came_back
        if sending.cancelled() or isinstance(sending.exception(), ConnectionLost | ServerUnreachable):
            self.pen.line("it was not sent" if unsent else "it has no answer, and may have been sent", BAD)
        return None if sending.cancelled() else sending.result()

    async def _decide(self, verdict: Verdict, line: str) -> bool:
        """Decides on the oldest call that waits in this conversation, and shows how its run goes on."""
        note = line.partition(" ")[2].strip() or None
        async for each in waiting_calls(self._client):
            if each.thread_id == self._thread_id:
                break
        else:
            self.pen.line("nothing waits for your decision here; /approvals lists other conversations' calls", BAD)
            return False
        waiting = self._waiting.pop(each.run_id, None)
        if waiting is None:
            last = (await self._client.run(each.run_id)).last_seq
            waiting = Waiting(await self._connection.follow(each.run_id, after=last), Transcript(self.pen))
        return await self._settle(waiting, self._connection.decide(each.approval_id, verdict, note))

    def _asking(self) -> Waiting | None:
        """The run of this conversation that was shown to wait for an answer."""
        here = [each for each in self._waiting.values() if each.is_in(self._thread_id)]
        return next((each for each in here if each.transcript.questions), None)

    async def _answer(self, waiting: Waiting, text: str) -> bool:
        """Answers the oldest question of this run, and shows how it goes on."""
        del self._waiting[waiting.run.run_id]
        return await self._settle(waiting, self._connection.answer(next(iter(waiting.transcript.questions)), text))

    async def _settle(self, waiting: Waiting, said: Awaitable[None]) -> bool:
        """Says to the server what its user has said to a run that waits, and shows how it goes on."""
        try:
            await said
        finally:
            # Refused or not: it goes on from here, or waits as before.
            shown = await self._show(waiting.run, waiting.transcript)
        return shown

    async def _free(self) -> bool:
        """Whether no run of this conversation waits for a person; one that somebody has decided on is shown first."""
        await self._show_on([each for each in self._waiting.values() if each.is_in(self._thread_id)])
        return not any(each.is_in(self._thread_id) for each in self._waiting.values())

    async def _show_on(self, left: Iterable[Waiting]) -> None:
        for waiting in left:
            del self._waiting[waiting.run.run_id]
            await self._show(waiting.run, waiting.transcript)

    async def _show(self, run: LiveRun, transcript: Transcript | None = None) -> bool:
        """Shows a run to its end, or to where it waits for a person; False where it has not completed."""
        waiting = Waiting(run, transcript or Transcript(self.pen))
        async with unechoed(), self._cancelling(run, waiting.transcript):
            waits = await waiting.show(self._client)
        if waits:
            self._waiting[run.run_id] = waiting
        return waits or isinstance(run.ending, AgentCompleted)

    @asynccontextmanager
    async def _cancelling(self, run: LiveRun, transcript: Transcript) -> AsyncGenerator[None]:
        """While inside, Ctrl-C cancels the run; a second one leaves the program."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        async def cancel_when_asked() -> None:
            await asked.wait()
            loop.remove_signal_handler(signal.SIGINT)
            transcript.line("cancelling… (Ctrl-C again to leave)")
            try:
                await self._connection.cancel(run.run_id)
            except (RequestRefused, ServerUnreachable) as error:
                transcript.line(str(error), "red")

        loop.add_signal_handler(signal.SIGINT, asked.set)
        waiting = asyncio.create_task(cancel_when_asked())
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting


def usage_line(usage: UsageInfo) -> str:
    """A user's day in one line."""
    used, left = usage.used, usage.left
    requests = "1 request" if used.requests == 1 else f"{used.requests:,} requests"
    said = f"{used.input_tokens + used.output_tokens:,} tokens in {requests} today"
    said += "" if used.cost_usd is None else f", ${used.cost_usd:.4f}"
    rest = [f"{left.tokens:,} tokens"] if left.tokens is not None else []
    rest += [f"${left.cost_usd:.4f}"] if left.cost_usd is not None else []
    return f"{said}; {' and '.join(rest)} left until {usage.renews_at:%Y-%m-%d %H:%M} UTC" if rest else said


def _lines() -> Read:
    async def read() -> str | None:
        # In a thread: whoever writes the pipe may take his time.
        return await asyncio.to_thread(read_line) or None

    return read


def _prompt() -> Read:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.patch_stdout import patch_stdout

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(key_bindings=keys)

    async def read() -> str | None:
        try:
            # What is told meanwhile stands above the prompt.
            with patch_stdout(raw=True):
                return await session.prompt_async("\n> ")
        except (EOFError, KeyboardInterrupt):
            return None

    return read
