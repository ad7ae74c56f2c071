"""The figures of the cost team, against those that are computed anew from the same file."""

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.demo import exports
from tests.unit.demo.exports import ANTHROPIC_COLUMNS, LITELLM_COLUMNS, OPENAI_COLUMNS, table

from netra_apex.demo.costs.measuring import costs_of, duplicates_of, spreads_of
from netra_apex.demo.costs.prices import Costed, costed
from netra_apex.demo.costs.saving import SMALLER, actions_from, caching, cheaper_models, shorter_prompts
from netra_apex.demo.costs.usage import read_usage
from netra_apex.demo.costs.values import Savings
from netra_apex.demo.sample import sample_csv

CENT = 1e-6  # figures are told to so many US dollars


def of(data: bytes) -> Costed:
    return costed(read_usage(data))


def litellm(*rows: dict[str, Any]) -> Costed:
    return of(table(LITELLM_COLUMNS, [exports.litellm(**row) for row in rows]))


@pytest.fixture(scope="module")
def sample() -> tuple[Costed, list[dict[str, str]]]:
    """The sample as the team sees it, and its rows."""
    data = sample_csv()
    return of(data), exports.rows_of(data)


def close(told: dict[str, float], meant: dict[str, Decimal]) -> bool:
    return told == pytest.approx({name: float(cost) for name, cost in meant.items()}, abs=CENT)


def test_costs_by_model_day_and_feature_are_those_of_the_file(sample: tuple[Costed, list[dict[str, str]]]) -> None:
    data, rows = sample
    costs = costs_of(data)
    assert costs.total == pytest.approx(float(sum(Decimal(row["spend"]) for row in rows)), abs=CENT)
    assert close({line.name: line.cost for line in costs.models}, exports.spent(rows, "model"))
    assert close({line.name: line.cost for line in costs.periods}, exports.spent(rows, "day"))
    features = {name.strip('[]"'): cost for name, cost in exports.spent(rows, "request_tags").items()}
    assert close({line.name: line.cost for line in costs.features}, features)
    assert costs.input_tokens == sum(int(row["prompt_tokens"]) for row in rows)
    assert costs.output_tokens == sum(int(row["completion_tokens"]) for row in rows)
    assert (costs.rows, costs.requests, costs.days, costs.period) == (3_000, 3_000, 30, "day")
    assert [line.cost for line in costs.models] == sorted((line.cost for line in costs.models), reverse=True)
    assert sum(line.share for line in costs.models) == pytest.approx(1, abs=0.001)
    assert (costs.by_list_price, costs.not_priced, costs.unreadable) == (0, 0, 0)


def test_a_file_of_centuries_and_of_long_names_is_told_in_few_words() -> None:
    months = [f"{year}-{month:02}-01T00:00:00Z" for year in range(1900, 2026) for month in range(1, 13)]
    data = litellm(
        *[
            {"startTime": month, "endTime": month, "model": "m" * 60_000 + str(n), "request_tags": "f" * 60_000}
            for n, month in enumerate(months[:20])
        ]
    )
    assert len(costs_of(data).model_dump_json()) < 10_000
    costs = costs_of(litellm(*[{"startTime": month, "endTime": month, "spend": "1"} for month in months]))
    assert len(costs.periods) == 121
    assert costs.periods[0].name == f"({len(months) - 120} others)"
    assert costs.periods[-1].name == "2025-12-01"
    assert sum(line.cost for line in costs.periods) == pytest.approx(len(months))


def test_percentiles_are_those_of_the_rows(sample: tuple[Costed, list[dict[str, str]]]) -> None:
    data, rows = sample
    told = {each.name: each for each in spreads_of(data).percentiles}
    meant = {
        "cost": [float(row["spend"]) for row in rows],
        "input tokens": [float(row["prompt_tokens"]) for row in rows],
        "output tokens": [float(row["completion_tokens"]) for row in rows],
    }
    for name, values in meant.items():
        for percent in (50, 95, 99):
            assert getattr(told[name], f"p{percent}") == pytest.approx(exports.percentile(values, percent), abs=CENT)
    assert told["latency"].rows == 3_000


