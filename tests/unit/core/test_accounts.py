"""Names and passwords: who may be called what."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.accounts import ApiKey, check_password, check_username
from netra_apex.core.context import UserExecutionContext
from netra_apex.errors import Invalid


@pytest.mark.parametrize(
    ("name", "ident"),
    [
        ("ada", "ada"),
        ("Ada", "ada"),
        ("Ada.L+x@example-1.org", "ada.l+x@example-1.org"),
        ("_a", "_a"),
        ("ＡＤＡ", "ada"),
        ("e\u0301", "\u00e9"),
        ("\u00c9", "\u00e9"),
        ("名前", "名前"),
        ("a" * 64, "a" * 64),
    ],
)
def test_a_name_is_its_id_once_it_is_normalised(name: str, ident: str) -> None:
    assert check_username(name) == ident
    assert check_username(ident) == ident


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "\nada", "ada ", ".ada", "@ada", "a" * 65, "a/b", "a:b", "a\x00", "a'b"]
)
def test_a_name_of_other_characters_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="user name is 1 to 64"):
        check_username(name)


@pytest.mark.parametrize(
    "name", ["default", "Default_User", "anonymous", "system", "user", "ANON", "ｄｅｆａｕｌｔ", "me", "null"]
)
def test_nobody_is_called_a_placeholder(name: str) -> None:
    with pytest.raises(Invalid, match="placeholder"):
        check_username(name)


@given(st.text(max_size=70))
def test_every_name_that_is_taken_can_own_a_run_and_is_its_own_normal_form(name: str) -> None:
    try:
        ident = check_username(name)
    except Invalid:
        return
    assert check_username(ident) == ident
    assert UserExecutionContext.new(ident).user_id == ident


def test_a_password_has_12_to_1024_characters() -> None:
    assert check_password("x" * 12) == "x" * 12
    assert check_password("ä" * 1024)
    for length, sentence in ((0, "at least 12"), (11, "at least 12"), (1025, "at most 1024")):
        with pytest.raises(Invalid, match=sentence) as refused:
            check_password("q" * length)
        assert "qqq" not in str(refused.value)


@pytest.mark.parametrize(
    ("scope", "users", "allowed"),
    [
        (None, {"orders:read", "admin"}, {"orders:read"}),  # what an administrator's script finds must be asked for
        ({"admin"}, {"orders:read", "admin"}, {"admin"}),
        ({"orders:read", "orders:write"}, {"orders:read"}, {"orders:read"}),
        (set(), {"orders:read"}, set()),
    ],
)
def test_a_key_may_what_it_was_given_and_its_user_still_may(scope, users, allowed):
    scope = None if scope is None else frozenset(scope)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    key = ApiKey(key_id="key_1", user_id="ada", name="n", permissions=scope, created_at=now)
    assert key.allowed(frozenset(users)) == allowed
