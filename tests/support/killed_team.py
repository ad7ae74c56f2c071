"""A team's run in processes that are killed at each of their writes, and what the next process makes of it.

`python -m tests.support.killed_team FOLDER TEAM` prints a JSON line for the run that nobody kills, and one for each
kill: how the killed process ended, what it had told and whom it had asked, whom the next one asked, and what the whole
run told. Each process is forked from one that has imported everything and has neither a thread nor a loop.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from examples.product_team import ProductTeam

from netra_apex import AgentRegistry, ChatAgent, Mission, Phase, Plan, Runtime, Settings, Team
from netra_apex.core.conversations import Post
from netra_apex.core.messages import ModelRequest, Reply, Usage
from netra_apex.core.voices import Deltas
from netra_apex.providers.demo_arguments import example
from netra_apex.stores.telling import Told

REQUEST = "A shopping list for two"
SECONDS = 30
# Of three side by side the last is first, and after the kill the first is.
FIRST_TIME = {"store": 0.06, "api": 0.03, "a1": 0.03}
NEXT_TIME = {"page": 0.06, "api": 0.03, "b2": 0.03}


class Worker(ChatAgent):
    """Works."""

    name = "worker"


class Chains(Team):
    """Two chains side by side: which goes on first is another in each process."""

    name = "chains"
    plan = Plan(
        goal="Go on",
        phases=(
            Phase("first", (Mission("a1", Worker, "Begin."), Mission("b1", Worker, "Begin."))),
            Phase(
                "second",
                (Mission("a2", Worker, "Go on.", after=("a1",)), Mission("b2", Worker, "Go on.", after=("b1",))),
            ),
            Phase("last", (Mission("end", Worker, "End."),)),
        ),
    )


registry = AgentRegistry([ProductTeam, Chains])


class Recording:
    """A model that answers what is asked for in its time, and writes down for which mission before it does."""

    name = "test:recording"

    def __init__(self, asked: Path, seconds: Mapping[str, float]) -> None:
        self._asked = asked
        self._seconds = seconds

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        mission = request.messages[-1].content.splitlines()[0].removeprefix("# Mission: ")
        with self._asked.open("a") as file:
            file.write(f"{mission}\n")
        await asyncio.sleep(self._seconds.get(mission, 0))
        text = "handed over" if request.output_schema is None else json.dumps(example(request.output_schema))
        deltas.text(text)
        return Reply(text=text, usage=Usage(1, 1, 1))

    async def check(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return None


class Killing:
    """Kills the process inside of its write of this number, or once that is on disk."""

    def __init__(self, number: int, when: str) -> None:
        self.writes = 0
        store = Told.store

        def counted(told: Told, *args: Any) -> Any:
            self.writes += 1
            if self.writes < number or number == 0:
                return store(told, *args)
            # After: the next one finds it on disk, as SQLite has one writer.
            if when == "inside" or self.writes > number:
                os.kill(os.getpid(), signal.SIGKILL)
            return store(told, *args)

        Told.store = counted  # type: ignore[method-assign]


def forked(body: Callable[[], Any]) -> tuple[int, Any]:
    """(the signal that a process of its own died by or 0, what it gave)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "w") as file:
                json.dump(body(), file)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, text
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, json.loads(text) if text else None


def runtime(home: Path, seconds: Mapping[str, float]) -> Runtime:
    return Runtime(registry, Settings(home=home, drain_seconds=1), model=Recording(home / "asked", seconds))


def begun(home: Path, team: str, killing: Killing | None = None) -> Any:
    """Posts, and follows the run to its end."""

    async def main() -> Any:
        async with asyncio.timeout(SECONDS), runtime(home, FIRST_TIME) as process:
            accepted = await process.admission.post("ada", frozenset(), Post(content=REQUEST, agent=team))
            (home / "run").write_text(accepted.run_id)
            events = await told(process, accepted.run_id)
        return {"events": events, "writes": killing.writes if killing else 0}

    return asyncio.run(main())


def taken_up(home: Path) -> Any:
    """Takes the run up, as a server does at its start."""

    async def main() -> Any:
        async with asyncio.timeout(SECONDS), runtime(home, NEXT_TIME) as process:
            run_id = (home / "run").read_text()
            before = await process.stores.runs.events("ada", run_id, 0)
            return {"before": [json.loads(body) for _, body in before], "events": await told(process, run_id)}

    return asyncio.run(main())


async def told(process: Runtime, run_id: str) -> list[Any]:
    return [json.loads(body) async for seq, body in process.reader.follow("ada", run_id, 0) if seq is not None]


def lines(home: Path) -> list[str]:
    return (home / "asked").read_text().splitlines() if (home / "asked").exists() else []


def played(folder: Path, team: str) -> Iterator[dict[str, Any]]:
    def whole() -> Any:
        return begun(home(folder, "whole"), team, Killing(0, ""))

    _, first = forked(whole)
    yield {"kill": None, "events": first["events"], "asked": lines(folder / "whole"), "writes": first["writes"]}
    for number in range(1, first["writes"] + 1):
        for when in ("inside", "after"):
            at = home(folder, f"{number}-{when}")

            def killed(at: Path = at, number: int = number, when: str = when) -> Any:
                return begun(at, team, Killing(number, when))

            died, _ = forked(killed)
            before = lines(at)
            if not (at / "run").exists():
                yield {"kill": [number, when], "died": died, "events": None}
                continue
            _, second = forked(lambda at=at: taken_up(at))
            again = lines(at)[len(before) :]
            yield {"kill": [number, when], "died": died, "asked": before, "again": again, **second}


def home(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


if __name__ == "__main__":
    for line in played(Path(sys.argv[1]), sys.argv[2]):
        print(json.dumps(line), flush=True)
