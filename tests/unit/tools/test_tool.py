"""`@tool`: what it makes of a function, and which functions it refuses."""

import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from netra_apex.errors import ToolDefinitionError
from netra_apex.tools import tool


@tool
def plain(query: str) -> str:
    """Finds something.

    In two paragraphs.
    """
    return f"found {query}"


@tool(requires="orders:read", timeout=10)
async def lookup(query: str) -> str:
    return f"found {query}"


def test_a_tool_is_called_as_its_function_is() -> None:
    assert plain("a") == "found a"
    coroutine = lookup(query="b")
    with pytest.raises(StopIteration, match="found b"):
        coroutine.send(None)


def test_a_tool_says_what_a_model_and_a_dispatcher_need() -> None:
    assert (plain.name, plain.requires, plain.timeout, plain.is_async) == ("plain", None, None, False)
    assert (lookup.name, lookup.requires, lookup.timeout, lookup.is_async) == ("lookup", "orders:read", 10, True)
    assert plain.description == "Finds something.\n\nIn two paragraphs."
    assert lookup.description == ""
    assert plain.spec.name == "plain"
    assert plain.spec.parameters == plain.parameters


def test_a_tool_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.requires = "admin"  # type: ignore[misc]


class Holder:
    def method(self, query: str) -> str: ...

    def __call__(self, query: str) -> str: ...


def remembers(query: str, seen: list[str] = []) -> str: ...  # noqa: B006 - the point of the test


def yields(query: str) -> Iterator[str]:
    yield query


async def yields_async(query: str) -> AsyncIterator[str]:
    yield query


def ärger(query: str) -> str: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (Holder, "only a function"),
        (Holder(), "only a function"),
        (Holder().method, "only a function"),
        (functools.partial(plain.function, "a"), "only a function"),
        (len, "only a function"),
        (Holder.method, "parameter self has no type"),
        (functools.cache(plain.function), "only a function"),
        (remembers, "parameter seen has a list in its default, which every user's calls would share"),
        (yields, "it yields"),
        (yields_async, "it yields"),
        (lambda: "a", "a name has"),
        (ärger, "a name has"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_the_reason(function: Any, reason: str) -> None:
    with pytest.raises(ToolDefinitionError, match=reason):
        tool(function)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_an_impossible_time_out_is_refused(timeout: float) -> None:
    with pytest.raises(ToolDefinitionError, match="is not possible"):
        tool(timeout=timeout)(plain.function)


def test_a_permission_of_a_wrong_form_is_refused() -> None:
    with pytest.raises(ToolDefinitionError, match="no permission"):
        tool(requires="Orders Read")(plain.function)


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="retries"):
        tool(retries=3)(plain.function)  # type: ignore[call-overload]
