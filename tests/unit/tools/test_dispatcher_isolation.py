"""Two users inside the same tool at once: each sees his own, and neither can hold up the other."""

import asyncio
import contextvars
import threading

import pytest
from tests.unit.tools.support import bench, hosting, run, until

from netra_apex.core.scope import RunScope
from netra_apex.tools import ToolHost, tool

USERS = [f"user{number}" for number in range(10)]
whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody")


def test_users_inside_one_async_tool_at_once_each_see_their_own() -> None:
    together = asyncio.Barrier(len(USERS))

    @tool
    async def visit(canary: str, *, scope: RunScope) -> list[str]:
        found = whose.get()
        whose.set(scope.context.user_id)
        await together.wait()  # holds everybody inside at once
        return [canary, scope.context.user_id, scope.context.run_id, whose.get(), found]

    async def main() -> None:
        async with hosting() as host:
            await check(host)

    async def check(host: ToolHost) -> None:
        benches = {user: bench(visit, user=user, host=host) for user in USERS}
        async with asyncio.TaskGroup() as group:
            for user, made in benches.items():
                group.create_task(made.ask(("visit", f'{{"canary":"canary-{user}"}}')))
        for user, made in benches.items():
            (end,) = made.recorder.completed()
            assert end.result == [f"canary-{user}", user, made.context.run_id, user, "nobody"]
            assert [context.user_id for context in made.contexts] == [user]
            others = [other for other in USERS if other != user]
            assert not any(f"canary-{other}" in str(made.recorder.events) for other in others)

    run(main())


def test_users_inside_one_blocking_tool_at_once_each_see_their_own() -> None:
    together = threading.Barrier(len(USERS), timeout=10)
    local = threading.local()

    @tool
    def visit(canary: str, *, scope: RunScope) -> list[str]:
        found = [whose.get(), getattr(local, "whose", "nobody")]
        whose.set(scope.context.user_id)
        local.whose = scope.context.user_id
        together.wait()  # holds everybody inside at once
        return [canary, scope.context.user_id, whose.get(), local.whose, *found]

    async def main() -> None:
        async with hosting() as host:
            for _ in range(3):  # a second round may find nothing of the first
                benches = {user: bench(visit, user=user, host=host) for user in USERS}
                async with asyncio.TaskGroup() as group:
                    for user, made in benches.items():
                        group.create_task(made.ask(("visit", f'{{"canary":"canary-{user}"}}')))
                for user, made in benches.items():
                    (end,) = made.recorder.completed()
                    assert end.result == [f"canary-{user}", user, user, user, "nobody", "nobody"]

    run(main())


def test_one_users_hanging_tools_do_not_stop_anothers() -> None:
    release = threading.Event()
    inside = threading.Semaphore(0)

    @tool
    def hangs() -> bool:
        inside.release()
        return release.wait()

    @tool
    def answers() -> str:
        return "served"

    async def main() -> None:
        async with hosting() as host:
            ada, bob = bench(hangs, host=host), bench(answers, user="bob", host=host)
            asking = asyncio.ensure_future(ada.ask(*[("hangs", "{}")] * 70))
            await until(lambda: host.threads.running == 16)
            assert await bob.ask(("answers", "{}")) == ["served"]
            assert host.threads.running == 16
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert host.threads.running == 16  # given up, and still holding their slots
            assert await bob.ask(*[("answers", "{}")] * 20) == ["served"] * 20
            release.set()
            await until(lambda: host.threads.running == 0)

    try:
        run(main())
    finally:
        release.set()


def test_permissions_are_the_runs_own() -> None:
    @tool(requires="orders:read")
    async def orders(*, scope: RunScope) -> str:
        return scope.context.user_id

    async def main() -> None:
        async with hosting() as host:
            ada = bench(orders, user="ada", permissions=["orders:read"], host=host)
            bob = bench(orders, user="bob", host=host)
            first, second = await asyncio.gather(ada.ask(("orders", "{}")), bob.ask(("orders", "{}")))
            assert first == ["ada"]
            assert second[0].startswith("Error (denied)")

    run(main())


def test_a_tools_definition_is_the_same_after_use() -> None:
    @tool
    async def find(query: str, tags: list[str] | None = None) -> list[str]:
        found = tags or []
        found.append(query)
        return found

    async def main() -> None:
        before = (find.parameters, find.function.__defaults__)
        made = bench(find)
        for spec in made.dispatcher.offered():
            dict(spec.parameters)["properties"].clear()
        assert await made.ask(("find", '{"query":"a","tags":["x"]}'), ("find", '{"query":"b"}')) == [
            '["x","a"]',
            '["b"]',
        ]
        assert (find.parameters, find.function.__defaults__) == before

    run(main())
