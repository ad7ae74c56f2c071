"""What a run was lent is taken back with its ending: used later, it raises and tells nobody anything."""

import asyncio

import pytest

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, Runtime, Settings, UserExecutionContext, tool
from netra_apex.core.events import AgentThinking, decode
from netra_apex.errors import NotFound, ScopeClosed
from netra_apex.testing import ScriptedModel

kept = {}


@tool
async def keep(query: str, *, scope: RunScope) -> str:
    """Keeps the scope of its call, which no tool should."""
    kept[f"tool {scope.context.user_id}"] = scope
    return query


class Keeper(ChatAgent):
    """Keeps its scope, which no agent should."""

    name = "keeper"
    tools = (keep,)

    async def run(self, task, scope):
        kept[scope.context.user_id] = scope
        return await super().run(task, scope)


class Forger(BaseAgent):
    """Tells an event under another run's name."""

    name = "forger"

    async def run(self, task, scope):
        run_id, thread_id = task.split()
        voice = scope._lent.voice
        await voice.emit(
            AgentThinking(text="forged", step=1, run_id=run_id, thread_id=thread_id, agent="keeper", seq=9)
        )
        return "done"


def _play(tmp_path, scenario, steps):
    async def main():
        kept.clear()
        settings = Settings(home=tmp_path)
        async with (
            asyncio.timeout(20),
            Runtime(AgentRegistry([Keeper, Forger]), settings, model=ScriptedModel(steps)) as runtime,
        ):
            await scenario(runtime)

    asyncio.run(main())


async def _events(runtime, context):
    return [decode(text) for _, text in await runtime.stores.runs.events(context.user_id, context.run_id, 0)]


def test_scope_dispatcher_emitter_and_engine_raise_after_their_run_and_tell_nothing(tmp_path):
    async def scenario(runtime):
        context = UserExecutionContext.new("ada")
        async with runtime.engines.for_user(context) as engine:
            result = await engine.run("keeper", "remember me")
            assert result.ok
            with pytest.raises(ScopeClosed):
                await engine.run("keeper", "once more")
        told = await _events(runtime, context)
        runs = await runtime.stores.runs.all_runs()
        for scope in (kept["ada"], kept["tool ada"]):
            lent = scope._lent
            with pytest.raises(ScopeClosed):
                await scope.think("too late")
            with pytest.raises(ScopeClosed):
                await scope.model("too late")
            with pytest.raises(ScopeClosed):
                await scope.step("too late", asyncio.sleep, 0)
            with pytest.raises(ScopeClosed):
                await scope.tools.call(keep, "too late")
            with pytest.raises(ScopeClosed):
                await lent.dispatcher.call(keep, "too late")
            with pytest.raises(ScopeClosed):
                await lent.dispatcher.answer([])
            with pytest.raises(ScopeClosed):
                lent.dispatcher.offered()
            with pytest.raises(ScopeClosed):
                await lent.voice.emit(AgentThinking(text="too late", step=9))
        assert await _events(runtime, context) == told
        assert await runtime.stores.runs.all_runs() == runs

    _play(tmp_path, scenario, [("keep", {"query": "this"}), "kept"])


def test_two_scopes_that_are_open_at_once_are_each_their_own_users(tmp_path):
    inside = {}

    async def main():
        barrier = asyncio.Barrier(2)

        async def together(request):
            inside[request.messages[-1].content] = [message.content for message in request.messages]
            async with asyncio.timeout(10):
                await barrier.wait()
            return f"for {request.messages[-1].content}"

        async def scenario(runtime):
            contexts = {name: UserExecutionContext.new(name) for name in ("ada", "bob")}

            async def run(name):
                async with runtime.engines.for_user(contexts[name]) as engine:
                    return await engine.run("keeper", f"question of {name}")

            results = await asyncio.gather(run("ada"), run("bob"))
            assert [result.output for result in results] == ["for question of ada", "for question of bob"]
            assert inside == {f"question of {name}": [f"question of {name}"] for name in contexts}
            for name, context in contexts.items():
                assert kept[name].context is context
                assert {event.run_id for event in await _events(runtime, context)} == {context.run_id}
            assert kept["ada"]._lent is not kept["bob"]._lent
            assert kept["ada"]._lent.dispatcher is not kept["bob"]._lent.dispatcher

        kept.clear()
        model = ScriptedModel({f"question of {name}": [together] for name in ("ada", "bob")})
        async with (
            asyncio.timeout(20),
            Runtime(AgentRegistry([Keeper]), Settings(home=tmp_path), model=model) as runtime,
        ):
            await scenario(runtime)

    asyncio.run(main())


def test_an_emitter_cannot_be_made_to_speak_for_another_run(tmp_path):
    async def scenario(runtime):
        victim, forger = UserExecutionContext.new("victim"), UserExecutionContext.new("mallory")
        async with runtime.engines.for_user(victim) as engine:
            await engine.run("keeper", "mine")
        before = await _events(runtime, victim)
        async with runtime.engines.for_user(forger) as engine:
            await engine.run("forger", f"{victim.run_id} {victim.thread_id}")
        assert await _events(runtime, victim) == before
        told = await _events(runtime, forger)
        assert {(event.run_id, event.thread_id, event.agent) for event in told} == {
            (forger.run_id, forger.thread_id, "forger")
        }
        assert [event.seq for event in told] == list(range(1, len(told) + 1))

    _play(tmp_path, scenario, ["mine too"])


def test_a_program_cannot_run_in_another_users_thread(tmp_path):
    async def scenario(runtime):
        victim = UserExecutionContext.new("victim")
        async with runtime.engines.for_user(victim) as engine:
            await engine.run("keeper", "mine")
        intruder = UserExecutionContext.new("mallory", thread_id=victim.thread_id)
        with pytest.raises(NotFound):
            async with runtime.engines.for_user(intruder) as engine:
                await engine.run("keeper", "let me in")
        assert {run.user_id for run in await runtime.stores.runs.all_runs()} == {"victim"}
        # The slot of the run that was refused is free again.
        async with runtime.engines.for_user(UserExecutionContext.new("mallory")) as engine:
            assert (await engine.run("keeper", "my own")).ok

    _play(tmp_path, scenario, ["mine too", "yours"])
