"""`netra leaktest`: whether a user's words can reach another through an application's agents and tools."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netra_apex.cli.loading import ApplicationBroken, load_registry
from netra_apex.cli.terminal import FAILED, print_json, tell
from netra_apex.cli.user import read_users
from netra_apex.errors import ConfigurationError, RegistryError

if TYPE_CHECKING:
    from netra_apex.testing.leaktest import LeakReport

LONG = 150


def leaktest(  # noqa: PLR0913 - a command's options
    app: Annotated[
        str | None, typer.Argument(metavar="APP", help="A file or module:registry; none: the built-in demo team.")
    ] = None,
    users: Annotated[int, typer.Option(min=2, help="How many users ask at once.")] = 10,
    long: Annotated[bool, typer.Option("--long", help=f"With {LONG} users.")] = False,
    seed: Annotated[int, typer.Option(help="Of the interleaving; a finding names the one that showed it.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to try, from --seed on.")] = 1,
    url: Annotated[str | None, typer.Option(help="A server to test from outside, instead of an APP.")] = None,
    people: Annotated[
        Path | None, typer.Option(help="With --url: JSON lines {name,password}, two or more who may log in there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that no user's words reach another through your agents and tools; 1 where some do.

    Plays all agents of APP with many users at once, offline, and its tools for real: give it an application whose
    tools change nothing that they should not. With --url it plays those of a running server, as users of it.
    """
    if (url is None) != (people is None) or (url is not None and app is not None):
        raise ConfigurationError("name an APP, or a server with --url and who logs in there with --people")
    if url is not None and people is not None:
        _report([_outside(url, people, seed)], as_json=as_json)
    else:
        _report(_inside(app, LONG if long else users, range(seed, seed + seeds), as_json=as_json), as_json=as_json)


def _inside(app: str | None, users: int, seeds: range, *, as_json: bool) -> "list[LeakReport]":
    """One report for each seed, until one has findings."""
    from netra_apex.testing.leaktest import leaktest as play

    try:
        registry = load_registry(app)
    except (RegistryError, ApplicationBroken) as error:
        _refused(error, as_json=as_json)
        raise typer.Exit(FAILED) from None
    reports: list[LeakReport] = []
    for seed in seeds:
        reports.append(play(registry, users=users, seed=seed))
        if not reports[-1].ok:
            break
    return reports


def _outside(url: str, people: Path, seed: int) -> "LeakReport":
    from netra_apex.testing.leaks.outside import outside

    accounts = [(user.user_id, user.password) for user in read_users(people)]
    if len(accounts) < 2:
        raise ConfigurationError(f"{people} names one user: a leak needs two")
    return asyncio.run(outside(url, accounts, seed))


def _report(reports: "list[LeakReport]", *, as_json: bool) -> None:
    if as_json:
        last = reports[-1].as_json()
        print_json(last | {"runs": sum(report.runs for report in reports), "seeds": len(reports)})
    else:
        for report in reports:
            print(report)
    if not reports[-1].ok:
        raise typer.Exit(FAILED)


def _refused(error: ConfigurationError, *, as_json: bool) -> None:
    """The registry's own refusal is the first finding; any other reason not to load is told as ever."""
    from netra_apex.testing.leaktest import Finding

    refusal = error.error if isinstance(error, ApplicationBroken) else error
    if not isinstance(refusal, RegistryError):
        raise error
    finding = Finding(kind="registration", agent=refusal.agent, where=refusal.agent, message=refusal.reason)
    if as_json:
        print_json({"users": 0, "runs": 0, "findings": [finding.as_json()]})
    else:
        print(finding)
        tell("refused at registration: nothing was run")
