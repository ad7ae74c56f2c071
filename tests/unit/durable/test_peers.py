"""When a process is taken for dead, and when the one that looks holds back: it, or the database, was away itself."""

import asyncio

import pytest
from tests.support.bounded import run, until

from netra_apex.durable import peers as watching
from netra_apex.durable.peers import Peers
from netra_apex.errors import StoreError

DRAIN = 1.0
LEASE_MS = 11_000


class Table:
    """A presence that says what the test has it say; `away` is a database that does not answer."""

    def __init__(self) -> None:
        self.judging = True
        self.away = False
        self.silent: dict[str, int] = {}
        self.buried: list[tuple[str, int, bool]] = []
        self.lives: set[str] = set()
        self.runs = 1
        self.rooms: list[int] = []
        self.looks = 0

    async def seen(self, room: int) -> bool:
        self.looks += 1
        if self.away:
            raise StoreError("the database cannot be reached")
        self.rooms.append(room)
        return self.judging

    async def check_secret(self) -> None:
        return None

    async def others(self) -> tuple[tuple[str, int], ...]:
        return tuple(self.silent.items())

    async def bury(self, executor: str, *, silent_ms: int, locked: bool) -> int | None:
        self.buried.append((executor, silent_ms, locked))
        return None if executor in self.lives else self.runs

    async def close(self) -> None:
        pass


class Clock:
    """Time as the test tells it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(watching.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def looking(table: Table, room: int = 5) -> tuple[Peers, list[str]]:
    left: list[str] = []
    return Peers(table, lambda: room, drain_seconds=DRAIN, on_left=lambda: left.append("left")), left


def test_one_that_is_silent_is_buried_unless_it_holds_its_lock_and_one_beyond_its_lease_whatever_it_holds() -> None:
    async def main() -> None:
        table = Table()
        peers, left = looking(table)
        await peers.enter()
        table.silent = {"exe_fine": 200, "exe_dead": 700, "exe_hung": LEASE_MS + 1, "exe_slow": LEASE_MS - 1}
        table.lives = {"exe_slow"}
        await peers.look()
        assert table.buried == [("exe_dead", 500, False), ("exe_hung", LEASE_MS, True), ("exe_slow", 500, False)]
        assert left == ["left", "left"], "what a dead process had is for whoever has room"
        assert table.rooms == [5, 5]

    run(main())


def test_a_process_that_had_no_runs_makes_nobody_look() -> None:
    async def main() -> None:
        table = Table()
        table.runs, table.silent = 0, {"exe_dead": 700}
        peers, left = looking(table)
        await peers.look()
        assert (len(table.buried), left) == (1, [])

    run(main())


def test_who_was_away_itself_gives_the_others_a_while_to_come_back_lease_or_no_lease(clock: Clock) -> None:
    async def main() -> None:
        table = Table()
        table.silent = {"exe_other": 700, "exe_long": 10 * LEASE_MS}
        peers, _ = looking(table)
        table.judging = False
        await peers.look()
        table.judging = True
        clock.now += watching.STEADY_SECONDS - 0.1
        await peers.look()
        assert table.buried == []
        clock.now += 0.2
        await peers.look()
        assert len(table.buried) == 2

    run(main())


def test_after_an_outage_nobody_is_taken_for_dead_until_all_could_come_back(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(watching, "LOOK_SECONDS", 0)
        table = Table()
        peers, _ = looking(table)
        watch = asyncio.create_task(peers.run())
        table.away = True
        await until(lambda: table.looks > 3)
        clock.now += 20
        table.away, table.silent = False, {"exe_other": 20_000}
        looks = table.looks
        await until(lambda: table.looks > looks + 5)
        assert table.buried == []
        clock.now += watching.STEADY_SECONDS + 0.1
        await until(lambda: bool(table.buried))
        watch.cancel()

    run(main())


def test_a_look_that_breaks_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(watching, "LOOK_SECONDS", 0)
        table = Table()
        peers, _ = looking(table)
        table.silent = {"exe_odd": "silent"}  # type: ignore[dict-item]
        watch = asyncio.create_task(peers.run())
        await until(lambda: table.looks > 3)
        table.silent = {"exe_dead": 700}
        await until(lambda: bool(table.buried))
        watch.cancel()

    run(main())
