"""A chat agent with a tool, and a plain one beside it: `netra serve examples/orders.py`.

The tool needs a permission: `netra user add ada --permission orders:read`. Whoever lacks it is not offered the tool.
"""

import re
from typing import NamedTuple

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, tool


class Order(NamedTuple):
    number: str
    owner: str
    what: str


ORDERS = (
    Order("1001", "ada", "two tickets for Lisbon, paid"),
    Order("1002", "ada", "a green bicycle, on its way"),
    Order("1003", "bob", "a telescope, waiting for a lens"),
)


@tool(requires="orders:read", timeout=10, idempotent=True)
async def lookup(query: str, *, scope: RunScope) -> str:
    """Find an order by number or name."""
    words = [word for word in re.findall(r"\w+", query.lower()) if len(word) > 3]
    # Whose orders is not the model's to say: it is the run's own user.
    mine = [f"{order.number}: {order.what}" for order in ORDERS if order.owner == scope.context.user_id]
    return "\n".join(line for line in mine if any(word in line.lower() for word in words)) or "There is no such order."


class Assistant(ChatAgent):
    """Answers questions about your orders."""

    name = "assistant"
    instructions = "Answer briefly. Look orders up before you speak of them."
    tools = (lookup,)


class Greeter(BaseAgent):
    """Greets, without a model."""

    name = "greeter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("choosing a greeting")
        return f"Hello {scope.context.user_id}: {task}"


registry = AgentRegistry([Assistant, Greeter], default="assistant")
