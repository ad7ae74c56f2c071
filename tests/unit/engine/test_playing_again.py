"""Runs whose agents do several things at once, give up or say odd things: taken up, they come to the same (G7)."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run, turns, until

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime, Settings, tool
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, DurableEvent, ToolCompleted, ToolExecuting, decode
from netra_apex.core.messages import AssistantMessage, ModelRequest, Reply, ToolCall, UserMessage
from netra_apex.core.voices import Deltas

PAIR = ("a1", "a2", "b1", "b2")


class World:
    """What outlives a runtime: what was done and what was asked; and in which order the process of now does things."""

    def __init__(self, *gated: str) -> None:
        self.did: list[str] = []
        self.asked: list[str] = []
        self.replies: dict[str, Reply] = {}
        self._gated = gated
        self.begin(last=False)

    def begin(self, *, last: bool) -> None:
        """Another process; every process but the last one is left."""
        self.last = last
        self.over: set[str] = set()
        self.held = asyncio.Event()
        self._gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def turn(self, name: str) -> None:
        """Waits here until it is this one's turn."""
        if name in self._gated:
            await self._gates[name].wait()

    async def let(self, *order: str) -> None:
        """Lets these be done one after the other."""
        for name in order:
            self._gates[name].set()
            await until(lambda name=name: name in self.over)

    async def rest(self) -> None:
        """Waits here for the end of the process, if it is not the last one."""
        self.held.set()
        if not self.last:
            await forever()


world: dict[str, World] = {}


async def forever() -> None:
    await asyncio.Event().wait()


async def do(what: str) -> str:
    world["is"].did.append(what)
    await world["is"].turn(what)
    return f"did {what}"


@tool
async def act(what: str) -> str:
    """Do something."""
    return await do(what)


@tool
async def never() -> None:
    """Do something that takes forever."""
    world["is"].did.append("never")
    await forever()


@tool(idempotent=True)
async def priced(then: str, scope: RunScope) -> str:
    """Take a named step in a call, which may not come to its end then."""
    price = await scope.step("price", do, "price")
    if then == "rests":
        await world["is"].rest()
    return f"{price} in a call"


class Model:
    """Answers with what was asked, in its turn; what is `never` answered takes forever."""

    name = "answering:model"

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        said = request.messages[-1].content
        world["is"].asked.append(said)
        reply = world["is"].replies.get(said, Reply(text=f"re {said}"))
        deltas.text(reply.text)
        if said == "never":
            await forever()
        if said == "once held":
            await world["is"].rest()
        await world["is"].turn(said)
        return reply

    async def check(self) -> None:
        return None

    async def aclose(self) -> None:
        return None


class Pair(BaseAgent):
    """Two tasks side by side, of two steps each; `in turn` they wait before each step, as for something unrecorded."""

    name = "pair"

    async def run(self, task: str, scope: RunScope) -> list[list[str]]:
        await scope.think("first")
        pair = await asyncio.gather(*[self.one(name, scope, in_turn="in turn" in task) for name in "ab"])
        await world["is"].rest()
        return pair

    async def one(self, name: str, scope: RunScope, *, in_turn: bool) -> list[str]:
        done: list[str] = []
        for number, step in ((f"{name}1", self.first), (f"{name}2", self.second)):
            if in_turn:
                await world["is"].turn(number)
            done.append(await step(number, scope))
            world["is"].over.add(number)
        return done

    async def first(self, number: str, scope: RunScope) -> str:
        return await scope.step(number, do, number)

    async def second(self, number: str, scope: RunScope) -> str:
        return (await scope.model(number)).text


class Rootless(Pair):
    """Takes no step of its own before its two tasks take theirs."""

    name = "rootless"

    async def run(self, task: str, scope: RunScope) -> list[list[str]]:
        pair = await asyncio.gather(*[self.one(name, scope, in_turn=True) for name in "ab"])
        await world["is"].rest()
        return pair


class Alike(BaseAgent):
    """Twelve tasks that begin alike and go on each in its own way."""

    name = "alike"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        done = await asyncio.gather(*[self.one(number, scope) for number in range(12)])
        await world["is"].rest()
        return done

    async def one(self, number: int, scope: RunScope) -> str:
        await scope.tools.call(act, "same")
        return await scope.tools.call(act, f"own {number}")


class Sharing(Pair):
    """Two tasks that begin with one named step, which only one of them takes."""

    name = "sharing"

    async def first(self, number: str, scope: RunScope) -> str:
        return await scope.step("shared", do, "shared")


