"""What `netra migrate` shows while files are moved, and what it prints of plans and runs."""

import signal
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from netra_apex.cli.terminal import INTERRUPTED, one_line, tell

if TYPE_CHECKING:
    from netra_apex.migrate.edits import Plan, Refusal
    from netra_apex.migrate.journal import Entry, State
    from netra_apex.migrate.running import Told
    from netra_apex.migrate.summary import Standing


@contextmanager
def interruptible() -> Generator[None]:
    """Ends with 4 on Ctrl-C and SIGTERM: the journal knows what was under way."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        tell("interrupted: `netra migrate resume` goes on, `netra migrate rollback` takes back what was done")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress(files: int) -> Generator["Told"]:
    """Tells on stderr how it goes: a bar in a terminal, and a line for each unit that failed or is in conflict."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from netra_apex.migrate.summary import outcome

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    counts = Counter[str]()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=files)

        def told(entries: "Sequence[Entry]", state: "State", detail: str) -> None:
            if state in ("done", "failed", "conflict", "returned"):
                number = sum(len(entry.unit.files) for entry in entries)
                counts[outcome(state)] += number
                bar.update(task, advance=number, description=", ".join(f"{n} {name}" for name, n in counts.items()))
            if state in ("failed", "conflict"):
                for entry in entries:
                    bar.console.print(f"{state}: {', '.join(entry.unit.paths)}{_why(detail)}", markup=False)

        yield told


def _why(detail: str) -> str:
    lines = detail.strip().splitlines()
    return f": {one_line(lines[-1], 200)}" if lines else ""


def print_plan(plan: "Plan") -> None:
    """A plan as lines: each edit with before and after, each refusal with its reason."""
    for unit in plan.units:
        for file in unit.files:
            print(f"{file.path}  ({unit.phase}{', with ' + unit.ident if len(unit.files) > 1 else ''})")
            proof = ""
            for edit in file.edits:
                if edit.proof != proof:
                    proof = edit.proof
                    print(f"  {proof}")
                print(f"    {edit.line}: {one_line(edit.before, 60)} -> {one_line(edit.after, 80)}  [{edit.kind}]")
    print_refusals(plan.refusals)
    files = sum(len(unit.files) for unit in plan.units)
    tell(f"{plan.edits} edits in {files} files, {len(plan.refusals)} uses left to people")


def print_refusals(refusals: "Sequence[Refusal]") -> None:
    """What is left to people, and why."""
    for each in refusals:
        candidates = f" (in scope: {', '.join(each.candidates)})" if each.candidates else ""
        print(f"{each.path}:{each.line}:{each.column}: refused, {each.code}: {each.message}{candidates}")


def print_standing(standing: "Standing") -> None:
    """How a run stands, with what failed and what was refused."""
    counted = ", ".join(f"{count} {name}" for name, count in standing.counts.items() if count)
    print(f"run {standing.run.run_id}: {standing.status}; {counted or 'nothing to do'}")
    for entry in standing.entries:
        if entry.state in ("failed", "conflict"):
            print(f"{', '.join(entry.unit.paths)}: {entry.state}{_why(entry.detail)}")
        elif entry.detail and entry.state == "done":
            print(f"{', '.join(entry.unit.paths)}: done, but {entry.detail}")
    print_refusals(standing.refusals)