def test_repeated_prompts_and_peaks_are_those_of_the_rows(sample: tuple[Costed, list[dict[str, str]]]) -> None:
    data, rows = sample
    duplicates = duplicates_of(data)
    times, cost = exports.repeated(rows)
    assert (duplicates.repetitions, duplicates.cost) == (times, pytest.approx(float(cost), abs=CENT))
    peaks = {peak.what: peak for peak in spreads_of(data).peaks}
    days = exports.spent(rows, "day")
    assert peaks["day"].name == max(days, key=lambda day: days[day]) == "2026-09-21"
    assert peaks["day"].cost == pytest.approx(float(days["2026-09-21"]), abs=CENT)
    hours: dict[str, Decimal] = {}
    for row in rows:
        hours[row["startTime"][11:13]] = hours.get(row["startTime"][11:13], Decimal(0)) + Decimal(row["spend"])
    assert peaks["hour of the day"].name == max(hours, key=lambda hour: hours[hour]) + ":00"
    assert "day 2026-09-21" in {f"{each.what} {each.name}" for each in spreads_of(data).anomalies}


@pytest.mark.parametrize("batch", [False, True])
def test_rows_of_openai_cost_what_the_list_says_with_the_cached_tokens_cheaper(batch: bool) -> None:
    rows = [exports.openai(batch=str(batch)), exports.openai(model="gpt-4o-mini", input_cached_tokens=0)]
    costs = costs_of(of(table(OPENAI_COLUMNS, rows)))
    first = exports.listed("gpt-4o-2024-08-06", 600, 400, 0, 0, 100)
    mini = exports.listed("gpt-4o-mini", 1000, 0, 0, 0, 100)
    told = {line.name: line.cost for line in costs.models}
    assert told["gpt-4o-mini"] == pytest.approx(float(mini), abs=CENT)
    if not batch:
        assert told["gpt-4o-2024-08-06"] == pytest.approx(float(first), abs=CENT)
    assert (costs.by_list_price, costs.requests) == (2, 6)
    assert any("2 of 2 rows have no cost in the file" in each for each in costs.assumptions)


def test_rows_of_anthropic_cost_what_the_list_says_for_each_kind_of_token() -> None:
    haiku = {"model_version": "claude-3-haiku-20240307"}
    data = of(table(ANTHROPIC_COLUMNS, [exports.anthropic(), exports.anthropic(**haiku)]))
    told = {line.name: line.cost for line in costs_of(data).models}
    for model in ("claude-sonnet-4-5-20250929", "claude-3-haiku-20240307"):
        assert told[model] == pytest.approx(float(exports.listed(model, 1000, 5000, 200, 50, 300)), abs=CENT)
    spreads = spreads_of(data)
    assert {peak.what for peak in spreads.peaks} == {"day", "weekday"}
    assert spreads.notes == (
        "the file has days without hours, so there are no peaks by hour",
        "a row of this export stands for several requests, so percentiles are those of its rows",
    )
    assert duplicates_of(data).column is None


def test_a_model_without_a_price_is_said_to_have_none_and_adds_nothing() -> None:
    rows = [exports.openai(), exports.openai(model="our-own-model"), exports.openai(model="another")]
    costs = costs_of(of(table(OPENAI_COLUMNS, rows)))
    assert costs.total == pytest.approx(float(exports.listed("gpt-4o-2024-08-06", 600, 400, 0, 0, 100)), abs=CENT)
    assert (costs.not_priced, costs.models_not_priced) == (2, ("another", "our-own-model"))
    assert "rows of models without a known price count as 0 in every amount" in costs.assumptions


@pytest.mark.parametrize("name", ["openai/gpt-4o-2024-08-06", "azure/gpt-4o-2024-08-06", "gpt-4o-2024-08-06"])
def test_litellm_names_the_provider_before_the_model(name: str) -> None:
    costs = costs_of(litellm({"model": name, "spend": ""}))
    assert costs.total == pytest.approx(float(exports.listed("gpt-4o-2024-08-06", 1000, 0, 0, 0, 100)), abs=CENT)


def test_a_day_and_a_row_that_cost_far_more_than_usual_stand_out() -> None:
    usual = [{"startTime": f"2025-09-{day:02d} 10:00:00", "spend": "0.01"} for day in range(1, 29) for _ in range(3)]
    spreads = spreads_of(litellm(*usual, {"startTime": "2025-09-29 09:00:00", "spend": "2"}))
    assert [(each.what, each.name, each.cost) for each in spreads.anomalies] == [
        ("day", "2025-09-29", 2.0),
        ("row", "row 86: gpt-4o-2024-08-06, chat", 2.0),
    ]
    assert [each.times for each in spreads.anomalies] == [round(2 / 0.03, 1), 200.0]
    assert "1.4826 x the median absolute deviation" in spreads.rule
    assert spreads_of(litellm(*usual)).anomalies == ()


