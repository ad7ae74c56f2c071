"""What a model is told of a function, and what is made of what it sends."""

import collections
import dataclasses
import datetime
import enum
import functools
import json
import types
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, ToolDefinitionError
from netra_apex.tools.schema import Signature, read_signature


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    number: int


@dataclasses.dataclass
class Claim:
    who: UserExecutionContext


def refusal(signature: Signature, text: str) -> str:
    with pytest.raises(CallFailed) as caught:
        signature.from_json(text)
    assert caught.value.code == "invalid_arguments"
    return caught.value.message


def test_the_schema_is_an_object_with_what_is_required_and_nothing_beyond() -> None:
    def find(query: Annotated[str, Field(description="What to look for")], *, limit: int = 5) -> str: ...

    assert read_signature(find).parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for"},
            "limit": {"type": "integer", "default": 5},
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def test_a_function_without_parameters_has_an_empty_object() -> None:
    def ping() -> str: ...

    expected = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert read_signature(ping).parameters == expected


def test_what_is_done_to_a_schema_does_not_change_the_definition() -> None:
    def find(query: str) -> str: ...

    signature = read_signature(find)
    signature.parameters["properties"]["query"]["type"] = "integer"
    assert signature.parameters["properties"]["query"] == {"type": "string"}


def test_a_parameter_may_bear_any_name() -> None:
    def odd(schema: int, copy: int, model_config: int, _page: int = 0) -> str: ...

    given = {"schema": 1, "copy": 2, "model_config": 3, "_page": 4}
    assert read_signature(odd).from_json(json.dumps(given)) == given


def test_json_becomes_the_types_that_the_function_declares() -> None:
    def many(day: datetime.date, colour: Colour, where: Address, sizes: tuple[int, ...], ratio: float) -> str: ...

    text = '{"day":"2026-01-31","colour":"red","where":{"street":"a","number":1},"sizes":[1,2],"ratio":1}'
    assert read_signature(many).from_json(text) == {
        "day": datetime.date(2026, 1, 31),
        "colour": Colour.RED,
        "where": Address(street="a", number=1),
        "sizes": (1, 2),
        "ratio": 1.0,
    }


def test_what_is_left_out_is_left_to_the_functions_own_default() -> None:
    marker = object()

    def find(query: str, other: Annotated[Any, "anything"] = marker) -> str: ...

    signature = read_signature(find)
    assert signature.from_json('{"query":"a"}') == {"query": "a"}
    assert "default" not in signature.parameters["properties"]["other"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("{}", "query is missing"),
        ('{"query":"a","owner":"bob"}', "owner is not a parameter"),
        ('{"query":5}', "query should be a valid string"),
        ('{"query":"a","limit":"5"}', "limit should be a valid integer"),
        ('{"query":"a","colour":"green"}', "colour should be 'red' or 'blue'"),
        ('{"query":"a","where":{"street":"x"}}', "where.number is missing"),
    ],
)
def test_a_wrong_argument_gives_a_sentence_that_names_it(arguments: str, sentence: str) -> None:
    def find(query: str, limit: int = 5, colour: Colour = Colour.RED, where: Address | None = None) -> str: ...

    assert refusal(read_signature(find), arguments) == sentence


def test_the_sentence_shows_neither_the_value_nor_an_address() -> None:
    def find(query: str, day: datetime.date) -> str: ...

    sentence = refusal(read_signature(find), json.dumps({"query": ["canary" * 50], "day": "canary" * 50}))
    assert "canary" not in sentence
    assert "http" not in sentence


def test_of_many_wrong_arguments_the_sentence_names_a_few() -> None:
    def find(query: str) -> str: ...

    sentence = refusal(read_signature(find), json.dumps({"query": "a", **{f"extra{n}" * 99: 1 for n in range(50)}}))
    assert sentence.endswith("and 45 more")
    assert len(sentence) < 500


@pytest.mark.parametrize("hint", [RunScope, RunScope | None, Annotated[RunScope, "the call's"]])
def test_the_scope_is_hidden_from_the_model(hint: Any) -> None:
    def find(query: str, scope: RunScope) -> str: ...

    find.__annotations__["scope"] = hint
    signature = read_signature(find)
    assert signature.scope == "scope"
    assert list(signature.parameters["properties"]) == ["query"]
    assert refusal(signature, '{"query":"a","scope":null}') == "scope is not a parameter"


def test_the_scope_is_known_by_name_where_only_the_type_checker_imports_it() -> None:
    source = "def find(query: 'str', scope: 'RunScope | None' = None) -> 'NotImported': ..."
    names: dict[str, Any] = {}
    exec(source, names)
    assert read_signature(names["find"]).scope == "scope"


