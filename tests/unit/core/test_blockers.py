"""What is in the way, from how everything stands."""

from netra_apex.core.blockers import ModelEnds, Standing, Unfinished, blockers
from netra_apex.core.runs import RunStatus


def unfinished(user: str = "ada", status: str = "queued", **more: object) -> Unfinished:
    whole = {"taken": False, "overdue": False, "runs": 1, "since": 5} | more
    return Unfinished(user_id=user, status=RunStatus(status), **whole)  # type: ignore[arg-type]


def standing(*runs: Unfinished, **more: object) -> Standing:
    whole = {"models": (), "workers": None, "database_ms": 1.0} | more
    return Standing(unfinished=runs, **whole)  # type: ignore[arg-type]


def told(found: Standing, queued_per_user: int = 20) -> list[tuple[str, int]]:
    return [(each.kind, each.count) for each in blockers(found, queued_per_user=queued_per_user)]


def test_where_all_is_well_nothing_is_in_the_way() -> None:
    found = standing(unfinished(status="running", taken=True, runs=3), unfinished("bob"), workers=2)
    assert told(found) == []
    assert (found.running, found.queued, found.waiting, found.overdue, found.users) == (3, 1, 0, 0, 2)


def test_what_waits_is_told_by_what_it_waits_for() -> None:
    waiting = unfinished(status="waiting", runs=2, since=3), unfinished("bob", status="waiting")
    assert told(standing(*waiting)) == [("waiting_for_people", 3)]
    assert told(standing(unfinished(runs=2), workers=0)) == [("no_worker", 2)]
    assert told(standing(unfinished(runs=2), unfinished(status="running", runs=3), workers=1), 5) == [("queue_full", 1)]
    found = blockers(standing(unfinished(), unfinished("bob"), workers=1), queued_per_user=1)
    assert found[0].message == "of 2 users as many runs wait as may"
    late = standing(unfinished(status="running", taken=True, overdue=True, since=7), unfinished(since=1), workers=1)
    assert [(each.kind, each.count, each.since) for each in blockers(late, queued_per_user=20)] == [("overdue", 1, 7)]


def test_a_database_that_takes_its_time_is_in_the_way() -> None:
    assert told(standing(database_ms=251.0)) == [("database_slow", 1)]


def ended(ended_as: str, last: int, model: str = "test:one") -> ModelEnds:
    return ModelEnds(model=model, ended_as=ended_as, runs=2, first=1, last=last)


def test_a_model_is_in_the_way_until_a_run_by_it_goes_well() -> None:
    assert told(standing(models=(ended("model_unavailable", 5),))) == [("model_unreachable", 2)]
    assert told(standing(models=(ended("model_error", 5, ""), ended("completed", 9)))) == [("model_failing", 2)]
    assert told(standing(models=(ended("model_error", 5), ended("completed", 6)))) == []
    assert told(standing(models=(ended("model_error", 5), ended("completed", 4)))) == [("model_failing", 2)]
