"""The long form: see `tests.chaos`."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.parts import free_port

from tests.chaos.sharing import OUTAGES, ZOMBIES, Storm, storm_over_many
from tests.chaos.storm import calm, storm
from tests.chaos.verdict import Verdict, judge
from tests.support.cluster import Cluster
from tests.support.postgres import PostgresServer
from tests.support.server import Server
from tests.support.wire_model import WireModel

APP = Path(__file__).with_name("app.py")


def main() -> int:
    """Storms over a server on SQLite, or over several processes on Postgres, and says what was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="servers and workers on a Postgres database")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--doors", type=int, default=2, help="servers")
    parser.add_argument("--keep", type=Path, help="a folder for what is left, logs included")
    asked = parser.parse_args()
    with WireModel("--quiet") as wire, tempfile.TemporaryDirectory(prefix="netra-chaos-") as folder:
        place = asked.keep or Path(folder)
        place.mkdir(exist_ok=True)
        verdict = on_postgres(asked, place, wire) if asked.postgres else on_sqlite(asked, place, wire)
    print(json.dumps(verdict.report(), indent=2))
    return 1 if verdict.amiss else 0


def on_sqlite(asked: argparse.Namespace, place: Path, wire: WireModel) -> Verdict:
    """One process, killed and started again."""
    server = Server(place, app=APP, wire=wire, people=asked.users + 1, port=free_port(), frames_burst=10_000)
    with server:
        reference = asyncio.run(calm(server, server.person()))
        names = [server.person() for _ in range(asked.users)]
        followed, struck = asyncio.run(storm(server, names, runs=asked.runs, kills=asked.kills, seed=asked.seed))
        followed[reference[0]["run_id"]] = reference
        verdict = judge(server, followed, reference, asked.kills)
        verdict.struck = dict(struck)
        if "Traceback" in server.log():
            verdict.amiss.append("the server's log has a stack trace")
    return verdict


def on_postgres(asked: argparse.Namespace, place: Path, wire: WireModel) -> Verdict:
    """Several, of which any is killed or stopped, and their database restarted."""
    with (
        PostgresServer() as postgres,
        Cluster(place, postgres, app=APP, wire=wire, people=asked.users + 1) as many,
    ):
        doors = [many.api() for _ in range(asked.doors)]
        workers = [many.worker() for _ in range(asked.workers)]
        return under_storm(many, (doors, workers), asked)


def under_storm(many: Cluster, processes: tuple[list, list], asked: argparse.Namespace) -> Verdict:
    """The storm itself, and what is left."""
    doors, workers = processes
    reference = asyncio.run(calm(doors[0], many.person()))
    names = [many.person() for _ in range(asked.users)]
    storm = Storm(many, doors, workers, asked.seed)
    outages, zombies = getattr(asked, "outages", OUTAGES), getattr(asked, "zombies", ZOMBIES)
    storming = storm_over_many(
        storm, doors, names, runs=asked.runs, kills=asked.kills, outages=outages, zombies=zombies
    )
    followed = asyncio.run(storming)
    followed[reference[0]["run_id"]] = reference
    verdict = judge(many, followed, reference, asked.kills)
    verdict.struck = dict(storm.struck)
    if "Traceback" in many.log():
        verdict.amiss.append("a log has a stack trace")
    return verdict


if __name__ == "__main__":
    sys.exit(main())
