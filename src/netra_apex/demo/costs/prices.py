"""List prices of models, from genai-prices, which needs no network."""

# polars' types name numpy, which is not installed.
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass
from datetime import datetime

import polars as pl
from genai_prices import Usage as Priced
from genai_prices import calc_price

from netra_apex.demo.costs.usage import Usage

# Of so many tokens: prices that rise with the length of a request begin far above.
TOKENS = 1_000
MILLION = 1_000_000
_PROVIDERS = {"gemini": "google", "vertex_ai": "google", "bedrock": "aws", "xai": "x-ai", "together_ai": "together"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars for a million tokens. `read` and `written` are input read from and written to a cache."""

    model: str
    provider: str
    input: float
    read: float
    written: float
    written_1h: float
    output: float


def price_of(model: str, provider: str | None, at: datetime, *, batch: bool = False) -> Price | None:
    """The list price that a model has at a time; None where it is not known.

    A name may have its provider before it, as LiteLLM writes it: `openai/gpt-4o`.
    """
    named, _, bare = model.rpartition("/")
    tries = [(bare, _PROVIDERS.get(named.split("/")[0], named.split("/")[0])), (bare, None)] if named else []
    for name, of in ((model, provider), *tries):
        try:
            return _looked_up(name, of, at, batch=batch)
        except LookupError:
            continue
    return None


def _looked_up(model: str, provider: str | None, at: datetime, *, batch: bool) -> Price:
    context = {"processing": "batch"} if batch else None

    def cost(**tokens: int) -> float:
        usage = Priced(**tokens)
        found = calc_price(usage, model, provider_id=provider, genai_request_timestamp=at, price_context=context)
        return float(found.total_price * MILLION / TOKENS)

    entry = calc_price(Priced(input_tokens=TOKENS), model, provider_id=provider, genai_request_timestamp=at)
    return Price(
        model=entry.model.id,
        provider=entry.provider.id,
        input=cost(input_tokens=TOKENS),
        read=cost(input_tokens=TOKENS, cache_read_tokens=TOKENS),
        written=cost(input_tokens=TOKENS, cache_write_tokens=TOKENS),
        written_1h=cost(input_tokens=TOKENS, cache_write_tokens=TOKENS, cache_write_1h_tokens=TOKENS),
        output=cost(output_tokens=TOKENS),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Costed:
    """Usage with what each row cost: by the file, or else by list prices; null where neither says.

    `rows` has `cost`, and `listed` (whether that is by list price). `prices` are those of the file's models.
    """

    usage: Usage
    rows: pl.DataFrame
    prices: dict[str, Price]


def costed(usage: Usage) -> Costed:
    """What each row cost. List prices are those at the last moment of the file, of short requests."""
    last = usage.bounds[1]
    kinds = usage.rows.select("model", "batch").unique().sort("model", "batch").rows()
    table: list[tuple[str, bool, float, float, float, float, float]] = []
    prices: dict[str, Price] = {}
    for model, batch in kinds:
        price = price_of(model, usage.format.provider, last, batch=batch)
        if price is not None:
            prices.setdefault(model, price)
            table.append((model, batch, price.input, price.read, price.written, price.written_1h, price.output))
    names = ("model", "batch", "p_input", "p_read", "p_written", "p_written_1h", "p_output")
    kept = {name: pl.String if name == "model" else pl.Boolean if name == "batch" else pl.Float64 for name in names}
    listed = (
        pl.col("uncached") * pl.col("p_input")
        + pl.col("cached") * pl.col("p_read")
        + pl.col("written") * pl.col("p_written")
        + pl.col("written_1h") * pl.col("p_written_1h")
        + pl.col("output") * pl.col("p_output")
    ) / MILLION
    prices_frame = pl.DataFrame(table, schema=kept, orient="row")
    rows = usage.rows.join(prices_frame, on=["model", "batch"], how="left", maintain_order="left")
    rows = rows.with_columns(
        listed=pl.col("cost").is_null() & pl.col("p_input").is_not_null(), cost=pl.coalesce("cost", listed)
    )
    return Costed(usage=usage, rows=rows, prices=prices)
