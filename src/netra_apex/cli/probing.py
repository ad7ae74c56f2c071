"""One round of `netra probe`: a login, a connection, a message, and everything that must then be so."""

import asyncio
import time
from dataclasses import dataclass, field

from netra_apex.cli.golden import Breach, judge, untold
from netra_apex.client import Client, ClientError, Event, LiveRun, RequestRefused, StreamBroken
from netra_apex.client.live import Notice
from netra_apex.core.events import MessageDelta, PassingFrame, ThinkingDelta

QUIET_SECONDS = 0.2
LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """What each round asks, and whom; `timeout` is in seconds, for the whole round."""

    url: str
    user: str
    agent: str | None
    message: str
    timeout: float
    without_tool: bool = False


@dataclass(slots=True)
class Attempt:
    """What a round found. `figures` are milliseconds; those after `accepted` count from the sending of the message."""

    number: int
    run_id: str | None = None
    figures: dict[str, float] = field(default_factory=dict[str, float])
    breaches: list[Breach] = field(default_factory=list[Breach])
    events: list[Event] = field(default_factory=list[Event])
    reconnects: int = 0
    comparable: int | None = None
    """The last `seq` that may be compared with the log; None: all of them."""
    hopeless: bool = False
    """Whether another round would end the same: the login is refused."""

    @property
    def well(self) -> bool:
        """Whether everything was as promised."""
        return not self.breaches


async def attempt(number: int, question: Question, password: str) -> Attempt:
    """One round; whatever goes wrong is a breach of it, not an error."""
    done = Attempt(number)
    async with Client(question.url, timeout=question.timeout) as client:
        try:
            async with asyncio.timeout(question.timeout):
                await _login(client, question, password, done)
                await _play(client, question, done)
        except StreamBroken as error:
            done.breaches.append(Breach(str(error)))
            # What came from there on was told, and is not in `events`: only what lies before it can be missing.
            done.comparable = error.got - 1 if error.got and error.expected and error.got > error.expected else 0
        except TimeoutError:
            done.breaches.append(Breach(f"{_awaited(done)} within {question.timeout:g} s", _missing(done)))
        except ClientError as error:
            done.breaches.append(Breach(str(error)))
        await _compare(client, done)
    return done


async def _login(client: Client, question: Question, password: str, done: Attempt) -> None:
    began = time.perf_counter()
    try:
        await client.login(question.user, password)
    except RequestRefused:
        done.hopeless = True
        raise
    done.figures["login"] = _since(began)


async def _play(client: Client, question: Question, done: Attempt) -> None:
    began = time.perf_counter()
    async with client.connect(patience=question.timeout, notices=True) as connection:
        done.figures["connect"] = _since(began)
        began = time.perf_counter()
        run = await connection.send(question.message, agent=question.agent)
        done.run_id = run.run_id
        done.figures["accepted"] = _since(began)
        try:
            await _read(run, began, done)
        finally:
            done.reconnects = connection.reconnects
        done.figures["completion"] = _since(began)
        done.breaches += judge(done.events, without_tool=question.without_tool)
        done.breaches += [Breach(fault) for fault in run.faults]
        await run.quiet(QUIET_SECONDS)


async def _read(run: LiveRun, began: float, done: Attempt) -> None:
    async for frame in run:
        if isinstance(frame, Notice):
            continue
        if isinstance(frame, PassingFrame):
            if isinstance(frame, MessageDelta) and not isinstance(frame, ThinkingDelta):
                done.figures.setdefault("first_token", _since(began))
            continue
        done.figures.setdefault("first_event", _since(began))
        done.events.append(frame)


async def _compare(client: Client, done: Attempt) -> None:
    """The same events once more over HTTP: they must equal what the socket told."""
    if done.run_id is None:
        return
    try:
        async with asyncio.timeout(LOG_SECONDS):
            log = await client.events(done.run_id)
    except TimeoutError:
        done.breaches.append(Breach(f"the log did not come over HTTP within {LOG_SECONDS:g} s"))
        return
    except ClientError as error:
        done.breaches.append(Breach(f"the log cannot be read over HTTP: {error}"))
        return
    if done.comparable is not None:
        last = max(done.comparable, len(done.events))
        log = tuple(event for event in log if event.seq <= last)
    done.breaches += untold(done.events, log)


def _awaited(done: Attempt) -> str:
    if "login" not in done.figures:
        return "the login was not answered"
    if "connect" not in done.figures:
        return "no connection was established"
    if done.run_id is None:
        return "the message was not accepted"
    return f"no agent_completed, nor another ending, came after {len(done.events)} events"


def _missing(done: Attempt) -> str | None:
    return "agent_completed" if done.run_id is not None else None


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
