"""`netra runs`: what runs and ran, as the operator of the database, whether a server runs or not."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netra_apex.cli.database import existing_stores
from netra_apex.cli.terminal import fail, instant, one_line, print_json, print_table, tell
from netra_apex.errors import ConfigurationError

if TYPE_CHECKING:
    from netra_apex.core.runs import Run

app = typer.Typer(help="List, show and cancel runs.", no_args_is_help=True, rich_markup_mode=None)

_RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_runs(
    status: Annotated[list[str] | None, typer.Option(help="Only runs with this status; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 100,
    as_json: _AsJson = False,
) -> None:
    """List runs, the newest first."""
    asyncio.run(_list(status or [], limit, as_json=as_json))


@app.command("show")
def show(run_id: _RunId, as_json: _AsJson = False) -> None:
    """Show a run with its events and steps; what was said in the events only with --json."""
    asyncio.run(_show(run_id, as_json=as_json))


@app.command("cancel")
def cancel(run_id: _RunId) -> None:
    """Cancel a run that has not ended; a running server carries it out within a second."""
    asyncio.run(_cancel(run_id))
    tell(f"{run_id} is being cancelled")


async def _list(names: list[str], limit: int, *, as_json: bool) -> None:
    from netra_apex.core.runs import RunStatus

    unknown = [name for name in names if name not in [status.value for status in RunStatus]]
    if unknown:
        known = ", ".join(status.value for status in RunStatus)
        raise ConfigurationError(f"{', '.join(unknown)} is no status of a run; they are {known}")
    async with existing_stores() as stores:
        runs = stores.runs
        found = await runs.all_runs(statuses=[RunStatus(name) for name in names], limit=limit)
    if as_json:
        print_json({"items": [_shape(run) for run in found]})
        return
    rows = [
        (run.run_id, run.status.value, run.user_id, run.agent, str(run.last_seq), _time(run.created_at), _took(run))
        for run in found
    ]
    print_table(("RUN", "STATUS", "USER", "AGENT", "EVENTS", "CREATED", "TOOK"), rows)


async def _show(run_id: str, *, as_json: bool) -> None:
    import msgspec

    async with existing_stores() as stores:
        runs = stores.runs
        run = await runs.operator_run(run_id)
        if run is None:
            fail(f"there is no run {run_id}")
        events: list[dict[str, Any]] = []
        while page := await runs.events(run.user_id, run_id, len(events)):
            events += [msgspec.json.decode(text) for _, text in page]
        steps = await stores.journals.ledger(run.user_id, run_id)
    if as_json:
        print_json({**_shape(run), "events": events, "steps": [msgspec.structs.asdict(step) for step in steps]})
        return
    for name, value in _shape(run).items():
        print(f"{name:<11} {value if value is not None else '-'}")
    print()
    rows = [
        (str(event["seq"]), event["at"], str(event["agent"]), "  " * event["depth"] + event["type"], _about(event))
        for event in events
    ]
    print_table(("SEQ", "AT", "AGENT", "EVENT", "ABOUT"), rows)
    if steps:
        print()
        kept = [(step.step, step.kind, step.name, step.state, str(step.attempt)) for step in steps]
        print_table(("STEP", "KIND", "NAME", "STATE", "BEGUN"), kept)


async def _cancel(run_id: str) -> None:
    async with existing_stores() as stores:
        runs = stores.runs
        if not await runs.request_cancel(run_id, "operator"):
            fail(f"there is no run {run_id} that has not ended")


def _shape(run: "Run") -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "user_id": run.user_id,
        "thread_id": run.thread_id,
        "message_id": run.message_id,
        "agent": run.agent,
        "status": run.status.value,
        "last_seq": run.last_seq,
        "created_at": instant(run.created_at),
        "ended_at": instant(run.ended_at) if run.ended_at else None,
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _took(run: "Run") -> str:
    return f"{(run.ended_at - run.created_at).total_seconds():.1f} s" if run.ended_at else ""


def _about(event: dict[str, Any]) -> str:
    """What an operator needs of an event: names, codes and times, not what people said."""
    match event["type"]:
        case "tool_executing" | "approval_requested":
            return str(event["tool"])
        case "question_asked" | "question_answered":
            return str(event["question_id"])
        case "approval_decided":
            return f"{event['decision']} by {event['by']}"
        case "tool_completed":
            said = "ok" if event["ok"] else str(event["error"]["code"])
            return f"{event['tool']}: {said}, {event['duration_ms']} ms"
        case "agent_failed":
            return one_line(f"{event['code']}: {event['message']}", 100)
        case "agent_cancelled":
            return f"by {event['by']}"
        case "agent_completed":
            return f"{event['duration_ms']} ms{_used(event['usage'])}"
        case "run_queued":
            return str(event["reason"])
        case _:
            return ""


def _used(usage: dict[str, Any]) -> str:
    tokens = usage["input_tokens"] + usage["output_tokens"]
    cost = "" if usage["cost_usd"] is None else f", ${usage['cost_usd']:.4f}"
    return f", {tokens:,} tokens{cost}" if usage["requests"] else ""
