"""No state passes from one run to another: by no agent, class, context variable, thread or module."""

import asyncio
import collections
import contextvars
import gc
import itertools
import json
import sys
import types
from pathlib import Path

import pytest
from tests.isolation.served_app import secret_of
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import check_run

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, Runtime, Settings, tool
from netra_apex.core.conversations import Post
from netra_apex.testing import ScriptedModel

APP = Path(__file__).with_name("served_app.py")
parties = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("state"), app=APP, wire=wire, people=20) as server:
        yield server
        assert "Traceback" not in server.log()


def _check_output(output, name, task):
    """The witness found nothing of anybody, and kept its own."""
    assert output["attributes"] == []
    assert output["variable"] == "nobody's"
    assert (output["task"], output["user"], output["variable afterwards"]) == (task, name, name)
    assert output["notes"][0] == name
    # The tool saw the agent's variable, as it is called by it; in a thread as well, but nothing of the thread's past.
    assert output["notes"][1].startswith(f"{secret_of(name)} {name} {name} ")
    assert output["in a thread"]["before"] == [name, "nobody's"]
    assert output["in a thread"]["after"] == [name, name]


async def _witness(socket, task, **more):
    accepted = await socket.ask(task, agent="witness", **more)
    ending = await socket.ended(accepted["run_id"], seconds=40)
    check_run(socket.of(accepted["run_id"]))
    return ending["output"]


def test_ten_users_in_the_same_agent_at_once_each_keep_their_own_state(server):
    async def scenario(client):
        logins = [await client.login(server.person()) for _ in range(10)]
        sockets = [await client.socket(login) for login in logins]
        task = f"the same for all party:p{next(parties)}:10"
        outputs = await asyncio.gather(*(_witness(socket, task) for socket in sockets))
        for login, output in zip(logins, outputs, strict=True):
            _check_output(output, login.name, task)
            assert output["history"] == "()"
        assert len({output["instance"] for output in outputs}) == 10

    play(server, scenario)


def test_a_run_finds_nothing_of_the_runs_before_it_in_the_same_process(server):
    async def scenario(client):
        first, second = await client.login(server.person()), await client.login(server.person())
        mine, theirs = await client.socket(first), await client.socket(second)
        for round_ in range(3):
            for login, socket in ((first, mine), (second, theirs)):
                task = f"round {round_} of {login.name}"
                output = await _witness(socket, task)
                _check_output(output, login.name, task)
                assert output["history"] == "()"

    play(server, scenario)


def test_two_tabs_of_one_user_in_two_threads_are_two_conversations(server):
    async def scenario(client):
        login = await client.login(server.person())
        tabs = [await client.socket(login), await client.socket(login)]
        threads = [await client.thread(login, f"title {number}") for number in range(2)]
        for round_ in range(2):
            tasks = [f"tab {number} round {round_} party:p{round_}tabs{login.name}:2" for number in range(2)]
            outputs = await asyncio.gather(
                *(_witness(tab, task, thread_id=thread) for tab, task, thread in zip(tabs, tasks, threads, strict=True))
            )
            assert outputs[0]["instance"] != outputs[1]["instance"]
            for number, output in enumerate(outputs):
                assert output["attributes"] == []
                assert output["task"] == tasks[number]
                # What was said before in this thread, and nothing of the other's.
                assert f"tab {1 - number}" not in output["history"]
                assert (f"tab {number} round 0" in output["history"]) == (round_ == 1)
        for number, tab in enumerate(tabs):
            told = "".join(text for text in tab.texts if '"seq"' in text)
            assert f"tab {1 - number}" not in told

    play(server, scenario)


WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("whose request", default="nobody's")


class Reader(BaseAgent):
    """Tells whose context it runs in, once it is let go."""

    name = "reader"

    async def run(self, task, scope):
        await scope.think("reading")
        if task == "first":
            await scope.model("hold")
        return WHOSE.get()


