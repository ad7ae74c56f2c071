"""Reading a usage export: bytes in; out come rows that mean the same whoever wrote them, and what could not be read."""

# polars' types name numpy, which is not installed.
# pyright: reportUnknownMemberType=false

import codecs
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import polars as pl

from netra_apex.demo.costs.formats import COSTS_ONLY, FORMATS, Format

FIRST_ROW = 2  # the header is row 1, as a spreadsheet shows it
SHOWN_PROBLEMS = 3
SHOWN_COLUMNS = 12
LONGEST_NAME = 200  # of a model or a feature: they are told with every figure
MARKS_NEEDED = 2
DAY_MICROSECONDS = 86_400_000_000
_EMPTY_PROMPTS = ("", "{}", "[]", "null", "Cache OFF")
_COUNTS = ("total_input", "uncached", "cached", "written", "written_1h", "output", "requests")


class UsageUnreadable(ValueError):
    """The file is no usage export that can be read; `str(error)` is a sentence for a person."""


class NotUsage(UsageUnreadable):
    """Its columns are those of no known export."""

    def __init__(self, columns: tuple[str, ...], hint: str = "") -> None:
        super().__init__(columns, hint)
        self.columns = columns
        self.hint = hint

    def __str__(self) -> str:
        if self.hint:
            return f"this is {self.hint}"
        shown = ", ".join(self.columns[:SHOWN_COLUMNS]) + (", …" if len(self.columns) > SHOWN_COLUMNS else "")
        known = ", ".join(each.label for each in FORMATS)
        return f"its columns ({shown or 'none'}) are those of no known export ({known})"


class ColumnsMissing(UsageUnreadable):
    """It is an export of a known kind, without columns that are needed."""

    def __init__(self, label: str, missing: tuple[tuple[str, ...], ...]) -> None:
        super().__init__(label, missing)
        self.label = label
        self.missing = missing

    def __str__(self) -> str:
        names = ", ".join(" or ".join(each) for each in self.missing)
        return f"it looks like the {self.label}, but has no column {names}"


class NoRows(UsageUnreadable):
    """It has a header at most, or no row of it could be read."""

    def __init__(self, problems: tuple[str, ...] = ()) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return f"no row of it can be read: {self.problems[0]}" if self.problems else "there are no rows in it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What was read.

    `rows` has one row for each of the file's that could be read: `row` (its number, the header's being 1), `at` (UTC),
    `model`, `batch`, `requests` (None where the export does not count them), the tokens `uncached`, `cached`,
    `written`, `written_1h`, `input` (their sum) and `output`, `cost` in US dollars (None where the file has none),
    `latency_ms`, `feature` and `prompt` (a hash). `unreadable` rows were left out, `problems` says why of the first;
    `empty` ones were buckets of time in which nothing was used.
    """

    format: Format
    rows: pl.DataFrame
    unreadable: int
    empty: int
    problems: tuple[str, ...]
    feature_column: str | None
    prompt_column: str | None

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first and the last moment."""
        at = self.rows["at"]
        return cast("datetime", at.min()), cast("datetime", at.max())

    @property
    def days(self) -> int:
        """How many days it covers, the first and the last included."""
        first, last = self.bounds
        return (last.date() - first.date()).days + 1


def detect(data: bytes) -> tuple[Format, str]:
    """The kind of export that this is, by its first line, and what its cells are separated by.

    Raises:
        UsageUnreadable: it is none, and why.
    """
    text = as_utf8(data[:65_536]).decode("utf-8", "replace")
    header = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t|", key=header.count)
    columns = tuple(name.strip().strip('"').strip() for name in header.split(separator)) if header else ()
    there = frozenset(columns)
    best = max(FORMATS, key=lambda each: len(each.marks & there))
    if len(best.marks & there) < MARKS_NEEDED:
        hint = next((hint for marks, hint in COSTS_ONLY if marks <= there), "")
        raise NotUsage(columns, hint)
    missing = tuple(names for names in best.required if not there.intersection(names))
    if missing:
        raise ColumnsMissing(best.label, missing)
    return best, separator


