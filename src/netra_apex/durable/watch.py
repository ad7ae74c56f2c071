"""Seeing what other processes wrote: a command beside the server cancels a run, or ends somebody's logins."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import structlog

from netra_apex.core.ports import Runs
from netra_apex.durable.recovery import Recovery
from netra_apex.durable.runner import LocalRunner
from netra_apex.errors import StoreError

WATCH_SECONDS = 0.5  # the contract says within a second
LOOKS_A_MINUTE = 120

log = structlog.get_logger()


async def watch(
    changed: Callable[[], Awaitable[bool]],
    close_ended_logins: Callable[[], Awaitable[None]],
    runs: Runs,
    runner: LocalRunner,
    recovery: Recovery,
) -> None:
    """Looks twice a second, until it is cancelled; settles endings that could not be stored before.

    `changed` says whether another process has written; only then is anything read. Logins also run out by themselves,
    and a look a minute is enough for that.
    """
    for look in itertools.count():
        await asyncio.sleep(WATCH_SECONDS)
        try:
            await recovery.retry()
            if await changed() or look % LOOKS_A_MINUTE == 0:
                for run_id, by in await runs.cancels_requested():
                    if (run := await runs.operator_run(run_id)) is not None and not run.status.ended:
                        await runner.cancel(run, by)
                await close_ended_logins()
                runner.look()
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
        except Exception:
            # A fault in looking must not end the group that every run is in; what is seen late is seen next time.
            log.exception("a look at what other processes wrote failed")
