"""Runs that wait for a person, in a real server with an application of the test's own."""

import asyncio

from tests.support.bounded import passed
from tests.support.server import Server
from tests.support.streams import check_run


def serving(place, wire, application, **settings):
    """A server of this application, which is its source."""
    (place / "served").mkdir()
    app = place / "made.py"
    app.write_text(application)
    return Server(place / "served", app=app, wire=wire, people=20, frames_burst=1000, **settings)


async def waits(client, login, run_id):
    """Returns once the run does nothing but wait."""
    async with asyncio.timeout(15):
        while (await client.get(f"/api/runs/{run_id}", login)).json["status"] != "waiting":
            await passed(0.02)


async def begun(client, login, socket, content, *, agent, tells):
    """A run that waits, and the event of this type that tells what for."""
    accepted = await socket.ask(content, agent=agent)
    event = await socket.frame(tells, run_id=accepted["run_id"])
    await waits(client, login, accepted["run_id"])
    return accepted["run_id"], event


async def outcome(socket, run_id):
    """What a run that ends gives."""
    await socket.ended(run_id)
    return check_run(socket.of(run_id))[-1]["output"]
