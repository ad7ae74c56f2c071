"""The report: Markdown whose every figure is one that a tool gave. It is readable as plain text too."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from pydantic import Field

from netra_apex.demo.costs.values import (
    Actions,
    Anomaly,
    Costs,
    Duplicates,
    Line,
    Measured,
    Optimised,
    Peak,
    Savings,
    Source,
    Spread,
    Spreads,
    Value,
)

BAR = 30
CELL = 60
LONG = 500
SAMPLE_NOTE = "**This is a made-up sample, not your usage.**"
REMARK_LEFT_OUT = "_A remark of the model was left out: it named figures that no tool gave._"
_MARKUP = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")"})  # neither HTML nor a link nor an image
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\$?[\d,.]+(%| ms)?|-")
_MISSING = MappingProxyType({"data": "What was spent", "optimisation": "What could be saved", "actions": "What to do"})


class CostMaterial(Value):
    """What the report is made of. What is None, or in `missing` with its reason, is said to be missing."""

    asked: str
    reason: str = ""
    source: Source | None = None
    said: str = ""
    advice: str = ""
    measured: Measured | None = None
    optimised: Optimised | None = None
    actions: Actions | None = None
    missing: Mapping[str, str] = Field(default_factory=dict[str, str])


def report_of(material: CostMaterial, remark: str = "") -> str:
    """The report. A model's `remark` is put before it, unless it names a figure that is not in it."""
    source = material.source
    parts = ["# AI cost analysis" if source is None else f"# AI cost analysis: {_plain(source.name)}"]
    if source is not None and source.sample:
        parts.append(SAMPLE_NOTE)
    body = _body(material)
    if remark.strip():
        figures = set(_FIGURE.findall("\n".join(body)))
        told = figures.issuperset(_FIGURE.findall(remark))
        parts.append(f"> {_plain(remark, LONG)}" if told else REMARK_LEFT_OUT)
    return "\n\n".join([*parts, *body])


def _body(material: CostMaterial) -> list[str]:
    if material.source is None:
        said = f" You said: “{_plain(material.said)}”." if material.said else ""
        advice = f"\n\n{_plain(material.advice, LONG)}" if material.advice else ""
        parts = [
            f"Nothing could be analysed: {_plain(material.reason, LONG) or 'there is no usage export'}.{said}{advice}"
        ]
        return [*parts, *_missing(material, ())]
    parts: list[str] = []
    measured, optimised = material.measured or Measured(), material.optimised or Optimised()
    lacking: list[str] = []
    if measured.costs is not None:
        parts += _costs(measured.costs)
    else:
        lacking.append("costs by model, feature and time")
    if measured.spreads is not None:
        parts += _spreads(measured.spreads)
    else:
        lacking.append("percentiles, anomalies and peaks")
    if measured.duplicates is not None:
        parts += _duplicates(measured.duplicates)
    else:
        lacking.append("repeated prompts")
    kinds = (
        ("smaller models", optimised.models),
        ("caching", optimised.caching),
        ("shorter prompts", optimised.prompts),
    )
    parts += _savings([(name, each) for name, each in kinds if each is not None])
    lacking += [f"savings by {name}" for name, each in kinds if each is None]
    if material.actions is not None:
        parts += _actions(material.actions)
    else:
        lacking.append("a list of actions")
    return [*_in_short(material), *parts, *_missing(material, lacking)]


def _in_short(material: CostMaterial) -> list[str]:
    """What somebody reads who reads no more."""
    costs = material.measured.costs if material.measured else None
    points: list[str] = []
    if costs is not None and costs.not_priced == costs.rows:
        points.append("What was spent is not known: the file has no costs, and no price is known of its models.")
    elif costs is not None and costs.models:
        model = costs.models[0]
        points.append(
            f"{_money(costs.total)} in {costs.days} days, {_share(model.share)} of it for {_plain(model.name)}."
        )
    if material.actions is not None and material.actions.actions:
        best = max(material.actions.actions, key=lambda action: action.monthly)
        points.append(f"The largest saving: {_plain(best.title, LONG)}, {_money(best.monthly)} in 30 days.")
    return ["\n".join(f"- {point}" for point in points)] if points else []


