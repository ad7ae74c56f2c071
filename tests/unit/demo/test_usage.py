"""Usage exports are read whoever wrote them; what cannot be read is told, and nothing is dropped unseen."""

import codecs
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.demo import exports
from tests.unit.demo.exports import ANTHROPIC_COLUMNS, LITELLM_COLUMNS, OPENAI_COLUMNS, table

from netra_apex.demo.costs.usage import ColumnsMissing, NoRows, NotUsage, Usage, UsageUnreadable, read_usage
from netra_apex.demo.sample import COLUMNS, sample_csv

EXAMPLE = Path(__file__).parents[3] / "examples" / "usage_sample.csv"


def openai(*rows: dict[str, Any], **how: Any) -> bytes:
    return table(OPENAI_COLUMNS, [exports.openai(**row) for row in rows], **how)


def anthropic(*rows: dict[str, Any], **how: Any) -> bytes:
    return table(ANTHROPIC_COLUMNS, [exports.anthropic(**row) for row in rows], **how)


def litellm(*rows: dict[str, Any], **how: Any) -> bytes:
    return table(LITELLM_COLUMNS, [exports.litellm(**row) for row in rows], **how)


def row(usage: Usage, index: int = 0) -> dict[str, Any]:
    return usage.rows.row(index, named=True)


def test_an_export_of_openai_is_read() -> None:
    usage = read_usage(openai({}, {"batch": "True", "input_cached_tokens": ""}))
    first = row(usage)
    assert usage.format.name == "openai"
    assert first | {"at": None} == {
        "row": 2,
        "at": None,
        "model": "gpt-4o-2024-08-06",
        "batch": False,
        "requests": 3,
        "uncached": 600,
        "cached": 400,
        "written": 0,
        "written_1h": 0,
        "input": 1000,
        "output": 100,
        "cost": None,
        "latency_ms": None,
        "feature": "proj_a",
        "prompt": None,
    }
    assert first["at"] == datetime(2025, 9, 1, tzinfo=UTC)
    assert (row(usage, 1)["batch"], row(usage, 1)["uncached"]) == (True, 1000)
    assert (usage.feature_column, usage.prompt_column, usage.unreadable) == ("project_id", None, 0)


def test_an_export_of_anthropic_is_read() -> None:
    usage = read_usage(anthropic({}, {"usage_date_utc": "2025-10-02 13:00", "api_key": ""}))
    first = row(usage)
    assert usage.format.name == "anthropic"
    assert [first[name] for name in ("uncached", "cached", "written", "written_1h")] == [1000, 5000, 200, 50]
    assert (first["input"], first["output"], first["requests"]) == (6250, 300, None)
    assert row(usage, 1)["at"] == datetime(2025, 10, 2, 13, tzinfo=UTC)
    assert [row(usage, i)["feature"] for i in (0, 1)] == ["key-a", "(none)"]


def test_the_spend_logs_of_litellm_are_read() -> None:
    usage = read_usage(litellm({}, {"cache_key": "k", "request_tags": "{search}"}, {"request_tags": "[]"}))
    assert usage.format.name == "litellm"
    assert (row(usage)["cost"], row(usage)["latency_ms"], row(usage)["requests"]) == (0.0125, 1500.0, 1.0)
    assert [row(usage, i)["feature"] for i in range(3)] == ["chat", "search", "(none)"]
    assert [row(usage, i)["prompt"] is None for i in range(3)] == [True, False, True]
    assert (usage.feature_column, usage.prompt_column) == ("request_tags", "cache_key")


