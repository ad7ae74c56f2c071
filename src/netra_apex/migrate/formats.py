"""How a report is told: as lines for people, as JSON, as annotations of a forge."""

import json
from collections import Counter
from collections.abc import Iterator

from netra_apex.migrate.findings import SEVERITIES, Report
from netra_apex.migrate.rules import FAMILIES, RULES

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
COMMANDS = tuple(_COMMANDS.items())


def text(report: Report) -> Iterator[str]:
    """A line for each finding, and below it the places of its chain."""
    for finding in report.findings:
        place = f"{finding.path}:{finding.line}:{finding.column}"
        yield _plain(f"{place}: {finding.rule} {finding.severity}: {finding.message}")
        if len(finding.chain) > 1:
            yield from (_plain(f"    {hop.path}:{hop.line}: {hop.name}") for hop in finding.chain[:12])
            if len(finding.chain) > 12:
                yield f"    and {len(finding.chain) - 12} more"
    yield from (_plain(f"{each.path}: not everything is known: {each.reason}") for each in report.unparsed)
    yield summary(report)


def concise(report: Report) -> Iterator[str]:
    """A line for each finding, as other linters have it."""
    for each in report.findings:
        yield _plain(f"{each.path}:{each.line}:{each.column}: {each.rule} {each.message}")


def as_json(report: Report) -> Iterator[str]:
    """One object: `findings`, `files`, `unparsed`."""
    yield json.dumps(report.shape(), ensure_ascii=True, indent=2)


def github(report: Report) -> Iterator[str]:
    """Workflow commands, which GitHub shows at their lines."""
    commands = dict(COMMANDS)
    for each in report.findings:
        place = f"file={_property(each.path)},line={each.line},col={each.column},title={_property(each.rule)}"
        yield f"::{commands[each.severity]} {place}::{_data(f'{each.rule} {each.message}')}"


def summary(report: Report) -> str:
    """How much was found, in a sentence."""
    counts = Counter(each.severity for each in report.findings)
    found = ", ".join(f"{counts[each]} {each}{'s' * (counts[each] != 1)}" for each in SEVERITIES if counts[each])
    known = f"; {report.known} more are in the baseline" if report.known else ""
    return f"{report.files} files: {found or 'nothing found'}{known}"


def statistics(report: Report) -> list[tuple[str, str, str]]:
    """Count, rule and title of each rule that found something, then count and folder of the folders that have most."""
    rules = Counter(each.rule for each in report.findings)
    rows = [(str(count), rule, RULES[rule].title) for rule, count in sorted(rules.items())]
    folders = Counter(each.path.rpartition("/")[0] or "." for each in report.findings)
    most = sorted(folders.items(), key=lambda each: (-each[1], each[0]))[:20]
    return rows + [(str(count), "", folder) for folder, count in most]


def explanation(code: str) -> str:
    """What a rule is about, for a person."""
    rule = RULES[code]
    on = "" if rule.on else "\n\nIt is looked at only when it is selected."
    return f"{rule.code}: {rule.title} ({FAMILIES[rule.code[0]]})\n\n{rule.why}\n\n{rule.mend}{on}"


def _plain(line: str) -> str:
    """A line without what steers a terminal: names and messages come from files that anybody wrote."""
    return line if line.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
