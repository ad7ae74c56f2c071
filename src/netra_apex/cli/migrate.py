"""`netra migrate`: moves the uses of what is deprecated, phase by phase, and takes them back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from netra_apex.cli.moving import interruptible, print_plan, print_standing, progress
from netra_apex.cli.terminal import FAILED, FINE, INTERRUPTED, print_json, print_table, tell

if TYPE_CHECKING:
    from netra_apex.migrate.config import Configuration
    from netra_apex.migrate.edits import Plan
    from netra_apex.migrate.journal import Journal, Run
    from netra_apex.migrate.summary import Standing

app = typer.Typer(
    help="Move the uses of what is deprecated, phase by phase, and take them back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Root = Annotated[Path, typer.Argument(metavar="[PATH]", help="The tree; the current folder unless given.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Instead of the tree's ssot.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int | None, typer.Option("--run", metavar="N", help="Which run; the last one unless given.")]
HERE = Path()


@app.callback()
def group() -> None:
    """Move the uses of what is deprecated, phase by phase, and take them back."""


@app.command("plan")
def plan(
    root: Root = HERE,
    config: Config = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the edits as a unified diff.")] = False,
    as_json: Json = False,
) -> None:
    """Say what would be changed, and what is left to people and why. Changes nothing. 1 where there is anything."""
    from netra_apex.migrate.differences import diff_of

    found = _planned(root, _configuration(root, config))
    if as_json:
        print_json(found.to_json())
    elif diff:
        sys.stdout.flush()
        sys.stdout.buffer.write(diff_of(root, found))
    else:
        print_plan(found)
    raise typer.Exit(FINE if found.empty else FAILED)


@app.command("run")
def run(
    root: Root = HERE,
    config: Config = None,
    phase: Annotated[list[str] | None, typer.Option("--phase", help="Only this phase; repeatable.")] = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Also change files that have changes which are not committed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Carry out the plan: write, validate, keep or take back. 1 where anything failed or is left to people."""
    from netra_apex.errors import ConfigurationError
    from netra_apex.migrate import running
    from netra_apex.migrate.edits import Plan
    from netra_apex.migrate.faults import RunUnfinished
    from netra_apex.migrate.phases import ordered_phases

    configuration = _configuration(root, config)
    phases = ordered_phases(configuration)
    unknown = sorted(set(phase or ()) - {each.name for each in phases})
    if unknown:
        raise ConfigurationError(
            f"there is no phase {unknown[0]!r}; there are {', '.join(each.name for each in phases)}"
        )
    with interruptible(), running.opened(root) as journal:
        last = journal.last()
        if last is not None and last.unfinished:
            tell(str(RunUnfinished(last.run_id)))
            raise typer.Exit(INTERRUPTED)
        found = _planned(root, configuration)
        if phase:
            found = Plan(units=tuple(unit for unit in found.units if unit.phase in phase), refusals=found.refusals)
        begun = running.begin(journal, root, found, phases, allow_dirty=allow_dirty)
        with progress(sum(len(unit.files) for unit in found.units)) as told:
            running.Runner(journal, root, begun, told).carry_out()
        _end(journal, begun, as_json=as_json)


@app.command("resume")
def resume(root: Root = HERE, as_json: Json = False) -> None:
    """Go on with a run that was interrupted or stopped, or with a rollback that was."""
    from netra_apex.migrate import rolling_back, running

    with interruptible(), running.opened(root) as journal:
        found = running.resumable(journal)
        entries = journal.entries(found.run_id)
        with progress(sum(len(entry.unit.files) for entry in entries)) as told:
            if found.status == "rolling_back":
                rolling_back.go_on(journal, root, found, told)
            else:
                told([entry for entry in entries if entry.state in ("done", "failed", "conflict")], "done", "")
                running.Runner(journal, root, found, told).carry_out()
        _end(journal, found, as_json=as_json)


