"""What an audit finds: one value for each finding, in an order that depends on nothing but the files."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netra_apex.migrate.config import Severity
from netra_apex.migrate.resolve import Hop
from netra_apex.migrate.rules import RULES

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place where a rule is broken. Lines count from 1, columns from 1 in characters.

    `subject` is what it is about, such as a dotted name: with rule and path it names the finding when lines move.
    """

    path: str
    line: int
    column: int
    rule: str
    message: str
    severity: Severity
    subject: str
    chain: tuple[Hop, ...] = ()

    def softer(self) -> "Finding":
        """The same, one step less severe."""
        place = min(SEVERITIES.index(self.severity) + 1, len(SEVERITIES) - 1)
        return replace(self, severity=SEVERITIES[place])

    def shape(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            "rule": self.rule,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "severity": self.severity,
            "chain": [{"path": hop.path, "line": hop.line, "name": hop.name} for hop in self.chain],
        }

    def row(self) -> tuple[Any, ...]:
        """As plain values, which `from_row` takes."""
        chain = tuple(tuple(hop) for hop in self.chain)
        return (self.path, self.line, self.column, self.rule, self.message, self.severity, self.subject, chain)


def from_row(row: Sequence[Any]) -> Finding:
    """What `Finding.row` told."""
    path, line, column, rule, message, severity, subject, chain = row
    return Finding(path, line, column, rule, message, severity, subject, tuple(Hop(*hop) for hop in chain))


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A file of which not everything is known, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of an audit, sorted."""

    findings: tuple[Finding, ...]
    files: int
    unparsed: tuple[Unparsed, ...]
    known: int = 0  # findings that the baseline knows, left out of `findings`

    def shape(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            "findings": [finding.shape() for finding in self.findings],
            "files": self.files,
            "unparsed": [{"path": each.path, "reason": each.reason} for each in self.unparsed],
        }


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """A name for each finding that stays when lines move; equal ones of a file are counted."""
    seen: dict[tuple[str, str, str], int] = {}
    made: list[str] = []
    for finding in findings:
        key = (finding.rule, finding.path, finding.subject)
        seen[key] = seen.get(key, 0) + 1
        name = "\0".join((*key, str(seen[key]))).encode("utf-8", "surrogatepass")
        made.append(hashlib.blake2b(name, digest_size=16).hexdigest())
    return made


def selected(rule: str, select: Sequence[str], ignore: Sequence[str]) -> bool:
    """Whether a rule is asked for: the longest prefix that names it decides, else whether it is on by itself."""
    wanted = max((len(prefix) for prefix in select if rule.startswith(prefix)), default=-1)
    unwanted = max((len(prefix) for prefix in ignore if rule.startswith(prefix)), default=-1)
    if wanted < 0 and unwanted < 0:
        return not select and RULES[rule].on
    return wanted > unwanted
