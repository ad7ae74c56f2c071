"""docs/reference/audit.md lists every rule, and no other."""

from tests.architecture.reading import DOCS, codes, rows, sections

from netra_apex.migrate.rules import FAMILIES, RULES


def test_every_rule_is_documented_with_its_title_and_how_to_mend_it_and_no_other():
    table = {codes(row[0])[0]: row for row in rows(sections(DOCS / "reference" / "audit.md")["Rules"])}
    assert set(table) == set(RULES)
    for code, row in table.items():
        assert row[1].casefold().startswith(RULES[code].title.casefold())
        assert row[3] == RULES[code].mend
        assert code[0] in FAMILIES