def test_prompts_are_told_apart_by_what_the_file_has() -> None:
    rows = [{"messages": text} for text in ('[{"role":"user","content":"a"}]', '[{"role":"user","content":"a"}]', "{}")]
    usage = read_usage(litellm(*rows))
    prompts = usage.rows["prompt"].to_list()
    assert usage.prompt_column == "messages"
    assert prompts[0] == prompts[1] is not None
    assert prompts[2] is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2025-09-01T10:00:00Z", (10, 0, 0, 0)),
        ("2025-09-01 10:00:00.25", (10, 0, 0, 250_000)),
        ("2025-09-01T10:00:00.123456+02:00", (8, 0, 0, 123_456)),
        ("2025-09-01 10:00:00-0530", (15, 30, 0, 0)),
        ("2025-09-01 10:00:00+00", (10, 0, 0, 0)),
        ("2025-09-01 10:00", (10, 0, 0, 0)),
        ("2025-09-01", (0, 0, 0, 0)),
        ("1756720800", (10, 0, 0, 0)),
    ],
)
def test_times_are_read_as_they_are_written(said: str, meant: tuple[int, int, int, int]) -> None:
    hour, minute, second, micro = meant
    expected = datetime(2025, 9, 1, hour, minute, second, micro, tzinfo=UTC)
    assert row(read_usage(litellm({"startTime": said})))["at"] == expected


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"startTime": "yesterday"}, "row 3, column startTime: 'yesterday' is no time"),
        ({"startTime": "2025-13-01 10:00:00"}, "row 3, column startTime: '2025-13-01 10:00:00' is no time"),
        ({"startTime": "2025-09-01 77:00:00"}, "row 3, column startTime: '2025-09-01 77:00:00' is no time"),
        ({"startTime": ""}, "row 3, column startTime: '(empty)' is no time"),
        ({"model": " "}, "row 3, column model: there is no model"),
        ({"prompt_tokens": "many"}, "row 3, column prompt_tokens: 'many' is no number of tokens or requests"),
        ({"prompt_tokens": ""}, "row 3, column prompt_tokens: '(empty)' is no number of tokens or requests"),
        ({"completion_tokens": "-5"}, "row 3, column completion_tokens: '-5' is no number of tokens or requests"),
        ({"completion_tokens": "1.5"}, "row 3, column completion_tokens: '1.5' is no number of tokens or requests"),
        ({"prompt_tokens": "inf"}, "row 3, column prompt_tokens: 'inf' is no number of tokens or requests"),
        ({"prompt_tokens": "nan"}, "row 3, column prompt_tokens: 'nan' is no number of tokens or requests"),
        ({"spend": "free"}, "row 3, column spend: 'free' is no amount"),
        ({"spend": "-0.1"}, "row 3, column spend: '-0.1' is no amount"),
        ({"spend": "inf"}, "row 3, column spend: 'inf' is no amount"),
        ({"spend": "x" * 99}, f"row 3, column spend: '{'x' * 40}' is no amount"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_row_and_column(bad: dict[str, Any], problem: str) -> None:
    usage = read_usage(litellm({}, bad, {}))
    assert usage.rows["row"].to_list() == [2, 4]
    assert (usage.unreadable, usage.problems) == (1, (problem,))


def test_more_cached_tokens_than_there_were_are_a_row_that_cannot_be_read() -> None:
    usage = read_usage(openai({}, {"input_cached_tokens": 1001}))
    assert usage.problems == ("row 3, column input_cached_tokens: more tokens were cached than there were",)


def test_an_empty_bucket_of_time_is_no_row_that_cannot_be_read() -> None:
    nothing = dict.fromkeys(OPENAI_COLUMNS, "") | {"start_time": "1756771200", "start_time_iso": "2025-09-02T00:00:00Z"}
    usage = read_usage(openai({}, nothing))
    assert (usage.rows.height, usage.unreadable, usage.empty) == (1, 0, 1)


def test_a_cell_too_many_or_too_few_is_told_or_does_no_harm() -> None:
    lines = litellm({}, {}).decode().splitlines()
    usage = read_usage("\n".join([lines[0], lines[1] + ",more,cells", lines[2], "only,three,cells", "", ""]).encode())
    assert usage.rows["row"].to_list() == [2, 3]
    assert usage.problems == ("row 4, column startTime: '(empty)' is no time",)


@pytest.mark.parametrize("how", ["bom", "utf-16", "crlf", "semicolon", "tab", "spaces", "latin"])
def test_spreadsheets_write_files_in_their_own_ways(how: str) -> None:
    plain = litellm({"user": "Zoë"}, {"spend": "1.5"})
    data = {
        "bom": codecs.BOM_UTF8 + plain,
        "utf-16": plain.decode().encode("utf-16"),
        "crlf": plain.replace(b"\n", b"\r\n"),
        "semicolon": litellm({"spend": "0,0125"}, {"spend": "1,5"}, separator=";"),
        "tab": litellm({}, {"spend": "1.5"}, separator="\t"),
        "spaces": litellm({"spend": " 0.0125 "}, {"spend": "1.5", "model": " gpt-4o-2024-08-06 "}),
        "latin": plain.decode().encode("latin-1"),
    }[how]
    usage = read_usage(data)
    assert usage.rows["cost"].to_list() == [0.0125, 1.5]
    assert usage.rows["model"].unique().to_list() == ["gpt-4o-2024-08-06"]


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", NotUsage, "its columns (none) are those of no known export"),
        (b"\n\n", NotUsage, "its columns (none)"),
        (b"name,age\nada,36\n", NotUsage, "its columns (name, age) are those of no known export (OpenAI usage export,"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", NotUsage, "are those of no known export"),
        (b"start_time,amount_value,line_item\n", NotUsage, "this is OpenAI's export of costs; export the usage"),
        (b"usage_date_utc,model,token_type,cost_usd\n", NotUsage, "this is Anthropic's export of costs; export"),
        (
            b"usage_date_utc,model_version,usage_output_tokens\n",
            ColumnsMissing,
            "no column usage_input_tokens_no_cache",
        ),
        (b"spend,startTime,request_tags\n", ColumnsMissing, "has no column model, prompt_tokens, completion_tokens"),
        (b"num_model_requests,api_key_id\n", ColumnsMissing, "start_time_iso or start_time, model, input_tokens"),
        (table(LITELLM_COLUMNS, []), NoRows, "there are no rows in it"),
        (litellm({"model": ""}), NoRows, "no row of it can be read: row 2, column model: there is no model"),
    ],
)
def test_what_is_no_usage_export_is_refused_with_the_reason(
    data: bytes, kind: type[UsageUnreadable], said: str
) -> None:
    with pytest.raises(kind) as caught:
        read_usage(data)
    assert said in str(caught.value)


def test_the_sample_is_the_same_each_time_and_can_be_read() -> None:
    data = sample_csv()
    assert data == sample_csv()
    assert data != sample_csv(seed=1)
    usage = read_usage(data)
    assert usage.format.name == "litellm"
    assert (usage.rows.height, usage.unreadable, usage.days) == (3_000, 0, 30)
    assert data.decode().splitlines()[0] == ",".join(COLUMNS)
    assert sample_csv(rows=10).count(b"\n") == 11
    assert EXAMPLE.read_bytes() == sample_csv(rows=100)
