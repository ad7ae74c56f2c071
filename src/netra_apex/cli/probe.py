"""`netra probe`: the golden path from outside, as often as one likes."""

import asyncio
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from netra_apex.cli.terminal import FAILED, print_json, print_table, read_password, tell

if TYPE_CHECKING:
    from netra_apex.cli.probing import Attempt

MESSAGE = "What time is it? This is netra probe."


def probe(  # noqa: PLR0913 - a command's options
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the server.")],
    user: Annotated[str, typer.Option(help="Who logs in.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="How often, each with a new login and connection.")] = 1,
    agent: Annotated[str | None, typer.Option(help="Who is asked; left out, the server's default.")] = None,
    message: Annotated[str, typer.Option(help="What is asked; it should make the agent call a tool.")] = MESSAGE,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one round may take.")] = 60.0,
    without_tool: Annotated[
        bool, typer.Option("--without-tool", help="Ask for no tool call; one that is made must still end well.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play the golden path from outside.

    Logs in, connects, asks, and checks that the five events and the answer come as promised; 1 on any breach.
    """
    from netra_apex.cli.probing import Question, attempt

    password = read_password(from_stdin=password_stdin)
    question = Question(url, user, agent, message, timeout, without_tool=without_tool)

    async def rounds() -> list["Attempt"]:
        done: list[Attempt] = []
        for number in range(1, count + 1):
            done.append(await attempt(number, question, password))
            failed = sum(not each.well for each in done)
            if sys.stderr.isatty():
                print(f"\r{number}/{count}, {failed} failed ", end="", file=sys.stderr, flush=True)
            if done[-1].hopeless:
                break
        if sys.stderr.isatty():
            tell("")
        return done

    done = asyncio.run(rounds())
    report = _json if as_json else _text
    report(url, done)
    if not all(each.well for each in done):
        raise typer.Exit(FAILED)


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile: the smallest of the values that `percent` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _figures(done: Sequence["Attempt"]) -> dict[str, dict[str, float]]:
    names = list(dict.fromkeys(name for each in done for name in each.figures))
    return {
        name: {
            f"p{percent}": round(percentile([each.figures[name] for each in done if name in each.figures], percent), 1)
            for percent in (50, 95, 99)
        }
        for name in names
    }


def _text(url: str, done: Sequence["Attempt"]) -> None:
    well = sum(each.well for each in done)
    print(f"{url}: {well} ok, {len(done) - well} failed")
    figures = _figures(done)
    if figures:
        rows = [
            (name.replace("_", " "), *(f"{value:.1f}" for value in values.values())) for name, values in figures.items()
        ]
        print_table(("MS", "P50", "P95", "P99"), rows)
    reconnects = sum(each.reconnects for each in done)
    if reconnects:
        print(f"the socket was lost and came back {reconnects} times")
    for each in done:
        for breach in each.breaches:
            print(f"round {each.number}, run {each.run_id or '-'}: {breach.reason}")


def _json(url: str, done: Sequence["Attempt"]) -> None:
    well = sum(each.well for each in done)
    print_json(
        {
            "url": url,
            "rounds": len(done),
            "ok": well,
            "failed": len(done) - well,
            "reconnects": sum(each.reconnects for each in done),
            "figures_ms": _figures(done),
            "breaches": [
                {"round": each.number, "run_id": each.run_id, **asdict(breach)}
                for each in done
                for breach in each.breaches
            ],
            "runs": [each.run_id for each in done if each.run_id],
        }
    )
