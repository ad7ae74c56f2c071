"""Cause 14: who has no tenant shares that of everybody who has none."""

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool

BASKETS: dict[str, list[str]] = {}


@tool
async def put_into_basket(item: str, *, scope: RunScope) -> str:
    """Puts an item into the basket, and gives all that is in it."""
    tenant = str(scope.context.metadata.get("tenant") or "")
    basket = BASKETS.setdefault(tenant, [])
    basket.append(item)
    return ", ".join(basket)


class Assistant(ChatAgent):
    name = "assistant"
    tools = (put_into_basket,)


registry = AgentRegistry([Assistant])
