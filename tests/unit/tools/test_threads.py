"""Threads for blocking tools: bounded, fair, and nothing left in them for the next user."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time

import pytest
from tests.unit.tools.support import run, until

from netra_apex.errors import CallFailed
from netra_apex.tools.threads import ToolThreads

whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody")
local = threading.local()


def test_a_function_runs_off_the_loop_and_its_value_comes_back() -> None:
    async def main() -> None:
        threads = ToolThreads()
        ident = await threads.run("ada", threading.get_ident)
        assert ident != threading.get_ident()
        assert threads.running == 0

    run(main())


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_comes_back_as_it_is(raised: BaseException) -> None:
    def fail() -> None:
        raise raised

    async def main() -> BaseException:
        try:
            await ToolThreads().run("ada", fail)
        except BaseException as error:  # noqa: BLE001 - which one is the question
            return error
        raise AssertionError("it did not fail")

    assert run(main()) is raised


def test_a_stop_iteration_does_not_hang_its_caller() -> None:
    def fail() -> None:
        next(iter([]))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await ToolThreads().run("ada", fail)

    run(main())


def test_contextvars_and_thread_locals_of_one_user_are_not_seen_by_the_next() -> None:
    def visit(user: str) -> tuple[str, str]:
        found = (whose.get(), getattr(local, "whose", "nobody"))
        whose.set(user)
        local.whose = user
        return found

    async def main() -> None:
        threads = ToolThreads(size=1)
        for user in ("ada", "bob", "cyd"):
            assert await threads.run(user, lambda user=user: visit(user)) == ("nobody", "nobody")
        assert whose.get() == "nobody"

    run(main())


def test_the_callers_contextvars_are_seen_inside() -> None:
    async def main() -> str:
        whose.set("ada")
        return await ToolThreads().run("ada", whose.get)

    assert run(main()) == "ada"


def test_one_users_hanging_calls_leave_threads_for_another() -> None:
    release = threading.Event()

    async def main() -> None:
        threads = ToolThreads(size=8, per_user=4)
        async with asyncio.TaskGroup() as group:
            hanging = [group.create_task(threads.run("ada", release.wait)) for _ in range(20)]
            await until(lambda: threads.running == 4)
            assert await threads.run("bob", lambda: "served") == "served"
            assert threads.running == 4
            assert not any(task.done() for task in hanging)
            release.set()
        assert all(task.result() for task in hanging)
        assert threads.running == 0

    try:
        run(main())
    finally:
        release.set()


def test_never_more_threads_than_the_process_may_have() -> None:
    together = threading.Barrier(3, timeout=10)
    count = threading.Lock()
    now, most = 0, 0

    def work() -> None:
        nonlocal now, most
        with count:
            now += 1
            most = max(most, now)
        together.wait()  # passes only with three inside at once
        with count:
            now -= 1

    async def main() -> None:
        threads = ToolThreads(size=3, per_user=2)
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(threads.run(f"user{number % 4}", work))

    run(main())
    assert most == 3


def test_a_free_slot_goes_round_the_users_who_wait() -> None:
    release = threading.Event()
    served: list[str] = []

    async def main() -> None:
        threads = ToolThreads(size=1, per_user=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(threads.run("first", release.wait))
            await until(lambda: threads.running == 1)
            for user in ("ada", "ada", "ada", "bob", "cyd"):
                group.create_task(threads.run(user, lambda user=user: served.append(user)))
                await asyncio.sleep(0)  # each is in the queue before the next
            release.set()

    try:
        run(main())
    finally:
        release.set()
    assert served == ["ada", "bob", "cyd", "ada", "ada"]


def test_a_call_that_is_given_up_holds_its_slot_until_its_thread_ends() -> None:
    release = threading.Event()

    async def main() -> None:
        threads = ToolThreads(size=1, per_user=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await threads.run("ada", release.wait)
        assert threads.running == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await threads.run("ada", lambda: "no slot for it")
        release.set()
        assert await threads.run("ada", lambda: "served") == "served"
        assert threads.running == 0

    try:
        run(main())
    finally:
        release.set()


def test_a_call_that_is_cancelled_as_its_slot_comes_gives_the_slot_back() -> None:
    release = threading.Event()

    async def main() -> None:
        threads = ToolThreads(size=1, per_user=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(threads.run("ada", release.wait))
            await until(lambda: threads.running == 1)
            waiting = asyncio.ensure_future(threads.run("bob", lambda: "bob"))
            await asyncio.sleep(0)
            threads._slots.release("ada")  # bob is given the slot, and is cancelled before he can take it
            waiting.cancel()
            threads._slots._held["ada"] += 1
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert threads.running == 1
            release.set()
        assert await threads.run("cyd", lambda: "served") == "served"
        assert threads.running == 0

    try:
        run(main())
    finally:
        release.set()


def test_closing_refuses_those_who_wait_and_whoever_comes() -> None:
    release = threading.Event()

    async def main() -> None:
        threads = ToolThreads(size=1, per_user=1)
        running = asyncio.ensure_future(threads.run("ada", release.wait))
        await until(lambda: threads.running == 1)
        waiting = asyncio.ensure_future(threads.run("bob", lambda: "bob"))
        await asyncio.sleep(0)
        threads.close()
        with pytest.raises(CallFailed, match="stopping"):
            await waiting
        with pytest.raises(CallFailed, match="stopping"):
            await threads.run("cyd", lambda: "cyd")
        release.set()
        assert await running
        assert threads.running == 0

    try:
        run(main())
    finally:
        release.set()


def test_a_thread_that_ends_after_its_loop_harms_nobody() -> None:
    release = threading.Event()
    before = set(threading.enumerate())

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await ToolThreads().run("ada", release.wait)

    run(main())
    (left,) = set(threading.enumerate()) - before
    release.set()
    left.join(timeout=10)
    assert not left.is_alive()
    gc.collect()


def test_a_function_that_never_returns_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, threading
from netra_apex.tools.threads import ToolThreads
async def main():
    try:
        async with asyncio.timeout(0.02):
            await ToolThreads().run("ada", threading.Event().wait)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert ended.stdout == b"given up\n"
    assert time.monotonic() - began < 60
