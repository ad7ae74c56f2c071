"""What could be saved: computed from the file's rows and list prices, each figure with the assumption it rests on."""

# polars' types name numpy, which is not installed.
# pyright: reportUnknownMemberType=false

from types import MappingProxyType

import polars as pl

from netra_apex.demo.costs.measuring import DIGITS, duplicates_of
from netra_apex.demo.costs.prices import MILLION, Costed, Price, price_of
from netra_apex.demo.costs.values import Action, Actions, Saving, Savings

MONTH_DAYS = 30
MOVED = 0.5  # of a model's cost that a smaller one could take over
SHARED_PREFIX = 0.4  # of the uncached input that is the same each time
TRIMMED_FROM = 95  # the percentile that longer prompts are cut down to
LEAST = 0.01  # US dollars in a month: less is not worth telling
SHOWN = 6
SMALLER = (
    ("gpt-4-turbo", "gpt-4o"), ("gpt-4o", "gpt-4o-mini"), ("gpt-4.1", "gpt-4.1-mini"), ("gpt-4.1-mini", "gpt-4.1-nano"),
    ("gpt-5", "gpt-5-mini"), ("gpt-5.1", "gpt-5-mini"), ("gpt-5.2", "gpt-5-mini"), ("gpt-5-mini", "gpt-5-nano"),
    ("gpt-5.4", "gpt-5.4-mini"), ("gpt-5.4-mini", "gpt-5.4-nano"), ("gpt-5.5", "gpt-5.4"),
    ("gpt-6-astra", "gpt-6-sol"), ("gpt-6-sol", "gpt-6-luna"), ("gpt-6.1-sol", "gpt-6.1-terra"),
    ("gpt-6.1-terra", "gpt-6-luna"), ("o1", "o3"), ("o3", "o4-mini"),
    ("claude-3-opus-latest", "claude-3-5-sonnet"), ("claude-3-5-sonnet", "claude-3-5-haiku-latest"),
    ("claude-3-7-sonnet-latest", "claude-3-5-haiku-latest"), ("claude-opus-4-0", "claude-sonnet-4-0"),
    ("claude-opus-4-1", "claude-sonnet-4-5"), ("claude-opus-4-5", "claude-sonnet-4-5"),
    ("claude-opus-4-6", "claude-sonnet-4-6"), ("claude-opus-4-7", "claude-sonnet-4-6"),
    ("claude-opus-4-8", "claude-sonnet-5"), ("claude-opus-5", "claude-sonnet-5"),
    ("claude-opus-5-5", "claude-sonnet-5-5"), ("claude-sonnet-4-0", "claude-haiku-4-5"),
    ("claude-sonnet-4-5", "claude-haiku-4-5"), ("claude-sonnet-4-6", "claude-haiku-4-5"),
    ("claude-sonnet-5", "claude-haiku-4-5"), ("claude-sonnet-5-5", "claude-haiku-5-5"),
    ("claude-haiku-4-5", "claude-haiku-5-5"), ("gemini-2.5-pro", "gemini-2.5-flash"),
    ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
)  # fmt: skip
"""Models with the next smaller one of the same maker, which is cheaper; their prices are genai-prices'."""


def cheaper_models(data: Costed) -> Savings:
    """What moving a part of each model's requests to the next smaller model would save."""
    smaller, last = dict(SMALLER), data.usage.bounds[1]
    savings: list[Saving] = []
    for model, now, kinds in _by_model(data):
        price = data.prices.get(model)
        name = smaller.get(price.model) if price else None
        less = price_of(name, price.provider, last) if price and name else None
        if price is None or less is None:
            continue
        before, after = _at(price, kinds), _at(less, kinds)
        if not before or after >= before:
            continue
        assumption = (
            f"{MOVED:.0%} of the cost of {model} moves, with the same tokens; list prices of {last:%Y-%m-%d}:"
            f" {_dollars(price)} against {_dollars(less)} for a million tokens in / out"
        )
        saved = MOVED * now * (1 - after / before)
        savings.append(_saving(data, "model", f"Move {MOVED:.0%} of {model} to {less.model}", (now, saved), assumption))
    return _ranked(savings, "models for which no smaller one, or no price, is known are left out")


def caching(data: Costed) -> Savings:
    """What keeping answers to repeated prompts, and paying the cached price for a repeated beginning, would save."""
    savings: list[Saving] = []
    again = duplicates_of(data)
    if again.repetitions:
        assumption = f"each of the {again.repetitions} repetitions is answered from a cache of your own; {again.note}"
        title = "Keep the answers to prompts that come again"
        total = float(data.rows["cost"].sum())
        savings.append(_saving(data, "response cache", title, (total, again.cost), assumption))
    for model, now, kinds in _by_model(data):
        price = data.prices.get(model)
        if price is None or price.read >= price.input:
            continue
        listed = _at(price, kinds)
        part = SHARED_PREFIX * kinds["uncached"] * (price.input - price.read) / MILLION
        saved = now * part / listed if listed else 0.0
        assumption = (
            f"{SHARED_PREFIX:.0%} of the input of {model} that was not read from a cache is a beginning that repeats,"
            f" and is read from one: {price.read:g} instead of {price.input:g} for a million tokens; what writing it"
            " costs is left out"
        )
        savings.append(
            _saving(data, "prompt cache", f"Let {model} cache the prompt's beginning", (now, saved), assumption)
        )
    return _ranked(savings, "" if again.column else again.note)


