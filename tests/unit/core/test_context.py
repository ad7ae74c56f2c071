"""`UserExecutionContext`: a value that names somebody, and that nobody can change."""

import copy
import dataclasses
import gc
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.context import MAX_DEPTH, MAX_ID_LENGTH, UserExecutionContext, check_identity, freeze
from netra_apex.errors import InvalidContext, NetraError

IDS = ("user_id", "thread_id", "run_id", "request_id", "correlation_id", "audit_id", "operation")
PLACEHOLDERS = (
    "placeholder", "default", "default_user", "DEFAULT", "Default-User", "none", "None", "null", "nil", "undefined",
    "unknown", "unknown.user", "anonymous", "anon", "temp", "tmp", "temp:1", "todo", "tbd", "dummy", "example",
    "example@example.org", "sample", "template", "registry", "mock", "mock-1", "fake", "changeme", "string", "n/a",
    "nan", "xxx", "XXXXXX", "yyy", "user_id", "userid", "user-id", "your_user", "your-user-id", "0", "-1", "1", "user",
    "me", "self", "-", "*", "?", "system", "default user", "none/ada",
)  # fmt: skip


def context(**values: Any) -> UserExecutionContext:
    given_ids = {"user_id": "ada", "thread_id": "thr_a", "run_id": "run_a", "request_id": "req_a"}
    return UserExecutionContext(**given_ids | values)


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize("value", ["", " ", "\t", "\n", "\u00a0", None, 0, b"ada", True, ["ada"]])
def test_no_identity_may_be_missing_or_blank(field: str, value: object) -> None:
    with pytest.raises(InvalidContext, match=field) as refused:
        context(**{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_is_refused_and_named(value: str) -> None:
    with pytest.raises(InvalidContext, match="placeholder") as refused:
        context(user_id=value)
    assert (refused.value.field, refused.value.value) == ("user_id", value)
    assert value in str(refused.value)


@given(
    st.sampled_from(
        [word for word in PLACEHOLDERS if word.isalpha() and len(word) > 2 and word not in {"user", "self"}]
    ),
    st.sampled_from(list("_-.:@ /")),
    st.integers(1, 2 * MAX_ID_LENGTH),
)
def test_a_placeholder_of_any_length_is_refused(word: str, separator: str, length: int) -> None:
    if word == "system":
        return  # alone it is nobody; as a first word it is a name ("system-admin")
    with pytest.raises(InvalidContext):
        context(user_id=word + separator + "a" * length)


@pytest.mark.parametrize(
    "value", ["ada", "Anonymia", "templeton", "defaulter", "nullarbor", "mocking-bird", "u1", "7", "ada@example.org",
              "Ægir", "名前", "testuser", "user1", "xx", "fakenham", "system-admin"]
)  # fmt: skip
def test_real_names_that_look_alike_are_taken(value: str) -> None:
    assert context(user_id=value).user_id == value


@given(st.sampled_from([chr(c) for c in (*range(32), 127, 0x85, 0x200B, 0x200E, 0x202E, 0x2028, 0xFEFF, 0xD800)]))
def test_control_and_invisible_characters_are_refused_wherever_they_stand(char: str) -> None:
    for value in (f"a{char}da", f"{char}ada", f"ada{char}"):
        with pytest.raises(InvalidContext):
            context(user_id=value)


def test_an_id_has_at_most_256_characters_and_no_blanks_around_it() -> None:
    assert context(user_id="a" * MAX_ID_LENGTH).user_id == "a" * 256
    with pytest.raises(InvalidContext, match="longer than 256") as refused:
        context(user_id="a" * 257)
    assert len(str(refused.value)) < 120
    for padded in (" ada", "ada ", "ada\n"):
        with pytest.raises(InvalidContext, match="blanks around it"):
            context(user_id=padded)


def test_check_identity_answers_what_it_was_given() -> None:
    assert check_identity("name", "ada") == "ada"


def test_an_invalid_context_is_one_of_our_errors_and_a_value_error() -> None:
    with pytest.raises(InvalidContext) as refused:
        context(user_id="")
    assert isinstance(refused.value, NetraError)
    assert isinstance(refused.value, ValueError)


def test_there_is_no_default_identity() -> None:
    with pytest.raises(TypeError):
        UserExecutionContext()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        UserExecutionContext.new()  # type: ignore[call-arg]
    with pytest.raises(InvalidContext):
        UserExecutionContext.new("ada", thread_id="")


def test_new_makes_ids_of_its_own_each_time() -> None:
    one, other = UserExecutionContext.new("ada"), UserExecutionContext.new("ada")
    for field in ("thread_id", "run_id", "request_id", "correlation_id", "audit_id"):
        assert getattr(one, field) != getattr(other, field)
    assert UserExecutionContext.new("ada", thread_id="thr_x").thread_id == "thr_x"
    assert (one.user_id, one.depth, one.parent_audit_id, one.idempotency_key) == ("ada", 0, None, None)


def test_operations_nest_ten_deep_and_no_deeper() -> None:
    deepest = context()
    for depth in range(1, MAX_DEPTH + 1):
        deepest = deepest.child("step")
        assert deepest.depth == depth
    with pytest.raises(InvalidContext, match="at most 10 deep"):
        deepest.child("step")
    for depth in (-1, 11):
        with pytest.raises(InvalidContext, match="depth"):
            context(depth=depth)


def test_a_child_is_the_same_run_with_an_audit_id_of_its_own() -> None:
    parent = context(permissions=["orders:read"], metadata={"a": 1}, deadline=datetime.now(UTC))
    child, sibling = parent.child("look up"), parent.child("look up")
    same = ("user_id", "thread_id", "run_id", "request_id", "correlation_id", "permissions", "metadata", "deadline")
    assert all(getattr(child, field) == getattr(parent, field) for field in same)
    assert (child.operation, child.parent_audit_id) == ("look up", parent.audit_id)
    assert len({parent.audit_id, child.audit_id, sibling.audit_id}) == 3
    assert child.child("deeper").parent_audit_id == child.audit_id
    with pytest.raises(InvalidContext, match="operation"):
        parent.child("")


PERMISSIONS = st.frozensets(st.sampled_from(["a:read", "a:write", "b:read", "admin"]))


@given(PERMISSIONS, PERMISSIONS)
def test_permissions_narrow_and_never_widen(held: frozenset[str], wanted: frozenset[str]) -> None:
    parent = context(permissions=held)
    assert parent.child("all").permissions == held
    if wanted <= held:
        assert parent.child("some", permissions=wanted).permissions == wanted
    else:
        with pytest.raises(InvalidContext, match="no more than its parent"):
            parent.child("more", permissions=wanted)


def test_permissions_are_a_set_of_strings_and_not_one_string() -> None:
    for make in (lambda: context(permissions="admin"), lambda: UserExecutionContext.new("ada", permissions="admin")):
        with pytest.raises(InvalidContext, match="not one string"):
            make()
    given_list = ["a:read"]
    made = context(permissions=given_list)
    given_list.append("admin")
    assert made.permissions == frozenset({"a:read"})


def test_a_deadline_has_a_time_zone() -> None:
    with pytest.raises(InvalidContext, match="time zone"):
        context(deadline=datetime(2030, 1, 1))
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert context(deadline=at).deadline == at


def test_nothing_that_is_done_to_the_given_metadata_afterwards_changes_a_context() -> None:
    inner: dict[str, Any] = {"list": [1, {"deep": ["x"]}], "set": {1}, "bytes": bytearray(b"ab")}
    parent = context(metadata=inner)
    child, sibling = parent.child("one"), parent.child("two")
    inner["list"][1]["deep"].append("leaked")
    inner["list"].append("leaked")
    inner["set"].add("leaked")
    inner["bytes"].extend(b"leaked")
    inner["new"] = "leaked"
    for each in (parent, child, sibling):
        assert "leaked" not in repr(each.metadata)
        assert each.metadata["list"] == (1, {"deep": ("x",)})
        assert each.metadata["set"] == frozenset({1})
        assert each.metadata["bytes"] == b"ab"


def test_metadata_cannot_be_changed_through_any_of_the_contexts_that_have_it() -> None:
    parent = context(metadata={"nested": {"list": [1]}})
    child = parent.child("one")
    for each in (parent, child):
        with pytest.raises(TypeError):
            each.metadata["new"] = 1  # type: ignore[index]
        with pytest.raises(TypeError):
            each.metadata["nested"]["new"] = 1
        with pytest.raises(AttributeError):
            each.metadata["nested"]["list"].append(2)
    assert parent.metadata == child.metadata == {"nested": {"list": (1,)}}


class Bag:
    """Something that could carry one user's data to another."""


@pytest.mark.parametrize("value", [Bag(), {"nested": [Bag()]}, object(), lambda: None, iter([1]), memoryview(b"a")])
def test_metadata_that_cannot_be_frozen_is_refused_and_never_shared(value: object) -> None:
    with pytest.raises(InvalidContext, match="metadata"):
        context(metadata={"key": value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_frozen_metadata_says_the_same_and_has_nothing_that_can_change(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    frozen = freeze(data)
    assert thawed(frozen) == before == data
    assert freeze(frozen) == frozen


def thawed(value: Any) -> Any:
    assert not isinstance(value, dict | list | set | bytearray)
    if isinstance(value, tuple):
        return [thawed(item) for item in value]
    if hasattr(value, "items"):
        return {key: thawed(item) for key, item in value.items()}
    return value


def test_a_context_is_frozen_has_no_dict_and_takes_no_new_attribute() -> None:
    made = context()
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, getattr(made, field.name))
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, field.name)
    assert not hasattr(made, "__dict__")
    with pytest.raises((AttributeError, TypeError)):
        made.session = "leak"  # type: ignore[attr-defined]


def test_equal_contexts_are_equal_and_can_be_keys_whatever_their_metadata() -> None:
    ids = {"correlation_id": "cor_a", "audit_id": "aud_a"}
    one, other = context(metadata={"a": [1]}, **ids), context(metadata={"a": [1]}, **ids)
    assert one == other
    assert len({one, other}) == 1


def test_its_repr_is_whole_and_one_line() -> None:
    text = repr(context(metadata={"note": "a\nb"}).for_call("call_1"))
    assert "'ada'" in text
    assert "run_a:call_1" in text
    assert "\n" not in text


def test_a_calls_context_has_the_same_key_for_the_same_call_of_the_same_run() -> None:
    made = context()
    assert made.for_call("call_1").idempotency_key == context().for_call("call_1").idempotency_key
    assert made.for_call("call_1").idempotency_key != made.for_call("call_2").idempotency_key
    assert made.for_call("call_1").idempotency_key != context(run_id="run_b").for_call("call_1").idempotency_key
    assert made.for_call("call_1").audit_id == made.audit_id


def cost() -> float:
    """Seconds for a context and a child; the median of many, and the collector's share belongs to it."""
    samples: list[float] = []
    for _ in range(60):
        began = time.perf_counter()
        for _ in range(50):
            UserExecutionContext.new("ada", permissions=("a:read",), metadata={"a": [1, 2]}).child("step")
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)


def test_making_one_costs_the_same_beside_a_million_live_objects() -> None:
    cost()
    small = min(cost() for _ in range(3))
    heap = [[number] for number in range(1_000_000)]
    try:
        large = min(cost() for _ in range(3))
        assert len(heap) == 1_000_000
    finally:
        del heap
        gc.collect()
    assert large < small * 5
