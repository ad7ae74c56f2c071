"""The journal of a tree's migrations: a SQLite file that knows, whenever the process is killed, what was under way.

A unit goes planned → intent → written → validated → done. Before `intent` is stored, the bytes that each of its files
has are in the journal, so whatever was under way can be taken back byte for byte.
"""

import json
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from netra_apex.migrate.config import Phase
from netra_apex.migrate.edits import FileEdits, Plan, Refusal, Unit, digest, file_edits
from netra_apex.migrate.phases import from_json, to_json
from netra_apex.migrate.validating import Verdict

State = Literal["planned", "intent", "written", "validated", "done", "failed", "conflict", "returning", "returned"]
# `running` in the journal of a process that is gone means that it was interrupted.
Status = Literal["running", "rolling_back", "stopped", "completed", "rolled_back"]

UNDER_WAY: tuple[State, ...] = ("intent", "written")
OPEN: tuple[State, ...] = ("planned", "intent", "written", "validated")
APPLIED: tuple[State, ...] = ("intent", "written", "validated", "done", "returning")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run as the journal has it."""

    run_id: int
    began_at: str
    ended_at: str | None
    status: Status
    phases: tuple[Phase, ...]

    @property
    def unfinished(self) -> bool:
        """Whether it can be resumed."""
        return self.status in ("running", "rolling_back", "stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A unit as the journal has it; `ordinal` is its place in the plan, `detail` what a person should read."""

    ordinal: int
    state: State
    batch: int | None
    code: str
    detail: str
    unit: Unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A unit came to a state, at a time."""

    at: str
    run_id: int
    ordinal: int
    state: State
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """A validation command ran."""

    at: str
    run_id: int
    phase: str
    batch: int
    outcome: str
    seconds: float
    passed: int
    failed: int


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def open_journal(path: Path) -> Generator["Journal"]:
    """The journal of a file, which is made where it is missing; what is committed survives the loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        # The journal holds the tree's own bytes; it is no part of the tree.
        ignore.write_text("*\n", "ascii")
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.executescript(files("netra_apex.migrate").joinpath("journal.sql").read_text("utf-8"))
        yield Journal(connection)


