"""`python -m bench`: what a run costs, and what its user waits for. JSON on stdout, progress on stderr.

The job: one tool call and a streamed answer of 64 chunks, scripted model in another process.
The server has one core to itself, the model and the driver share another.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.postgres import PostgresServer
from tests.support.wire_model import WireModel

from bench import costs, flood
from bench.load import Driver
from bench.parts import DRIVER_CPU, make_users, serving
from netra_apex.cli.probe import percentile


def percentiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds; none where nothing was measured."""
    return {f"p{percent}": round(percentile(seconds, percent) * 1000, 2) for percent in (50, 95, 99) if seconds}


async def measure(
    users: int,
    seconds: float,
    model_url: str,
    *,
    floor: bool = False,
    postgres: PostgresServer | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """One closed loop of so many users, on a server and a home, or database, of its own."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netra-bench-")))
        database = None if postgres is None else stack.enter_context(postgres.database())
        url = None if database is None else database.url
        await make_users(home, users, url)
        serve = serving(home, model_url, floor=floor, database_url=url, workers=workers)
        async with serve as served, Driver(served.url) as driver:
            idle_mb = served.rss_mb()
            await driver.connect(users)
            connected_mb = served.rss_mb()
            # CPU is read at both ends of the measured window, beside the loop itself.
            loop = asyncio.create_task(driver.loop(seconds, warm_up=4.0))
            await asyncio.sleep(4.0)
            before, before_there = served.cpu_seconds(), 0.0 if postgres is None else postgres.cpu_seconds()
            await asyncio.sleep(seconds)
            spent = served.cpu_seconds() - before
            there = 0.0 if postgres is None else postgres.cpu_seconds() - before_there
            measured = await loop
            figures = driver.figures
            runs = len(figures.overhead)
            return {
                "server": "floor" if floor else "netra",
                "database": "none" if floor else "sqlite" if postgres is None else "postgres",
                "workers": workers,
                "users": users,
                "runs": runs,
                "errors": len(figures.errors),
                "error_kinds": sorted(set(figures.errors)),
                "runs_per_second": round(runs / measured, 1),
                "cpu_ms_per_run": round(spent / max(1, runs) * 1000, 2),
                "postgres_cpu_ms_per_run": round(there / max(1, runs) * 1000, 2),
                "core_share": round(spent / measured, 2),
                "overhead_ms": percentiles(figures.overhead),
                "first_event_ms": percentiles(figures.first_event),
                "rss_mb": {
                    "idle": round(idle_mb, 1),
                    "connected": round(connected_mb, 1),
                    "after": round(served.rss_mb(), 1),
                },
            }


async def idle(users: int, model_url: str) -> dict[str, Any]:
    """So many users connected and silent."""
    with tempfile.TemporaryDirectory(prefix="netra-bench-") as folder:
        home = Path(folder)
        await make_users(home, users)
        async with serving(home, model_url) as served, Driver(served.url) as driver:
            before = served.rss_mb()
            await driver.connect(users)
            after = served.rss_mb()
            spent = served.cpu_seconds()
            await asyncio.sleep(10)
            return {
                "connected": len(driver.sockets),
                "kib_per_user": round((after - before) * 1024 / users, 1),
                "rss_mb": round(after, 1),
                "idle_core_share": round((served.cpu_seconds() - spent) / 10, 3),
            }


async def flooded(model_url: str, queued: int | None) -> dict[str, Any]:
    """A flood by one user, with so long a queue for each (None: the default)."""
    with tempfile.TemporaryDirectory(prefix="netra-bench-") as folder:
        home = Path(folder)
        await make_users(home, 2)
        more = {} if queued is None else {"NETRA_QUEUED_PER_USER": str(queued)}
        async with serving(home, model_url, settings=more | {"NETRA_FRAMES_PER_MINUTE": "100000"}) as served:
            return {"queued_per_user": queued or "default", **await flood.measure(served.url)}


async def main() -> None:
    """Every measurement, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--users", default="10,50,150,200", help="closed loops of so many users each")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of each loop")
    parser.add_argument("--idle", type=int, default=1000, help="users connected and silent; 0 leaves it out")
    parser.add_argument("--floor", action="store_true", help="beside each, the same from a relay that keeps nothing")
    parser.add_argument("--flood", action="store_true", help="one user floods, another waits")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server, started for it")
    parser.add_argument("--workers", type=int, default=0, help="processes that execute, beside one that serves")
    parser.add_argument("--costs", action="store_true", help="the cost team on 100,000 rows, and nothing else")
    arguments = parser.parse_args()
    if arguments.costs:
        print(json.dumps(await costs.measure(), indent=2))
        return
    os.sched_setaffinity(0, {DRIVER_CPU})
    with WireModel("--quiet") as model, contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(durable=True)) if arguments.postgres else None
        report: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), "loops": []}
        for users in (int(part) for part in arguments.users.split(",") if part):
            print(f"{users} users …", file=sys.stderr)
            for floor in (True, False) if arguments.floor else (False,):
                report["loops"].append(
                    await measure(
                        users,
                        arguments.seconds,
                        model.url,
                        floor=floor,
                        postgres=None if floor else postgres,
                        workers=0 if floor else arguments.workers,
                    )
                )
                print(json.dumps(report["loops"][-1]), file=sys.stderr)
        if arguments.idle:
            print(f"{arguments.idle} idle users …", file=sys.stderr)
            report["idle"] = await idle(arguments.idle, model.url)
        if arguments.flood:
            print("a flood …", file=sys.stderr)
            report["floods"] = [await flooded(model.url, queued) for queued in (flood.RUNS, None)]
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
