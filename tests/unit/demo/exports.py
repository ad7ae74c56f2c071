"""Usage exports made by hand, and what is in them computed anew, with csv and Decimal and no code of ours."""

import csv
import io
import statistics
from collections import defaultdict
from decimal import Decimal
from typing import Any

OPENAI_COLUMNS = (
    "start_time", "end_time", "start_time_iso", "end_time_iso", "project_id", "num_model_requests", "user_id",
    "api_key_id", "model", "batch", "service_tier", "input_tokens", "output_tokens", "input_cached_tokens",
    "input_uncached_tokens",
)  # fmt: skip
ANTHROPIC_COLUMNS = (
    "usage_date_utc", "model_version", "api_key", "workspace", "usage_type", "context_window",
    "usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read", "usage_output_tokens", "web_search_count", "inference_geo", "speed",
)  # fmt: skip
LITELLM_COLUMNS = (
    "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime",
    "endTime", "model", "user", "metadata", "cache_hit", "cache_key", "request_tags", "team_id", "messages",
)  # fmt: skip

# US dollars for a million tokens: input, read from a cache, written to one for 5 minutes, for an hour, output. As the
# makers list them, written down here.
LISTED = {
    "gpt-4o-2024-08-06": ("2.5", "1.25", "2.5", "2.5", "10"),
    "gpt-4o-mini": ("0.15", "0.075", "0.15", "0.15", "0.6"),
    "claude-sonnet-4-5-20250929": ("3", "0.3", "3.75", "6", "15"),
    "claude-3-haiku-20240307": ("0.25", "0.03", "0.3", "0.5", "1.25"),
}


def table(columns: tuple[str, ...], rows: list[dict[str, Any]], *, separator: str = ",") -> bytes:
    """A CSV file; what a row does not say is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def openai(**said: Any) -> dict[str, Any]:
    """A row of OpenAI's export."""
    usual = {
        "start_time": 1_756_684_800,
        "start_time_iso": "2025-09-01T00:00:00+00:00",
        "project_id": "proj_a",
        "num_model_requests": 3,
        "model": "gpt-4o-2024-08-06",
        "batch": "False",
        "input_tokens": 1000,
        "output_tokens": 100,
        "input_cached_tokens": 400,
    }
    return usual | said


def anthropic(**said: Any) -> dict[str, Any]:
    """A row of Anthropic's export."""
    usual = {
        "usage_date_utc": "2025-10-01",
        "model_version": "claude-sonnet-4-5-20250929",
        "api_key": "key-a",
        "workspace": "Default",
        "usage_type": "standard",
        "context_window": "≤ 200k",
        "usage_input_tokens_no_cache": 1000,
        "usage_input_tokens_cache_write_5m": 200,
        "usage_input_tokens_cache_write_1h": 50,
        "usage_input_tokens_cache_read": 5000,
        "usage_output_tokens": 300,
    }
    return usual | said


def litellm(**said: Any) -> dict[str, Any]:
    """A row of LiteLLM's spend logs."""
    usual = {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "spend": "0.0125",
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "startTime": "2025-09-01 10:00:00.000",
        "endTime": "2025-09-01 10:00:01.500",
        "model": "gpt-4o-2024-08-06",
        "cache_key": "Cache OFF",
        "request_tags": '["chat", "beta"]',
    }
    return usual | said


def rows_of(data: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def spent(rows: list[dict[str, str]], by: str) -> dict[str, Decimal]:
    """What LiteLLM's rows cost, by a column; `day` is that of the start."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        found[row["startTime"][:10] if by == "day" else row[by]] += Decimal(row["spend"])
    return dict(found)


def percentile(values: list[float], percent: int) -> float:
    """By linear interpolation between the neighbours."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def repeated(rows: list[dict[str, str]]) -> tuple[int, Decimal]:
    """How many of LiteLLM's rows repeat a prompt to the same model, and what those cost."""
    seen: set[tuple[str, str]] = set()
    times, cost = 0, Decimal(0)
    for row in sorted(rows, key=lambda each: each["startTime"]):
        if (row["model"], row["cache_key"]) in seen:
            times, cost = times + 1, cost + Decimal(row["spend"])
        seen.add((row["model"], row["cache_key"]))
    return times, cost


def listed(model: str, *tokens: int) -> Decimal:
    """What so many tokens of each kind cost by list price."""
    return sum((Decimal(price) * count for price, count in zip(LISTED[model], tokens, strict=True)), Decimal(0)) / 10**6
