"""One page that needs nothing else: counts, a bar for each rule and folder, and every finding with its chain."""

from collections import Counter
from collections.abc import Iterator
from html import escape

from netra_apex.migrate.findings import SEVERITIES, Finding, Report
from netra_apex.migrate.formats import summary
from netra_apex.migrate.rules import FAMILIES, RULES

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--error:#c62828;--warning:#b26a00;--note:#3867a8}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}code{font-family:ui-monospace,monospace;font-size:.92em}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line)}td.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{display:inline-block;height:.7em;background:var(--note);border-radius:2px;min-width:2px}
.error{color:var(--error)}.warning{color:var(--warning)}.note{color:var(--note)}
details{margin:.2rem 0}ol{margin:.2rem 0}td:first-child{white-space:nowrap}p.sum{font-size:1.1rem}
"""


def html(report: Report) -> Iterator[str]:
    """The page, line by line."""
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>netra audit</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><h1>netra audit</h1>"
    yield f'<p class="sum">{escape(summary(report))}</p>'
    yield from _bars("By rule", Counter(each.rule for each in report.findings), described=True)
    folders = Counter(each.path.rpartition("/")[0] or "." for each in report.findings)
    yield from _bars("By folder", Counter(dict(folders.most_common(20))), described=False)
    for rule in sorted({each.rule for each in report.findings}):
        yield from _section(rule, [each for each in report.findings if each.rule == rule])
    if report.unparsed:
        yield "<h2>Not everything is known of</h2><table><tbody>"
        yield from (f"<tr><td><code>{_text(each.path)}</code><td>{_text(each.reason)}" for each in report.unparsed)
        yield "</tbody></table>"
    yield "</body></html>"


def _bars(title: str, counts: "Counter[str]", *, described: bool) -> Iterator[str]:
    if not counts:
        return
    most = max(counts.values())
    yield f"<h2>{title}</h2><table><tbody>"
    for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        about = f"<td>{_text(RULES[name].title)}" if described else ""
        shown = f'<a href="#{name}">{name}</a>' if described else f"<code>{_text(name)}</code>"
        width = f"{count / most * 12:.2f}em"
        yield f'<tr><td>{shown}<td class="n">{count}<td><span class="bar" style="width:{width}"></span>{about}'
    yield "</tbody></table>"


def _section(rule: str, findings: list[Finding]) -> Iterator[str]:
    about = RULES[rule]
    yield f'<h2 id="{rule}">{rule}: {_text(about.title)}</h2>'
    yield f"<p>{_text(FAMILIES[rule[0]])}. {_text(about.why)} {_text(about.mend)}</p>"
    yield "<table><thead><tr><th>Where<th>How bad<th>What</thead><tbody>"
    for severity in SEVERITIES:
        for each in findings:
            if each.severity == severity:
                place = f"{each.path}:{each.line}:{each.column}"
                yield f'<tr><td><code>{_text(place)}</code><td class="{severity}">{severity}'
                yield f"<td>{_text(each.message)}{_chain(each)}"
    yield "</tbody></table>"


def _chain(finding: Finding) -> str:
    if len(finding.chain) < 2:
        return ""
    hops = "".join(f"<li><code>{_text(hop.path)}:{hop.line}</code> {_text(hop.name)}" for hop in finding.chain)
    return f"<details><summary>{len(finding.chain)} places</summary><ol>{hops}</ol></details>"


def _text(value: str) -> str:
    return escape(value.encode("utf-8", "replace").decode("utf-8"))
