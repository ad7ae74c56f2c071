"""Rollback: files get back, byte for byte, what they held before a run; what was edited since is never overwritten."""

from collections.abc import Sequence
from pathlib import Path

from netra_apex.migrate.faults import NoRun
from netra_apex.migrate.journal import APPLIED, OPEN, Entry, Journal, Run
from netra_apex.migrate.running import Told, restored


def last(journal: Journal) -> Run:
    """The last run that had anything to do: one that only told what is left to people changed nothing.

    Raises:
        NoRun: there is none.
    """
    for run in reversed(journal.runs()):
        if journal.entries(run.run_id):
            return run
    raise NoRun("there is no run that could be rolled back")


def chosen(
    journal: Journal, run: Run, *, file: str | None = None, batch: int | None = None, phase: str | None = None
) -> tuple[Entry, ...]:
    """The applied units of a run that a file, a batch or a phase selects, the last first; all without any.

    Raises:
        NoRun: nothing that was applied is selected.
    """
    entries = [
        entry
        for entry in reversed(journal.entries(run.run_id))
        if (entry.state in APPLIED or (entry.state == "conflict" and entry.batch is not None))
        and (file is None or file in entry.unit.paths)
        and (batch is None or entry.batch == batch)
        and (phase is None or entry.unit.phase == phase)
    ]
    selected = file is not None or batch is not None or phase is not None
    if not entries and (selected or run.status == "rolled_back"):
        raise NoRun(f"run {run.run_id} has nothing applied that could be rolled back so")
    return tuple(entries)


def roll_back(journal: Journal, root: Path, run: Run, entries: Sequence[Entry], told: Told) -> None:
    """Takes units back. Intended first, so that a rollback that is killed is gone on with too."""
    journal.set_status(run.run_id, "rolling_back")
    for entry in entries:
        journal.move(run.run_id, [entry], "returning")
    for entry in entries:
        _return(journal, root, run, entry, told)
    _settle(journal, run)


def go_on(journal: Journal, root: Path, run: Run, told: Told) -> None:
    """Ends a rollback that was killed."""
    for entry in reversed(journal.entries(run.run_id)):
        if entry.state == "returning":
            _return(journal, root, run, entry, told)
    _settle(journal, run)


def _return(journal: Journal, root: Path, run: Run, entry: Entry, told: Told) -> None:
    conflicts = restored(journal, root, entry)
    state = "conflict" if conflicts else "returned"
    journal.move(run.run_id, [entry], state, detail="; ".join(conflicts))
    told([entry], state, "; ".join(conflicts))


def _settle(journal: Journal, run: Run) -> None:
    """The run is rolled back when nothing of it is applied; otherwise it can be gone on with while there is more."""
    states = {entry.state for entry in journal.entries(run.run_id)}
    if not states & set(APPLIED):
        journal.set_status(run.run_id, "rolled_back")
    else:
        journal.set_status(run.run_id, "stopped" if states & set(OPEN) else "completed")
