"""Waiting for a database that is not there yet: the first thing that a server does, which may be started before it."""

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from netra_apex.settings import Settings
from netra_apex.stores.connecting import Server, lost, our_errors, reason_of

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 10.0

log = structlog.get_logger()


async def reach(settings: Settings) -> None:
    """Returns once the database that the settings name takes connections; a SQLite file is always there.

    However long that takes: it says in the log that it waits, and for what.

    Raises:
        StoreError: it answers, and refuses: a wrong password, no such database.
    """
    if settings.database_url is None or not settings.on_postgres:
        return
    server = Server(settings.database_url)

    def tell(state: RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        reason, seconds = reason_of(state.outcome.exception()), state.next_action.sleep
        sentence = f"the database {server} cannot be reached: {reason}; trying again in {seconds:g} s"
        log.warning(sentence)

    with our_errors(server):
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lost),
            wait=wait_exponential(multiplier=SHORTEST_SECONDS, max=LONGEST_SECONDS),
            before_sleep=tell,
            reraise=True,
        ):
            with attempt:
                async with server.connected():
                    pass
