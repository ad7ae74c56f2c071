"""Cause 7: ids that two requests can have."""

import asyncio
import time

from netra_apex import AgentRegistry, ChatAgent, tool

JOBS: dict[int, str] = {}


@tool
async def start_job(query: str) -> str:
    """Starts a job and waits for what it gives."""
    job = int(time.time())
    JOBS[job] = query
    await asyncio.sleep(0)
    return JOBS.get(job, "")


class Assistant(ChatAgent):
    name = "assistant"
    tools = (start_job,)


registry = AgentRegistry([Assistant])
