"""`netra report`: what came of the runs of a period, from the database, whether a server runs or not."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from netra_apex.cli.database import existing_stores
from netra_apex.cli.terminal import tell
from netra_apex.errors import ConfigurationError, Invalid

if TYPE_CHECKING:
    from netra_apex.cli.reporting import Report

Format = Literal["text", "markdown", "html", "json"]
POINTS = 48


def report(
    since: Annotated[str, typer.Option(help="How far back: 30m, 24h, 7d …, or a time (RFC 3339).")] = "24h",
    format_: Annotated[Format | None, typer.Option("--format", help="How it is written; left out: text.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[Path | None, typer.Option(help="File to write it to, instead of stdout.")] = None,
) -> None:
    """Report success, latency, users, cost, failures and blockers of a period, beside the one before."""
    if as_json and format_ not in (None, "json"):
        raise ConfigurationError(f"--json and --format {format_} are two formats: give one")
    written = _written(asyncio.run(_gather(since)), "json" if as_json else format_ or "text")
    if output is None:
        print(written)
        return
    try:
        output.write_text(f"{written}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from error
    tell(f"written to {output}")


async def _gather(since: str) -> "Report":
    from netra_apex.cli.reporting import gather
    from netra_apex.core.periods import Period
    from netra_apex.settings import Settings
    from netra_apex.stores.rows import now_ms

    try:
        period = Period.read(since, None, points=POINTS, now=now_ms())
    except Invalid as error:
        raise ConfigurationError(str(error)) from error
    async with existing_stores() as stores:
        return await gather(stores.service, period, queued_per_user=Settings.load().queued_per_user)


def _written(found: "Report", format_: Format) -> str:
    from netra_apex.cli import reporting, reporting_html

    match format_:
        case "text":
            return reporting.as_text(found)
        case "markdown":
            return reporting.as_markdown(found)
        case "html":
            return reporting_html.as_html(found)
        case "json":
            return reporting.as_json(found)
