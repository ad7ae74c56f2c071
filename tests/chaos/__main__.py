"""The long form: see `tests.chaos`."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.parts import free_port

from tests.chaos.storm import calm, storm
from tests.chaos.verdict import judge
from tests.support.server import Server
from tests.support.wire_model import WireModel

APP = Path(__file__).with_name("app.py")


def main() -> int:
    """Storms over a server on SQLite, and says what was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with WireModel("--quiet") as wire, tempfile.TemporaryDirectory(prefix="netra-chaos-") as folder:
        server = Server(Path(folder), app=APP, wire=wire, people=asked.users + 1, port=free_port(), frames_burst=10_000)
        with server:
            reference = asyncio.run(calm(server, server.person()))
            names = [server.person() for _ in range(asked.users)]
            followed, kills = asyncio.run(storm(server, names, runs=asked.runs, kills=asked.kills, seed=asked.seed))
            followed[reference[0]["run_id"]] = reference
            verdict = judge(server, followed, reference, kills)
            if "Traceback" in server.log():
                verdict.amiss.append("the server's log has a stack trace")
    print(json.dumps(verdict.report(), indent=2))
    return 1 if verdict.amiss else 0


if __name__ == "__main__":
    sys.exit(main())