def _costs(costs: Costs) -> list[str]:
    requests = "" if costs.requests is None else f", {_count(costs.requests)} requests"
    head = (
        f"**{_money(costs.total)}** from {costs.first} to {costs.last} ({costs.days} days): {_rows(costs.rows)}"
        f" of {costs.kind}{requests}, {_count(costs.input_tokens)} tokens in, {_count(costs.output_tokens)} out."
    )
    parts = ["## What was spent", head]
    left_out: list[str] = []
    if costs.unreadable:
        are = "is" if costs.unreadable == 1 else "are"
        first = f" The first: {'; '.join(map(_plain, costs.problems))}." if costs.problems else ""
        left_out.append(f"**{_rows(costs.unreadable)} could not be read and {are} left out.**{first}")
    if costs.empty:
        were = "was" if costs.empty == 1 else "were"
        left_out.append(f"{_rows(costs.empty)} {were} empty, as nothing was used.")
    if costs.not_priced:
        names = ", ".join(map(_plain, costs.models_not_priced))
        have = "has" if costs.not_priced == 1 else "have"
        left_out.append(f"**{_rows(costs.not_priced)} {have} no cost, and no known price: {names}.**")
    parts += [" ".join(left_out)] if left_out else []
    parts += ["### By model", _breakdown("model", costs.models, costs.models_not_priced)]
    if costs.feature_column is not None:
        parts += [f"### By feature (column `{costs.feature_column}`)", _breakdown("feature", costs.features)]
    parts += [f"### By {costs.period}", _chart([(line.name, line.cost) for line in costs.periods])]
    return [*parts, _assumed(costs.assumptions)]


def _spreads(spreads: Spreads) -> list[str]:
    parts = ["## How it is spread", _percentiles(spreads.percentiles), "### What stands out"]
    parts.append(_anomalies(spreads.anomalies) if spreads.anomalies else "Nothing does.")
    parts += [f"Rule: {spreads.rule}.", "### Peaks", _peaks(spreads.peaks)]
    return [*parts, _assumed(spreads.notes)] if spreads.notes else parts


def _percentiles(spreads: Sequence[Spread]) -> str:
    return _table(
        ("of a row", "p50", "p95", "p99", "rows"),
        [
            (each.name, *(_amount(x, each.unit) for x in (each.p50, each.p95, each.p99)), _count(each.rows))
            for each in spreads
        ],
    )


def _anomalies(found: Sequence[Anomaly]) -> str:
    return _table(
        ("what", "cost", "usual", "times"),
        [
            (
                f"{each.what} {each.name}" if each.what == "day" else each.name,
                _money(each.cost),
                _money(each.usual),
                f"{each.times:g}",
            )
            for each in found
        ],
    )


def _peaks(peaks: Sequence[Peak]) -> str:
    return _table(
        ("most was spent in the", "which was", "cost", "share"),
        [(each.what, each.name, _money(each.cost), _share(each.share)) for each in peaks],
    )


def _duplicates(found: Duplicates) -> list[str]:
    if found.column is None:
        return ["## Prompts that came again", f"Not known: {found.note}."]
    said = (
        f"{_count(found.repetitions)} of {_count(found.rows)} rows repeat an earlier one, and cost"
        f" **{_money(found.cost)}**; {found.note}."
    )
    parts = ["## Prompts that came again", said]
    rows = [(each.feature, each.model, _count(each.times), _money(each.cost)) for each in found.top]
    return [*parts, _table(("feature", "model", "times", "cost of repeating"), rows)] if rows else parts


