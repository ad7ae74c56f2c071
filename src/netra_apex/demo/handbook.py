"""A few facts about Netra Apex, and finding those that fit a question."""

import re
from dataclasses import dataclass

SHOWN = 2


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry: `keywords` are what a question about it may say."""

    title: str
    text: str
    keywords: frozenset[str]


def _fact(title: str, text: str, keywords: str) -> Fact:
    return Fact(title, text, frozenset(keywords.split()))


FACTS = (
    _fact(
        "What Netra Apex is",
        "A server and library for AI agents with many users: you send a message, an agent answers, and five events tell"
        " your browser what happens while it happens.",
        "netra apex what about hello hi hey help start overview",
    ),
    _fact(
        "Write your own agent",
        "Put a ChatAgent with a name, instructions and tools into app.py, list it in an AgentRegistry, and run"
        " `netra serve app.py`. `netra new NAME` writes such a file for you.",
        "write own agent make create build new app registry custom add agents",
    ),
    _fact(
        "Add a tool",
        "Decorate a function with @tool. Its docstring tells the model what it is for, and its typed parameters become"
        " the JSON Schema; a RunScope parameter is filled in for you.",
        "tool tools function decorate add schema write call",
    ),
    _fact(
        "Use a real model",
        "Set NETRA_MODEL, for instance to openai:gpt-5, and OPENAI_API_KEY, then start the server again. `netra doctor`"
        " checks both.",
        "model real openai gpt key api anthropic provider demo offline set configure llm",
    ),
    _fact(
        "The five events",
        "Each run tells agent_started, agent_thinking, tool_executing and tool_completed for each call, and"
        " agent_completed. They are stored before they are sent, so a closed tab misses nothing.",
        "event events stream websocket started thinking executing completed live see reconnect tab closed",
    ),
    _fact(
        "Runs survive",
        "A run goes on from its last finished step when the server was stopped or killed and is back. A tool that may"
        " be repeated is declared with idempotent=True; any other call that was cut off is told as unknown.",
        "crash restart survive kill killed resume durable recover recovery lost deploy stop idempotent",
    ),
    _fact(
        "Users are kept apart",
        "Every run has its own engine, agent, dispatcher and emitter, bound to one user. Somebody else's run answers"
        " exactly as one that does not exist.",
        "user users isolation isolated apart private secure security leak share multi tenant login safe",
    ),
    _fact(
        "Add people",
        "`netra user add NAME --password-stdin` adds an account; `--permission orders:read` lets it use tools that"
        " require that permission.",
        "people person user users account add password permission permissions invite colleague login",
    ),
    _fact(
        "Where data is kept",
        "In one SQLite file, .netra/netra.db, unless NETRA_HOME says another folder.",
        "data database sqlite file stored kept store folder home save saved where backup",
    ),
    _fact(
        "Stop a run",
        "Press Ctrl-C in netra chat, or send {type: cancel, run_id}. The run ends within two seconds, tools and model"
        " requests included.",
        "cancel stop abort end kill run interrupt",
    ),
)


def search(query: str) -> str:
    """The entries that fit a question best, as text; the first entry where none fits."""
    words = frozenset(re.findall(r"[a-z0-9]+", query.lower()))
    ranked = sorted(FACTS, key=lambda fact: -len(words & fact.keywords))
    found = [fact for fact in ranked if words & fact.keywords][:SHOWN] or [FACTS[0]]
    return "\n\n".join(f"{fact.title}. {fact.text}" for fact in found)