def as_utf8(data: bytes) -> bytes:
    """As UTF-8 without a byte order mark, and without empty lines at the end: spreadsheets also write UTF-16."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")


def read_usage(data: bytes, *, most: int | None = None) -> Usage:
    """The rows of an export, or the first `most` of them.

    Raises:
        UsageUnreadable: it is no known export, lacks a column, or has no row that can be read.
    """
    found, separator = detect(data)
    raw = _cells(as_utf8(data), found, separator, most)
    feature = _first_filled(raw, found.features)
    prompt = _first_filled(raw, found.prompts)
    used = [name for name in raw.columns if name not in ("row", *found.at, *found.batch, *found.features)]
    filled = pl.any_horizontal(pl.col(used).is_not_null())
    times = [_instant(raw, name).alias(kind) for kind, name in _times(found, raw).items()]
    # A bucket of time in which nothing was used has a time and nothing else.
    typed = raw.with_columns(times).with_columns(empty=~filled & pl.col("at").is_not_null())
    typed = typed.with_columns(*_typed(found, raw, separator, feature, prompt)).with_columns(bad=_flaw(found, raw))
    empty = int(typed["empty"].sum())
    told = typed.filter(pl.col("bad").is_not_null() & ~pl.col("empty"))
    problems = tuple(
        f"row {row}, column {bad}" for row, bad in told.select("row", "bad").head(SHOWN_PROBLEMS).iter_rows()
    )
    rows = typed.filter(pl.col("bad").is_null() & ~pl.col("empty")).select(
        "row", "at", "model", "batch", "requests", "uncached", "cached", "written", "written_1h",
        pl.sum_horizontal("uncached", "cached", "written", "written_1h").alias("input"),
        "output", "cost", "latency_ms", "feature", "prompt",
    )  # fmt: skip
    if rows.is_empty():
        raise NoRows(problems)
    return Usage(
        format=found,
        rows=rows,
        unreadable=told.height,
        empty=empty,
        problems=problems,
        feature_column=feature,
        prompt_column=prompt,
    )


def _cells(data: bytes, found: Format, separator: str, most: int | None) -> pl.DataFrame:
    """The columns that are read, as text without blanks around it, null where there is none; and the row's number."""
    try:
        # The names alone first: the columns that nobody reads, such as whole prompts, are left where they are.
        names = pl.read_csv(data, separator=separator, n_rows=0, infer_schema=False, encoding="utf8-lossy").columns
        wanted = [name for name in names if name.strip() in found.columns()]
        raw = pl.read_csv(
            data,
            separator=separator,
            columns=wanted,
            infer_schema=False,
            encoding="utf8-lossy",
            extra_columns="ignore",
            n_rows=most,
        )
    except pl.exceptions.PolarsError as error:
        raise UsageUnreadable(f"it is no CSV file: {str(error).splitlines()[0]}") from error
    raw = raw.rename({name: name.strip() for name in wanted}).with_columns(pl.all().str.strip_chars())
    filled = [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in raw.columns]
    return raw.with_columns(filled).with_row_index("row", offset=FIRST_ROW)


def _first_filled(raw: pl.DataFrame, names: tuple[str, ...]) -> str | None:
    """The first of these columns that says anything."""
    for name in names:
        if name in raw.columns and not raw[name].is_in([*_EMPTY_PROMPTS]).fill_null(value=True).all():
            return name
    return None


def _present(raw: pl.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in raw.columns), None)


def _times(found: Format, raw: pl.DataFrame) -> dict[str, str]:
    """The columns that are times, by what they are: `at`, and `until` where the end is told."""
    at, ended = _present(raw, found.at), _present(raw, found.ended)
    assert at is not None
    return {"at": at} if ended is None else {"at": at, "until": ended}


def _number(name: str, separator: str) -> pl.Expr:
    text = pl.col(name)
    # Where cells are separated by ";", the comma is the decimal one.
    text = text.str.replace(",", ".", literal=True) if separator == ";" else text
    return text.cast(pl.Float64, strict=False)


def _typed(found: Format, raw: pl.DataFrame, separator: str, feature: str | None, prompt: str | None) -> list[pl.Expr]:
    """The columns as what they mean; what cannot be read is null, and `_flaw` finds it."""

    def count(names: tuple[str, ...]) -> pl.Expr:
        name = _present(raw, names)
        return pl.lit(0.0) if name is None else _number(name, separator).fill_null(0.0)

    cached = count(found.cached)
    cost, ended, batch = _present(raw, found.cost), _present(raw, found.ended), _present(raw, found.batch)
    requests = pl.lit(1.0) if found.one_request_each else count(found.requests)
    if not found.one_request_each and _present(raw, found.requests) is None:
        requests = pl.lit(None, pl.Float64)
    model = _present(raw, found.model)
    assert model is not None
    return [
        pl.col(model).str.slice(0, LONGEST_NAME).alias("model"),
        (count(found.total_input) - cached if found.total_input else count(found.uncached)).alias("uncached"),
        cached.alias("cached"),
        count(found.written).alias("written"),
        count(found.written_1h).alias("written_1h"),
        count(found.output).alias("output"),
        requests.alias("requests"),
        (pl.lit(None, pl.Float64) if cost is None else _number(cost, separator)).alias("cost"),
        (pl.lit(None, pl.Float64) if ended is None else _milliseconds()).alias("latency_ms"),
        (pl.lit(value=False) if batch is None else pl.col(batch).str.to_lowercase().is_in(["true", "1"]))
        .fill_null(value=False)
        .alias("batch"),
        (pl.lit("(none)") if feature is None else _feature(feature, raw)).alias("feature"),
        (pl.lit(None, pl.UInt64) if prompt is None else _prompt(prompt)).alias("prompt"),
    ]


