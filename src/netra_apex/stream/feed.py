"""What runs tell while they are under way: for each live run the tail of its log and the text that is being written.

Nothing here is a queue per reader. A reader has a cursor, and takes what it lacks when it can: so a reader that stalls
costs nothing but its own delay (G10), and several deltas that wait for it become one.
"""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from netra_apex.core.events import EventKind

TAIL_EVENTS = 256  # a reader that is further behind reads the log
TAIL_CHARS = 1_000_000
PACE_SECONDS = 0.05  # a text that grows twenty times a second is read as one that flows
SHOWINGS_PER_SECOND = 1_000  # of all texts of a process together: with more live runs each grows in larger steps


@dataclass(slots=True)
class LiveText:
    """The text of one message while a model writes it.

    `after_seq` is the last durable event that was told before it began: who has not been told that one yet is not
    shown this either. `done` texts have their `message_completed` in the log, and keep their number of attempts.
    `anew`: readers may have been shown some of it by a process that had the run before.
    """

    kind: EventKind
    run_id: str
    message_id: str
    agent: str
    depth: int
    parent_call_id: str | None
    after_seq: int
    attempt: int = 1
    pieces: list[str] = field(default_factory=list[str])
    length: int = 0
    done: bool = False
    anew: bool = False


class RunFeed:
    """The live end of one run's stream. Followers are woken, and then take what they lack."""

    def __init__(
        self,
        user_id: str,
        thread_id: str,
        run_id: str,
        base: int | None,
        *,
        on_followed: Callable[["RunFeed"], None] = lambda _: None,
    ) -> None:
        self.local = False  # whether it is this process that carries the run out
        self.idle = False  # nobody follows it, nor did when that was looked at last
        self._on_followed = on_followed
        self.user_id = user_id
        self.thread_id = thread_id
        self.run_id = run_id
        self.ended = False
        self._base = base  # the last event that the tail does not hold; None while that is not known
        self.texts: dict[str, LiveText] = {}
        self._tail: deque[tuple[int, str]] = deque()
        self._chars = 0
        self._followers: set[Callable[[], None]] = set()

    def add_follower(self, wake: Callable[[], None]) -> None:
        """Calls `wake` whenever there is more, until it is removed."""
        self._followers.add(wake)
        self.idle = False
        self._on_followed(self)

    def remove_follower(self, wake: Callable[[], None]) -> None:
        """Calls `wake` no more."""
        self._followers.discard(wake)

    @property
    def followed(self) -> bool:
        """Whether anybody wants to know of it."""
        return bool(self._followers)

    @property
    def last(self) -> int | None:
        """The last event that was told here; None while that is not known."""
        return self._tail[-1][0] if self._tail else self._base

    def skip_to(self, seq: int) -> None:
        """Events up to this one are stored, and were not told here: who lacks them reads the log."""
        if self.last is None or self.last < seq:
            self._forget(seq)

    def lose_track(self) -> None:
        """Something may have been told that was not heard here: whoever follows reads the log."""
        self._forget(None)

    def _forget(self, base: int | None) -> None:
        self._base = base
        self._tail.clear()
        self._chars = 0
        # Whether they were completed meanwhile is not known here: those that are not are told anew.
        self.texts.clear()
        self.wake()

    def since(self, seq: int) -> list[tuple[int, str]] | None:
        """The stored events after `seq`; None where the tail does not reach back so far and the log must be read."""
        if self._base is None or seq < self._base:
            return None
        if not self._tail or self._tail[-1][0] <= seq:
            return []
        return [stored for stored in self._tail if stored[0] > seq]

    def publish(self, stored: Sequence[tuple[int, str]], *, ended: bool = False) -> None:
        """Tells events, which the caller has stored (G1)."""
        for seq, body in stored:
            if self._base is None:
                self._base = seq - 1
            self._tail.append((seq, body))
            self._chars += len(body)
        while len(self._tail) > TAIL_EVENTS or (self._chars > TAIL_CHARS and len(self._tail) > 1):
            self._base, body = self._tail.popleft()
            self._chars -= len(body)
        self.ended = self.ended or ended
        self.wake()

    def wake(self) -> None:
        """Tells the followers that there is more."""
        for wake in tuple(self._followers):
            wake()


