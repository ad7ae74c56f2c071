"""What the analysis of a large export costs: the built-in team, offline, from the message to the report."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from netra_apex.core.belongings import NewFile
from netra_apex.core.events import AgentCompleted, AgentStarted, ToolCompleted
from netra_apex.core.ids import new_id
from netra_apex.demo import registry
from netra_apex.demo.sample import sample_csv
from netra_apex.testing import harness

ROWS = 100_000
TIMES = 5


async def measure() -> dict[str, Any]:
    """Seconds and CPU seconds of each of some runs, the first one cold, and where the time of the last one went."""
    data = sample_csv(rows=ROWS)
    seconds: list[float] = []
    cpu: list[float] = []
    async with harness(registry, model=None) as app:
        stores = app.runtime.stores
        thread = await stores.conversations.add_thread("ada", new_id("thr"), "costs")
        new = NewFile(file_id=new_id("fil"), name="usage.csv", media_type="text/csv")
        await stores.files.add_file("ada", thread.thread_id, new, _pieces(data))
        for _ in range(TIMES):
            began, spent = time.perf_counter(), time.process_time()
            outcome = await app.ask("Analyze my AI costs", thread_id=thread.thread_id)
            seconds.append(round(time.perf_counter() - began, 3))
            cpu.append(round(time.process_time() - spent, 3))
    assert outcome.ok
    return {
        "rows": ROWS,
        "megabytes": round(len(data) / 1e6, 1),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "members_ms": {
            end.agent: round((_at(end) - _at(start)) * 1000)
            for start in outcome.of(AgentStarted)
            for end in outcome.of(AgentCompleted)
            if start.parent_call_id == end.parent_call_id
        },
        "tools_ms": {each.tool: each.duration_ms for each in outcome.of(ToolCompleted)},
    }


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _at(event: Any) -> float:
    return datetime.fromisoformat(event.at).timestamp()