@app.command("rollback")
def rollback(
    root: Root = HERE,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="Only this file, and what it moved with.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Only this batch.")] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Only this phase.")] = None,
    number: Number = None,
    as_json: Json = False,
) -> None:
    """Give files back what they held before a run, byte for byte. What was edited since is left, and told (1)."""
    from netra_apex.migrate import rolling_back, running
    from netra_apex.migrate.summary import standing

    with interruptible(), running.opened(root) as journal:
        found = _run_of(journal, number) if number is not None else rolling_back.last(journal)
        if file is not None:
            file = running.relative(root, file)
        entries = rolling_back.chosen(journal, found, file=file, batch=batch, phase=phase)
        with progress(sum(len(entry.unit.files) for entry in entries)) as told:
            rolling_back.roll_back(journal, root, found, entries, told)
        after = standing(journal, _run_of(journal, found.run_id))
        chosen = {entry.ordinal for entry in entries}
        entries = tuple(entry for entry in after.entries if entry.ordinal in chosen)
        conflicts = [entry for entry in entries if entry.state == "conflict"]
        if as_json:
            print_json(after.to_json())
        else:
            print(f"{sum(len(entry.unit.files) for entry in entries if entry.state == 'returned')} files rolled back")
        for entry in conflicts:
            tell(entry.detail)
        raise typer.Exit(FAILED if conflicts else FINE)


@app.command("status")
def status(root: Root = HERE, number: Number = None, as_json: Json = False) -> None:
    """Say how a run stands. 0 where all is done, 1 where something is left or failed, 4 where it can be resumed."""
    from netra_apex.migrate.running import reading

    with reading(root) as (journal, at_work):
        found = _standing(journal, number, at_work=at_work)
        if as_json:
            print_json(found.to_json())
        else:
            print_standing(found)
    if found.run.unfinished and found.status != "stopped" and not at_work:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(FINE if found.clean or found.status == "rolled_back" else FAILED)


@app.command("report")
def report(
    root: Root = HERE,
    number: Number = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as HTML to it.")] = None,
    weekly: Annotated[bool, typer.Option("--weekly", help="A row for a week instead of a day.")] = False,
    as_json: Json = False,
) -> None:
    """Print what each day brought: what was done, failed and is left, how the tests went, and what is in the way."""
    from netra_apex.migrate import page
    from netra_apex.migrate.running import reading
    from netra_apex.migrate.summary import burn_down, periods

    with reading(root) as (journal, at_work):
        found = _standing(journal, number, at_work=at_work)
        days, weeks, points = periods(journal, "day"), periods(journal, "week"), burn_down(journal)
    if html is not None:
        html.write_text(page.html(found, points, days, weeks), "utf-8")
        tell(f"wrote {html}")
    shown = weeks if weekly else days
    if as_json:
        print_json(
            {
                **found.to_json(),
                "periods": [each.to_json() for each in shown],
                "burn_down": [{"at": point.at, "remaining": point.remaining} for point in points],
            }
        )
        return
    print_table(
        ("period", "done", "failed", "conflict", "back", "left", "tests", "blockers"),
        (
            (
                each.name,
                str(each.done),
                str(each.failed),
                str(each.conflicts),
                str(each.rolled_back),
                str(each.remaining),
                f"{each.tests_passed} passed, {each.tests_failed} failed",
                ", ".join(f"{code} {count}" for code, count in each.blockers),
            )
            for each in shown
        ),
    )


def _configuration(root: Path, config: Path | None) -> "Configuration":
    from netra_apex.errors import ConfigurationError
    from netra_apex.migrate.config import load

    if not root.is_dir():
        raise ConfigurationError(f"{root} is no folder")
    return load(root, config)


def _planned(root: Path, configuration: "Configuration") -> "Plan":
    from netra_apex.migrate.planning import planned

    return planned(root, configuration)


def _run_of(journal: "Journal", number: int | None) -> "Run":
    from netra_apex.migrate.faults import NoRun

    runs = journal.runs()
    if number is None and runs:
        return runs[-1]
    for run in runs:
        if run.run_id == number:
            return run
    raise NoRun(f"there is no run {number}" if runs else "nothing was migrated here yet")


def _standing(journal: "Journal", number: int | None, *, at_work: bool) -> "Standing":
    from netra_apex.migrate.summary import standing

    run = _run_of(journal, number)
    # Only the last run can be under way.
    return standing(journal, run, at_work=at_work and run == _run_of(journal, None))


def _end(journal: "Journal", run: "Run", *, as_json: bool) -> NoReturn:
    """Prints how a run ended, and leaves with 0 where nothing is left."""
    found = _standing(journal, run.run_id, at_work=False)
    if as_json:
        print_json(found.to_json())
    else:
        print_standing(found)
    raise typer.Exit(FINE if found.clean or found.status == "rolled_back" else FAILED)
