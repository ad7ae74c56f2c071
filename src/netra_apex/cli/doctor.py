"""`netra doctor`: what is set and where from, and whether everything that is needed is there."""

import asyncio
import re
from typing import Annotated, Any

import typer

from netra_apex.cli.terminal import FAILED, print_json, print_table

_SECRET = re.compile(r"([?&](?:ssl)?password=)[^&]*")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what is set, and check what is needed.

    Every setting with its source; then database, model, origins and permissions; 1 if one of them is wrong.
    """
    from netra_apex.cli.checks import check_all
    from netra_apex.cli.finding import Check
    from netra_apex.settings import Settings, sources, unknown_names

    settings = Settings.load()
    shown = _shown(settings, sources())
    checks = [
        Check("setting", "warning", f"{name} is no setting: misspelled?") for name in unknown_names()
    ] + asyncio.run(check_all(settings))
    wrong = any(check.state == "wrong" for check in checks)
    if as_json:
        found = [{"name": check.name, "state": check.state, "detail": check.detail} for check in checks]
        print_json({"settings": shown, "checks": found, "ok": not wrong})
    else:
        # The value stands last: a long one then moves no other line.
        print_table(("SETTING", "SOURCE", "VALUE"), [(s["name"], s["source"], str(s["value"])) for s in shown])
        print()
        print_table(("CHECK", "", "DETAIL"), [(check.name, check.state, check.detail) for check in checks])
    if wrong:
        raise typer.Exit(FAILED)


def _shown(settings: Any, found: dict[str, str]) -> list[dict[str, Any]]:
    from pydantic import SecretStr

    from netra_apex.settings import variable

    rows: list[dict[str, Any]] = []
    for name, source in found.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = "********"
        elif isinstance(value, tuple):
            value = ",".join(value)  # type: ignore[arg-type]
        elif value is not None and not isinstance(value, int | float):
            value = _without_password(str(value))
        rows.append({"name": variable(name), "value": "" if value is None else value, "source": source})
    return rows


def _without_password(value: str) -> str:
    """An address without the password that somebody may have written into it."""
    value = _SECRET.sub(r"\1********", value)
    scheme, separator, rest = value.partition("://")
    login, at, host = rest.rpartition("@")
    if not separator or not at:
        return value
    name, colon, _ = login.partition(":")
    return f"{scheme}://{name}{':********' if colon else ''}@{host}"
