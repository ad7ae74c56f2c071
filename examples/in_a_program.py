"""Agents in a program of your own, without a server: `python examples/in_a_program.py`."""

import asyncio

from netra_apex import AgentRegistry, ChatAgent, Runtime, UserExecutionContext, tool


@tool(idempotent=True)
def word_count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


class Editor(ChatAgent):
    """Knows how long a text is."""

    name = "editor"
    instructions = "Answer in one sentence. Count with word_count, not in your head."
    tools = (word_count,)


async def main() -> None:
    async with Runtime(AgentRegistry([Editor])) as runtime:
        ada = UserExecutionContext.new("ada")
        async with runtime.engines.for_user(ada) as engine:
            result = await engine.run("editor", "How many words has: the quick brown fox?")
    if result.error is not None:
        raise SystemExit(f"{result.error.code}: {result.error.message}")
    print(result.output)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    asyncio.run(main())