class Timed(Pair):
    """Each step in a `wait_for`, which makes a task of its own on Python 3.11."""

    name = "timed"

    async def first(self, number: str, scope: RunScope) -> str:
        return await asyncio.wait_for(scope.tools.call(act, number), 20)

    async def second(self, number: str, scope: RunScope) -> str:
        return await asyncio.wait_for(super().second(number, scope), 20)


class Impatient(BaseAgent):
    """Gives up what takes forever, in the way and of the kind that its task says, and asks for something else."""

    name = "impatient"

    async def run(self, task: str, scope: RunScope) -> str:
        way, kind = task.split()
        slow = partial(scope.model, "never") if kind == "request" else partial(scope.tools.call, never)
        said = await (self.in_time(slow, scope) if way == "timeout" else self.race(slow, scope))
        await world["is"].rest()
        return f"{said}, {(await scope.model('after')).text}"

    async def in_time(self, slow: Callable[[], Awaitable[Any]], scope: RunScope) -> str:
        try:
            async with asyncio.timeout(0.2):
                return str(await slow())
        except TimeoutError:
            return (await scope.model("instead")).text

    async def race(self, slow: Callable[[], Awaitable[Any]], scope: RunScope) -> str:
        async with asyncio.TaskGroup() as group:
            slower = group.create_task(self.awaited(slow))
            await turns()
            await until(lambda: "never" in [*world["is"].asked, *world["is"].did])
            said = (await scope.model("instead")).text
            slower.cancel()
        return said

    async def awaited(self, slow: Callable[[], Awaitable[Any]]) -> None:
        await slow()


class Cut(BaseAgent):
    """Asks for what its process does not live to see."""

    name = "cut"

    async def run(self, task: str, scope: RunScope) -> str:
        try:
            return (await scope.model(task)).text
        except asyncio.CancelledError:
            world["is"].did.append("cut off")
            raise


class Odd(BaseAgent):
    """Asks, calls what it is told to and asks with the answers, whatever characters are in them."""

    name = "odd"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        reply = await scope.model("half \ud800 a question", tools=(act,))
        answers = await scope.tools.answer(reply.tool_calls)
        said = [UserMessage("half"), AssistantMessage(reply.text, reply.tool_calls), *answers]
        last = await scope.model([*said, UserMessage("and \udfff now?")])
        await world["is"].rest()
        return [reply.text, *[answer.content for answer in answers], last.text]


class Pricing(BaseAgent):
    """Takes one named step in a call and in its own code, in the order of its task."""

    name = "pricing"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        return [await self.take(word, scope) for word in task.split()]

    async def take(self, word: str, scope: RunScope) -> str:
        match word.partition(":"):
            case ("call", _, then):
                return await scope.tools.call(priced, then)
            case ("rest", _, _):
                await world["is"].rest()
                return "rested"
            case _:
                return await scope.step("price", do, "price")


@asynccontextmanager
async def runtime(home: Path) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Pair, Rootless, Alike, Sharing, Timed, Impatient, Cut, Odd, Pricing], default="pair")
    async with Runtime(registry, Settings(home=home, drain_seconds=0.01), model=Model()) as made:
        yield made


Order = tuple[str, ...]


async def lived(home: Path, agent: str, task: str, *lives: Order) -> list[DurableEvent]:
    """The events of a run that lived in so many processes; in each, gated things were done in its order."""
    run_id = ""
    for life, order in enumerate(lives, 1):
        world["is"].begin(last=life == len(lives))
        async with runtime(home) as process, asyncio.TaskGroup() as group:
            if not run_id:
                accepted = await process.admission.post("ada", frozenset(), Post(content=task, agent=agent))
                run_id = accepted.run_id
            letting = group.create_task(world["is"].let(*order))
            if life == len(lives):
                told = [decode(body) async for seq, body in process.reader.follow("ada", run_id, 0) if seq is not None]
                letting.cancel()
                return told
            await letting
            # One that was let do only a part has not come to where it rests.
            if not order or set(order) == set(PAIR):
                await world["is"].held.wait()
    raise AssertionError("a run has a life")


def output(events: list[DurableEvent]) -> Any:
    """The output of a run, which must have completed."""
    ending = events[-1]
    assert isinstance(ending, AgentCompleted), ending
    return ending.output


ORDERS: list[Order] = [PAIR, ("b1", "b2", "a1", "a2"), ("a1", "b1", "b2", "a2"), ("b1", "a1", "a2", "b2")]


