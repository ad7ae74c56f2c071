"""Requests in turn: what one caller sends at once is worked on a few at a time, and nobody else waits for it (G8)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from tests.support.bounded import run, turns, until

from netra_apex.server.turns import AT_ONCE, Turns, give_turn_back


class Held:
    """An application whose requests wait until they are let go; it knows who is inside, and who came in which order."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.order: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.stream = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        door = self.doors[path] = asyncio.Event()
        self.inside[path[0]] += 1
        self.order.append(path)
        try:
            if scope.get("streams"):
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await self.stream.wait()
            else:
                await door.wait()
                await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            self.inside[path[0]] -= 1


async def nothing(*_: Any) -> Any:
    return {}


def request(app: Turns, path: str, credential: bytes = b"", kind: str = "http", **more: Any) -> asyncio.Task[None]:
    headers = [(b"authorization", credential)] if credential else []
    scope = {"type": kind, "path": path, "headers": headers, **more}

    async def sent(message: Message) -> None:
        scope.get("on_start", lambda: None)()

    return asyncio.create_task(app(scope, nothing, sent))


def played(main: Callable[[Held, Turns], Coroutine[Any, Any, None]]) -> None:
    held = Held()
    run(main(held, Turns(held)))


def test_one_callers_flood_is_worked_on_a_few_at_a_time_in_its_order_and_another_comes_between() -> None:
    async def main(held: Held, app: Turns) -> None:
        flood = [request(app, f"a{number:02d}", b"Bearer a") for number in range(5 * AT_ONCE)]
        await turns()
        assert held.inside["a"] == AT_ONCE
        other = request(app, "b", b"Bearer b")
        await until(lambda: held.inside["b"] == 1)
        held.doors["b"].set()
        await other
        for number in range(len(flood)):
            held.doors[f"a{number:02d}"].set()
            await flood[number]
            assert held.inside["a"] <= AT_ONCE
            await turns()
        assert [path for path in held.order if path != "b"] == [f"a{number:02d}" for number in range(len(flood))]
        assert app._callers == {}

    played(main)


def test_an_answer_that_has_begun_holds_no_turn() -> None:
    async def main(held: Held, app: Turns) -> None:
        streams = [request(app, f"s{number}", b"Bearer a", streams=True) for number in range(3 * AT_ONCE)]
        await until(lambda: held.inside["s"] == 3 * AT_ONCE)
        held.stream.set()
        await asyncio.gather(*streams)
        assert app._callers == {}

    played(main)


def test_a_request_that_waits_for_a_run_gives_its_turn_back_once() -> None:
    async def main(held: Held, app: Turns) -> None:
        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            give_turn_back(scope)
            give_turn_back(scope)
            await held(scope, receive, send)

        app = Turns(waiting)
        several = [request(app, f"w{number}", b"Bearer a") for number in range(3 * AT_ONCE)]
        await until(lambda: held.inside["w"] == 3 * AT_ONCE)
        for door in held.doors.values():
            door.set()
        await asyncio.gather(*several)
        assert app._callers == {}

    played(main)


def test_a_request_that_is_given_up_takes_its_turn_from_nobody() -> None:
    async def main(held: Held, app: Turns) -> None:
        # One whose turn comes in the very moment in which it is given up hands it on.
        working = [request(app, f"a{n}", b"Bearer a", on_start=lambda: waiting[1].cancel()) for n in range(AT_ONCE)]
        waiting = [request(app, f"w{number}", b"Bearer a") for number in range(3)]
        await turns()
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        held.doors["a0"].set()
        await until(lambda: held.inside["w"] == 1)
        assert held.order[-1] == "w2"
        for each in [*working[1:], waiting[2]]:
            each.cancel()
        await asyncio.wait([*working, *waiting])
        assert app._callers == {}

    played(main)


def test_what_has_no_credential_and_what_is_no_request_waits_for_nobody() -> None:
    async def main(held: Held, app: Turns) -> None:
        several = [request(app, f"n{number}") for number in range(3 * AT_ONCE)]
        several += [request(app, f"l{number}", b"Bearer a", kind="lifespan") for number in range(3 * AT_ONCE)]
        await turns()
        assert held.inside == {"n": 3 * AT_ONCE, "l": 3 * AT_ONCE}
        for each in several:
            each.cancel()
        await asyncio.wait(several)

    played(main)
