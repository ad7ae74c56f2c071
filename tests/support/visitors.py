"""Users of several servers, and what they make of what they are told."""

import asyncio
import itertools

from aiohttp import ClientError

from tests.support.socket_client import ENDINGS, Client, Closed, Frame, Login, Socket
from tests.support.streams import check_run

RUN_SECONDS = 60


async def told_to_the_end(socket: Socket, run_id: str) -> list[Frame]:
    """A run's frames, its durable events being those of the log."""
    await socket.ended(run_id, seconds=RUN_SECONDS)
    return check_run(socket.of(run_id))


def ticks(events: list[Frame]) -> list[int]:
    """What a ticker's calls gave."""
    return [event["result"] for event in events if event["type"] == "tool_completed"]


class Visitor:
    """A user who comes back to the next server whenever his connection ends."""

    def __init__(self, clients: tuple[Client, ...], first: int, login: Login) -> None:
        self._clients = itertools.islice(itertools.cycle(clients), first, None)
        self._login = login

    async def ask(self, content: str, agent: str) -> tuple[str, list[Frame]]:
        """A message and its run: its id, and the durable events that were told of it, over all connections."""
        run_id, told = None, []
        while not (told and told[-1]["type"] in ENDINGS):
            try:
                socket = await next(self._clients).socket(self._login)
            except (OSError, ClientError, Closed):
                await asyncio.sleep(0.05)
                continue
            try:
                if run_id is None:
                    answer = await socket.answer("user_message", content=content, agent=agent)
                    if answer["type"] == "error":
                        assert answer["code"] in ("draining", "unavailable"), answer
                        continue
                    run_id = answer["run_id"]
                else:
                    await socket.follow(run_id=run_id, after=len(told))
                await socket.ended(run_id, seconds=RUN_SECONDS)
            except (Closed, OSError, ClientError):
                pass
            finally:
                told += [frame for frame in socket.of(run_id) if "seq" in frame] if run_id else []
                await socket.close()
        return run_id, told
