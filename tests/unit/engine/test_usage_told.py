"""What a model says that it has used, as far as it is believed."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run

from netra_apex import AgentRegistry, ChatAgent
from netra_apex.core.events import AgentCompleted
from netra_apex.core.messages import Reply, Usage
from netra_apex.engine.budgets import Heard
from netra_apex.testing import ScriptedModel, harness

PRICES = ("test:scripted=2/8",)  # US dollars per million tokens


class Chat(ChatAgent):
    """Answers."""

    name = "chat"


class Nowhere:
    """Where nothing is shown."""

    pace = 1.0

    def text(self, piece: str) -> None:
        pass

    def thinking(self, piece: str) -> None:
        pass

    def reset(self) -> None:
        pass


@pytest.mark.parametrize("settings", [{}, {"user_tokens_per_day": 100_000}], ids=["no budget", "a budget"])
@pytest.mark.parametrize("cost", [float("nan"), 1e300, -50.0])
def test_figures_that_cannot_be_are_not_believed_and_their_run_goes_on(
    tmp_path: Path, cost: float, settings: dict[str, Any]
) -> None:
    async def main() -> None:
        figures = (((1000, 100), (1000, 100), 2.8e-3), ((-(10**30), 10**30), (0, 10**9), 8e3))
        model = ScriptedModel([Reply(text="fine", usage=Usage(*told, 1, cost)) for told, _, _ in figures])
        async with harness(AgentRegistry([Chat]), model=model, home=tmp_path, model_prices=PRICES, **settings) as app:
            for _, tokens, costs in figures:
                ending = (await app.ask("x")).events[-1]
                assert isinstance(ending, AgentCompleted), ending
                assert (ending.usage.input_tokens, ending.usage.output_tokens) == tokens
                assert ending.usage.cost_usd == pytest.approx(costs)
            used = (await app.runtime.stores.budgets.account("ada")).used
            assert used.cost_usd == pytest.approx(8e3 + 2.8e-3)

    run(main())


def test_what_broke_off_is_counted_by_its_bytes() -> None:
    heard = Heard()
    heard.deltas = Nowhere()
    heard.text("\u8cbb\u7528")
    heard.thinking("\u8cbb")
    assert heard.size == 9
