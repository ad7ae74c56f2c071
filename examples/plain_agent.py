"""An agent in plain code, without a model: `netra serve examples/plain_agent.py`.

It tells what it does, calls tools with everything that a model's call goes through, and takes a step once.
"""

import asyncio
import re

from netra_apex import AgentRegistry, BaseAgent, CallFailed, RunScope, tool

RATES = (("eur", 1.0), ("usd", 1.08), ("gbp", 0.85))


@tool(idempotent=True)
def rate(currency: str) -> float:
    """How much of a currency one euro buys."""
    for name, value in RATES:
        if name == currency:
            return value
    raise CallFailed("error", f"there is no rate for {currency}")


async def reserve_number(user_id: str) -> str:
    """A quote's number, as some other system would hand it out."""
    await asyncio.sleep(0)
    return f"Q-{len(user_id):03}"


class Quote(BaseAgent):
    """Converts amounts: write `100 eur in usd`."""

    name = "quote"

    async def run(self, task: str, scope: RunScope) -> dict[str, str | float]:
        await scope.think("reading the amount")
        asked = re.search(r"(\d+(?:\.\d+)?) (eur|usd|gbp) in (eur|usd|gbp)", task.lower())
        if asked is None:
            return {"answer": "Write an amount and two currencies, such as: 100 eur in usd"}
        amount, source, target = asked.groups()
        # Two calls at once; each is told as a pair of events.
        have, want = await asyncio.gather(scope.tools.call(rate, source), scope.tools.call(rate, currency=target))
        # Once in a run under this name, however often it is asked for.
        number = await scope.step("number", reserve_number, scope.context.user_id)
        return {"number": number, "amount": round(float(amount) / have * want, 2), "currency": target}


registry = AgentRegistry([Quote])
