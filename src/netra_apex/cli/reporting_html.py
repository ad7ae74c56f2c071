"""A report as one HTML file: nothing to load, no script, charts as inline SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from netra_apex.cli.reporting import Report, sections, title, verdict
from netra_apex.core.service import Point
from netra_apex.stores.rows import from_ms

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 180, 60, 24
STYLE = """
:root { color-scheme: light dark; --good: #2f8f5b; --bad: #c8373a; --excluded: #9a9a9a; --line: #2a6fbb; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884; vertical-align: top; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: currentColor; }
.good { fill: var(--good); } .bad { fill: var(--bad); } .excluded { fill: var(--excluded); }
.p50 { stroke: var(--good); } .p95 { stroke: var(--line); } .p99 { stroke: var(--bad); }
polyline { fill: none; stroke-width: 2; } .axis { stroke: #8888; }
.key span { margin-right: 1rem; } .wide { overflow-x: auto; }
"""


def as_html(report: Report) -> str:
    """The whole page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title(report))}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title(report))}</h1><p><strong>{escape(verdict(report))}</strong></p>",
        *_charts(report.figures.series),
    ]
    for section in sections(report):
        parts.append(f"<h2>{escape(section.title)}</h2>")
        if not section.rows:
            parts.append(f"<p>{escape(section.empty)}</p>")
            continue
        heads = "".join(f'<th scope="col">{escape(head.capitalize())}</th>' for head in section.heads)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
        parts.append(f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>')
    return "\n".join((*parts, "</body></html>"))


def _charts(series: Sequence[Point]) -> Iterator[str]:
    yield "<h2>Runs over time</h2>"
    yield '<p class="key"><span>green: good</span><span>red: bad</span><span>grey: excluded</span></p>'
    yield _framed("Runs over time: good, bad and excluded", _bars(series), series, _most(series), "runs")
    slowest = max((point.levels.completion_ms.p99 for point in series if point.levels.completion_ms), default=0)
    yield "<h2>Completion over time</h2>"
    yield '<p class="key"><span>green: p50</span><span>blue: p95</span><span>red: p99</span></p>'
    yield _framed("Seconds to completion: p50, p95 and p99", _lines(series, slowest), series, slowest / 1000, "s")


def _most(series: Sequence[Point]) -> float:
    return max((point.levels.runs for point in series), default=0)


def _framed(name: str, marks: Iterator[str], series: Sequence[Point], most: float, unit: str) -> str:
    base = HEIGHT - BOTTOM
    ends = f"{from_ms(series[0].at):%m-%d %H:%M}", f"{from_ms(series[-1].at):%m-%d %H:%M}"
    return "".join((
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">',
        f'<line class="axis" x1="{LEFT}" y1="{base}" x2="{WIDTH}" y2="{base}"/>',
        f'<text x="{LEFT - 6}" y="14" text-anchor="end">{most:g} {unit}</text>',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{ends[0]}</text>',
        f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{ends[1]}</text>',
        *marks,
        "</svg>",
    ))  # fmt: skip


def _bars(series: Sequence[Point]) -> Iterator[str]:
    most, step = _most(series) or 1, (WIDTH - LEFT) / len(series)
    room = HEIGHT - BOTTOM - 6
    for number, point in enumerate(series):
        top = float(HEIGHT - BOTTOM)
        for kind in ("good", "excluded", "bad"):
            count: int = getattr(point.levels, kind)
            if count:
                height = count / most * room
                top -= height
                place = f'x="{LEFT + number * step:.1f}" y="{top:.1f}" width="{max(1.0, step - 1):.1f}"'
                said = f"{from_ms(point.at):%m-%d %H:%M}: {count} {kind}"
                yield f'<rect class="{kind}" {place} height="{height:.1f}"><title>{said}</title></rect>'


def _lines(series: Sequence[Point], slowest: float) -> Iterator[str]:
    step, room = (WIDTH - LEFT) / len(series), HEIGHT - BOTTOM - 6
    for name in ("p50", "p95", "p99"):
        line: list[str] = []
        for number, point in enumerate((*series, None)):
            found = None if point is None else point.levels.completion_ms
            if found is not None:
                y = HEIGHT - BOTTOM - getattr(found, name) / (slowest or 1) * room
                line.append(f"{LEFT + (number + 0.5) * step:.1f},{y:.1f}")
            elif line:
                # One that stands alone is drawn as a short stroke: a line of one point is not seen.
                alone = [] if len(line) > 1 else [_beside(line[0])]
                yield f'<polyline class="{name}" points="{" ".join(line + alone)}"/>'
                line = []


def _beside(point: str) -> str:
    x, y = point.split(",")
    return f"{float(x) + 4:.1f},{y}"
