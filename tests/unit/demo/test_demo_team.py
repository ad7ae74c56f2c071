"""The built-in team: its tools answer, and refuse with a sentence."""

import asyncio
import time

import pytest

from netra_apex.demo import arithmetic, calculate, current_time, handbook, registry, search_handbook
from netra_apex.errors import CallFailed


def test_the_team_has_an_assistant_by_default_a_guide_and_who_analyzes_costs() -> None:
    assert registry.default == "assistant"
    assert registry.names == ("assistant", "guide", "cost-analysis")
    assert all(text for _, text in registry.describe(frozenset()))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("17*23", "391"),
        ("17 * 23 =", "391"),
        ("(2+3)/4", "1.25"),
        ("-2**2", "-4"),
        ("2^10", "1024"),
        ("7//2 + 7%2", "4"),
        ("6/3", "2"),
        ("1e3", "1000"),
        ("0.1+0.2", "0.3"),
        ("2**-1", "0.5"),
        ("2**100", str(2**100)),
    ],
)
def test_arithmetic_is_calculated(expression: str, value: str) -> None:
    assert arithmetic.calculate(expression).endswith(f"= {value}")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "   ",
        "1/0",
        "0**-1",
        "9**9**9",
        "2**(2**40)",
        "10.0**400",
        "1e400",
        "1e999-1e999",
        "(-8)**0.5",
        "__import__('os')",
        "a+1",
        "'x'*9",
        "True+1",
        "[1]*9",
        "1 if 1 else 2",
        "1+",
        "(" * 150 + "1" + ")" * 50,
        "1\x00",
        "+" * 199 + "1",
        "5 & 3",
        "9" * 201,
        "1j",
    ],
)
def test_anything_else_is_refused_with_a_sentence_and_at_once(expression: str) -> None:
    started = time.perf_counter()
    if expression == "+" * 199 + "1":
        assert arithmetic.calculate(expression)
    else:
        with pytest.raises(arithmetic.NotArithmetic) as caught:
            arithmetic.calculate(expression)
        assert len(str(caught.value)) > 10
    assert time.perf_counter() - started < 0.5


def test_the_tools_answer() -> None:
    async def main() -> None:
        assert "UTC" in await current_time()
        assert "Asia/Tokyo" in await current_time("Asia/Tokyo")
        assert await calculate("1+1") == "1+1 = 2"
        assert "@tool" in await search_handbook("how do I add a tool?")

    asyncio.run(main())


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "/etc/passwd", "UTC\x00", "Europe"])
def test_a_time_zone_that_is_none_is_a_failed_call(zone: str) -> None:
    with pytest.raises(CallFailed, match="no time zone"):
        asyncio.run(current_time(zone))


def test_what_cannot_be_calculated_is_a_failed_call() -> None:
    with pytest.raises(CallFailed, match="divides by zero"):
        asyncio.run(calculate("1/0"))


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How do I write my own agent?", "Write your own agent"),
        ("how do I use a real model", "Use a real model"),
        ("where is my data", "Where data is kept"),
        ("zzz", "What Netra Apex is"),
    ],
)
def test_the_handbook_finds_what_fits(question: str, title: str) -> None:
    assert handbook.search(question).startswith(title)