def test_a_run_that_waited_for_another_users_run_begins_in_nobodys_context(tmp_path):
    async def main():
        held, release = asyncio.Event(), asyncio.Event()

        async def hold(_):
            held.set()
            await release.wait()
            return "go on"

        settings = Settings(home=tmp_path, runs_per_process=1)
        async with Runtime(AgentRegistry([Reader]), settings, model=ScriptedModel([hold])) as runtime:

            async def post(user_id, content):
                WHOSE.set(f"{user_id}'s")
                return await runtime.admission.post(user_id, frozenset(), Post(content=content))

            # Each in a task of its own, as each request is.
            ada = await asyncio.create_task(post("ada", "first"))
            await held.wait()
            bob = await asyncio.create_task(post("bob", "second"))
            release.set()
            return [await _output(runtime, "ada", ada), await _output(runtime, "bob", bob)]

    assert asyncio.run(asyncio.wait_for(main(), 20)) == ["ada's", "nobody's"]


async def _output(runtime, user_id, accepted):
    """The last event's text."""
    told = [text async for _, text in runtime.reader.follow(user_id, accepted.run_id, 0)]
    return json.loads(told[-1])["output"]


@tool
async def remember(query: str) -> str:
    """Nothing to remember."""
    return f"remembered {query}"


class Chatty(ChatAgent):
    """Talks and calls."""

    name = "chatty"
    tools = (remember,)


MUTABLE = (list, dict, set, collections.deque, collections.Counter, collections.defaultdict, bytearray)


def _shared_state():
    """What every module and class of the package holds that can change, as text."""
    found = {}
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith("netra_apex"):
            continue
        for name, value in vars(module).items():
            if isinstance(value, MUTABLE) and not name.startswith("__"):
                found[f"{module_name}.{name}"] = repr(value)
            if isinstance(value, type) and value.__module__ == module_name:
                for attribute, held in vars(value).items():
                    if isinstance(held, MUTABLE) and not attribute.startswith("__"):
                        found[f"{module_name}.{name}.{attribute}"] = repr(held)
    return found


def _reachable(*roots):
    """Every string that can be reached from these objects, but for code and what belongs to the interpreter."""
    seen, todo = set(), list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, types.ModuleType | types.FrameType | types.CodeType):
            continue
        seen.add(id(thing))
        if isinstance(thing, str):
            yield thing
            continue
        if isinstance(thing, types.FunctionType):
            todo += [thing.__closure__, thing.__defaults__, thing.__kwdefaults__]
            continue
        if isinstance(thing, type):
            if thing.__module__.startswith("netra_apex"):
                todo += [held for name, held in vars(thing).items() if not name.startswith("__")]
            continue
        todo += gc.get_referents(thing)


def test_no_module_class_or_running_part_holds_anything_of_a_run_that_has_ended(tmp_path):
    async def main():
        held = {name: asyncio.Event() for name in ("ada", "bob")}

        def steps(name):
            async def together(_):
                held[name].set()
                await asyncio.gather(*(event.wait() for event in held.values()))
                return "remember", {"query": f"canary-{name}"}

            return [together, f"the answer is canary-{name}"]

        model = ScriptedModel({f"I am canary-{name}": steps(name) for name in held} | {"warm up": ["warm"]})
        registry = AgentRegistry([Chatty])
        async with Runtime(registry, Settings(home=tmp_path), model=model) as runtime:

            async def ask(name, content):
                post = await runtime.admission.post(name, frozenset(), Post(content=content))
                told = "".join([text async for _, text in runtime.reader.follow(name, post.run_id, 0)])
                assert '"agent_completed"' in told
                return told

            await ask("warmer", "warm up")
            before = _shared_state()
            told = await asyncio.gather(*(ask(name, f"I am canary-{name}") for name in held))
            assert "canary-bob" not in told[0]
            assert "canary-ada" not in told[1]
            # What this test itself holds.
            told.clear()
            model.requests.clear()
            # The last turns of the loop for what the runs left to it.
            for _ in range(20):
                await asyncio.sleep(0)
            await runtime.stores.database.file.write(lambda _: None)
            await runtime.stores.database.file.read(lambda _: None)
            gc.collect()
            assert _shared_state() == before
            modules = [
                value
                for name, module in sys.modules.items()
                if name.startswith("netra_apex")
                for value in vars(module).values()
                if not isinstance(value, types.ModuleType)
            ]
            parts = [runtime.admission, runtime.hub, runtime.reader, runtime.manager, runtime.engines, runtime.stores]
            left = {text for text in _reachable(*parts, *modules, registry) if "canary-" in text}
            assert left == set()

    asyncio.run(asyncio.wait_for(main(), 30))
