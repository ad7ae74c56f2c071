"""A migration that is killed at any moment ends as what was planned, or as what was there, byte for byte."""

from tests.support.killed_migration import storm


def test_a_dozen_random_kills_leave_the_plan_applied_or_taken_back_byte_for_byte():
    hit, ends = storm(12, seed=20)
    assert hit == 12
    assert sum(ends.values()) >= 2
