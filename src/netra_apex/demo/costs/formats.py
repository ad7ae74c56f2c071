"""The usage exports that are known, by the names of their columns.

Sources: OpenAI's usage export of completions (the fields of its Usage API, one row for each bucket of time and group),
Anthropic's Console export of token usage, and the rows of LiteLLM's table LiteLLM_SpendLogs.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One kind of export. A field's columns are alternatives; the first that is there, and not empty, is taken.

    `marks` are the columns that it is known by. `total_input` counts all input tokens, of which `cached` are a part;
    `uncached` counts those that were not read from a cache. `features` and `prompts` are in the order of preference.
    """

    name: str
    label: str
    provider: str | None
    marks: frozenset[str]
    at: tuple[str, ...]
    model: tuple[str, ...]
    output: tuple[str, ...]
    total_input: tuple[str, ...] = ()
    uncached: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    written_1h: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    one_request_each: bool = False

    @property
    def required(self) -> tuple[tuple[str, ...], ...]:
        """The columns without which it cannot be read, as alternatives."""
        return (self.at, self.model, self.total_input or self.uncached, self.output)

    def columns(self) -> frozenset[str]:
        """Every column that is read."""
        single = (self.at, self.model, self.output, self.total_input, self.uncached, self.cached, self.written)
        more = (self.written_1h, self.requests, self.cost, self.ended, self.batch, self.features, self.prompts)
        return frozenset(name for names in (*single, *more) for name in names)


OPENAI = Format(
    name="openai",
    label="OpenAI usage export",
    provider="openai",
    marks=frozenset({"num_model_requests", "input_cached_tokens", "start_time_iso", "api_key_id"}),
    at=("start_time_iso", "start_time"),
    model=("model",),
    output=("output_tokens",),
    total_input=("input_tokens",),
    cached=("input_cached_tokens",),
    requests=("num_model_requests",),
    batch=("batch",),
    features=("project_name", "project_id", "api_key_name", "api_key_id", "user_id"),
)
ANTHROPIC = Format(
    name="anthropic",
    label="Anthropic Console usage export",
    provider="anthropic",
    marks=frozenset({"usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_output_tokens"}),
    at=("usage_date_utc",),
    model=("model_version",),
    output=("usage_output_tokens",),
    uncached=("usage_input_tokens_no_cache",),
    cached=("usage_input_tokens_cache_read",),
    written=("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write"),
    written_1h=("usage_input_tokens_cache_write_1h",),
    features=("api_key", "workspace"),
)
LITELLM = Format(
    name="litellm",
    label="LiteLLM spend logs",
    provider=None,
    marks=frozenset({"spend", "prompt_tokens", "completion_tokens", "startTime", "request_tags"}),
    at=("startTime",),
    model=("model",),
    output=("completion_tokens",),
    total_input=("prompt_tokens",),
    cost=("spend",),
    ended=("endTime",),
    features=("request_tags", "team_id", "end_user", "user", "api_key"),
    prompts=("cache_key", "messages"),
    one_request_each=True,
)
FORMATS = (OPENAI, ANTHROPIC, LITELLM)

COSTS_ONLY = (
    (frozenset({"amount_value", "line_item"}), "OpenAI's export of costs; export the usage of completions instead"),
    (frozenset({"token_type", "cost_usd"}), "Anthropic's export of costs; export the token usage instead"),
)
"""Exports of the same places that have no tokens by request, and what to do."""
