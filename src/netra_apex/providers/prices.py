"""What models cost: the operator's own prices, else those that genai-prices ships. Nothing is fetched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog

from netra_apex.core.budgets import Price
from netra_apex.providers import OPENAI

DEMO = "demo:offline"
MILLION = 1_000_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FlatPrice:
    """US dollars per million tokens, whatever the request. See `core.budgets.Price`."""

    input: float
    output: float
    cached: float

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """See `Price.cost`."""
        cached = min(cached_tokens, input_tokens)
        fresh = input_tokens - cached
        return (fresh * self.input + cached * self.cached + output_tokens * self.output) / MILLION


class ListedPrice:
    """One of genai-prices that depends on the request's length or on the time. See `core.budgets.Price`."""

    def __init__(self, provider: Any, model: Any) -> None:
        self._provider = provider
        self._model = model

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """See `Price.cost`."""
        from genai_prices import Usage

        cached = min(cached_tokens, input_tokens)
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached)
        return float(self._model.calc_price(usage, self._provider).total_price)


class Prices:
    """The prices of a process's models, each looked up when it is first asked for.

    `own` are US dollars per million tokens of input and of output by model, and go before all others. `base_url` is
    where `openai:` models are: prices there may be another provider's. The offline demo model costs nothing.
    """

    def __init__(self, own: Mapping[str, tuple[float, float]], *, base_url: str | None = None) -> None:
        self._base_url = base_url
        self._found: dict[str, Price | None] = {DEMO: FlatPrice(0.0, 0.0, 0.0)}
        self._found |= {name: FlatPrice(given[0], given[1], given[0]) for name, given in own.items()}

    def of(self, name: str) -> Price | None:
        """The price of the model `provider:name`; None where nobody knows it.

        The first time that it is none of `own`, the list is loaded, which takes some 0.3 s.
        """
        if name not in self._found:
            self._found[name] = self._listed(name)
        return self._found[name]

    def load(self, names: Iterable[str], *, needed: bool) -> None:
        """Looks these up now, and not in somebody's first run, as the list takes a moment.

        Where prices are `needed`, as there is a budget of money, those that nobody knows are told to the operator.
        """
        for name in sorted(names):
            if self.of(name) is None and needed:
                log.warning("a model has no price, and is not asked: set NETRA_MODEL_PRICES", model=name)

    def _listed(self, name: str) -> Price | None:
        from genai_prices.data_snapshot import get_snapshot

        provider_id, _, reference = name.partition(":")
        wheres: list[tuple[str | None, str | None]] = [(provider_id, None)]
        if provider_id == OPENAI and self._base_url is not None:
            wheres.insert(0, (None, self._base_url))
        for provider_id, url in wheres:
            try:
                provider, model = get_snapshot().find_provider_model(reference, None, provider_id, url)
            except LookupError:
                continue
            return _price(provider, model)
        return None


def _price(provider: Any, model: Any) -> Price | None:
    prices: Any = model.prices
    if isinstance(prices, list):
        return ListedPrice(provider, model)
    rates = (prices.input_mtok, prices.output_mtok)
    if rates == (None, None):
        return None
    cached = prices.cache_read_mtok or prices.input_mtok
    flat = all(each is None or isinstance(each, Decimal) for each in (*rates, cached))
    if not flat or prices.requests_kcount is not None:
        return ListedPrice(provider, model)
    # Computed here, as theirs takes 0.2 ms for each reply.
    return FlatPrice(*(float(each or 0) for each in (*rates, cached)))