class Hub:
    """The live runs of this process, and who wants to know of new ones in a thread.

    `pace` is the least time in seconds between two showings of a text that grows, and more where many grow; 0 shows
    every piece by itself.
    """

    def __init__(self, *, pace: float = 0.0) -> None:
        self._pace = pace
        self.shared = False  # whether there are other processes, who may go on with what this one leaves
        # Where there are other processes: called when somebody follows a run that this one does not carry out, when
        # this one begins to carry one out, and when it does so no more.
        self.on_followed: Callable[[RunFeed], None] = lambda _: None
        self.on_local: Callable[[RunFeed], None] = lambda _: None
        self.on_released: Callable[[RunFeed], None] = lambda _: None
        self._feeds: dict[str, RunFeed] = {}
        # Other processes' runs that nobody has followed for a while: there, as long as somebody still means to.
        self._idle: weakref.WeakValueDictionary[str, RunFeed] = weakref.WeakValueDictionary()
        self._watchers: dict[tuple[str, str], set[Callable[[RunFeed], None]]] = {}

    @property
    def pace(self) -> float:
        """Seconds between two showings of a text that grows, at the present number of live runs."""
        return self._pace and max(self._pace, len(self._feeds) / SHOWINGS_PER_SECOND)

    def open(self, user_id: str, thread_id: str, run_id: str, *, base: int | None = 0) -> RunFeed:
        """The feed of a run, made if it is the first to ask; those who watch its thread are told of a new one.

        `base` is the run's last stored event, 0 for a new run, None where that is not known.
        """
        feed = self.find(run_id)
        if feed is None:
            feed = self._feeds[run_id] = RunFeed(user_id, thread_id, run_id, base, on_followed=self._followed)
            for told in tuple(self._watchers.get((user_id, thread_id), ())):
                told(feed)
        return feed

    def announce(self, user_id: str, thread_id: str, run_id: str, *, base: int | None = 0) -> None:
        """Tells those who watch this thread, if there are any, of a run that waits or is carried out elsewhere."""
        if (user_id, thread_id) in self._watchers:
            self.open(user_id, thread_id, run_id, base=base)

    def watched(self) -> tuple[tuple[str, str], ...]:
        """(user, thread) of the threads that somebody here watches."""
        return tuple(self._watchers)

    def live(self, user_id: str, run_id: str) -> RunFeed | None:
        """The feed of a live run of this user."""
        feed = self.find(run_id)
        return feed if feed is not None and feed.user_id == user_id else None

    def close(self, feed: RunFeed) -> None:
        """Forgets a run that has ended; who still follows it holds the feed itself."""
        if self._feeds.get(feed.run_id) is feed:
            del self._feeds[feed.run_id]

    def watch(self, user_id: str, thread_id: str, told: Callable[[RunFeed], None]) -> None:
        """Calls `told` with the feed of each run that begins in this thread of this user."""
        self._watchers.setdefault((user_id, thread_id), set()).add(told)

    def unwatch(self, user_id: str, thread_id: str, told: Callable[[RunFeed], None]) -> None:
        """Ends `watch`."""
        watchers = self._watchers.get((user_id, thread_id))
        if watchers is not None:
            watchers.discard(told)
            if not watchers:
                del self._watchers[user_id, thread_id]

    def elsewhere(self) -> list[RunFeed]:
        """The feeds that are followed of runs that this process does not carry out.

        Such as nobody has followed since this was asked before are dropped.
        """
        away = [feed for feed in self._feeds.values() if not feed.local]
        for feed in away:
            if feed.idle and not feed.followed:
                self.close(feed)
                self._idle[feed.run_id] = feed
            feed.idle = not feed.followed
        return [feed for feed in away if feed.followed]

    def adopt(self, feed: RunFeed, last: int) -> None:
        """This process carries the run out from now on, after the event `last`."""
        feed.skip_to(last)  # what others told of it may not have been heard here
        feed.local = True
        self.on_local(feed)

    def release(self, feed: RunFeed) -> None:
        """This process carries the run out no more; another may."""
        if not feed.local:
            return
        feed.local = False
        self.on_released(feed)
        if feed.followed and not feed.ended:
            self.on_followed(feed)

    def find(self, run_id: str) -> RunFeed | None:
        """The feed of a run, whoever's it is: for what is told between processes, and never for a user."""
        feed = self._feeds.get(run_id)
        if feed is None and (feed := self._idle.pop(run_id, None)) is not None:
            self._feeds[run_id] = feed
            feed.idle = False
        return feed

    def _followed(self, feed: RunFeed) -> None:
        if not feed.local and not feed.ended and self.find(feed.run_id) is None:
            # It was dropped between being looked up and being followed: what was told meanwhile stands in the log.
            self._feeds[feed.run_id] = feed
            feed.lose_track()
        if not feed.local:
            self.on_followed(feed)

    def __len__(self) -> int:
        return len(self._feeds)