@pytest.mark.parametrize("second", ORDERS, ids="-".join)
@pytest.mark.parametrize("first", ORDERS, ids="-".join)
@pytest.mark.parametrize("agent", ["pair", "rootless", "timed"])
def test_two_tasks_that_overtake_each_other_in_one_life_and_not_in_the_next_come_to_the_same(
    tmp_path: Path, agent: str, first: Order, second: Order
) -> None:
    world["is"] = World(*PAIR)
    events = run(lived(tmp_path, agent, "in turn", first, second))
    assert output(events) == [["did a1", "re a2"], ["did b1", "re b2"]]
    assert world["is"].did == [each for each in first if "1" in each]
    assert world["is"].asked == [each for each in first if "2" in each]


def test_tasks_that_began_alike_each_get_what_was_theirs(tmp_path: Path) -> None:
    world["is"] = World()
    events = run(lived(tmp_path, "alike", "go", (), ()))
    assert output(events) == [f"did own {number}" for number in range(12)]
    assert len(world["is"].did) == 24


def test_a_task_whose_first_step_another_has_taken_finds_what_was_its_own(tmp_path: Path) -> None:
    world["is"] = World()
    events = run(lived(tmp_path, "sharing", "go", (), (), ()))
    assert output(events) == [["did shared", "re a2"], ["did shared", "re b2"]]
    assert world["is"].did == ["shared"]
    assert sorted(world["is"].asked) == ["a2", "b2"]


@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize("first", ORDERS, ids="-".join)
def test_two_tasks_that_were_left_in_the_middle_go_on_from_there_in_another_order(
    tmp_path: Path, first: Order, done: int
) -> None:
    world["is"] = World(*PAIR)
    before = first[:done]
    after = tuple(each for each in ORDERS[1] if each not in before)
    events = run(lived(tmp_path, "pair", "at once", before, after))
    assert output(events) == [["did a1", "re a2"], ["did b1", "re b2"]]
    for each in before:
        assert [*world["is"].did, *world["is"].asked].count(each) == 1, "it was done, and is not done again"


@pytest.mark.parametrize("way", ["timeout", "race"])
@pytest.mark.parametrize("kind", ["request", "call"])
def test_what_the_agent_gave_up_it_gives_up_again_and_goes_the_same_way(tmp_path: Path, way: str, kind: str) -> None:
    world["is"] = World()
    events = run(lived(tmp_path, "impatient", f"{way} {kind}", (), (), ()))
    assert output(events) == "re instead, re after"
    assert world["is"].did == (["never"] if kind == "call" else [])
    assert world["is"].asked == ["never", "instead", "after"][kind == "call" :]
    begun = [event.call_id for event in events if isinstance(event, ToolExecuting)]
    ended = [(event.call_id, event.error and event.error.code) for event in events if isinstance(event, ToolCompleted)]
    assert ended == [(call_id, "cancelled") for call_id in begun]
    assert len(begun) == (kind == "call")


def test_a_request_that_the_end_of_the_process_cut_off_was_not_given_up(tmp_path: Path) -> None:
    world["is"] = World()
    events = run(lived(tmp_path, "cut", "once held", (), ()))
    assert output(events) == "re once held"
    assert world["is"].did == ["cut off"]
    assert world["is"].asked == ["once held"] * 2


def test_half_a_surrogate_pair_in_a_reply_breaks_no_run_in_no_life(tmp_path: Path) -> None:
    world["is"] = World()
    call = ToolCall("call \ud800", "act", '{"what": "\ud800"}')
    world["is"].replies["half \ud800 a question"] = Reply(text="half \ud800", thinking="\udfff", tool_calls=(call,))
    world["is"].replies["and \udfff now?"] = Reply(text="é😀 \ud83d")
    events = run(lived(tmp_path, "odd", "go", (), ()))
    assert output(events) == ["half ?", "did ?", "é😀 ?"]
    assert world["is"].did == ["?"]
    assert world["is"].asked == ["half \ud800 a question", "and \udfff now?"]


@pytest.mark.parametrize(
    ("task", "gives"),
    [
        ("own rest call:ends", ["did price", "rested", "did price in a call"]),
        ("own call:ends rest own", ["did price", "did price in a call", "rested", "did price"]),
        ("call:ends rest own", ["did price in a call", "rested", "did price"]),
        ("call:ends own rest", ["did price in a call", "did price", "rested"]),
        ("call:ends rest call:ends own", ["did price in a call", "rested", "did price in a call", "did price"]),
        ("call:rests own", ["did price in a call", "did price"]),
    ],
)
def test_a_named_step_is_taken_once_be_it_in_a_call_or_in_the_agents_own_code(
    tmp_path: Path, task: str, gives: list[str]
) -> None:
    world["is"] = World()
    assert output(run(lived(tmp_path, "pricing", task, (), ()))) == gives
    assert world["is"].did == ["price"]