def _milliseconds() -> pl.Expr:
    took = (pl.col("until") - pl.col("at")).dt.total_microseconds() / 1000
    return pl.when(took >= 0).then(took)


def _feature(name: str, raw: pl.DataFrame) -> pl.Expr:
    # LiteLLM's tags are a JSON list, or an array of PostgreSQL; the first one is the feature. There are few of them.
    said = raw.select(pl.col(name).drop_nulls().unique(maintain_order=True))
    first = said.select(
        pl.col(name).str.extract(r'^[\[{]?\s*"?([^"\]},]*)').str.slice(0, LONGEST_NAME).replace("", None)
    )
    named = pl.col(name).replace_strict(said[name], first[name], default=None, return_dtype=pl.String)
    return named.fill_null("(none)")


def _prompt(name: str) -> pl.Expr:
    text = pl.col(name)
    return pl.when(~text.is_in([*_EMPTY_PROMPTS])).then(text.hash(seed=0))


def _instant(raw: pl.DataFrame, name: str) -> pl.Expr:
    """A time in UTC: seconds since 1970, a date, or a date and time with or without zone (then it is UTC)."""
    text = pl.col(name)
    seconds = text.cast(pl.Float64, strict=False)
    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    clock = text.str.slice(11, 8)
    time = (
        clock.str.slice(0, 2).cast(pl.Int64, strict=False) * 3_600_000_000
        + clock.str.slice(3, 2).cast(pl.Int64, strict=False) * 60_000_000
        + clock.str.slice(6, 2).cast(pl.Int64, strict=False).fill_null(0) * 1_000_000
    )
    rest = text.str.slice(16)
    fraction = (rest.str.extract(r"\.(\d{1,6})").str.pad_end(6, "0")).cast(pl.Int64, strict=False).fill_null(0)
    zone = pl.lit(0)
    if raw[name].str.slice(16).str.contains("[+-]").any():  # which takes long, and is rare
        sign = pl.when(rest.str.contains(r"-\d\d:?(\d\d)?$")).then(-1).otherwise(1)
        hours = rest.str.extract(r"[+-](\d\d):?(?:\d\d)?$").cast(pl.Int64, strict=False).fill_null(0)
        minutes = rest.str.extract(r"[+-]\d\d:?(\d\d)$").cast(pl.Int64, strict=False).fill_null(0)
        zone = sign * (hours * 3_600_000_000 + minutes * 60_000_000)
    within = pl.when(text.str.len_chars() <= 10).then(0).when(time < DAY_MICROSECONDS).then(time) + fraction - zone
    written = day.cast(pl.Datetime("us")) + pl.duration(microseconds=within)
    counted = pl.from_epoch(seconds.cast(pl.Int64, strict=False), time_unit="s").cast(pl.Datetime("us"))
    return pl.when(seconds.is_not_null()).then(counted).otherwise(written).dt.replace_time_zone("UTC")


def _flaw(found: Format, raw: pl.DataFrame) -> pl.Expr:
    """What is wrong with a row, as text; null where nothing is."""
    flaw = pl.lit(None, pl.String)
    for kind in reversed(_COUNTS):
        name = _present(raw, getattr(found, kind))
        if name is None:
            continue
        value = pl.col(name).cast(pl.Float64, strict=False)
        whole = value.is_finite() & (value >= 0) & (value == value.floor())
        wrong = ~whole.fill_null(value=False)
        if kind not in ("total_input", "uncached", "output"):
            wrong &= pl.col(name).is_not_null()
        flaw = pl.when(wrong).then(_said(name, "is no number of tokens or requests")).otherwise(flaw)
    cost = _present(raw, found.cost)
    if cost is not None:
        wrong = pl.col(cost).is_not_null() & ~(pl.col("cost").is_finite() & (pl.col("cost") >= 0)).fill_null(
            value=False
        )
        flaw = pl.when(wrong).then(_said(cost, "is no amount")).otherwise(flaw)
    at, model = _present(raw, found.at), _present(raw, found.model)
    assert at is not None
    assert model is not None
    flaw = pl.when(pl.col(model).is_null()).then(pl.lit(f"{model}: there is no model")).otherwise(flaw)
    flaw = pl.when(pl.col("at").is_null()).then(_said(at, "is no time")).otherwise(flaw)
    cached = _present(raw, found.cached)
    over = pl.lit(f"{cached}: more tokens were cached than there were")
    return flaw if cached is None else pl.when(flaw.is_null() & (pl.col("uncached") < 0)).then(over).otherwise(flaw)


def _said(name: str, what: str) -> pl.Expr:
    shown = pl.col(name).fill_null("(empty)").str.slice(0, 40)
    return pl.concat_str(pl.lit(f"{name}: '"), shown, pl.lit(f"' {what}"))