def shorter_prompts(data: Costed) -> Savings:
    """What cutting the longest prompts of each model down to its 95th percentile would save."""
    each = pl.when(pl.col("requests") > 0).then(pl.col("input") / pl.col("requests")).otherwise(pl.col("input"))
    rows = data.rows.filter(pl.col("input") > 0).with_columns(each=each)
    savings: list[Saving] = []
    for model, now, kinds in _by_model(data):
        price = data.prices.get(model)
        own = rows.filter(pl.col("model") == model)
        limit = own["each"].quantile(TRIMMED_FROM / 100, interpolation="linear")
        if price is None or limit is None:
            continue
        over = own.filter(pl.col("each") > limit)
        # Of the row's tokens the part that is over; what was not read from a cache is what is saved at full price.
        cut = over.select((pl.col("uncached") * (1 - limit / pl.col("each"))).sum()).item()
        listed = _at(price, kinds)
        saved = now * (float(cut) * price.input / MILLION) / listed if listed else 0.0
        assumption = (
            f"what has more than {limit:,.0f} input tokens a request (the {TRIMMED_FROM}th percentile of {model};"
            f" {over.height} of {own.height} rows) is cut down to that; answers stay as long"
        )
        savings.append(
            _saving(data, "prompt length", f"Shorten the longest prompts of {model}", (now, saved), assumption)
        )
    note = (
        "" if data.usage.format.one_request_each else "rows are totals, so a long prompt among short ones is not seen"
    )
    return _ranked(savings, note)


_JUDGED = MappingProxyType(
    {
        "model": ("medium", "high", "Compare the answers of both models on 100 real requests before moving."),
        "response cache": ("medium", "medium", "Only where the same prompt may have the same answer; give it an end."),
        "prompt cache": ("low", "low", "Put what is the same for all requests first, and look for cached tokens."),
        "prompt length": ("medium", "medium", "Look at the longest prompts: history and documents that nobody needs."),
    }
)


def actions_from(found: tuple[Savings, ...], *, order: str = "saving") -> Actions:
    """What to do, by the saving, or the least effort first."""
    effort = {"low": 0, "medium": 1, "high": 2}
    savings = sorted((saving for each in found for saving in each.savings), key=lambda saving: -saving.monthly)
    if order == "effort":
        savings.sort(key=lambda saving: effort[_JUDGED[saving.kind][0]])
    return Actions.model_validate(
        {
            "order": "effort" if order == "effort" else "saving",
            "actions": [
                Action.model_validate(
                    {
                        "rank": rank,
                        "title": saving.title,
                        "monthly": saving.monthly,
                        "effort": _JUDGED[saving.kind][0],
                        "risk": _JUDGED[saving.kind][1],
                        "check": _JUDGED[saving.kind][2],
                        "assumption": saving.assumption,
                    }
                )
                for rank, saving in enumerate(savings[:SHOWN], start=1)
            ],
            "note": "savings overlap: what a smaller model saves cannot be saved by a cache again, so do not add them"
            " up; effort and risk are judgements of the kind of change, not measured",
        }
    )


def _by_model(data: Costed) -> list[tuple[str, float, dict[str, float]]]:
    """Each model, what it cost, and its tokens by kind."""
    kinds = ("uncached", "cached", "written", "written_1h", "output")
    groups = data.rows.group_by("model").agg(pl.col("cost").sum(), *(pl.col(kind).sum() for kind in kinds))
    return [(str(row[0]), float(row[1]), dict(zip(kinds, row[2:], strict=True))) for row in groups.sort("model").rows()]


def _at(price: Price, kinds: dict[str, float]) -> float:
    """What so many tokens cost at this price."""
    prices = {
        "uncached": price.input,
        "cached": price.read,
        "written": price.written,
        "written_1h": price.written_1h,
        "output": price.output,
    }
    return sum(kinds[kind] * prices[kind] for kind in prices) / MILLION


def _dollars(price: Price) -> str:
    return f"{price.input:g} / {price.output:g}"


def _saving(data: Costed, kind: str, title: str, amounts: tuple[float, float], assumption: str) -> Saving:
    now, saved = amounts
    days = data.usage.days
    return Saving.model_validate(
        {
            "kind": kind,
            "title": title,
            "now": round(now, DIGITS),
            "saved": round(saved, DIGITS),
            "monthly": round(saved * MONTH_DAYS / days, DIGITS),
            "assumption": f"{assumption}; {MONTH_DAYS} days like the {days} of the file",
        }
    )


def _ranked(savings: list[Saving], note: str) -> Savings:
    worth = [saving for saving in savings if saving.monthly >= LEAST]
    return Savings(savings=tuple(sorted(worth, key=lambda saving: -saving.monthly)[:SHOWN]), note=note)
