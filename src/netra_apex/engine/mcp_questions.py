"""What an MCP server asks its user in the middle of a call: put to him as plain questions, and given as it wants it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from netra_apex.errors import CallFailed
from netra_apex.tools.mcp import Answers, Asks, Question

DECLINE = "decline"
_MOST = 10  # fields: more is no question but a form
_SHOWN = 3000  # characters of the server's own words
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")


async def answered(server: str, asks: Asks, ask: Callable[[str], Awaitable[str]]) -> Answers:
    """Asks for each field, one after another, and gives the server what was said; `decline` declines a question.

    Raises:
        CallFailed: an answer is not of the kind that was asked for, or nobody has answered.
    """
    given: dict[str, dict[str, Any] | None] = {}
    for question in asks.questions:
        given[question.key] = await _one(server, question, ask)
    return Answers(given, asks.state)


async def _one(server: str, question: Question, ask: Callable[[str], Awaitable[str]]) -> dict[str, Any] | None:
    fields = cast("Mapping[str, Mapping[str, Any]]", question.schema.get("properties", {}))
    if len(fields) > _MOST:
        raise CallFailed("error", f"{server} asks for {len(fields)} fields at once; {_MOST} is the most")
    # By whom it is asked stands first: what follows are the server's words.
    words = f"{server} asks: {question.text[:_SHOWN]}"
    if not fields:
        said = await ask(f"{words}\n(yes or no)")
        return {} if said.strip().lower() in _YES else None
    found: dict[str, Any] = {}
    for name, field in fields.items():
        said = (await ask(f"{words}\n({_hint(name, field)}; or: {DECLINE})")).strip()
        if said.lower() == DECLINE:
            return None
        found[name] = _value(name, field, said)
    return found


def _hint(name: str, field: Mapping[str, Any]) -> str:
    options = _options(field)
    kind = f"one of {', '.join(options)}" if options else str(field.get("type", "string"))
    return f"{field.get('description') or field.get('title') or name}: {kind}"[:500]


def _options(field: Mapping[str, Any]) -> dict[str, Any]:
    """What may be chosen, as it is shown, and as the server knows it."""
    titled = cast("list[Mapping[str, Any]]", field.get("oneOf") or field.get("anyOf") or [])
    found = {str(each.get("title", each["const"])): each["const"] for each in titled if "const" in each}
    return found or {str(each): each for each in cast("list[Any]", field.get("enum") or [])}


def _value(name: str, field: Mapping[str, Any], said: str) -> Any:
    kind = field.get("type", "string")
    if options := {shown.lower(): value for shown, value in _options(field).items()}:
        if said.lower() in options:
            return options[said.lower()]
    elif kind == "boolean":
        if said.lower() in (*_YES, *_NO):
            return said.lower() in _YES
    elif kind in ("integer", "number"):
        try:
            return int(said) if kind == "integer" else float(said)
        except ValueError:
            pass
    elif kind == "array":
        return [part.strip() for part in said.split(",")]
    else:
        return said
    raise CallFailed("error", f"the answer is none for {_hint(name, field)}")
