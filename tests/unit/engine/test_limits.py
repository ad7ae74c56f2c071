"""Slots and the schedule: limits that hold, threads in order, users in turn (G8)."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from netra_apex.engine.limits import Place, Schedule, Slots
from netra_apex.errors import QueueFull


def test_slots_are_counted_by_user_and_by_process() -> None:
    slots = Slots(per_user=2, per_process=3)
    for user in ("ada", "ada"):
        slots.take(user)
    with pytest.raises(QueueFull, match="a user has at most 2 runs"):
        slots.take("ada")
    assert (slots.free("ada"), slots.free("eve"), slots.total) == (0, 1, 2)
    slots.take("eve")
    with pytest.raises(QueueFull, match="this process has at most 3 runs"):
        slots.take("bob")
    slots.release("ada")
    assert (slots.free("ada"), slots.free("bob"), slots.total) == (1, 1, 2)
    slots.release("eve")
    slots.release("ada")
    assert (slots.total, slots._of_user) == (0, {})


def test_whoever_waits_is_called_when_a_slot_is_freed() -> None:
    slots = Slots(per_user=1, per_process=1)
    slots.take("ada")
    slots.release("ada")  # nobody asked to be called
    freed: list[int] = []
    slots.on_release(lambda: freed.append(slots.total))
    slots.take("ada")
    assert freed == []
    slots.release("ada")
    assert freed == [0]


def place(number: int, user: str = "ada", thread: str | None = None) -> Place:
    return Place(user, f"thr_{number}" if thread is None else thread, f"run_{number}")


def schedule(*, per_user: int = 3, per_process: int = 100, queued: int = 20) -> tuple[Slots, Schedule]:
    slots = Slots(per_user=per_user, per_process=per_process)
    return slots, Schedule(slots, queued_per_user=queued)


def start(slots: Slots, plan: Schedule, accepted: Any) -> list[str]:
    """Starts what may start, as a runner does."""
    started: list[str] = []
    while (next_one := plan.start_next(accepted)) is not None:
        slots.take(next_one.user_id)
        started.append(next_one.run_id)
    return started


def test_why_a_run_has_to_wait_is_said_in_words() -> None:
    slots, plan = schedule(per_user=1, per_process=2)
    assert plan.enter(place(1)) is None
    assert plan.enter(place(2, thread="thr_1")) == "another run of this thread is under way"
    assert plan.enter(place(3)) == "as many of your runs as may be are under way"
    assert start(slots, plan, {"run_1"}) == ["run_1"]
    assert plan.reason_to_wait(place(4, thread="thr_1")) == "another run of this thread is under way"
    assert plan.enter(place(5, "eve")) is None
    assert start(slots, plan, {"run_5"}) == ["run_5"]
    assert plan.enter(place(6, "bob")) == "the server is busy"
    assert len(plan) == 3


@pytest.mark.parametrize(("per_user", "queued"), [(3, 20), (1, 0), (3, 0), (2, 1)])
def test_a_herd_that_comes_in_one_moment_gets_as_much_as_one_that_comes_in_turn(per_user: int, queued: int) -> None:
    slots, plan = schedule(per_user=per_user, queued=queued)
    entered: list[str] = []
    for number in range(per_user + queued):
        reason = plan.enter(place(number))
        assert (reason is None) == (number < per_user)
        entered.append(f"run_{number}")
    with pytest.raises(QueueFull, match=f"{queued} of your runs are waiting already"):
        plan.enter(place(99))
    assert start(slots, plan, set(entered)) == entered[:per_user]
    with pytest.raises(QueueFull):
        plan.enter(place(99))
    assert plan.enter(place(100, "eve")) is None  # one user's queue is not another's


def test_runs_of_one_thread_count_as_waiting_even_while_slots_are_free() -> None:
    slots, plan = schedule(per_user=3, queued=2)
    for number in range(3):
        plan.enter(place(number, thread="thr_a"))
    with pytest.raises(QueueFull):
        plan.enter(place(3, thread="thr_a"))
    assert plan.enter(place(4)) is None
    assert start(slots, plan, {"run_0", "run_1", "run_2", "run_4"}) == ["run_0", "run_4"]


def test_one_users_flood_delays_another_by_one_run_at_most() -> None:
    slots, plan = schedule(per_user=1, per_process=1, queued=50)
    for number in range(40):
        plan.enter(place(number, "flood"))
    everything = {f"run_{number}" for number in range(100)}
    assert start(slots, plan, everything) == ["run_0"]
    plan.enter(place(50, "ada"))
    plan.enter(place(51, "eve"))
    order = []
    running = place(0, "flood")
    for _ in range(5):
        slots.release(running.user_id)
        plan.leave(running)
        (started,) = start(slots, plan, everything)
        order.append(started)
        number = int(started.removeprefix("run_"))
        running = place(number, {50: "ada", 51: "eve"}.get(number, "flood"))
    assert order == ["run_1", "run_50", "run_51", "run_2", "run_3"]


USERS = st.sampled_from(["ada", "bob", "eve"])
THREADS = st.sampled_from(["t1", "t2", "t3", "t4"])


class Scheduling(RuleBasedStateMachine):
    """Any order of entering, being accepted, given up, starting and ending."""

    @initialize(per_user=st.integers(1, 3), per_process=st.integers(1, 5), queued=st.integers(0, 4))
    def begin(self, per_user: int, per_process: int, queued: int) -> None:
        self.slots, self.plan = schedule(per_user=per_user, per_process=per_process, queued=queued)
        self.queued = queued
        self.entered: list[Place] = []  # waiting, in the order in which they came
        self.accepted: set[str] = set()
        self.running: list[Place] = []
        self.passed: dict[str, list[str]] = {}  # by a user who could start: who has started since
        self.number = 0

    def first_in_thread(self, one: Place) -> bool:
        same = [p for p in self.entered if (p.user_id, p.thread_id) == (one.user_id, one.thread_id)]
        busy = any((p.user_id, p.thread_id) == (one.user_id, one.thread_id) for p in self.running)
        return not busy and same[0] == one

    def able(self) -> list[Place]:
        """Those that could start at once."""
        return [
            p for p in self.entered
            if p.run_id in self.accepted and self.first_in_thread(p) and self.slots.free(p.user_id) > 0
        ]  # fmt: skip

    def pump(self) -> None:
        while True:
            could = {p.user_id for p in self.able()}
            self.passed = {user: self.passed.get(user, []) for user in could}
            chosen = self.plan.start_next(self.accepted)
            if chosen is None:
                assert could == set(), "somebody could start and was not named"
                return
            assert chosen in self.able()
            self.slots.take(chosen.user_id)
            self.entered.remove(chosen)
            self.running.append(chosen)
            self.passed.pop(chosen.user_id)
            for others in self.passed.values():
                others.append(chosen.user_id)
                assert len(others) == len(set(others)), "a user was passed twice by another"

    @rule(user=USERS, thread=THREADS)
    def enter(self, user: str, thread: str) -> None:
        self.number += 1
        new = Place(user, thread, f"run_{self.number}")
        mine = [p for p in self.entered if p.user_id == user]
        firsts = {p.thread_id for p in mine if self.first_in_thread(p)}
        need_not_wait = min(len(firsts), self.slots.free(user))
        same_thread = any((p.user_id, p.thread_id) == (user, thread) for p in (*self.entered, *self.running))
        must_wait = same_thread or need_not_wait >= self.slots.free(user)
        try:
            reason = self.plan.enter(new)
        except QueueFull:
            assert must_wait
            assert len(mine) - need_not_wait >= self.queued
        else:
            assert (reason is not None) == must_wait
            assert not must_wait or len(mine) - need_not_wait < self.queued
            self.entered.append(new)

    @precondition(lambda self: [p for p in self.entered if p.run_id not in self.accepted])
    @rule(data=st.data(), takes=st.booleans())
    def decide(self, data: st.DataObject, takes: bool) -> None:
        one = data.draw(st.sampled_from([p for p in self.entered if p.run_id not in self.accepted]))
        if takes:
            self.accepted.add(one.run_id)
        else:
            self.plan.leave(one)
            self.entered.remove(one)
        self.pump()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.slots.release(one.user_id)
        self.plan.leave(one)
        self.pump()

    @precondition(lambda self: [p for p in self.entered if p.run_id in self.accepted])
    @rule(data=st.data())
    def cancel_waiting(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([p for p in self.entered if p.run_id in self.accepted]))
        self.plan.leave(one)
        self.entered.remove(one)
        self.pump()

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "plan"):
            return
        assert self.slots.total == len(self.running) <= self.slots.per_process
        for user in ("ada", "bob", "eve"):
            assert len([p for p in self.running if p.user_id == user]) <= self.slots.per_user
        threads = [(p.user_id, p.thread_id) for p in self.running]
        assert len(threads) == len(set(threads))
        assert len(self.plan) == len(self.entered)

    def teardown(self) -> None:
        if not hasattr(self, "plan"):
            return
        # Whatever happened, everything that was accepted comes to its turn.
        for one in [p for p in self.entered if p.run_id not in self.accepted]:
            self.plan.leave(one)
            self.entered.remove(one)
        self.pump()
        while self.running:
            one = self.running.pop(0)
            self.slots.release(one.user_id)
            self.plan.leave(one)
            self.pump()
        assert self.entered == []
        assert self.plan._busy_threads == set()
        assert self.slots._of_user == {}


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
