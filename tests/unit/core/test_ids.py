"""Ids sort by the time they were made, and cannot be guessed."""

import re
import threading
import time

from netra_apex.core.ids import ENTROPY_BYTES, new_id


def test_an_id_says_its_kind_and_has_a_time_and_80_random_bits() -> None:
    assert ENTROPY_BYTES * 8 == 80
    assert re.fullmatch(r"run_[0-9a-f]{12}[0-9a-f]{20}", new_id("run"))


def test_ids_sort_by_the_millisecond_in_which_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id("msg") for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    times = [int(ident[4:16], 16) for ident in made]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after


def test_ids_of_one_moment_have_nothing_in_common_but_the_moment() -> None:
    tails = [new_id("run")[16:] for _ in range(5_000)]
    assert len(set(tails)) == 5_000
    # Each digit takes every value at each place: none of it is a counter, a clock or a process id.
    for place in range(20):
        assert len({tail[place] for tail in tails}) == 16


def test_ids_made_by_many_threads_at_once_are_all_different() -> None:
    barrier = threading.Barrier(8)
    made: list[list[str]] = []

    def work() -> None:
        barrier.wait(10)
        made.append([new_id("run") for _ in range(2_000)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({ident for some in made for ident in some}) == 16_000
