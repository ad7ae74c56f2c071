"""A user who posts a thousand messages at once, and what another one waits for meanwhile: `python -m bench --flood`.

Run as a program, it is the one who floods, in a process of his own: `python -m bench.flood URL TOKEN COUNT`.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from bench.load import ENDINGS, Driver
from bench.parts import PASSWORD, user_name

RUNS = 1_000
SAMPLES = 40
FLOODER_NICENESS = 10  # he shares his core with who measures, whose waiting for it is no delay of the server's


async def measure(url: str) -> dict[str, Any]:
    """Milliseconds to another user's first event: idle, while the flood is posted, and while its runs wait."""
    async with Driver(url) as driver, aiohttp.ClientSession() as http:
        await driver.connect(2)
        mine = driver.sockets[1]
        idle = [await first_event(mine) for _ in range(SAMPLES)]
        async with http.post(f"{url}/api/auth/login", json={"username": user_name(0), "password": PASSWORD}) as answer:
            token = (await answer.json())["access_token"]
        flooder = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.flood", url, token, str(RUNS), stdout=asyncio.subprocess.PIPE
        )
        assert flooder.stdout is not None
        await flooder.stdout.readline()  # it begins
        telling = asyncio.create_task(flooder.stdout.readline())
        during: list[float] = []
        while not telling.done():
            during.append(await first_event(mine))
        behind = [await first_event(mine) for _ in range(SAMPLES)]
        await flooder.wait()
    figures = {"idle": idle, "during": during, "behind": behind}
    return {
        "posted": json.loads(telling.result()),
        **{name: _summary(seconds) for name, seconds in figures.items()},
    }


async def first_event(socket: aiohttp.ClientWebSocketResponse) -> float:
    """Seconds from a message to its run's start; the run is cancelled then, as nothing more is asked of it."""
    sent = time.perf_counter()
    await socket.send_str('{"type":"user_message","content":"where is my order? [[call=lookup]]"}')
    took = None
    async with asyncio.timeout(60):
        while True:
            frame = json.loads((await socket.receive()).data)
            if frame["type"] == "agent_started":
                took = time.perf_counter() - sent
                await socket.send_str(json.dumps({"type": "cancel", "run_id": frame["run_id"]}))
            elif frame["type"] == "error":
                raise RuntimeError(frame["message"])
            elif frame["type"] in ENDINGS and took is not None:
                return took


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "samples": len(ordered),
        "p50": round(ordered[len(ordered) // 2] * 1000, 2),
        "worst": round(ordered[-1] * 1000, 2),
    }


async def post(url: str, token: str, count: int) -> None:
    """Posts so many messages at once, each into a thread of its own; says how they were answered."""
    answers: Counter[str] = Counter()
    began = time.perf_counter()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def one() -> None:
            async with http.post(f"{url}/api/threads", json={}) as made:
                thread_id = (await made.json())["thread_id"]
            content = {"content": "where is my order? [[call=lookup]]"}
            async with http.post(f"{url}/api/threads/{thread_id}/runs", json=content) as answer:
                code = (await answer.json()).get("code", "accepted")
                answers[f"{answer.status} {code}"] += 1

        print("begins", flush=True)
        await asyncio.gather(*[one() for _ in range(count)])
    print(json.dumps({"answers": answers, "seconds": round(time.perf_counter() - began, 2)}), flush=True)


if __name__ == "__main__":
    os.nice(FLOODER_NICENESS)
    asyncio.run(post(sys.argv[1], sys.argv[2], int(sys.argv[3])))
