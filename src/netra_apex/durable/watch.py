"""Seeing what other processes wrote: a command beside the server cancels a run, or ends somebody's logins."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from netra_apex.core.ports import Approvals, Runs
from netra_apex.durable.recovery import Recovery
from netra_apex.durable.runner import LocalRunner
from netra_apex.errors import StoreError
from netra_apex.stream.feed import Hub

WATCH_SECONDS = 0.5  # the contract says within a second
LOOKS_A_MINUTE = 120
EXPIRE_SECONDS = 5.0
PRUNE_SECONDS = 600.0
PRUNE_PAUSE_SECONDS = 0.2

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
                await runner.compare()
                runner.look()
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
        except Exception:
            # A fault in looking must not end the group that every run is in; what is seen late is seen next time.
            log.exception("a look at what other processes wrote failed")


async def expire(approvals: Approvals, on_left: Callable[[], None]) -> None:
    """Ends the waiting of runs whose approvals nobody has decided in time, every few seconds, until it is cancelled."""
    while True:
        try:
            if await approvals.expire():
                on_left()
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
        except Exception:
            # As above: what is seen late is seen next time.
            log.exception("a look at approvals that expire failed")
        await asyncio.sleep(EXPIRE_SECONDS)


async def prune(runs: Runs, days: float) -> None:
    """Deletes the events and journals of runs that ended so many days ago, until it is cancelled.

    A few at a time, so that nobody waits for it.
    """
    while True:
        more = False
        try:
            more = await runs.prune(datetime.now(UTC) - timedelta(days=days)) > 0
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
        except Exception:
            # As above: what is not deleted now is deleted next time.
            log.exception("deleting what is old failed")
        await asyncio.sleep(PRUNE_PAUSE_SECONDS if more else PRUNE_SECONDS)


async def tidy(hub: Hub) -> None:
    """Forgets the feeds of runs that wait and that nobody follows, every few seconds, until it is cancelled."""
    while True:
        await asyncio.sleep(EXPIRE_SECONDS)
        hub.elsewhere()
