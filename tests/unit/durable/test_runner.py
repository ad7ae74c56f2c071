"""Who is served next: users in turn, also where one of them has far more to do (G8)."""

from hypothesis import given
from hypothesis import strategies as st

from netra_apex.durable.runner import _Ring

USERS = st.sets(st.sampled_from("abcdef"), min_size=1)


def test_whoever_was_served_longest_ago_is_next() -> None:
    ring = _Ring()
    assert ring.in_turn("abc") == ["a", "b", "c"]
    ring.note("a")
    assert ring.in_turn("abc") == ["b", "c", "a"]
    ring.note("b")
    ring.note("c")
    assert ring.in_turn("abc") == ["a", "b", "c"]
    ring.note("a")
    assert ring.in_turn("cbad") == ["b", "c", "a", "d"], "who comes later is after those who wait"


def test_who_does_not_wait_any_more_is_forgotten() -> None:
    ring = _Ring()
    ring.in_turn("abc")
    ring.note("a")
    assert ring.in_turn("c") == ["c"]
    ring.note("b")
    assert ring.in_turn("") == []
    assert ring.in_turn("ab") == ["a", "b"]


@given(st.lists(USERS, max_size=30))
def test_nobody_who_waits_is_passed_twice_by_another(looks: list[set[str]]) -> None:
    ring = _Ring()
    passed: dict[str, list[str]] = {}
    for waiting in looks:
        chosen = ring.in_turn(sorted(waiting))[0]
        assert chosen in waiting
        ring.note(chosen)
        passed = {user: [*passed.get(user, []), chosen] for user in waiting - {chosen}}
        assert all(len(others) == len(set(others)) for others in passed.values())
