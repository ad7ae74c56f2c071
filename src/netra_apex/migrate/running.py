"""The phase runner: portions of a plan are written, validated, kept or taken back, and every step is in the journal.

Killed at any point, `resume` goes on: what was written and not yet validated is taken back first, then done anew.
"""

import fcntl
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netra_apex.migrate import git
from netra_apex.migrate.applying import clear, current, edited, replace
from netra_apex.migrate.config import Phase
from netra_apex.migrate.edits import Plan, digest
from netra_apex.migrate.faults import Conflict, NoRun, RunUnfinished, TreeLocked
from netra_apex.migrate.journal import OPEN, UNDER_WAY, Entry, Journal, Run, State, open_journal
from netra_apex.migrate.validating import GOOD, Verdict, born, kill_group, validated

FOLDER = Path(".netra_migrate")
# Told of every state that units come to; the second is what a person should know of it.
Told = Callable[[Sequence[Entry], State, str], None]


@contextmanager
def opened(root: Path) -> Generator[Journal]:
    """The journal of a tree, for this process alone.

    Raises:
        TreeLocked: another process has it.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # The kernel lets go of it however the process ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TreeLocked(str(root)) from error
        with open_journal(folder / "journal.db") as journal:
            yield journal


@contextmanager
def reading(root: Path) -> Generator[tuple[Journal, bool]]:
    """The journal of a tree for reading, and whether a process is at work on the tree.

    Raises:
        NoRun: there is none.
    """
    path = root / FOLDER / "journal.db"
    if not path.exists():
        raise NoRun(f"nothing was migrated in {root} yet")
    with open_journal(path) as journal:
        yield journal, _locked(root / FOLDER / "lock")


def relative(root: Path, path: str) -> str:
    """A path as the journal has it, whether it is written from the root, from here, or absolute."""
    for each in (root / path, Path(path)):
        found = Path(os.path.abspath(each))  # noqa: PTH100 - a link is kept, `resolve` would follow it
        if found.exists() and found.is_relative_to(Path(os.path.abspath(root))):  # noqa: PTH100 - as above
            return found.relative_to(Path(os.path.abspath(root))).as_posix()  # noqa: PTH100 - as above
    return path


def _locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def begin(journal: Journal, root: Path, plan: Plan, phases: Sequence[Phase], *, allow_dirty: bool) -> Run:
    """Stores a plan as a run.

    Raises:
        RunUnfinished: the run before it has not ended.
        WorkTreeDirty: files that it touches have changes that are not committed.
    """
    last = journal.last()
    if last is not None and last.unfinished:
        raise RunUnfinished(last.run_id)
    if not allow_dirty:
        git.refuse_dirty(root, sorted(path for unit in plan.units for path in unit.paths))
    journal.begin(plan, phases)
    run = journal.last()
    assert run is not None
    return run


def resumable(journal: Journal) -> Run:
    """The run that can be gone on with.

    Raises:
        NoRun: there is none.
    """
    last = journal.last()
    if last is None or not last.unfinished:
        raise NoRun("there is no run to go on with")
    return last


class Runner:
    """Carries out one run on one tree; constructed, it has nothing under way."""

    def __init__(self, journal: Journal, root: Path, run: Run, told: Told) -> None:
        self._journal = journal
        self._root = root
        self._run = run
        self._told = told
        self._batch = max((entry.batch or 0 for entry in journal.entries(run.run_id)), default=0)

    def carry_out(self) -> None:
        """Carries out what is left of the run; it is completed then, or stopped by too many failures.

        Raises:
            GitFailed: what was validated could not be committed; a resumed run tries again.
        """
        self._journal.set_status(self._run.run_id, "running")
        self._take_up()
        for phase in self._run.phases:
            if not self._phase(phase):
                self._journal.set_status(self._run.run_id, "stopped")
                return
        self._journal.set_status(self._run.run_id, "completed")

    def _entries(self, phase: Phase | None = None) -> tuple[Entry, ...]:
        entries = self._journal.entries(self._run.run_id)
        return tuple(entry for entry in entries if phase is None or entry.unit.phase == phase.name)

    def _take_up(self) -> None:
        """Brings what a killed process left to where one can go on from."""
        command = self._journal.command()
        if command is not None and command[1] and born(command[0]) == command[1]:
            kill_group(command[0])
        entries = self._entries()
        for entry in entries:
            if entry.state in OPEN:
                for path in entry.unit.paths:
                    clear(self._root, path)
        self._take_back([entry for entry in entries if entry.state in UNDER_WAY], "planned")

    def _phase(self, phase: Phase) -> bool:
        """Whether the phase came to its end."""
        failures = 0
        while portion := [entry for entry in self._entries(phase) if entry.state == "planned"][: phase.batch]:
            # A unit that failed ends the run before the next portion, not in the midst of a bisection.
            failures += self._attempt(phase, portion)
            if phase.commit != "phase":
                self._commit(phase)
            if failures >= phase.stop_after_failures:
                return False
        self._commit(phase)
        return True

    def _attempt(self, phase: Phase, entries: Sequence[Entry]) -> int:
        """Writes and validates units; where that fails, halves of them, down to those at fault. Gives their number."""
        before = self._validated(phase, entries)
        written = self._write(entries)
        after = self._validated(phase, written) if written else GOOD
        if after.no_worse_than(before):
            self._move(written, "validated", _note(before, after))
            return 0
        kept = self._take_back(written, "planned")
        if len(kept) <= 1:
            self._move(kept, "failed", after.tail, code="timeout" if after.timed_out else "validation")
            return len(kept)
        middle = len(kept) // 2
        return self._attempt(phase, kept[:middle]) + self._attempt(phase, kept[middle:])

    def _validated(self, phase: Phase, entries: Sequence[Entry]) -> Verdict:
        if not phase.validate:
            return GOOD
        paths = sorted(path for entry in entries for path in entry.unit.paths)
        verdict = validated(phase, self._root, paths, lambda process: self._journal.set_command(process, born(process)))
        self._journal.tell_validation(self._run.run_id, phase.name, self._batch, verdict)
        return verdict

    def _write(self, entries: Sequence[Entry]) -> list[Entry]:
        """Writes units whose files are what they were planned for; the others are conflicts. Gives those written."""
        before: dict[str, bytes] = {}
        ready: list[Entry] = []
        after: dict[str, bytes] = {}
        for entry in entries:
            try:
                found = {file.path: current(self._root, file.path) for file in entry.unit.files}
                after |= {file.path: edited(found[file.path], file) for file in entry.unit.files}
            except Conflict as conflict:
                self._move([entry], "conflict", str(conflict))
                continue
            before |= found
            ready.append(entry)
        self._batch += 1
        # Stored before the first write: whatever is killed from here on can be taken back.
        self._journal.intend(self._run.run_id, ready, before, self._batch)
        self._told(ready, "intent", "")
        written: list[Entry] = []
        for entry in ready:
            try:
                for file in entry.unit.files:
                    replace(self._root, file.path, after[file.path], expected=file.before_sha)
            except Conflict as conflict:
                self._take_back([entry], "conflict", str(conflict))
            else:
                written.append(entry)
        self._move(written, "written")
        return written

    def _take_back(self, entries: Sequence[Entry], state: State, detail: str = "") -> list[Entry]:
        """Gives files their bytes back and units a state; what was edited meanwhile is a conflict.

        Gives the units that have the state.
        """
        kept: list[Entry] = []
        for entry in entries:
            conflicts = restored(self._journal, self._root, entry)
            if conflicts:
                self._move([entry], "conflict", "; ".join(conflicts))
            else:
                kept.append(entry)
        self._move(kept, state, detail)
        return kept

    def _commit(self, phase: Phase) -> None:
        """Makes what was validated done, with a commit where the phase asks for one."""
        entries = [entry for entry in self._entries(phase) if entry.state == "validated"]
        if entries and phase.commit != "none":
            paths = sorted(path for entry in entries for path in entry.unit.paths)
            git.commit(self._root, paths, f"Move to what is canonical: {phase.name}, {len(paths)} files")
        self._move(entries, "done", None)

    def _move(self, entries: Sequence[Entry], state: State, detail: str | None = "", *, code: str = "") -> None:
        for entry in entries:
            # What was noted at the validation stays with the unit when it is done.
            self._journal.move(
                self._run.run_id, [entry], state, code=code, detail=entry.detail if detail is None else detail
            )
        if entries:
            self._told(entries, state, detail or "")


def restored(journal: Journal, root: Path, entry: Entry) -> list[str]:
    """Gives the files of a unit their bytes back; says of each that holds neither the old nor the new ones.

    Looks at all of them before the first is written, so that a unit is taken back as a whole or not at all.
    """
    conflicts: list[str] = []
    back: list[tuple[str, str, str]] = []
    for file in entry.unit.files:
        clear(root, file.path)
        try:
            sha = digest(current(root, file.path))
        except Conflict as conflict:
            conflicts.append(str(conflict))
            continue
        if sha == file.after_sha:
            back.append((file.path, file.before_sha, file.after_sha))
        elif sha != file.before_sha:
            conflicts.append(f"{file.path}: it was changed after it was moved, and is left as it is")
    if conflicts:
        return conflicts
    for path, before, after in back:
        try:
            replace(root, path, journal.blob(before), expected=after)
        except Conflict as conflict:
            conflicts.append(str(conflict))
    return conflicts


def _note(before: Verdict, after: Verdict) -> str:
    """What a person should know of a validation that was accepted."""
    if after.flaky:
        return "the validation failed first and passed when it was run again"
    if not after.good:
        return f"the validation fails as it did before (exit code {after.code})"
    return "" if before.good else "the validation failed before, and passes now"
