"""`Quiet`: a run is left once it does nothing but wait for a person, and what is under way is not cut off for that."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.bounded import passed, run, until

from netra_apex.tools.quiet import QUIET_SECONDS, Quiet


def noticed(quiet: Quiet) -> asyncio.Event:
    """Set once it is quiet."""
    event = asyncio.Event()

    def on_quiet() -> bool:
        event.set()
        return True

    quiet.on_quiet = on_quiet
    return event


def scene(main: Callable[[Quiet, asyncio.TaskGroup], Awaitable[None]]) -> None:
    async def played() -> None:
        async with asyncio.TaskGroup() as group:
            await main(Quiet(), group)

    run(played())


async def beyond(seconds: float = 3 * QUIET_SECONDS) -> None:
    """Longer than a run that waits is watched before it is left."""
    await passed(seconds)


def test_a_run_that_waits_and_does_nothing_else_is_left() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)
        waiting = group.create_task(quiet.wait())
        await left.wait()
        assert not waiting.done()
        waiting.cancel()

    scene(main)


def test_a_run_in_which_nothing_waits_is_not_left() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)
        with quiet.busy():
            pass
        await beyond()
        assert not left.is_set()

    scene(main)


def test_what_is_under_way_is_not_cut_off_and_what_begins_soon_after_it_neither() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)
        waiting = group.create_task(quiet.wait())
        with quiet.busy():
            with quiet.busy():
                await beyond()
            await beyond()
            assert not left.is_set()
        for _ in range(5):
            await beyond(QUIET_SECONDS / 2)
            with quiet.busy():
                pass
        assert not left.is_set()
        await left.wait()
        waiting.cancel()

    scene(main)


def test_a_run_whose_waiting_was_given_up_is_not_left() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)
        waiting = group.create_task(quiet.wait())
        await beyond(QUIET_SECONDS / 3)
        waiting.cancel()
        await beyond()
        assert not left.is_set()

    scene(main)


def test_two_that_wait_are_left_together_and_one_that_gives_up_does_not_hold_up_the_other() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)
        first, second = group.create_task(quiet.wait()), group.create_task(quiet.wait())
        await beyond(QUIET_SECONDS / 3)
        first.cancel()
        await left.wait()
        second.cancel()

    scene(main)


def test_what_waits_inside_something_does_not_keep_it_busy() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)

        async def outer() -> None:
            with quiet.busy(repeatable=True):
                assert quiet.may_wait()
                await quiet.wait()

        waiting = group.create_task(outer())
        await left.wait()
        waiting.cancel()

    scene(main)


def test_what_is_busy_beside_it_inside_the_same_does() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left, done = noticed(quiet), asyncio.Event()

        async def beside() -> None:
            with quiet.busy():
                await done.wait()

        async def outer() -> None:
            with quiet.busy(repeatable=True):
                group.create_task(beside())
                await quiet.wait()

        waiting = group.create_task(outer())
        await beyond()
        assert not left.is_set()
        done.set()
        await left.wait()
        waiting.cancel()

    scene(main)


def test_two_that_wait_inside_one_thing_count_it_once() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        left = noticed(quiet)

        async def outer() -> None:
            with quiet.busy(repeatable=True):
                await asyncio.gather(quiet.wait(), quiet.wait())

        waiting = group.create_task(outer())
        with quiet.busy():
            await beyond()
            assert not left.is_set(), "what is busy elsewhere still is"
        await left.wait()
        waiting.cancel()

    scene(main)


def test_inside_of_what_could_not_begin_anew_nothing_may_wait() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        assert quiet.may_wait()
        with quiet.busy():
            assert not quiet.may_wait()
            with quiet.busy(repeatable=True):
                assert not quiet.may_wait()
            assert Quiet().may_wait(), "what another run is busy with is not its own"

            async def elsewhere() -> bool:
                return quiet.may_wait()

            assert not await group.create_task(elsewhere()), "a task that was started inside is inside"
            inside = group.create_task(outlives(quiet))
        assert quiet.may_wait()
        assert await inside, "what it was started in has ended"

    scene(main)


async def outlives(quiet: Quiet) -> bool:
    await until(quiet.may_wait)
    return True


def test_who_is_not_left_yet_is_asked_again_until_he_is() -> None:
    async def main(quiet: Quiet, group: asyncio.TaskGroup) -> None:
        answers = [False, False, True]
        asked = asyncio.Event()

        def on_quiet() -> bool:
            answer = answers.pop(0)
            if not answers:
                asked.set()
            return answer

        quiet.on_quiet = on_quiet
        waiting = group.create_task(quiet.wait())
        await asked.wait()
        await beyond()
        waiting.cancel()

    scene(main)
