"""A report as a value, and as text, Markdown and JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from netra_apex.cli.terminal import instant, printable
from netra_apex.core.blockers import Blocker, Standing, blockers
from netra_apex.core.golden import GoldenPath
from netra_apex.core.periods import Period
from netra_apex.core.service import BurnRate, Figures, Latency, Levels, Part
from netra_apex.stores.rows import from_ms
from netra_apex.stores.service import ServiceStore

TOP = 20  # of agents, models and users
Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a report tells; `before` is of the period before, as long."""

    period: Period
    path: GoldenPath
    figures: Figures
    before: Levels
    rates: tuple[BurnRate, ...]
    blockers: tuple[Blocker, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: a title, and a table or, where it has no rows, a sentence."""

    title: str
    heads: Row
    rows: Sequence[Row]
    empty: str


async def gather(service: ServiceStore, period: Period, *, queued_per_user: int) -> Report:
    """Reads it; nothing is written."""
    standing = await service.standing()
    return Report(
        period=period,
        path=service.path,
        figures=await service.figures(period, overdue=standing.overdue),
        before=(await service.figures(period.before)).total,
        rates=await service.burn_rates(overdue=standing.overdue),
        blockers=blockers(standing, queued_per_user=queued_per_user),
        standing=standing,
    )


def title(report: Report) -> str:
    """What it is about."""
    begin, end = from_ms(report.period.since), from_ms(report.period.until)
    return f"Netra report, {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def verdict(report: Report) -> str:
    """Whether the golden path held, in a sentence."""
    total, path = report.figures.total, report.path
    promise = f"within {path.seconds:g} s, objective {_percent(path.objective)}"
    if total.success_rate is None:
        return f"No run that counts ended in this period ({promise})."
    counted = total.good + total.bad
    held = "The golden path held" if total.success_rate >= path.objective else "The golden path did NOT hold"
    before = report.before.success_rate
    beside = "" if before is None else f"; the period before: {_percent(before)}"
    return f"{held}: {_percent(total.success_rate)} of {counted:,} runs were answered as promised ({promise}){beside}."


def sections(report: Report) -> Iterator[Section]:
    """Its parts, what is urgent first."""
    figures = report.figures
    blocked = [(each.kind, str(each.count), _at(each.since), each.message) for each in report.blockers]
    yield Section("In the way now", ("WHAT", "COUNT", "SINCE (UTC)", "MEANS"), blocked, "Nothing is in the way.")
    yield Section("Figures", ("", "THIS PERIOD", "BEFORE", "CHANGE"), list(_compared(figures.total, report.before)), "")
    failed = [(each.cause, str(each.runs), "yes" if each.counted else "no", each.message) for each in figures.failures]
    yield Section("Failures by cause", ("CAUSE", "RUNS", "COUNTS", "MEANS"), failed, "None.")
    events = [(each.type, str(each.due), str(each.told), _percent(each.rate)) for each in figures.events]
    yield Section("The five events", ("EVENT", "DUE", "TOLD", "RATE"), events, "")
    rates = [(each.window, str(each.good), str(each.bad), _rate(each)) for each in report.rates]
    yield Section("Error budget, up to now", ("WINDOW", "GOOD", "BAD", "BURN RATE"), rates, "")
    for name, parts in (("Agents", figures.agents), ("Models", figures.models), ("Users", figures.users)):
        rows = [_part(each) for each in parts[:TOP]]
        heads = (name[:-1].upper(), "RUNS", "BAD", "SUCCESS", "TOOL CALLS", "FAILED", "TOKENS", "COST")
        yield Section(name, heads, rows, "None.")


def as_text(report: Report) -> str:
    """For a terminal."""
    lines = [title(report), verdict(report)]
    for section in sections(report):
        lines += ["", section.title]
        lines += _table(section) if section.rows else [f"  {section.empty}"]
    return "\n".join(lines)


def as_markdown(report: Report) -> str:
    """For a ticket, or a page of a wiki."""
    lines = [f"# {title(report)}", "", verdict(report)]
    for section in sections(report):
        lines += ["", f"## {section.title}", ""]
        if not section.rows:
            lines.append(section.empty)
            continue
        heads = [head.capitalize() for head in section.heads]
        lines += [_marked(heads), _marked("---" for _ in heads), *map(_marked, section.rows)]
    return "\n".join(lines)


def as_json(report: Report) -> str:
    """For programs: as `GET /api/admin/service-levels`, with the period before."""
    figures = report.figures
    names = ("total", "agents", "models", "users", "failures", "events")
    whole: dict[str, Any] = {
        "since": instant(from_ms(report.period.since)),
        "until": instant(from_ms(report.period.until)),
        "bucket_seconds": report.period.width // 1000,
        "golden_path": {"limit_seconds": report.path.seconds, "objective": report.path.objective},
        **{name: msgspec.to_builtins(getattr(figures, name)) for name in names},
        "before": msgspec.to_builtins(report.before),
        "series": [{"at": instant(from_ms(point.at)), **msgspec.to_builtins(point.levels)} for point in figures.series],
        "burn_rates": msgspec.to_builtins(report.rates),
        "blockers": [
            msgspec.to_builtins(each) | {"since": each.since and instant(from_ms(each.since))}
            for each in report.blockers
        ],
        "now": {name: getattr(report.standing, name) for name in ("queued", "running", "waiting", "overdue", "users")},
    }
    return json.dumps(whole, ensure_ascii=False)


def _compared(now: Levels, before: Levels) -> Iterator[Row]:
    def count(name: str, of: Callable[[Levels], float | None], written: Callable[[float | None], str]) -> Row:
        return name, written(of(now)), written(of(before)), _change(of(now), of(before))

    yield count("runs", lambda each: each.runs, _number)
    yield count("good", lambda each: each.good, _number)
    yield count("bad", lambda each: each.bad, _number)
    yield count("excluded", lambda each: each.excluded, _number)
    yield "success", _percent(now.success_rate), _percent(before.success_rate), _points(now, before)
    yield count("users", lambda each: each.users, _number)
    for name, metric in (
        ("waited in the queue", "queued_ms"),
        ("first event", "first_event_ms"),
        ("first token", "first_token_ms"),
        ("completion", "completion_ms"),
    ):
        for percentile in ("p50", "p95", "p99"):

            def latency(each: Levels, metric: str = metric, percentile: str = percentile) -> float | None:
                found: Latency | None = getattr(each, metric)
                return None if found is None else getattr(found, percentile)

            yield count(f"{name}, {percentile}", latency, _ms)
    yield count("tool calls", lambda each: each.tool_calls, _number)
    yield count("tool failures", lambda each: each.tool_failures, _number)
    yield count("tokens", lambda each: each.input_tokens + each.output_tokens, _number)
    yield count("cost", lambda each: each.cost_usd, _dollars)


def _part(part: Part) -> Row:
    tokens = part.input_tokens + part.output_tokens
    return (
        "-" if part.name is None else part.name,
        _number(part.runs),
        _number(part.bad),
        _percent(part.success_rate),
        _number(part.tool_calls),
        _number(part.tool_failures),
        _number(tokens),
        _dollars(part.cost_usd),
    )


def _table(section: Section) -> list[str]:
    lines = [section.heads, *(tuple(map(printable, row)) for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _marked(cells: Sequence[str] | Iterator[str]) -> str:
    escaped = (printable(cell).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    # Rounded down: what is not all of it must not be told as all of it.
    return f"{int(value * 100_000 + 1e-6) / 1000:g} %"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:g} s"


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"${value:,.4f}"


def _rate(rate: BurnRate) -> str:
    return "-" if rate.burn_rate is None else f"{rate.burn_rate:.1f}"


def _at(since: int | None) -> str:
    return "-" if since is None else f"{from_ms(since):%Y-%m-%d %H:%M:%S}"


def _points(now: Levels, before: Levels) -> str:
    if now.success_rate is None or before.success_rate is None or now.success_rate == before.success_rate:
        return ""
    return f"{100 * (now.success_rate - before.success_rate):+.3g} points"


def _change(now: float | None, before: float | None) -> str:
    if now is None or before is None or now == before:
        return ""
    return f"{(now - before) / before:+.1%}" if before else "new"
