"""The hub, its feeds, and the manager: whose run is live, and who is connected."""

import pytest
from tests.support.bounded import run, turns
from tests.support.memory_log import Telling

from netra_apex.core.events import AgentCancelled, AgentStarted, AgentThinking
from netra_apex.errors import TooManyConnections
from netra_apex.stream import feed as feeds
from netra_apex.stream.feed import Hub, RunFeed
from netra_apex.stream.manager import Connection, WebSocketManager
from netra_apex.stream.meter import Meter


def test_a_run_has_one_feed_and_only_its_user_finds_it() -> None:
    hub = Hub()
    feed = hub.open("ada", "thr_a", "run_a")
    assert hub.open("ada", "thr_a", "run_a", base=None) is feed
    assert hub.live("ada", "run_a") is feed
    assert hub.live("eve", "run_a") is None
    assert hub.live("ada", "run_b") is None
    hub.close(feed)
    hub.close(feed)
    assert (hub.live("ada", "run_a"), len(hub)) == (None, 0)


def test_with_many_live_runs_each_text_grows_in_larger_steps() -> None:
    hub = Hub(pace=0.05)
    assert hub.pace == 0.05
    opened = [hub.open("ada", "thr_a", f"run_{number}") for number in range(2 * feeds.SHOWINGS_PER_SECOND)]
    assert hub.pace == 2
    for feed in opened:
        hub.close(feed)
    assert hub.pace == 0.05


def test_without_a_pace_every_piece_is_shown_however_many_runs_there_are() -> None:
    hub = Hub()
    for number in range(2 * feeds.SHOWINGS_PER_SECOND):
        hub.open("ada", "thr_a", f"run_{number}")
    assert hub.pace == 0


def test_who_watches_a_thread_is_told_once_of_each_run_that_begins_there() -> None:
    hub = Hub()
    told: list[RunFeed] = []
    hub.watch("ada", "thr_a", told.append)
    hub.watch("ada", "thr_a", told.append)
    one = hub.open("ada", "thr_a", "run_1")
    hub.open("ada", "thr_a", "run_1")
    hub.open("ada", "thr_b", "run_2")
    hub.open("eve", "thr_a", "run_3")
    assert told in ([one], [one, one])  # a bound method is equal to itself; `told` is what matters below
    hub.unwatch("ada", "thr_a", told.append)
    hub.unwatch("ada", "thr_a", told.append)
    hub.unwatch("eve", "thr_b", told.append)
    hub.open("ada", "thr_a", "run_4")
    assert one in told
    assert len({each.run_id for each in told}) == 1


def test_a_feed_gives_what_is_after_a_cursor_or_says_that_it_does_not_reach_back() -> None:
    feed = RunFeed("ada", "thr_a", "run_a", base=0)
    assert feed.since(0) == []
    feed.publish([(1, "a"), (2, "b")])
    assert feed.since(0) == [(1, "a"), (2, "b")]
    assert feed.since(1) == [(2, "b")]
    assert feed.since(2) == feed.since(5) == []
    for seq in range(3, feeds.TAIL_EVENTS + 3):
        feed.publish([(seq, "x")])
    assert feed.since(1) is None
    assert len(feed.since(2) or []) == feeds.TAIL_EVENTS
    unknown = RunFeed("ada", "thr_a", "run_a", base=None)
    assert unknown.since(0) is None
    unknown.publish([(7, "x")])
    assert unknown.since(5) is None
    assert unknown.since(6) == [(7, "x")]


def test_a_feed_of_large_events_holds_few_of_them_and_always_the_last() -> None:
    feed = RunFeed("ada", "thr_a", "run_a", base=0)
    for seq in range(1, 20):
        feed.publish([(seq, "x" * (feeds.TAIL_CHARS // 4))])
    assert 1 <= len(feed.since(feed._base or 0) or []) <= 4
    feed.publish([(20, "x" * (3 * feeds.TAIL_CHARS))])
    assert [seq for seq, _ in feed.since(19) or []] == [20]
    assert feed.since(18) is None


def test_followers_are_woken_by_every_publication_until_they_are_removed() -> None:
    feed = RunFeed("ada", "thr_a", "run_a", base=0)
    woken: list[str] = []

    def one() -> None:
        woken.append("one")

    def leaves() -> None:
        woken.append("leaves")
        feed.remove_follower(leaves)

    feed.add_follower(one)
    feed.add_follower(leaves)
    feed.publish([(1, "a")])
    feed.publish([(2, "b")], ended=True)
    feed.remove_follower(leaves)
    assert sorted(woken) == ["leaves", "one", "one"]
    assert feed.ended


def test_the_text_that_is_in_the_log_is_held_no_longer() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        voice = emitter.voice("helper")
        await voice.emit(AgentStarted(task="t"), AgentThinking(text="x", step=1))
        writer = voice.writer(show=True, key="1")
        writer.text("a long text " * 100)
        ident = writer.finish()
        from netra_apex.core.events import MessageCompleted

        await voice.emit(MessageCompleted(message_id=ident, content="a long text " * 100))
        await turns()
        assert emitter.feed.texts[ident].pieces == []

    run(main())


def connection(
    number: int, user: str = "ada", session: str = "ses_a", closed: list[tuple[int, int]] | None = None
) -> Connection:
    ended = closed if closed is not None else []
    return Connection(f"con_{number}", user, session, lambda code: ended.append((number, code)))


def test_a_user_has_so_many_connections_and_no_more_and_another_user_does_not_count() -> None:
    manager = WebSocketManager(per_user=2)
    first, second = connection(1), connection(2)
    manager.add(first)
    manager.add(second)
    with pytest.raises(TooManyConnections, match="at most 2 connections"):
        manager.add(connection(3))
    manager.add(connection(4, "eve"))
    assert len(manager) == 3
    manager.remove(first)
    manager.remove(first)
    manager.add(connection(5))
    assert len(manager) == len(manager.all()) == 3
    manager.remove(connection(99, "nobody"))
    assert len(manager) == 3


def test_a_refused_first_connection_leaves_no_trace() -> None:
    manager = WebSocketManager(per_user=0)
    with pytest.raises(TooManyConnections):
        manager.add(connection(1))
    manager.remove(connection(1))
    assert (len(manager), manager.all(), manager._connections) == (0, (), {})


def test_the_sockets_of_an_ended_login_are_closed_and_no_others() -> None:
    manager = WebSocketManager(per_user=5)
    closed: list[tuple[int, int]] = []
    manager.add(connection(1, session="ses_a", closed=closed))
    manager.add(connection(2, session="ses_b", closed=closed))
    manager.add(connection(3, "eve", session="ses_c", closed=closed))
    assert manager.sessions() == {"ses_a", "ses_b", "ses_c"}
    manager.close_session("ses_a")
    manager.close_session("ses_none")
    assert closed == [(1, 4401)]
    manager.close_all(1001)
    assert sorted(closed[1:]) == [(1, 1001), (2, 1001), (3, 1001)]


def test_endings_are_counted_by_kind_and_a_sub_agents_is_none() -> None:
    meter = Meter()
    meter.count(AgentStarted(task="t"))
    meter.count(AgentCancelled(by="ada"))
    meter.count(AgentCancelled(by="ada", depth=1))
    assert meter.events == {"agent_started": 1, "agent_cancelled": 2}
    assert meter.endings == {"agent_cancelled": 1}
