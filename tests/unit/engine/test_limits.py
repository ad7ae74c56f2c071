"""Slots: how many runs a process has at once."""

import pytest

from netra_apex.engine.limits import Slots
from netra_apex.errors import QueueFull


def test_slots_are_counted_by_user_and_by_process() -> None:
    slots = Slots(per_user=2, per_process=3)
    for user in ("ada", "ada"):
        slots.take(user)
    with pytest.raises(QueueFull, match="a user has at most 2 runs"):
        slots.take("ada")
    assert (slots.room, slots.total) == (1, 2)
    slots.take("eve")
    with pytest.raises(QueueFull, match="this process has at most 3 runs"):
        slots.take("bob")
    slots.release("ada")
    assert (slots.room, slots.total) == (1, 2)
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


def test_a_run_that_was_counted_where_it_was_admitted_has_its_slot_whatever_the_limits() -> None:
    slots = Slots(per_user=1, per_process=1)
    slots.take("ada")
    slots.take("ada", counted=True)
    assert (slots.room, slots.total) == (0, 2)
    slots.release("ada")
    slots.release("ada")
    assert (slots.room, slots._of_user) == (1, {})