def test_an_identity_is_never_a_models_to_fill_in() -> None:
    def direct(who: UserExecutionContext) -> str: ...
    def nested(claim: Claim) -> str: ...
    def listed(all_of: list[UserExecutionContext | None]) -> str: ...

    for function in (direct, nested, listed):
        with pytest.raises(ToolDefinitionError, match="may not pass an identity"):
            read_signature(function)


def test_a_parameter_that_a_model_cannot_fill_is_named() -> None:
    def bare(query) -> str: ...  # type: ignore[no-untyped-def]
    def many(*queries: str) -> str: ...
    def keywords(**queries: str) -> str: ...
    def positional(query: str, /) -> str: ...
    def unknown(query: "Missing") -> str: ...  # type: ignore[name-defined]  # noqa: F821
    def default(query: str = Field(description="a")) -> str: ...
    def thing(name: str, query: threading_lock) -> str: ...  # type: ignore[valid-type]
    def twice(query: RunScope, other: RunScope) -> str: ...

    for function, reason in {
        bare: "parameter query has no type",
        many: "parameter queries is variadic positional",
        keywords: "parameter queries is variadic keyword",
        positional: "parameter query is positional-only",
        unknown: "name 'Missing' is not defined",
        default: "parameter query has Field",
        thing: "parameter query has no JSON Schema",
        twice: "query and other both ask for the RunScope",
    }.items():
        with pytest.raises(ToolDefinitionError, match=reason) as caught:
            read_signature(function)
        assert caught.value.tool == function.__name__


class threading_lock:  # any class that pydantic does not know
    pass


class Options(BaseModel):
    tags: list[str] = []


class Fixed(BaseModel):
    model_config = ConfigDict(frozen=True)
    tags: tuple[str, ...] = ()
    loose: Any = None


FIXED = Fixed()


@dataclasses.dataclass
class Page:
    size: int = 1


class Place(msgspec.Struct):
    at: int = 1


@pytest.mark.parametrize(
    "value",
    [
        [], {}, set(), bytearray(), collections.deque(), collections.Counter(), types.MappingProxyType({}), Options(),
        Page(), Place(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_default_that_one_users_call_could_change_for_anothers_is_refused_and_the_parameter_named(value: Any) -> None:
    record = Fixed(loose=value)

    def by_position(query: str, seen: Any = value) -> str: ...
    def by_name(query: str, *, seen: Any = value) -> str: ...
    def inside(query: str, *, seen: Any = (1, (value,))) -> str: ...
    def in_a_record(query: str, *, seen: Any = record) -> str: ...

    kind = type(value).__name__
    for function in (by_position, by_name, inside, in_a_record, functools.wraps(by_name)(lambda *a, **k: "")):
        with pytest.raises(ToolDefinitionError, match=f"parameter seen has a {kind} in its default") as caught:
            read_signature(function)
        assert f"write None and make the {kind} inside, or Annotated[..., Field(default_factory=...)]" in str(
            caught.value
        )


def test_a_default_that_cannot_change_is_taken() -> None:
    def find(
        query: str = "a", at: tuple[int, ...] = (1, 2), fixed: Fixed = FIXED, colour: Colour = Colour.RED,
        day: datetime.date = datetime.date(2026, 1, 1), tags: frozenset[str] = frozenset(), kind: Any = Options,
        seen: list[str] | None = None,
    ) -> str: ...  # fmt: skip

    assert read_signature(find).from_json("{}") == {}


def test_a_default_factory_makes_each_call_a_default_of_its_own() -> None:
    def find(seen: Annotated[list[str], Field(default_factory=list)]) -> str: ...

    signature = read_signature(find)
    signature.from_json("{}")["seen"].append("ada's")
    assert signature.from_json("{}") == signature.from_values({}) == {"seen": []}


def test_code_may_pass_arguments_by_position_but_never_the_scope() -> None:
    def find(query: str, scope: RunScope, limit: int = 5) -> str: ...

    signature = read_signature(find)
    assert signature.bind(("a", 7), {}) == {"query": "a", "limit": 7}
    with pytest.raises(CallFailed, match="unexpected keyword argument 'scope'"):
        signature.bind(("a",), {"scope": None})
    with pytest.raises(CallFailed, match="missing a required argument: 'query'"):
        signature.bind((), {})
    with pytest.raises(CallFailed, match="limit should be a valid integer"):
        signature.from_values({"query": "a", "limit": "many"})
