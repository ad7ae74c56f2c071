"""What the journal says, counted: how a run stands, what is left of it over time, and what a day or a week brought."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from netra_apex.migrate.edits import Refusal
from netra_apex.migrate.journal import Entry, Journal, Run, State, Step

Outcome = Literal["open", "done", "refused", "failed", "conflict", "rolled back"]
OUTCOMES: tuple[Outcome, ...] = ("done", "refused", "failed", "conflict", "rolled back", "open")
Span = Literal["day", "week"]


def outcome(state: State) -> Outcome:
    """What became of a unit, for people: the states in between are all open."""
    match state:
        case "done" | "failed" | "conflict":
            return state
        case "returned":
            return "rolled back"
        case _:
            return "open"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A run with everything in it; `at_work` is whether a process carries it out just now."""

    run: Run
    entries: tuple[Entry, ...]
    refusals: tuple[Refusal, ...]
    at_work: bool

    @property
    def status(self) -> str:
        """How it stands; a run whose process is gone was interrupted."""
        return "interrupted" if self.run.status in ("running", "rolling_back") and not self.at_work else self.run.status

    @property
    def counts(self) -> dict[Outcome, int]:
        """Files by outcome, and the refused uses: a file may have both."""
        found = Counter(dict.fromkeys(OUTCOMES, 0))
        for entry in self.entries:
            found[outcome(entry.state)] += len(entry.unit.files)
        found["refused"] = len(self.refusals)
        return dict(found)

    @property
    def clean(self) -> bool:
        """Whether all that was planned is done, and nothing is left to people."""
        return not self.refusals and all(entry.state == "done" for entry in self.entries)

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints of a run."""
        return {
            "run": self.run.run_id,
            "status": self.status,
            "began_at": self.run.began_at,
            "ended_at": self.run.ended_at,
            "counts": self.counts,
            "units": [
                {
                    "files": list(entry.unit.paths),
                    "edits": sum(len(file.edits) for file in entry.unit.files),
                    "phase": entry.unit.phase,
                    "batch": entry.batch,
                    "state": entry.state,
                    "outcome": outcome(entry.state),
                    "code": entry.code,
                    "detail": entry.detail,
                }
                for entry in self.entries
            ],
            "refusals": [
                {
                    "path": each.path,
                    "line": each.line,
                    "column": each.column,
                    "code": each.code,
                    "symbol": each.symbol,
                    "message": each.message,
                    "candidates": list(each.candidates),
                }
                for each in self.refusals
            ],
        }


def standing(journal: Journal, run: Run, *, at_work: bool = False) -> Standing:
    """How a run stands."""
    return Standing(
        run=run, entries=journal.entries(run.run_id), refusals=journal.refusals(run.run_id), at_work=at_work
    )


@dataclass(slots=True)
class Period:
    """What a day or a week brought, in files; `remaining` are those that were left at its end."""

    name: str
    done: int = 0
    failed: int = 0
    conflicts: int = 0
    rolled_back: int = 0
    remaining: int = 0
    validations: Counter[str] = field(default_factory=Counter[str])
    tests_passed: int = 0
    tests_failed: int = 0
    blockers: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `netra migrate report --json` prints of it."""
        return {
            "period": self.name,
            "done": self.done,
            "failed": self.failed,
            "conflicts": self.conflicts,
            "rolled_back": self.rolled_back,
            "remaining": self.remaining,
            "validations": dict(sorted(self.validations.items())),
            "tests_passed": self.tests_passed,
            "tests_failed": self.tests_failed,
            "blockers": [{"code": code, "count": count} for code, count in self.blockers],
        }


@dataclass(frozen=True, slots=True)
class Point:
    """How many files were left at a time: planned and not moved, and those with a refusal."""

    at: str
    remaining: int


def burn_down(journal: Journal) -> tuple[Point, ...]:
    """What was left after each step of every run; a new run counts anew."""
    runs = {run.run_id: run for run in journal.runs()}
    entries = {number: journal.entries(number) for number in runs}
    return tuple(_points(journal.steps(), runs, entries, {number: journal.refusals(number) for number in runs}))


def _points(
    steps: Sequence[Step],
    runs: dict[int, Run],
    entries: dict[int, tuple[Entry, ...]],
    refusals: dict[int, tuple[Refusal, ...]],
) -> Iterable[Point]:
    for number, run in runs.items():
        moved: set[int] = set()
        refused = {refusal.path for refusal in refusals[number]}
        sizes = {entry.ordinal: set(entry.unit.paths) for entry in entries[number]}
        left = set[str]().union(*sizes.values(), refused)
        yield Point(run.began_at, len(left))
        for step in steps:
            if step.run_id != number:
                continue
            before = set(moved)
            (moved.add if step.state == "done" else moved.discard)(step.ordinal)
            if moved != before:
                done = set[str]().union(*(sizes[ordinal] for ordinal in moved)) - refused
                yield Point(step.at, len(left - done))


def periods(journal: Journal, span: Span) -> tuple[Period, ...]:
    """What each day or week brought in which something happened, the first one first; days are those of UTC."""
    found: dict[str, Period] = {}

    def period(at: str) -> Period:
        name = _name(at, span)
        return found.setdefault(name, Period(name))

    sizes = {
        (run.run_id, entry.ordinal): len(entry.unit.files)
        for run in journal.runs()
        for entry in journal.entries(run.run_id)
    }
    blockers: dict[str, Counter[str]] = {}
    for run in journal.runs():
        at = period(run.began_at).name
        # The last plan of a period says what blocks; sums over runs would count the same use again.
        blockers[at] = Counter(refusal.code for refusal in journal.refusals(run.run_id))
    for step in journal.steps():
        _count(period(step.at), step, sizes[step.run_id, step.ordinal])
        if step.state == "failed":
            blockers.setdefault(period(step.at).name, Counter())[f"failed: {step.code}"] += 1
    for validation in journal.validations():
        on = period(validation.at)
        on.validations[validation.outcome] += 1
        on.tests_passed, on.tests_failed = validation.passed, validation.failed
    for point in burn_down(journal):
        period(point.at).remaining = point.remaining
    for name, counted in blockers.items():
        found[name].blockers = tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
    return tuple(found[name] for name in sorted(found))


def _count(period: Period, step: Step, files: int) -> None:
    match step.state:
        case "done":
            period.done += files
        case "failed":
            period.failed += files
        case "conflict":
            period.conflicts += files
        case "returned":
            period.rolled_back += files
        case _:
            pass


def _name(at: str, span: Span) -> str:
    moment = datetime.fromisoformat(at)
    if span == "day":
        return moment.date().isoformat()
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02}"
