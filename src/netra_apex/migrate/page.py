"""The report for people: one HTML file that needs nothing else, with the burn-down, the outcomes and their reasons."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from netra_apex.migrate.edits import REASONS
from netra_apex.migrate.summary import Period, Point, Standing, outcome

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430 }
h1, h2 { line-height: 1.2 } table { border-collapse: collapse; width: 100% } caption { text-align: left }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dee6; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums } code, pre { font: 13px/1.4 monospace }
pre { background: #f3f5f8; padding: .6rem; overflow: auto; max-height: 20rem; white-space: pre-wrap }
dl { display: flex; gap: 2rem; flex-wrap: wrap } dt { color: #51606f } dd { margin: 0; font-size: 1.6rem }
@media (prefers-color-scheme: dark) { body { background: #12161c; color: #dfe6ee } pre { background: #1c232c }
th, td { border-color: #323c48 } dt { color: #9fb0c0 } }
"""
WIDTH, HEIGHT, LEFT, BOTTOM = 900, 260, 50, 30


def html(standing: Standing, points: Sequence[Point], days: Sequence[Period], weeks: Sequence[Period]) -> str:
    """The report of a run, and of all runs of the tree in time."""
    run = standing.run
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>Migration: run {run.run_id}</title><style>{_STYLE}</style></head><body>",
            f"<h1>Migration: run {run.run_id}, {escape(standing.status)}</h1>",
            f"<p>Began {escape(run.began_at)}" + (f", ended {escape(run.ended_at)}" if run.ended_at else "") + ".</p>",
            "<dl>",
            *(f"<div><dt>{escape(name)}</dt><dd>{count}</dd></div>" for name, count in standing.counts.items()),
            "</dl><p>In files; what is refused is counted in uses.</p>",
            "<h2>Files left</h2>",
            chart(points),
            "<h2>By day</h2>",
            _periods(days),
            "<h2>By week</h2>",
            _periods(weeks),
            "<h2>Refused, and why</h2>",
            _refusals(standing),
            "<h2>Files</h2>",
            _files(standing),
            "</body></html>\n",
        )
    )


def chart(points: Sequence[Point]) -> str:
    """The burn-down as SVG: what was left over time, as steps."""
    if not points:
        return "<p>Nothing has happened yet.</p>"
    times = [datetime.fromisoformat(point.at).timestamp() for point in points]
    first, span, most = times[0], max(times[-1] - times[0], 1e-9), max(1, *(point.remaining for point in points))

    def place(time: float, remaining: int) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 10) * (time - first) / span
        return x, 10 + (HEIGHT - BOTTOM - 10) * (1 - remaining / most)

    drawn: list[str] = []
    for number, (time, point) in enumerate(zip(times, points, strict=True)):
        x, y = place(time, point.remaining)
        drawn.append(f"M{x:.1f} {y:.1f}" if number == 0 else f"H{x:.1f} V{y:.1f}")
    floor = HEIGHT - BOTTOM
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Files left: {points[0].remaining} at first, '
        f'{points[-1].remaining} now" width="100%" fill="none" stroke="currentColor">'
        f'<path d="M{LEFT} 10 V{floor} H{WIDTH - 10}" opacity=".4"/>'
        f'<path d="{" ".join(drawn)}" stroke="#2f7de1" stroke-width="2"/>'
        '<g fill="currentColor" stroke="none" font-size="12">'
        f'<text x="{LEFT - 8}" y="16" text-anchor="end">{most}</text>'
        f'<text x="{LEFT - 8}" y="{floor + 4}" text-anchor="end">0</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{escape(points[0].at[:16])}</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">{escape(points[-1].at[:16])}</text></g></svg>'
    )


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _periods(periods: Sequence[Period]) -> str:
    heads = ("", "done", "failed", "conflict", "rolled back", "left", "validations", "tests at the end", "blockers")
    return _table(
        heads,
        (
            (
                escape(each.name),
                str(each.done),
                str(each.failed),
                str(each.conflicts),
                str(each.rolled_back),
                str(each.remaining),
                escape(", ".join(f"{count} {kind}" for kind, count in sorted(each.validations.items()))),
                f"{each.tests_passed} passed, {each.tests_failed} failed",
                escape(", ".join(f"{code} {count}" for code, count in each.blockers)),
            )
            for each in periods
        ),
    )


def _refusals(standing: Standing) -> str:
    return _table(
        ("place", "reason", "what", "candidates"),
        (
            (
                f"<code>{escape(each.path)}:{each.line}</code>",
                f'<span title="{escape(REASONS.get(each.code, ""))}">{escape(each.code)}</span>',
                escape(each.message),
                escape(", ".join(each.candidates)),
            )
            for each in standing.refusals
        ),
    )


def _files(standing: Standing) -> str:
    return _table(
        ("files", "phase", "batch", "outcome", "why"),
        (
            (
                "<br>".join(f"<code>{escape(path)}</code>" for path in entry.unit.paths),
                escape(entry.unit.phase),
                str(entry.batch or ""),
                outcome(entry.state),
                f"{escape(entry.code)}<pre>{escape(entry.detail)}</pre>" if entry.detail else escape(entry.code),
            )
            for entry in standing.entries
        ),
    )
