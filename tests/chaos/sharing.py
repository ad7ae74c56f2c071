"""The same storm over servers and workers that share a Postgres database: any is killed, or stops for a while."""

import asyncio
import collections
import contextlib
import random
import signal

from tests.chaos.storm import ask, connected, cut_at_times
from tests.chaos.verdict import Event
from tests.support.cluster import Cluster, Process

LEASE_SECONDS = 11.0  # with NETRA_DRAIN_SECONDS=1
OUTAGES = 2
ZOMBIES = 2


class Storm:
    """What strikes, and how often it has."""

    def __init__(self, many: Cluster, doors: list[Process], workers: list[Process], seed: int) -> None:
        self._many = many
        self._doors = doors
        self._workers = workers
        self.seed = seed
        self._chance = random.Random(seed)
        self._away: set[Process] = set()
        self.struck: collections.Counter[str] = collections.Counter()

    async def strike(self, kills: int, *, outages: int = OUTAGES, zombies: int = ZOMBIES) -> None:
        """So many kills at random moments, and between them the rest."""
        specials = ["outage"] * outages + ["zombie"] * zombies
        at = dict(zip(sorted(self._chance.sample(range(kills), len(specials))), self._shuffled(specials), strict=True))
        async with asyncio.TaskGroup() as group:
            for number in range(kills):
                await asyncio.sleep(self._chance.uniform(0.3, 1.5))
                match at.get(number):
                    case "outage":
                        await self._outage()
                    case "zombie":
                        await self._stop(group, LEASE_SECONDS + self._chance.uniform(1, 3), "stopped beyond the lease")
                    case _ if self._chance.random() < 0.3:
                        await self._stop(group, self._chance.uniform(0.1, 2), "stopped")
                    case _:
                        pass
                victims = self._doors if self._chance.random() < 0.15 else self._workers
                await self._kill(group, victims)

    def _shuffled(self, words: list[str]) -> list[str]:
        self._chance.shuffle(words)
        return words

    async def _victim(self, victims: list[Process]) -> Process:
        while not (here := [each for each in victims if each not in self._away]):  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.05)
        victim = self._chance.choice(here)
        self._away.add(victim)
        return victim

    async def _kill(self, group: asyncio.TaskGroup, victims: list[Process]) -> None:
        victim = await self._victim(victims)
        self.struck[f"{victim.name.rstrip('0123456789')} killed"] += 1
        await asyncio.to_thread(victim.kill)
        group.create_task(self._start(victim))

    async def _start(self, process: Process) -> None:
        """As a supervisor does it: again, until it runs, as it ends at once where there is no database."""
        while True:
            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(self._launched, process)
                self._away.discard(process)
                return
            self.struck["ended at its start"] += 1

    @staticmethod
    def _launched(process: Process) -> None:
        process.launch()
        process.ready()

    async def _stop(self, group: asyncio.TaskGroup, seconds: float, name: str) -> None:
        """SIGSTOP for a while; the others must be more than none."""
        while len(self._away & set(self._workers)) > 1:  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.05)
        victim = await self._victim(self._workers)
        self.struck[name] += 1
        victim.signal(signal.SIGSTOP)

        async def later() -> None:
            await asyncio.sleep(seconds)
            victim.signal(signal.SIGCONT)
            self._away.discard(victim)

        group.create_task(later())

    async def _outage(self) -> None:
        self.struck["database restarted"] += 1
        await asyncio.to_thread(self._many.postgres.stop, "immediate")
        await asyncio.sleep(self._chance.uniform(0, 2))
        await asyncio.to_thread(self._many.postgres.start)


async def storm_over_many(
    storm: Storm, doors: list[Process], names: list[str], *, runs: int, kills: int, outages: int, zombies: int
) -> dict[str, list[Event]]:
    """At least so many runs under so many kills, each user at one of the servers: what each was told."""
    followed: dict[str, list[Event]] = {}
    over = asyncio.Event()

    async def user(number: int, name: str) -> None:
        cuts = random.Random(f"{storm.seed} {number}")
        door = doors[number % len(doors)]
        async with connected(door, name) as connection, cut_at_times(connection, cuts, storm.struck):
            while len(followed) < runs or not over.is_set():
                await ask(connection, followed)

    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            group.create_task(user(number, name))
        await storm.strike(kills, outages=outages, zombies=zombies)
        over.set()
    return followed
