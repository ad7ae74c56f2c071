"""Reading a run's stream: `read` is finite, `follow` goes on to the run's end. Replay and live are one path."""

import asyncio
from collections.abc import AsyncGenerator

from netra_apex.core.ports import Runs
from netra_apex.core.runs import Run
from netra_apex.errors import AfterOutOfRange, NotFound
from netra_apex.stream.feed import Hub
from netra_apex.stream.follower import Follower, Told

PAGE = 200  # events that are read from the log at once: what a reader that is far behind holds in memory


class StreamReader:
    """Reads the log for its owner: a finished run's from the store, a live run's also from its feed."""

    def __init__(self, runs: Runs, hub: Hub) -> None:
        self._runs = runs
        self._hub = hub

    async def read(self, user_id: str, run_id: str, after: int) -> tuple[list[str], int]:
        """The stored events after `after` as JSON texts, and the run's last `seq`.

        Raises:
            NotFound: the user has no such run.
            AfterOutOfRange: `after` is beyond the last event.
        """
        run = await self._run(user_id, run_id, after)
        found: list[str] = []
        last = after
        while page := await self._runs.events(user_id, run_id, last, PAGE):
            found.extend(body for _, body in page)
            last = page[-1][0]
        return found, max(last, run.last_seq)

    async def follower(self, user_id: str, run_id: str, after: int) -> Follower:
        """A cursor in a run of this user, to be advanced.

        Raises:
            NotFound: the user has no such run.
            AfterOutOfRange: `after` is beyond the last event.
        """
        # Before the look-up: a run may end meanwhile, and a feed opened for it after that would stay for ever.
        live = self._hub.live(user_id, run_id)
        run = await self._run(user_id, run_id, after)
        feed = live or self._hub.live(user_id, run_id)
        if feed is None and not run.status.ended:
            feed = self._hub.open(user_id, run.thread_id, run_id, base=None)
        follower = Follower(run_id, after, feed)
        follower.ended = run.status.ended and after >= run.last_seq
        return follower

    async def advance(self, user_id: str, follower: Follower) -> list[Told]:
        """What the follower is told next; nothing where it has been told everything for now.

        Events come from the feed's tail, or from the log where that does not reach back so far; then the texts that
        are being written.
        """
        feed = follower.feed
        stored = None if feed is None else feed.since(follower.seq)
        follower.behind = False
        if stored is None:
            stored = await self._runs.events(user_id, follower.run_id, follower.seq, PAGE)
            follower.behind = bool(stored)
            # A run that has ended, and whose events are kept no longer, tells nothing more.
            follower.ended = feed is None and not stored
        told = follower.stored(stored)
        if feed is not None and not follower.behind and not follower.ended:
            told += follower.passing(feed.texts.values())
        return told

    async def follow(self, user_id: str, run_id: str, after: int) -> AsyncGenerator[Told]:
        """Everything after `after`, then live, to the run's ending.

        Raises:
            NotFound: the user has no such run.
            AfterOutOfRange: `after` is beyond the last event.
        """
        async for told in self.follow_on(user_id, await self.follower(user_id, run_id, after)):
            yield told

    async def follow_on(self, user_id: str, follower: Follower) -> AsyncGenerator[Told]:
        """As `follow`, from a cursor that is there already."""
        news = asyncio.Event()
        if follower.feed is not None:
            follower.feed.add_follower(news.set)
        try:
            while not follower.ended:
                news.clear()
                told = await self.advance(user_id, follower)
                for each in told:
                    yield each
                if not follower.behind and not follower.ended:
                    await news.wait()
        finally:
            if follower.feed is not None:
                follower.feed.remove_follower(news.set)

    async def _run(self, user_id: str, run_id: str, after: int) -> Run:
        run = await self._runs.run(user_id, run_id)
        if run is None:
            raise NotFound("run", run_id)
        if after > run.last_seq:
            raise AfterOutOfRange(f"the last event of run {run_id} is {run.last_seq}: nothing can come after {after}")
        return run
