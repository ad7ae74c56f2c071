"""JUnit's XML: each rule of each file is a case that fails, and a clean audit is one case that passes."""

import re
from collections.abc import Iterator
from itertools import groupby
from xml.etree import ElementTree

from netra_apex.migrate.findings import Report
from netra_apex.migrate.rules import RULES

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> Iterator[str]:
    """One suite; files of which not everything is known are errors."""
    suite = ElementTree.Element("testsuite", name="netra audit", skipped="0", time="0")
    cases = 0
    for (path, rule), group in groupby(
        sorted(report.findings, key=lambda each: (each.path, each.rule)), lambda each: (each.path, each.rule)
    ):
        cases += 1
        lines = [f"{each.path}:{each.line}:{each.column}: {each.severity}: {each.message}" for each in group]
        case = ElementTree.SubElement(
            suite, "testcase", classname=_allowed(path), name=f"{rule} {RULES[rule].title}", time="0"
        )
        failure = ElementTree.SubElement(case, "failure", message=_allowed(lines[0]), type=rule)
        failure.text = _allowed("\n".join(lines))
    failures = cases
    for each in report.unparsed:
        cases += 1
        case = ElementTree.SubElement(suite, "testcase", classname=_allowed(each.path), name="is analysed", time="0")
        ElementTree.SubElement(case, "error", message=_allowed(each.reason), type="unparsed")
    if not cases:
        cases = 1
        ElementTree.SubElement(suite, "testcase", classname="netra audit", name="nothing is found", time="0")
    suite.set("tests", str(cases))
    suite.set("failures", str(failures))
    suite.set("errors", str(len(report.unparsed)))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    yield ElementTree.tostring(suites, "unicode", xml_declaration=True)


def _allowed(text: str) -> str:
    """Text without the characters that XML cannot have."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