def _savings(found: Sequence[tuple[str, Savings]]) -> list[str]:
    if not found:
        return []
    parts = ["## What could be saved"]
    for name, savings in found:
        parts.append(f"### By {name}")
        rows = [(each.title, _money(each.now), _money(each.saved), _money(each.monthly)) for each in savings.savings]
        parts.append(_table(("what", "costs now", "saves", "saves in 30 days"), rows) if rows else "Nothing was found.")
        notes = [f"{each.title}: {each.assumption}" for each in savings.savings]
        parts += [_assumed([*notes, savings.note] if savings.note else notes)] if notes or savings.note else []
    return parts


def _actions(actions: Actions) -> list[str]:
    if not actions.actions:
        return ["## What to do", "Nothing that is worth the effort was found."]
    by = "the largest saving" if actions.order == "saving" else "the least effort"
    rows = [(str(each.rank), each.title, _money(each.monthly), each.effort, each.risk) for each in actions.actions]
    checks = [f"{each.rank}. {_plain(each.title)}: {each.check}" for each in actions.actions]
    table = _table(("", f"action ({by} first)", "saves in 30 days", "effort", "risk"), rows)
    return ["## What to do", table, "\n".join(checks), _assumed((actions.note,))]


def _missing(material: CostMaterial, lacking: Sequence[str]) -> list[str]:
    why = [
        f"- {_MISSING.get(name, name)} ({name}): {_plain(reason, LONG)}" for name, reason in material.missing.items()
    ]
    told = {"data": 3, "optimisation": 3, "actions": 1}
    if lacking and sum(told.get(name, 0) for name in material.missing) < len(lacking):
        why.append(f"- Not computed: {', '.join(lacking)}.")
    return ["## What is missing", "\n".join(why)] if why else []


def _assumed(notes: Iterable[str]) -> str:
    return "\n".join(["Assumptions:", "", *(f"- {_plain(note, LONG)}." for note in notes)])


def _breakdown(what: str, lines: Sequence[Line], not_priced: Sequence[str] = ()) -> str:
    # What has no price was not free: no figure stands there.
    unknown = {line.name for line in lines if not line.cost and line.name in not_priced}
    rows = [
        (
            line.name,
            "-" if line.name in unknown else _money(line.cost),
            "-" if line.name in unknown else _share(line.share),
            _count(line.requests),
            _count(line.input_tokens),
            _count(line.output_tokens),
        )
        for line in lines
    ]
    table = _table((what, "cost", "share", "requests", "tokens in", "tokens out"), rows)
    bars = [(line.name, line.cost) for line in lines if line.name not in unknown]
    return f"{table}\n\n{_chart(bars)}" if bars else table


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned, as a terminal shows it as it is."""
    cells = [[_plain(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    right = [bool(rows) and all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if r else cell.ljust(width) for cell, width, r in zip(row, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (f"{'-' * (width - 1)}:" if r else "-" * width for width, r in zip(widths, right, strict=True))
    return "\n".join([line(cells[0]), f"| {' | '.join(rule)} |", *map(line, cells[1:])])


def _chart(bars: Sequence[tuple[str, float]]) -> str:
    """Bars of text, which a terminal shows as they are; the web app knows `bars`, and draws them."""
    most = max((value for _, value in bars), default=0) or 1
    names = [_plain(name).replace("`", "'") for name, _ in bars]
    width = max(map(len, names), default=0)
    drawn = [
        f"{name.ljust(width)}  {('█' * round(BAR * value / most) or '▏').ljust(BAR)}  {_money(value)}"
        for name, (_, value) in zip(names, bars, strict=True)
    ]
    return "\n".join(["```bars", *drawn, "```"])


def _plain(text: str, most: int = CELL) -> str:
    """What comes from a file, as one short line without what a page or a terminal would take for its own."""
    line = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text).strip()
    line = " ".join(line.translate(_MARKUP).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _money(value: float) -> str:
    return f"${value:,.2f}" if value >= 0.1 or not value else f"${value:.6f}"


def _amount(value: float, unit: str) -> str:
    return _money(value) if unit == "US dollars" else f"{value:,.0f} {unit}" if unit == "ms" else f"{value:,.0f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{_count(count)} rows"


def _share(value: float) -> str:
    return f"{value:.1%}"
