"""`netra audit`: what of a code base is deprecated, broken, double or shared, and where."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netra_apex.cli.progress import Bar
from netra_apex.cli.terminal import FAILED, FINE, INTERNAL, print_table, tell
from netra_apex.errors import ConfigurationError

if TYPE_CHECKING:
    from netra_apex.migrate.config import Configuration
    from netra_apex.migrate.findings import Report


class Format(StrEnum):
    """How the findings are told."""

    TEXT = "text"
    CONCISE = "concise"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    JUNIT = "junit"
    HTML = "html"


def audit(  # noqa: PLR0913 - a command's parameters are its options
    path: Annotated[Path, typer.Argument(help="A folder, or a file of one.")] = Path(),
    output: Annotated[Format, typer.Option("--format", help="How findings are told.")] = Format.TEXT,
    select: Annotated[list[str] | None, typer.Option(help="Only these rules or families: D, R001; repeatable.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these rules or families; repeatable.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="REV", help="Only files changed since this git revision.")
    ] = None,
    explain: Annotated[str | None, typer.Option(metavar="RULE", help="Tell what a rule is about, and leave.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Counts by rule and folder instead of findings.")] = False,
    baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Leave out what this file knows.")] = None,
    write_baseline: Annotated[
        bool,
        typer.Option("--write-baseline", help="Write the baseline: all where there is none, else it only shrinks."),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Propose an ssot.toml from what is found, on stdout.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="3 where not everything could be analysed.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 is one for each core.")] = 0,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Read this instead of ssot.toml.")] = None,
    preset: Annotated[str | None, typer.Option(help="Add rules that come with netra, such as netra-apex.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Read and keep nothing in .netra_audit.")] = False,
) -> None:
    """Find what is deprecated, unresolved, cyclic, double or shared in a code base.

    1 where something is found that no comment suppresses and no baseline knows.
    """
    if explain is not None:
        print(_explained(explain))
        return
    chosen = (_rules(select), _rules(ignore))
    project, below = _project(path, config)
    configuration = _configuration(project, config, preset)
    if init:
        _propose(project, configuration, jobs, cached=not no_cache)
        return
    whole = since is None and not below and not any(chosen)
    if write_baseline and (baseline is None or not whole):
        raise ConfigurationError("--write-baseline needs --baseline FILE, and the whole project with every rule")
    report = _audited(project, configuration, jobs, cached=not no_cache)
    report = _chosen(report, chosen, _wanted(project, below, since))
    if baseline is not None:
        report = _with_baseline(report, baseline, write=write_baseline, whole=whole)
    _tell(report, output, stats=stats)
    if strict and report.unparsed:
        tell(f"{len(report.unparsed)} files could not be analysed")
        raise typer.Exit(INTERNAL)
    raise typer.Exit(FAILED if report.findings else FINE)


def _propose(project: Path, configuration: "Configuration", jobs: int, *, cached: bool) -> None:
    from netra_apex.migrate.audit import Work
    from netra_apex.migrate.propose import proposal

    with Bar("reading") as progress:
        lines = list(proposal(project, configuration, Work(jobs=jobs, cached=cached, progress=progress)))
    for line in lines:
        print(line)


def _explained(code: str) -> str:
    from netra_apex.migrate.formats import explanation
    from netra_apex.migrate.rules import RULES

    if code.upper() not in RULES:
        raise ConfigurationError(f"there is no rule {code!r}; there are {', '.join(sorted(RULES))}")
    return explanation(code.upper())


def _rules(given: list[str] | None) -> tuple[str, ...]:
    """Codes and families, also several with commas."""
    from netra_apex.migrate.rules import RULES

    codes = tuple(code.strip().upper() for each in given or () for code in each.split(",") if code.strip())
    for code in codes:
        if not any(rule.startswith(code) for rule in RULES):
            raise ConfigurationError(f"there is no rule or family {code!r}; there are {', '.join(sorted(RULES))}")
    return codes


def _project(path: Path, config: Path | None) -> tuple[Path, str]:
    """The folder of the project, and what of it was asked for: the nearest one above that has a configuration."""
    from netra_apex.migrate.config import load

    if not path.exists():
        raise ConfigurationError(f"there is no {path}")
    full = path.resolve()
    folder = full if full.is_dir() else full.parent
    if config is not None:
        home = config.resolve().parent
        found = home if folder.is_relative_to(home) else folder
    else:
        found = next((each for each in (folder, *folder.parents) if load(each).source is not None), None)
    if found is None:
        found = folder
        while full.is_file() and (found / "__init__.py").exists() and found != found.parent:
            found = found.parent
    below = full.relative_to(found).as_posix()
    return found, "" if below == "." else below


def _configuration(project: Path, config: Path | None, preset: str | None) -> "Configuration":
    from netra_apex.migrate import config as configurations

    read = configurations.load(project, config)
    return read if preset is None else configurations.joined(read, configurations.preset(preset))


def _wanted(project: Path, below: str, since: str | None) -> "frozenset[str] | str | None":
    """The files that findings are told of: those that changed, a folder or file, or all."""
    from netra_apex.migrate.scan import changed

    if since is None:
        return below or None
    found = changed(project, since)
    return frozenset(path for path in found if not below or path == below or path.startswith(f"{below}/"))


def _audited(project: Path, configuration: "Configuration", jobs: int, *, cached: bool) -> "Report":
    from netra_apex.migrate.audit import Work, audit

    with Bar("reading") as progress:
        return audit(project, configuration, Work(jobs=jobs, cached=cached, progress=progress))


def _chosen(
    report: "Report", rules: tuple[tuple[str, ...], tuple[str, ...]], wanted: "frozenset[str] | str | None"
) -> "Report":
    """What was asked for of a report."""
    from netra_apex.migrate.findings import Report, selected

    def told(path: str) -> bool:
        if wanted is None:
            return True
        return path in wanted if isinstance(wanted, frozenset) else path == wanted or path.startswith(f"{wanted}/")

    findings = tuple(each for each in report.findings if told(each.path) and selected(each.rule, *rules))
    return Report(findings, report.files, tuple(each for each in report.unparsed if told(each.path)))


def _with_baseline(report: "Report", path: Path, *, write: bool, whole: bool) -> "Report":
    from netra_apex.migrate import baseline

    known = None if write and not path.exists() else baseline.read(path)
    if write:
        text, refused = baseline.written(report.findings, known)
        path.write_text(text, "utf-8")
        tell(f"{path}: {len(text.splitlines()) - 1} findings" + (f", {refused} new ones not taken" * bool(refused)))
        known = baseline.read(path)
    return baseline.without_known(report, known or Counter(), str(path), whole=whole)


def _tell(report: "Report", output: Format, *, stats: bool) -> None:
    from netra_apex.migrate import formats

    if stats:
        print_table(("COUNT", "RULE", "WHAT"), formats.statistics(report))
        return
    for line in _lines(report, output):
        print(line)


def _lines(report: "Report", output: Format) -> Iterable[str]:
    from importlib.metadata import version

    from netra_apex.migrate import formats, formats_html, formats_junit, formats_sarif

    match output:
        case Format.TEXT:
            return formats.text(report)
        case Format.CONCISE:
            return formats.concise(report)
        case Format.JSON:
            return formats.as_json(report)
        case Format.SARIF:
            return formats_sarif.sarif(report, version("netra-apex"))
        case Format.GITHUB:
            return formats.github(report)
        case Format.JUNIT:
            return formats_junit.junit(report)
        case Format.HTML:
            return formats_html.html(report)
