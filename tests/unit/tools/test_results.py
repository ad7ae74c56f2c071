"""What is told of a tool's return value."""

import asyncio
import dataclasses
import datetime
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from netra_apex.core.redaction import Redactor
from netra_apex.errors import CallFailed
from netra_apex.tools.results import BESIDE, Told, cut, tell, tellable

PLAIN = Redactor()


class Model(BaseModel):
    day: datetime.date


@dataclasses.dataclass
class Data:
    inner: Model


class Struct(msgspec.Struct):
    number: int


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("grüße", Told("grüße", "grüße")),
        (None, Told(None, "null")),
        (True, Told(True, "true")),
        (3.5, Told(3.5, "3.5")),
        (float("nan"), Told(None, "null")),
        ({"a": (1, "ü")}, Told({"a": [1, "ü"]}, '{"a":[1,"ü"]}')),
        (
            Data(Model(day=datetime.date(2026, 1, 31))),
            Told({"inner": {"day": "2026-01-31"}}, '{"inner":{"day":"2026-01-31"}}'),
        ),
        (
            [Struct(1), {"a": Struct(2)}],
            Told([{"number": 1}, {"a": {"number": 2}}], '[{"number":1},{"a":{"number":2}}]'),
        ),
        (10**30, Told(10**30, str(10**30))),
        ("half \ud800 pair", Told("half ? pair", "half ? pair")),
    ],
)
def test_any_json_like_value_is_told(value: Any, told: Told) -> None:
    assert tell(value, 1000, PLAIN) == told
    msgspec.json.encode(told.value)


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def deep() -> list[Any]:
    made: list[Any] = []
    for _ in range(5000):
        made = [made]
    return made


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, b"\xff", circle(), deep(), ["\ud800"], asyncio.Lock(), (n for n in [1]), lambda: 1],
)
def test_a_value_that_is_no_json_is_an_error(value: Any) -> None:
    with pytest.raises(CallFailed, match=r"no JSON") as caught:
        tell(value, 1000, PLAIN)
    assert caught.value.code == "error"


def test_what_is_too_large_is_cut_and_says_so() -> None:
    assert cut("a" * 100, 100, PLAIN) == "a" * 100
    shown = cut("a" * 101, 100, PLAIN)
    assert shown == "a" * 73 + "… [cut: 73 of 101 bytes]"
    assert tell("a" * 101, 100, PLAIN) == Told(shown, shown)


def test_a_large_structure_is_cut_as_the_text_that_it_is() -> None:
    told = tell({"rows": list(range(1000))}, 200, PLAIN)
    assert told.value == told.text
    assert told.text.startswith('{"rows":[0,1,2')
    assert f"of {len(json.dumps({'rows': list(range(1000))}, separators=(',', ':')))} bytes]" in told.text


@given(st.text(min_size=1), st.integers(1, 100))
def test_a_cut_never_breaks_a_character_and_keeps_the_limit(text: str, limit: int) -> None:
    shown = cut(text, limit, PLAIN)
    size = len(text.encode())
    if size <= limit:
        assert shown == text
    else:
        kept, _, note = shown.rpartition("… [cut: ")
        assert text.startswith(kept)
        assert note == f"{len(kept.encode())} of {size} bytes]"
        assert len(shown.encode()) <= max(limit, len(f"… [cut: {size} of {size} bytes]".encode()))


def test_a_cut_through_a_secret_shows_no_half_of_it() -> None:
    secret = "configured-secret-value-1234567890"
    redactor = Redactor([secret])
    for limit in range(40, 120):
        shown = cut("x" * 40 + secret + "y" * 200, limit, redactor)
        assert "configured" not in shown
    told = tell({"password": "hunter2-hunter2", "rows": list(range(1000))}, 100, redactor)
    assert "hunter2" not in told.text


@pytest.mark.parametrize("size", [10, BESIDE, 4 * BESIDE])
def test_of_a_result_that_is_large_or_full_of_secrets_no_secret_is_shown(size: int) -> None:
    secret = "configured-secret-value-1234567890"
    redactor = Redactor([secret])
    for value in (f"{secret} " * size, {"text": f"{secret} " * size}, [secret] * size, {"password": secret * size}):
        told = tell(value, 100, redactor)
        assert "configured" not in told.text
        assert len(told.text.encode()) <= 100


@pytest.mark.parametrize("kind", ["text", "in a table", "rows"])
def test_a_result_of_many_megabytes_is_told_in_no_time(kind: str) -> None:
    text = "what is in a large file, " * 800_000
    value: Any = {"text": text, "in a table": {"text": text}, "rows": [text[:100]] * 200_000}[kind]
    begun = time.perf_counter()
    told = tell(value, 65_536, Redactor(["configured-secret"]))
    assert time.perf_counter() - begun < 1
    assert len(told.text.encode()) in range(65_000, 65_537)
    assert told.text.endswith(" bytes]")


def test_arguments_that_code_passes_are_told_or_named_by_their_type() -> None:
    assert tellable({"a": Struct(1), "b": (1, 2)}) == {"a": {"number": 1}, "b": [1, 2]}
    assert tellable({"a": object(), "b": 1}) == {"a": "<object>", "b": "<int>"}
    assert tellable({"a": "\ud800"}) == {"a": "<str>"}
