"""What a usage export says: cost by model, feature and time, its spread, what stands out, and what comes again."""

# polars' types name numpy, which is not installed.
# pyright: reportUnknownMemberType=false

from datetime import datetime
from typing import Literal

import polars as pl

from netra_apex.demo.costs.prices import Costed
from netra_apex.demo.costs.values import Anomaly, Costs, Duplicates, Line, Peak, Repeated, Spread, Spreads

SHOWN_LINES = 15
SHOWN_PERIODS = 120  # the latest
SHOWN_ANOMALIES = 5
DAILY, WEEKLY = 62, 400  # days up to which costs are told by day, and by week
DIGITS = 6
SCATTER = 1.4826  # makes the median absolute deviation comparable with a standard deviation
LEAST_SCATTER = 0.05  # of the median: figures that are all but equal have no outliers
DAYS_OUT, ROWS_OUT = 5.0, 20.0
RULE = (
    f"a day stands out that costs more than the median day plus {DAYS_OUT:g} scatters, a row that costs more than the"
    f" median row of its model plus {ROWS_OUT:g}; a scatter is {SCATTER} x the median absolute deviation, and at least"
    f" {LEAST_SCATTER:.0%} of the median"
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def costs_of(data: Costed) -> Costs:
    """What was spent, by model, feature and time."""
    rows, usage = data.rows, data.usage
    (first, last), days = usage.bounds, usage.days
    period: Literal["day", "week", "month"] = "day" if days <= DAILY else "week" if days <= WEEKLY else "month"
    at = pl.col("at").dt.truncate({"day": "1d", "week": "1w", "month": "1mo"}[period]).dt.strftime("%Y-%m-%d")
    total = float(rows["cost"].sum())
    unpriced = rows.filter(pl.col("cost").is_null())
    return Costs(
        kind=usage.format.label,
        rows=rows.height,
        unreadable=usage.unreadable,
        empty=usage.empty,
        problems=usage.problems,
        first=first.strftime("%Y-%m-%d"),
        last=last.strftime("%Y-%m-%d"),
        days=days,
        total=round(total, DIGITS),
        requests=_requests(rows),
        input_tokens=int(rows["input"].sum()),
        output_tokens=int(rows["output"].sum()),
        by_list_price=int(rows["listed"].sum()),
        not_priced=unpriced.height,
        models_not_priced=tuple(sorted(unpriced["model"].unique())),
        models=_shortened(_lines(rows, pl.col("model"), total)),
        features=_shortened(_lines(rows, pl.col("feature"), total)),
        feature_column=usage.feature_column,
        period=period,
        periods=_latest(_lines(rows, at, total)),
        assumptions=_assumptions(data, last),
    )


def spreads_of(data: Costed) -> Spreads:
    """Percentiles, anomalies and peaks."""
    rows = data.rows
    kinds = (
        ("cost", "cost", "US dollars"),
        ("input", "input tokens", "tokens"),
        ("output", "output tokens", "tokens"),
        ("latency_ms", "latency", "ms"),
    )
    spreads = tuple(
        Spread(name=name, unit=unit, rows=values.len(), **{f"p{q}": _quantile(values, q) for q in (50, 95, 99)})
        for column, name, unit in kinds
        if (values := rows[column].drop_nulls()).len()
    )
    timed = rows.filter(pl.col("at").dt.time() != pl.time(0, 0, 0)).height > 0
    notes = () if timed else ("the file has days without hours, so there are no peaks by hour",)
    if not data.usage.format.one_request_each:
        notes = (*notes, "a row of this export stands for several requests, so percentiles are those of its rows")
    return Spreads(
        percentiles=spreads, anomalies=_anomalies(rows), rule=RULE, peaks=_peaks(rows, timed=timed), notes=notes
    )


def duplicates_of(data: Costed) -> Duplicates:
    """Prompts that the same model was asked before, and what asking again cost."""
    column = data.usage.prompt_column
    if column is None:
        return Duplicates(
            column=None, rows=0, repetitions=0, cost=0, top=(), note="the file has no column that tells prompts apart"
        )
    asked = data.rows.filter(pl.col("prompt").is_not_null()).sort("at", "row")
    groups = (
        asked.group_by("model", "prompt", maintain_order=True)
        .agg(
            pl.len().alias("times"),
            pl.col("feature").first(),
            (pl.col("cost").sum() - pl.col("cost").first().fill_null(0.0)).alias("again"),
        )
        .filter(pl.col("times") > 1)
    )
    top = groups.sort("again", "times", descending=True, maintain_order=True).head(SHOWN_ANOMALIES)
    return Duplicates(
        column=column,
        rows=asked.height,
        repetitions=int((groups["times"] - 1).sum()),
        cost=round(float(groups["again"].sum()), DIGITS),
        top=tuple(
            Repeated(feature=feature, model=model, times=times, cost=round(again, DIGITS))
            for feature, model, times, again in top.select("feature", "model", "times", "again").iter_rows()
        ),
        note=f"a repetition is a row with the same {column} and model as an earlier one",
    )


def _requests(rows: pl.DataFrame) -> float | None:
    return None if rows["requests"].null_count() else float(rows["requests"].sum())


def _lines(rows: pl.DataFrame, by: pl.Expr, total: float) -> list[Line]:
    """A line for each group, the dearest first."""
    groups = (
        rows.group_by(by.alias("name"))
        .agg(
            pl.col("cost").sum(),
            pl.when(pl.col("requests").null_count() == 0).then(pl.col("requests").sum()).alias("requests"),
            pl.col("input").sum(),
            pl.col("output").sum(),
        )
        .sort(["cost", "name"], descending=[True, False])
    )
    return [
        Line(
            name=str(name),
            cost=round(cost, DIGITS),
            share=round(cost / total, 4) if total else 0.0,
            requests=requests,
            input_tokens=int(asked),
            output_tokens=int(answered),
        )
        for name, cost, requests, asked, answered in groups.iter_rows()
    ]


def _shortened(lines: list[Line], *, most: int = SHOWN_LINES) -> tuple[Line, ...]:
    """The first ones, and one line for all others."""
    rest = lines[most:]
    if len(rest) <= 1:
        return tuple(lines)
    requests = [each.requests for each in rest]
    others = Line(
        name=f"({len(rest)} others)",
        cost=round(sum(each.cost for each in rest), DIGITS),
        share=round(sum(each.share for each in rest), 4),
        requests=None if None in requests else sum(each or 0 for each in requests),
        input_tokens=sum(each.input_tokens for each in rest),
        output_tokens=sum(each.output_tokens for each in rest),
    )
    return (*lines[:most], others)


def _latest(lines: list[Line]) -> tuple[Line, ...]:
    """The latest periods, the oldest first, after one line for all before them."""
    return _shortened(sorted(lines, key=lambda line: line.name, reverse=True), most=SHOWN_PERIODS)[::-1]


def _assumptions(data: Costed, last: datetime) -> tuple[str, ...]:
    found = ["times are UTC"]
    listed = int(data.rows["listed"].sum())
    if listed:
        found.append(
            f"{listed} of {data.rows.height} rows have no cost in the file; they are priced at the list prices of"
            f" {last:%Y-%m-%d} for short requests, without discounts, searches and other tools"
        )
    if data.rows["cost"].null_count():
        found.append("rows of models without a known price count as 0 in every amount")
    if data.usage.format.total_input and not data.usage.format.cached:
        found.append("the file does not say which input tokens were read from a cache")
    return tuple(found)


def _quantile(values: pl.Series, percent: int) -> float:
    found = values.quantile(percent / 100, interpolation="linear")
    assert found is not None
    return round(float(found), DIGITS)


def _threshold(values: pl.Expr, scatters: float) -> pl.Expr:
    median = values.median()
    deviation = (values - median).abs().median() * SCATTER
    return median + scatters * pl.max_horizontal(deviation, median * LEAST_SCATTER)


def _anomalies(rows: pl.DataFrame) -> tuple[Anomaly, ...]:
    days = rows.group_by(pl.col("at").dt.strftime("%Y-%m-%d").alias("name")).agg(pl.col("cost").sum()).sort("name")
    days = days.with_columns(usual=pl.col("cost").median(), most=_threshold(pl.col("cost"), DAYS_OUT))
    single = rows.filter(pl.col("cost").is_not_null()).with_columns(
        usual=pl.col("cost").median().over("model"), most=_threshold(pl.col("cost"), ROWS_OUT).over("model")
    )
    named = pl.format("row {}: {}, {}", "row", "model", "feature").alias("name")
    found: list[Anomaly] = []
    kinds: tuple[tuple[Literal["day", "row"], pl.DataFrame], ...] = (
        ("day", days),
        ("row", single.with_columns(named)),
    )
    for what, frame in kinds:
        out = frame.filter((pl.col("cost") > pl.col("most")) & (pl.col("usual") > 0))
        out = out.sort("cost", descending=True, maintain_order=True).head(SHOWN_ANOMALIES)
        found += [
            Anomaly(
                what=what,
                name=name,
                cost=round(cost, DIGITS),
                usual=round(usual, DIGITS),
                times=round(cost / usual, 1),
            )
            for name, cost, usual in out.select("name", "cost", "usual").iter_rows()
        ]
    return tuple(found)


def _peaks(rows: pl.DataFrame, *, timed: bool) -> tuple[Peak, ...]:
    at = pl.col("at")
    total = float(rows["cost"].sum())
    weekday = at.dt.weekday().cast(pl.String).replace({str(i + 1): name for i, name in enumerate(_WEEKDAYS)})
    kinds: tuple[tuple[Literal["day", "hour", "hour of the day", "weekday"], pl.Expr], ...] = (
        ("day", at.dt.strftime("%Y-%m-%d")),
        ("weekday", weekday),
        ("hour", at.dt.strftime("%Y-%m-%d %H:00")),
        ("hour of the day", at.dt.strftime("%H:00")),
    )
    found: list[Peak] = []
    for what, by in kinds if timed else kinds[:2]:
        groups = (
            rows.group_by(by.alias("name")).agg(pl.col("cost").sum()).sort(["cost", "name"], descending=[True, False])
        )
        name, cost = groups.row(0)
        found.append(Peak(what=what, name=name, cost=round(cost, DIGITS), share=round(cost / total, 4) if total else 0))
    return tuple(found)
