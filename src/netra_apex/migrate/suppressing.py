"""What comments suppress, and what is wrong with the comments."""

from collections.abc import Iterator

from netra_apex.migrate.facts import Suppression
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module


def suppressed(findings: list[Finding], modules: list[Module]) -> list[Finding]:
    """The findings that no comment suppresses, and those about the comments themselves.

    A comment is about the rules that it names, by code or family, on its line; what it says without a reason holds
    all the same, and is told.
    """
    comments: dict[tuple[str, int], list[tuple[Suppression, set[str]]]] = {}
    told: list[tuple[str, Suppression, set[str]]] = []
    for module in modules:
        for each in module.head.suppressions:
            used: set[str] = set()
            comments.setdefault((module.path, each.applies), []).append((each, used))
            told.append((module.path, each, used))
    left: list[Finding] = []
    for finding in findings:
        matching = [
            (rule, used)
            for comment, used in comments.get((finding.path, finding.line), ())
            for rule in comment.rules
            if finding.rule.startswith(rule)
        ]
        for rule, used in matching:
            used.add(rule)
        if not matching:
            left.append(finding)
    return left + [found for path, comment, used in told for found in _about(path, comment, used)]


def _about(path: str, comment: Suppression, used: set[str]) -> Iterator[Finding]:
    place = (path, comment.line, 1)
    if not comment.rules:
        yield Finding(*place, "X003", "name the rules that it is about", "warning", "ignore")
        return
    unused = [rule for rule in comment.rules if rule not in used]
    if unused:
        yield Finding(*place, "X001", f"there is no {', '.join(unused)} here", "warning", ",".join(unused))
    if not comment.reason:
        subject = ",".join(comment.rules)
        yield Finding(*place, "X002", f"why {subject} may stay is not said", "warning", subject)
