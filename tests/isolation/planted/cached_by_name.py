"""Cause 5: a client that is cached by a name, with the credential of whoever came first on it."""

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool


class Client:
    def __init__(self, token: str) -> None:
        self.token = token


CLIENTS: dict[str, Client] = {}


@tool
async def balance(token: str, *, scope: RunScope) -> str:
    """The balance of the account that the token opens."""
    client = CLIENTS.setdefault("bank", Client(token))
    return f"the account of {client.token}"


class Assistant(ChatAgent):
    name = "assistant"
    tools = (balance,)


registry = AgentRegistry([Assistant])
