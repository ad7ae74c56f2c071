"""`WebSocketBridge`: one per connection. It follows runs of one user and tells the socket what they tell."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from netra_apex.errors import Invalid
from netra_apex.stream.feed import Hub, RunFeed
from netra_apex.stream.follower import Follower
from netra_apex.stream.reader import StreamReader

MAX_FOLLOWED = 100  # runs that one connection may follow at once
MAX_KNOWN = 1_000
MAX_ANSWERS = 64  # answers that wait for a stalled socket before its frames are read no more


class _Followed:
    """A run that this connection follows, with the callback that its feed wakes it by."""

    __slots__ = ("follower", "wake")

    def __init__(self, follower: Follower, wake: Callable[[], None]) -> None:
        self.follower = follower
        self.wake = wake


class WebSocketBridge:
    """Reads the log to one socket of one user. Why one per connection: each socket has its own pace and cursors.

    `send` takes one frame and returns when the socket will take another, which is all the flow control there is:
    while it waits nothing is queued but answers to the client's own frames, and those stop its reading (G10).
    """

    def __init__(self, user_id: str, reader: StreamReader, hub: Hub, send: Callable[[str], Awaitable[None]]) -> None:
        self.user_id = user_id
        self._reader = reader
        self._hub = hub
        self._send = send
        self._answers: deque[str] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._followed: dict[str, _Followed] = {}
        self._threads: dict[str, Callable[[RunFeed], None]] = {}
        self._known: dict[str, None] = {}  # what was followed lately: no run of a thread is told twice unasked
        # A dict for its order: runs are served in turn.
        self._dirty: dict[str, None] = {}
        # While there is nothing to tell. An `asyncio.Event` costs three times as much.
        self._idle: asyncio.Future[None] | None = None
        self._closed = False

    async def tell(self, frame: str) -> None:
        """Answers a frame of the client; told before anything that runs tell after it."""
        await self.room()
        self.tell_soon(frame)

    async def room(self) -> None:
        """Waits until the socket has taken enough answers for another one."""
        await self._room.wait()

    def tell_soon(self, frame: str) -> None:
        """As `tell`, in one step with what the caller does before and after it; ask for `room` before."""
        self._answers.append(frame)
        if len(self._answers) >= MAX_ANSWERS:
            self._room.clear()
        self._wake()

    async def follow(self, run_id: str, after: int, *, answer: str | None = None) -> None:
        """Tells the run's events after `after`, then what comes; before them `answer`. Asked again, it begins there.

        Raises:
            NotFound: the user has no such run.
            AfterOutOfRange: `after` is beyond its last event.
            Invalid: the connection follows too many runs.
        """
        follower = await self._reader.follower(self.user_id, run_id, after)
        self.check_room([run_id])
        if answer is not None:
            self.tell_soon(answer)
        self.add(follower)

    def follow_new(self, thread_id: str, run_id: str) -> None:
        """Follows a run of this user that was accepted this moment, or was given a message, from its first event.

        Beyond the limit of subscriptions too: how many runs a user may have is limited where they are accepted. One
        that is followed already goes on from where its reader is.
        """
        feed = self._hub.open(self.user_id, thread_id, run_id)
        if run_id not in self._followed:
            self.add(Follower(run_id, 0, feed))

    def check_room(self, runs: Iterable[str]) -> None:
        """Makes sure that these runs can be subscribed to.

        Raises:
            Invalid: the connection would follow too many runs.
        """
        if len(self._followed.keys() | set(runs)) > MAX_FOLLOWED:
            raise Invalid(f"a connection follows at most {MAX_FOLLOWED} runs: unsubscribe from some")

    def add(self, follower: Follower) -> None:
        """Follows with this cursor; not once the connection has ended, which an acceptance may outlast."""
        if self._closed:
            return
        self.unfollow(follower.run_id)
        wake = partial(self._mark, follower.run_id)
        self._followed[follower.run_id] = _Followed(follower, wake)
        self._known[follower.run_id] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        if follower.feed is not None:
            follower.feed.add_follower(wake)
        wake()

    def follows(self, run_id: str) -> bool:
        """Whether this run is followed now."""
        return run_id in self._followed

    def unfollow(self, run_id: str) -> None:
        """Tells nothing more of this run."""
        followed = self._followed.pop(run_id, None)
        self._dirty.pop(run_id, None)
        if followed is not None and followed.follower.feed is not None:
            followed.follower.feed.remove_follower(followed.wake)

    def watch_thread(self, thread_id: str) -> bool:
        """Follows each run that begins in this thread from now on; False where it did so already.

        Raises:
            Invalid: the connection watches too many threads.
        """
        if thread_id in self._threads:
            return False
        if len(self._threads) >= MAX_FOLLOWED:
            raise Invalid(f"a connection follows at most {MAX_FOLLOWED} threads: unsubscribe from some")

        def on_new(feed: RunFeed) -> None:
            if feed.run_id not in self._known and len(self._followed) < MAX_FOLLOWED:
                self.add(Follower(feed.run_id, 0, feed))

        self._threads[thread_id] = on_new
        self._hub.watch(self.user_id, thread_id, on_new)
        return True

    def unwatch_thread(self, thread_id: str) -> None:
        """Ends `watch_thread`, and follows the thread's runs no more."""
        on_new = self._threads.pop(thread_id, None)
        if on_new is not None:
            self._hub.unwatch(self.user_id, thread_id, on_new)
        for run_id, followed in list(self._followed.items()):
            feed = followed.follower.feed
            if feed is not None and feed.thread_id == thread_id:
                self.unfollow(run_id)

    def close(self) -> None:
        """Lets go of every feed, for good."""
        self._closed = True
        for run_id in list(self._followed):
            self.unfollow(run_id)
        for thread_id in list(self._threads):
            self.unwatch_thread(thread_id)

    async def run(self) -> None:
        """Tells the socket what there is to tell, until it is cancelled or `send` fails."""
        loop = asyncio.get_running_loop()
        while True:
            while self._answers or self._dirty:
                await self._tell_answers()
                if self._dirty:
                    run_id = next(iter(self._dirty))
                    del self._dirty[run_id]
                    await self._tell_run(run_id)
            # Nothing is awaited between the look and this, so no news is missed.
            self._idle = loop.create_future()
            await self._idle

    def _mark(self, run_id: str) -> None:
        self._dirty[run_id] = None
        self._wake()

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _tell_answers(self) -> None:
        while self._answers:
            await self._send(self._answers.popleft())
            if len(self._answers) < MAX_ANSWERS:
                self._room.set()

    async def _tell_run(self, run_id: str) -> None:
        followed = self._followed.get(run_id)
        if followed is None:
            return
        follower = followed.follower
        told = await self._reader.advance(self.user_id, follower)
        if self._answers:
            # Reading the log took a moment, in which an answer came that belongs before what was read.
            await self._tell_answers()
        for _, frame in told:
            if self._followed.get(run_id) is not followed:
                return  # the client unsubscribed, or asked for it anew from elsewhere
            await self._send(frame)
        if self._followed.get(run_id) is not followed:
            return
        if follower.ended:
            self.unfollow(run_id)
        elif follower.behind:
            self._dirty[run_id] = None
