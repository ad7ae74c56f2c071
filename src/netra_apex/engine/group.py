"""The group of a process's tasks."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator


@contextlib.asynccontextmanager
async def process_group() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group for the runtime's life. A program's own error passes by it, and reaches the program as it is."""
    group = asyncio.TaskGroup()
    await group.__aenter__()
    try:
        yield group
    finally:
        await group.__aexit__(None, None, None)
