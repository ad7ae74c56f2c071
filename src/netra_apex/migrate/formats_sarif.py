"""SARIF 2.1.0, as the OASIS standard has it: results with their chains as related locations."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from netra_apex.migrate.findings import Finding, Report, fingerprints
from netra_apex.migrate.rules import RULES


def sarif(report: Report, version: str) -> Iterator[str]:
    """One log with one run."""
    codes = sorted({each.rule for each in report.findings})
    places = {code: place for place, code in enumerate(codes)}
    results = [
        _result(finding, places[finding.rule], mark)
        for finding, mark in zip(report.findings, fingerprints(report.findings), strict=True)
    ]
    notices = [
        {
            "level": "warning",
            "message": {"text": each.reason},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(each.path)}}],
        }
        for each in report.unparsed
    ]
    run = {
        "tool": {"driver": {"name": "netra audit", "version": version, "rules": [_rule(code) for code in codes]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "the folder that was audited"}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notices}],
        "results": results,
    }
    yield json.dumps({"version": "2.1.0", "runs": [run]}, ensure_ascii=True, indent=2)


def _rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return {
        "id": code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
    }


def _result(finding: Finding, place: int, mark: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": finding.severity,
        "message": {"text": finding.message},
        "locations": [_location(finding.path, finding.line, finding.column)],
        "partialFingerprints": {"netraAudit/v1": mark},
    }
    if finding.chain:
        found["relatedLocations"] = [
            {**_location(hop.path, hop.line), "id": number, "message": {"text": hop.name}}
            for number, hop in enumerate(finding.chain)
        ]
    return found


def _location(path: str, line: int, column: int | None = None) -> dict[str, Any]:
    region = {"startLine": line} | ({} if column is None else {"startColumn": column})
    return {"physicalLocation": {"artifactLocation": _artifact(path), "region": region}}


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(path.encode("utf-8", "surrogateescape")), "uriBaseId": "SRCROOT"}
