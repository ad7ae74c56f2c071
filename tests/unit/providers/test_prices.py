"""What models cost, against an independent computation."""

from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from netra_apex.providers.prices import FlatPrice, Prices, _price

MODELS = [(provider, model) for provider in get_snapshot().providers for model in provider.models]


@pytest.mark.parametrize(("heard", "said", "cached"), [(0, 0, 0), (1, 1, 0), (1000, 100, 400), (900_000, 7, 900_000)])
def test_every_listed_price_is_what_genai_prices_computes(heard, said, cached):
    usage = Usage(input_tokens=heard, output_tokens=said, cache_read_tokens=cached)
    priced = 0
    for provider, model in MODELS:
        price = _price(provider, model)
        if price is not None:
            want = float(model.calc_price(usage, provider).total_price)
            assert price.cost(heard, said, cached) == pytest.approx(want), (provider.id, model.id)
            priced += 1
    assert priced > 1000


def test_a_model_is_found_by_its_provider_and_name():
    prices = Prices({})
    assert prices.of("openai:gpt-4o").cost(1_000_000, 0) == 2.5
    listed = calc_price(Usage(input_tokens=10**6, output_tokens=10**6), "claude-sonnet-4-5", provider_id="anthropic")
    assert prices.of("anthropic:claude-sonnet-4-5").cost(10**6, 10**6) == float(listed.total_price)
    assert isinstance(listed.total_price, Decimal)


@pytest.mark.parametrize("name", ["openai:no-such-model", "nobody:gpt-4o", "test:scripted", "ollama:llama"])
def test_of_what_is_not_listed_nobody_knows_the_price(name):
    assert Prices({}).of(name) is None


def test_the_operators_prices_go_before_the_list_and_are_for_that_model_alone():
    prices = Prices({"openai:gpt-4o": (0.5, 1.5)})
    assert prices.of("openai:gpt-4o").cost(2_000_000, 2_000_000, 1_000_000) == 4.0
    assert prices.of("openai:gpt-4o-mini").cost(1_000_000, 0) == 0.15


def test_another_servers_models_have_its_prices():
    there = Prices({}, base_url="https://openrouter.ai/api/v1").of("openai:anthropic/claude-sonnet-4.5")
    assert there is not None
    assert Prices({}, base_url="http://127.0.0.1:1/v1").of("openai:gpt-4o") == FlatPrice(2.5, 10.0, 1.25)


def test_more_cached_than_there_was_costs_nothing_less():
    assert FlatPrice(2.0, 0.0, 1.0).cost(10, 0, 1_000_000) == FlatPrice(2.0, 0.0, 1.0).cost(10, 0, 10)