class Journal:
    """Reads and writes of one open journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        self._connection.execute("begin immediate")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def begin(self, plan: Plan, phases: Sequence[Phase]) -> int:
        """Stores a plan as a new run, and gives its number."""
        settings = json.dumps({"phases": to_json(phases)})
        with self._transaction() as connection:
            run_id = connection.execute(
                "insert into runs (began_at, status, settings) values (?, 'running', ?) returning run_id",
                (now(), settings),
            ).fetchone()[0]
            for ordinal, unit in enumerate(plan.units):
                connection.execute(
                    "insert into units (run_id, ordinal, ident, phase, state) values (?, ?, ?, ?, 'planned')",
                    (run_id, ordinal, unit.ident, unit.phase),
                )
                connection.executemany(
                    "insert into files values (?, ?, ?, ?, ?, ?)",
                    [
                        (run_id, ordinal, file.path, file.before_sha, file.after_sha, json.dumps(asdict(file)))
                        for file in unit.files
                    ],
                )
            connection.executemany(
                "insert into refusals values (?, ?, ?)",
                [(run_id, place, json.dumps(asdict(refusal))) for place, refusal in enumerate(plan.refusals)],
            )
        return run_id

    def runs(self) -> tuple[Run, ...]:
        """All runs, the first one first."""
        rows = self._connection.execute("select run_id, began_at, ended_at, status, settings from runs order by run_id")
        return tuple(_run(row) for row in rows)

    def last(self) -> Run | None:
        """The last run."""
        return self.runs()[-1] if self.runs() else None

    def set_status(self, run_id: int, status: Status) -> None:
        """Stores how a run stands; the time of its end with it, where it has ended."""
        ended = now() if status in ("completed", "rolled_back", "stopped") else None
        self._connection.execute("update runs set status = ?, ended_at = ? where run_id = ?", (status, ended, run_id))

    def entries(self, run_id: int) -> tuple[Entry, ...]:
        """The units of a run, in its order."""
        found: dict[int, list[FileEdits]] = {}
        for ordinal, edits in self._connection.execute(
            "select ordinal, edits from files where run_id = ? order by ordinal, path", (run_id,)
        ):
            found.setdefault(ordinal, []).append(file_edits(json.loads(edits)))
        rows = self._connection.execute(
            "select ordinal, ident, phase, state, batch, code, detail from units where run_id = ? order by ordinal",
            (run_id,),
        )
        return tuple(
            Entry(
                ordinal=ordinal,
                state=state,
                batch=batch,
                code=code,
                detail=detail,
                unit=Unit(ident=ident, phase=phase, files=tuple(found[ordinal])),
            )
            for ordinal, ident, phase, state, batch, code, detail in rows
        )

    def refusals(self, run_id: int) -> tuple[Refusal, ...]:
        """What the plan of a run left to people."""
        rows = self._connection.execute("select refusal from refusals where run_id = ? order by place", (run_id,))
        values: Iterable[dict[str, Any]] = (json.loads(row[0]) for row in rows)
        return tuple(Refusal(**(value | {"candidates": tuple(value["candidates"])})) for value in values)

    def intend(self, run_id: int, entries: Sequence[Entry], before: dict[str, bytes], batch: int) -> None:
        """Stores the bytes that files have, and that they are about to change. Append before any write."""
        with self._transaction() as connection:
            connection.executemany(
                "insert or ignore into blobs values (?, ?)", [(digest(data), data) for data in before.values()]
            )
            for entry in entries:
                connection.execute(
                    "update units set batch = ? where run_id = ? and ordinal = ?", (batch, run_id, entry.ordinal)
                )
            self._move(run_id, entries, "intent")

    def move(self, run_id: int, entries: Sequence[Entry], state: State, *, code: str = "", detail: str = "") -> None:
        """Stores that units came to a state, and why."""
        with self._transaction():
            self._move(run_id, entries, state, code, detail)

    def _move(self, run_id: int, entries: Sequence[Entry], state: State, code: str = "", detail: str = "") -> None:
        at = now()
        self._connection.executemany(
            "update units set state = ?, code = ?, detail = ? where run_id = ? and ordinal = ?",
            [(state, code, detail, run_id, entry.ordinal) for entry in entries],
        )
        self._connection.executemany(
            "insert into steps values (?, ?, ?, ?, ?)",
            [(at, run_id, entry.ordinal, state, code) for entry in entries],
        )

    def blob(self, sha: str) -> bytes:
        """The bytes with a digest, as they were stored before they were changed."""
        return self._connection.execute("select data from blobs where sha = ?", (sha,)).fetchone()[0]

    def tell_validation(self, run_id: int, phase: str, batch: int, verdict: Verdict) -> None:
        """Stores how a validation went."""
        self._connection.execute(
            "insert into validations values (?, ?, ?, ?, ?, ?, ?, ?)",
            (now(), run_id, phase, batch, verdict.outcome, verdict.seconds, verdict.passed, verdict.failed),
        )

    def steps(self) -> tuple[Step, ...]:
        """Every step of every run, in order."""
        rows = self._connection.execute("select at, run_id, ordinal, state, code from steps order by rowid")
        names = ("at", "run_id", "ordinal", "state", "code")
        return tuple(Step(**dict(zip(names, row, strict=True))) for row in rows)

    def validations(self) -> tuple[Validation, ...]:
        """Every validation of every run, in order."""
        rows = self._connection.execute(
            "select at, run_id, phase, batch, outcome, seconds, passed, failed from validations order by rowid"
        )
        names = ("at", "run_id", "phase", "batch", "outcome", "seconds", "passed", "failed")
        return tuple(Validation(**dict(zip(names, row, strict=True))) for row in rows)

    def set_command(self, process: int, born: str) -> None:
        """Stores which process group validates, for whoever takes up after a kill."""
        with self._transaction() as connection:
            connection.execute("delete from commands")
            connection.execute("insert into commands values (?, ?)", (process, born))

    def command(self) -> tuple[int, str] | None:
        """The process group that validated last, and when it was started."""
        return self._connection.execute("select process, born from commands").fetchone()


def _run(row: tuple[int, str, str | None, Status, str]) -> Run:
    run_id, began_at, ended_at, status, settings = row
    value: dict[str, Any] = json.loads(settings)
    return Run(
        run_id=run_id,
        began_at=began_at,
        ended_at=ended_at,
        status=status,
        phases=from_json(value["phases"]),
    )
