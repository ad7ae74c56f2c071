"""`scope.store.memory` and `scope.store.admin`: a memory is its user's own, administration leaves its rows (G5, G7)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import raw

from netra_apex import (
    AgentRegistry,
    BaseAgent,
    CallFailed,
    ChatAgent,
    RunScope,
    Runtime,
    Settings,
    admin_tools,
    forget,
    recall,
    remember,
    tool,
)
from netra_apex.core.administration import Actor
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCancelled, AgentCompleted, ApprovalRequested, ToolCompleted, decode
from netra_apex.core.messages import ModelRequest
from netra_apex.core.runs import RunStatus
from netra_apex.errors import Forbidden, ScopeClosed
from netra_apex.testing import Harness, Outcome, ScriptedModel, harness

PEOPLE = ("ada", "bob")
world: dict[str, Any] = {}
ROOT = Actor(user_id="root", permissions=frozenset({"admin"}))


class Friend(ChatAgent):
    """Remembers."""

    name = "friend"
    tools = (remember, recall, forget)


class Clerk(ChatAgent):
    """Administers."""

    name = "clerk"
    tools = admin_tools


class Diary(BaseAgent):
    """Notes its message, at the same moment as others do, and says what it remembers."""

    name = "diary"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        if "both" in world:
            await world["both"].wait()
        await scope.store.memory.remember(task)
        await scope.store.memory.remember(task, key="last")
        if "both" in world:
            await world["both"].wait()
        found = await scope.store.memory.search("the secret of ada and of bob", limit=50)
        return [memory.text for memory in found]


class Steady(BaseAgent):
    """Looks, notes and forgets, and then rests in its first life."""

    name = "steady"

    async def run(self, task: str, scope: RunScope) -> dict[str, Any]:
        memory = scope.store.memory
        before = [each.text for each in await memory.all()]
        made = await memory.remember(task)
        found = [each.text for each in await memory.search(task)]
        gone = await memory.forget(made.memory_id)
        users = [user.user_id for user in (await scope.store.admin.users()).items]
        if "resting" in world:
            world["resting"].set()
            await asyncio.Event().wait()
        return {"before": before, "found": found, "gone": gone, "users": users}


class Patient(BaseAgent):
    """Waits until it is stopped."""

    name = "patient"

    async def run(self, task: str, scope: RunScope) -> str:
        world["scope"] = scope
        world["waiting"].set()
        await asyncio.Event().wait()
        return ""


class Sneak(BaseAgent):
    """Goes past the tools."""

    name = "sneak"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        admin, said = scope.store.admin, []
        for ask in (
            lambda: admin.users(),
            lambda: admin.runs(),
            lambda: admin.audit(),
            lambda: admin.cancel_run("run_x"),
            lambda: admin.set_disabled("bob", disabled=True),
        ):
            try:
                await ask()
            except Forbidden as error:
                said.append(error.code)
        said += [failed async for failed in denied(scope)]
        return said


async def denied(scope: RunScope) -> AsyncIterator[str]:
    for each in admin_tools:
        try:
            await scope.tools.call(each)
        except CallFailed as error:
            yield error.code


@tool
async def keep_both(scope: RunScope) -> list[str]:
    """Remember two things in one call."""
    return [(await scope.store.memory.remember(text)).text for text in ("one thing", "another thing")]


class Twice(BaseAgent):
    """Calls the tool that remembers two things."""

    name = "twice"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        return await scope.tools.call(keep_both)


REGISTRY = AgentRegistry([Friend, Clerk, Diary, Steady, Patient, Sneak, Twice])


async def accounts(app: Harness | Runtime) -> None:
    stores = app.stores if isinstance(app, Runtime) else app.runtime.stores
    await stores.accounts.add_user("root", "h", frozenset({"admin"}))
    await stores.accounts.add_user("ada", "h", frozenset())


async def audited(app: Harness) -> list[tuple[str, str, str | None, str | None]]:
    rows = await raw(app.runtime.stores, "select actor, action, subject, run_id from audit order by at, audit_id")
    return [tuple(row) for row in rows]  # type: ignore[misc]


def results(outcome: Outcome) -> list[Any]:
    return [each.result if each.ok else each.error for each in outcome.of(ToolCompleted)]


def test_what_one_thread_has_remembered_another_one_recalls_and_another_user_does_not() -> None:
    async def main() -> None:
        asks = ("recall", {"query": "which tea?"})
        steps = [("remember", {"text": "Ada takes her tea green"}), "Noted.", asks, "Green."]
        model = ScriptedModel([*steps, asks, "I do not know."])
        async with model, harness(REGISTRY, model=model) as app:
            await app.ask("I take my tea green", agent="friend")
            assert [each["text"] for each in results(await app.ask("Which?", agent="friend"))[0]] == [
                "Ada takes her tea green"
            ]
            assert results(await app.ask("Which?", agent="friend", user="bob")) == [[]]

    run(main())


def test_the_tools_replace_by_key_and_forget_by_id() -> None:
    async def main() -> None:
        def forgets(request: ModelRequest) -> Any:
            found = request.messages[-1].content.split('"memory_id":"')[1].split('"')[0]
            return ("forget", {"memory_id": found})

        model = ScriptedModel(
            [
                ("remember", {"text": "lives in Rome", "key": "home"}),
                ("remember", {"text": "lives in Paris", "key": "home"}),
                forgets,
                ("forget", {"memory_id": "mem_none"}),
                "Done.",
            ]
        )
        async with model, harness(REGISTRY, model=model) as app:
            said = results(await app.ask("go", agent="friend"))
            assert [said[0]["key"], said[1]["key"]] == ["home", "home"]
            assert said[0]["memory_id"] == said[1]["memory_id"]
            assert said[2:] == ["forgotten", "there is no such memory"]
            assert (await app.runtime.stores.memories.page("ada")).items == ()

    run(main())


def test_a_secret_is_not_remembered() -> None:
    async def main() -> None:
        secret = "sk-proj-" + "a1B2c3D4" * 6
        # The model's own: what a user says is redacted before any agent sees it.
        model = ScriptedModel([("remember", {"text": f"the key is {secret}", "key": f"key {secret}"}), "Noted."])
        async with model, harness(REGISTRY, model=model) as app:
            await app.ask("go", agent="friend")
            rows = await raw(
                app.runtime.stores, "select text || slot from memories union all select word from memory_words"
            )
            assert rows
            assert not [row for row in rows if secret[8:40].casefold() in row[0].casefold()]

    run(main())


def test_two_users_whose_runs_remember_at_once_recall_their_own_alone() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            world["both"] = asyncio.Barrier(2)
            for turn in range(5):
                asked = [app.ask(f"the secret of {user} {turn}", user=user, agent="diary") for user in PEOPLE]
                for user, outcome in zip(PEOPLE, await asyncio.gather(*asked), strict=True):
                    assert len(outcome.output) == turn + 2
                    assert all(user in text for text in outcome.output)
            del world["both"]

    run(main())


def test_a_run_that_is_taken_up_sees_what_it_saw_and_does_it_once(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings.load(home=tmp_path, drain_seconds=0.1)
        world["resting"] = asyncio.Event()
        async with Runtime(REGISTRY, settings) as runtime:
            await accounts(runtime)
            await runtime.stores.memories.remember("root", "an old fact")
            post = Post(content="new fact", agent="steady")
            accepted = await runtime.admission.post("root", ROOT.permissions, post)
            async with asyncio.timeout(20):
                await world["resting"].wait()
            await runtime.stores.memories.remember("root", "a fact of later")
            await runtime.stores.accounts.add_user("zoe", "h", frozenset())
        del world["resting"]
        async with Runtime(REGISTRY, settings) as runtime:
            async with asyncio.timeout(20):
                told = [
                    text async for seq, text in runtime.reader.follow("root", accepted.run_id, 0) if seq is not None
                ]
            ended = decode(told[-1])
            assert isinstance(ended, AgentCompleted), ended
            assert ended.output == {
                "before": ["an old fact"],
                "found": ["new fact", "an old fact"],
                "gone": True,
                "users": ["ada", "root"],
            }
            kept = {memory.text for memory in (await runtime.stores.memories.page("root")).items}
            assert kept == {"an old fact", "a fact of later"}
            assert await raw(runtime.stores, "select count(*) from audit") == [(1,)]

    run(main(), limit=60)


def test_a_scope_that_is_kept_remembers_and_administers_nothing_after_its_run() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            await accounts(app)
            world["waiting"] = asyncio.Event()
            accepted = await app.post("go", user="root", permissions=["admin"], agent="patient")
            await world["waiting"].wait()
            await app.runtime.admission.cancel("root", accepted.run_id)
            store = world.pop("scope").store
            for late in (store.memory.remember("x"), store.memory.search("x"), store.memory.all(), store.admin.users()):
                with pytest.raises(ScopeClosed):
                    await late
            assert await audited(app) == []

    run(main())


def test_one_call_may_remember_several_things() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            assert (await app.ask("go", agent="twice")).output == ["one thing", "another thing"]

    run(main())


def test_without_the_permission_no_tool_is_offered_and_each_is_denied_without_a_row() -> None:
    async def main() -> None:
        model = ScriptedModel([("list_users", {}), "No."])
        async with model, harness(REGISTRY, model=model) as app:
            await accounts(app)
            outcome = await app.ask("Who is there?", agent="clerk")
            assert [error.code for error in outcome.errors()] == ["denied"]
            assert model.requests[0].tools == ()
            sneaked = await app.ask("go", agent="sneak")
            assert sneaked.output == ["forbidden"] * 5 + ["denied"] * 6
            assert await audited(app) == []
            # What an account has lost meanwhile its context may have still.
            assert (await app.ask("go", agent="sneak", permissions=["admin"])).output[:5] == ["forbidden"] * 5
            assert await audited(app) == []

    run(main())


def test_each_call_of_an_administrators_agent_leaves_its_row_with_its_run() -> None:
    async def main() -> None:
        model = ScriptedModel([("list_users", {}), ("list_runs", {"status": "running"}), ("read_audit", {}), "Done."])
        async with model, harness(REGISTRY, model=model) as app:
            await accounts(app)
            outcome = await app.ask("Look", user="root", permissions=["admin"], agent="clerk")
            assert outcome.ok
            users, runs, audit = results(outcome)
            assert users["users"][0] == {"user_id": "ada", "permissions": [], "disabled": False}
            assert [each["run_id"] for each in runs["runs"]] == [outcome.run_id]
            assert [entry["action"] for entry in audit["entries"]] == ["list_runs", "list_users"]
            assert await audited(app) == [
                ("root", action, None, outcome.run_id) for action in ("list_users", "list_runs", "read_audit")
            ]
            assert {spec.name for spec in model.requests[0].tools} == {each.name for each in admin_tools}

    run(main())


def test_what_is_done_to_others_waits_for_a_yes_and_is_audited_once_it_is_done() -> None:
    async def main() -> None:
        model = ScriptedModel([("disable_user", {"user_id": "ada"}), ("disable_user", {"user_id": "root"}), "Done."])
        async with model, harness(REGISTRY, model=model) as app:
            await accounts(app)
            stores = app.runtime.stores
            accepted = await app.post("Disable ada", user="root", permissions=["admin"], agent="clerk")
            for allowed in (False, True):
                while not (waiting := (await stores.approvals.pending("root")).items):  # noqa: ASYNC110
                    await asyncio.sleep(0)
                user = await stores.accounts.user("ada")
                assert user is not None
                assert user.disabled is allowed
                await app.runtime.house.decide("root", waiting[0].approval_id, "approve", None)
            outcome = await app.outcome("root", accepted)
            assert len(outcome.of(ApprovalRequested)) == 2
            assert [error.message for error in outcome.errors()] == [
                "Invalid: nobody disables himself: another administrator can"
            ]
            assert await audited(app) == [("root", "disable_user", "ada", accepted.run_id)]

    run(main())


def test_an_administrator_has_anybodys_run_end_as_the_operator_does() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            await accounts(app)
            # The second time too: the process looks by itself when it starts, and then hardly ever.
            for _ in range(2):
                world["waiting"] = asyncio.Event()
                accepted = await app.post("wait", user="ada", agent="patient")
                await world["waiting"].wait()
                run = await app.runtime.stores.administration.cancel_run(ROOT, accepted.run_id)
                assert run.status is RunStatus.RUNNING
                outcome = await app.outcome("ada", accepted, seconds=2.5)
                last = outcome.events[-1]
                assert isinstance(last, AgentCancelled)
                assert last.by == "operator"

    run(main())