@pytest.mark.parametrize(("days", "period", "first"), [(62, "day", "2025-01-01"), (63, "week", "2024-12-30")])
def test_many_days_are_told_by_week_and_none_is_lost(days: int, period: str, first: str) -> None:
    last = "2025-03-03" if days == 62 else "2025-03-04"
    costs = costs_of(litellm({"startTime": "2025-01-01 10:00:00"}, {"startTime": f"{last} 10:00:00"}))
    assert (costs.days, costs.period, costs.periods[0].name) == (days, period, first)
    assert sum(line.cost for line in costs.periods) == pytest.approx(costs.total, abs=CENT)


def test_many_models_are_shortened_to_one_line_for_the_others() -> None:
    costs = costs_of(litellm(*({"model": f"m{i:02d}", "spend": str(i + 1)} for i in range(40))))
    assert len(costs.models) == 16
    assert (costs.models[0].name, costs.models[-1].name) == ("m39", "(25 others)")
    assert costs.models[-1].cost == sum(range(1, 26))
    assert costs.models[-1].requests == 25


def test_a_smaller_model_saves_by_the_ratio_of_the_list_prices() -> None:
    data = litellm({"spend": "4", "prompt_tokens": 1_000_000, "completion_tokens": 100_000})
    (saving,) = cheaper_models(data).savings
    now = exports.listed("gpt-4o-2024-08-06", 1_000_000, 0, 0, 0, 100_000)
    then = exports.listed("gpt-4o-mini", 1_000_000, 0, 0, 0, 100_000)
    assert saving.saved == pytest.approx(float(Decimal("0.5") * 4 * (1 - then / now)), abs=CENT)
    assert saving.monthly == pytest.approx(30 * saving.saved, abs=1e-4)
    assert (
        "2.5 / 10 against 0.15 / 0.6 for a million tokens in / out; 30 days like the 1 of the file" in saving.assumption
    )


def test_caching_saves_repetitions_and_the_difference_to_the_cached_price() -> None:
    million = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "spend": "2.5"}
    rows = [million | {"cache_key": key} for key in ("a", "a", "b")]
    savings = {saving.kind: saving for saving in caching(litellm(*rows)).savings}
    assert savings["response cache"].saved == pytest.approx(2.5, abs=CENT)
    assert savings["prompt cache"].saved == pytest.approx(0.4 * 3 * (2.5 - 1.25), abs=CENT)
    assert "1.25 instead of 2.5" in savings["prompt cache"].assumption
    assert caching(litellm(million)).note == "the file has no column that tells prompts apart"


def test_shorter_prompts_save_what_is_over_the_95th_percentile() -> None:
    tokens = [1_000] * 20 + [1_001_000]
    rows = [
        {"prompt_tokens": each, "completion_tokens": 0, "spend": str(Decimal(each) * Decimal("2.5") / 10**6)}
        for each in tokens
    ]
    (saving,) = shorter_prompts(litellm(*rows)).savings
    assert exports.percentile([float(each) for each in tokens], 95) == 1_000
    assert saving.saved == pytest.approx(2.5, abs=CENT)
    assert saving.assumption.startswith(
        "what has more than 1,000 input tokens a request (the 95th percentile of gpt-4o"
    )
    assert "; 1 of 21 rows) is cut down to that" in saving.assumption


def test_actions_are_ranked_and_say_that_they_overlap(sample: tuple[Costed, list[dict[str, str]]]) -> None:
    found = (cheaper_models(sample[0]), caching(sample[0]), shorter_prompts(sample[0]))
    by_saving, by_effort = actions_from(found), actions_from(found, order="effort")
    assert [each.monthly for each in by_saving.actions] == sorted(
        (each.monthly for each in by_saving.actions), reverse=True
    )
    assert [each.rank for each in by_saving.actions] == [1, 2, 3, 4, 5, 6]
    assert by_effort.actions[0].effort == "low"
    assert "do not add them" in by_saving.note
    assert actions_from((Savings(savings=(), note=""),)).actions == ()


def test_every_smaller_model_has_a_price_and_is_cheaper() -> None:
    from datetime import UTC, datetime

    from netra_apex.demo.costs.prices import price_of

    at = datetime(2026, 11, 1, tzinfo=UTC)
    for larger, smaller in SMALLER:
        before, after = price_of(larger, None, at), price_of(smaller, None, at)
        assert before is not None, larger
        assert after is not None, smaller
        assert (before.model, after.provider) == (larger, before.provider)
        assert after.input <= before.input, (larger, smaller)
        assert after.output <= before.output, (larger, smaller)
